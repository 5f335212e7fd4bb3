use super::{Event, EventLogError, EventType, Position, truncated};
use crate::cursor::Cursor;
use alcub3_crypto::HashAlg;

/// Banks a header may announce. Chips have at most five.
pub(super) const MAX_ALGORITHMS: usize = 8;

const AGILE: &[u8; 16] = b"Spec ID Event03\0";

/// An algorithm a log's header announces, with its digest's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlgorithmSize {
    /// TCG algorithm identifier, as 0x000b for SHA-256.
    pub algorithm: u16,
    /// Size of its digests in bytes.
    pub size: u16,
}

impl AlgorithmSize {
    pub(super) fn of(alg: HashAlg) -> Self {
        Self {
            algorithm: alg.tpm_id(),
            size: u16::try_from(alg.size()).unwrap_or(u16::MAX),
        }
    }

    /// Name, as `sha256`, or the identifier in hexadecimal where it is not known here.
    #[must_use]
    pub fn name(&self) -> String {
        match HashAlg::from_tpm_id(self.algorithm) {
            Some(alg) => alg.name().to_owned(),
            None => format!("{:#06x}", self.algorithm),
        }
    }
}

/// The announced algorithms if the first event is a `Spec ID Event03` header (PFP §10.4.5.1), `None` for a
/// legacy log. A legacy log may begin with `Spec ID Event00` or `02`, which announces nothing.
pub(super) fn parse(first: &Event<'_>) -> Result<Option<Vec<AlgorithmSize>>, EventLogError> {
    if first.event_type != EventType::NO_ACTION || !first.data.starts_with(AGILE) {
        return Ok(None);
    }
    let at = first.position;
    if first.pcr != 0 {
        return Err(field(at, "PCR index", u32::from(first.pcr), "must be 0"));
    }
    if first
        .digests()
        .iter()
        .any(|(_, digest)| digest.iter().any(|byte| *byte != 0))
    {
        return Err(field(at, "digest", 1, "must be all zero"));
    }
    let mut cursor = Cursor::new(first.data);
    cursor
        .take(AGILE.len())
        .map_err(truncated(at, "Spec ID signature"))?;
    // platformClass, specVersionMinor, specVersionMajor, specErrata, uintnSize: no decision rests on them.
    cursor.take(8).map_err(truncated(at, "Spec ID version"))?;
    let algorithms = algorithms(&mut cursor, at)?;
    let vendor = cursor.u8().map_err(truncated(at, "vendor information size"))?;
    cursor
        .take(usize::from(vendor))
        .map_err(truncated(at, "vendor information"))?;
    match u32::try_from(cursor.rest().len()) {
        Ok(0) => Ok(Some(algorithms)),
        left => Err(field(
            at,
            "number of trailing bytes",
            left.unwrap_or(u32::MAX),
            "must be 0",
        )),
    }
}

fn algorithms(cursor: &mut Cursor<'_>, at: Position) -> Result<Vec<AlgorithmSize>, EventLogError> {
    let count = cursor.u32_le().map_err(truncated(at, "number of algorithms"))?;
    let bounded = usize::try_from(count)
        .ok()
        .filter(|n| (1..=MAX_ALGORITHMS).contains(n));
    let bounded = bounded.ok_or(field(at, "number of algorithms", count, "must be 1 to 8"))?;
    let mut announced: Vec<AlgorithmSize> = Vec::with_capacity(bounded);
    for _ in 0..bounded {
        let algorithm = cursor.u16_le().map_err(truncated(at, "algorithm identifier"))?;
        let size = cursor.u16_le().map_err(truncated(at, "digest size"))?;
        if announced.iter().any(|known| known.algorithm == algorithm) {
            return Err(field(
                at,
                "algorithm",
                u32::from(algorithm),
                "must not come twice",
            ));
        }
        let entry = AlgorithmSize { algorithm, size };
        if HashAlg::from_tpm_id(algorithm).is_some_and(|alg| AlgorithmSize::of(alg) != entry) {
            return Err(field(
                at,
                "digest size",
                u32::from(size),
                "must be the algorithm's",
            ));
        }
        announced.push(entry);
    }
    Ok(announced)
}

const fn field(at: Position, field: &'static str, value: u32, expected: &'static str) -> EventLogError {
    EventLogError::Header {
        at,
        field,
        value,
        expected,
    }
}
