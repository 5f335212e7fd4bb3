use super::{Event, EventLog, EventLogError, EventType, PCR_COUNT};
use crate::cursor::Cursor;
use alcub3_crypto::{Digest, HashAlg};

const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";
/// PCR 0 starts at 4 when an H-CRTM measured first (TPM 2.0 Part 1, H-CRTM).
const HCRTM_LOCALITY: u8 = 4;

/// PCR values that follow from a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    startup_locality: u8,
    banks: Vec<ReplayedBank>,
}

/// One bank's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayedBank {
    alg: HashAlg,
    values: [Digest; PCR_COUNT],
    touched: u32,
}

impl Replay {
    pub(super) fn of(log: &EventLog<'_>) -> Result<Self, EventLogError> {
        let startup_locality = startup_locality(log)?;
        let banks = log
            .banks()
            .map(|alg| ReplayedBank::of(alg, startup_locality, log))
            .collect();
        Ok(Self {
            startup_locality,
            banks,
        })
    }

    /// Locality of TPM2_Startup: PCR 0's initial value. 0 unless the log says otherwise, 4 after an H-CRTM.
    #[must_use]
    pub const fn startup_locality(&self) -> u8 {
        self.startup_locality
    }

    /// The banks, in the log's order. Algorithms that are not known here are left out.
    #[must_use]
    pub fn banks(&self) -> &[ReplayedBank] {
        &self.banks
    }

    /// One bank, if the log has it.
    #[must_use]
    pub fn bank(&self, alg: HashAlg) -> Option<&ReplayedBank> {
        self.banks.iter().find(|bank| bank.alg == alg)
    }

    /// One PCR's value, also where no event touched it; `None` when the log lacks the bank.
    #[must_use]
    pub fn value(&self, alg: HashAlg, pcr: u8) -> Option<Digest> {
        self.bank(alg)?.value(pcr)
    }
}

impl ReplayedBank {
    pub(super) fn of(alg: HashAlg, startup_locality: u8, log: &EventLog<'_>) -> Self {
        let mut bank = Self {
            alg,
            values: [Digest::zero(alg); PCR_COUNT],
            touched: 0,
        };
        if let Some(initial) = initial_pcr0(alg, startup_locality)
            && let Some(pcr0) = bank.values.first_mut()
        {
            *pcr0 = initial;
        }
        let measured = log.events.iter().filter(|event| !touches_nothing(log, event));
        measured.for_each(|event| bank.apply(event));
        bank
    }

    fn apply(&mut self, event: &Event<'_>) {
        self.touched |= 1 << event.pcr;
        let Some(digest) = event.digest(self.alg).filter(|_| event.is_extended()) else {
            return;
        };
        if let Some(value) = self.values.get_mut(usize::from(event.pcr)) {
            *value = value.extend(digest.as_bytes());
        }
    }

    /// The bank's algorithm.
    #[must_use]
    pub const fn alg(&self) -> HashAlg {
        self.alg
    }

    /// The PCR's value; `None` only for a number above 23.
    #[must_use]
    pub fn value(&self, pcr: u8) -> Option<Digest> {
        self.values.get(usize::from(pcr)).copied()
    }

    /// The PCRs the log names, in order, with their values.
    pub fn touched(&self) -> impl Iterator<Item = (u8, Digest)> + '_ {
        let numbered = (0_u8..).zip(self.values.iter().copied());
        numbered.filter(|(pcr, _)| self.touched & (1 << *pcr) != 0)
    }
}

/// The header of a crypto-agile log belongs to no PCR; nor does any `EV_NO_ACTION` of a legacy one.
fn touches_nothing(log: &EventLog<'_>, event: &Event<'_>) -> bool {
    match log.format {
        super::Format::CryptoAgile => event.position.event == 0,
        super::Format::Legacy => !event.is_extended(),
    }
}

fn initial_pcr0(alg: HashAlg, locality: u8) -> Option<Digest> {
    let mut bytes = [0_u8; 64];
    let size = alg.size();
    *bytes.get_mut(size.checked_sub(1)?)? = locality;
    Digest::from_slice(alg, bytes.get(..size)?)
}

/// What the log says of PCR 0's initial value (PFP §10.4.5.3 and the H-CRTM event of §10.4.1). It must be said
/// before PCR 0 is first extended, and once.
pub(super) fn startup_locality(log: &EventLog<'_>) -> Result<u8, EventLogError> {
    let mut stated = None;
    let mut extended = false;
    for event in log.events.iter().filter(|event| event.pcr == 0) {
        let refuse = |what| EventLogError::InitialValue {
            at: event.position,
            what,
        };
        if event.event_type == EventType::EFI_HCRTM_EVENT {
            if extended || stated.is_some_and(|locality| locality != HCRTM_LOCALITY) {
                return Err(refuse(
                    "the H-CRTM event comes late or contradicts an earlier event",
                ));
            }
            stated = Some(HCRTM_LOCALITY);
        } else if let Some(locality) = stated_locality(event).map_err(refuse)? {
            // After an H-CRTM event, which is itself extended, firmware may still state locality 4.
            let after_hcrtm = stated == Some(HCRTM_LOCALITY);
            if (extended && !after_hcrtm) || stated.is_some_and(|earlier| earlier != locality) {
                return Err(refuse(
                    "the startup locality comes late or contradicts an earlier event",
                ));
            }
            stated = Some(locality);
        }
        extended |= event.is_extended();
    }
    Ok(stated.unwrap_or(0))
}

fn stated_locality(event: &Event<'_>) -> Result<Option<u8>, &'static str> {
    if event.event_type != EventType::NO_ACTION || !event.data.starts_with(STARTUP_LOCALITY) {
        return Ok(None);
    }
    let mut cursor = Cursor::new(event.data);
    let malformed = "the startup locality event has not 17 bytes";
    cursor.take(STARTUP_LOCALITY.len()).map_err(|_| malformed)?;
    let locality = cursor.u8().map_err(|_| malformed)?;
    if !cursor.is_empty() {
        return Err(malformed);
    }
    match locality {
        0 | 3 | HCRTM_LOCALITY => Ok(Some(locality)),
        _ => Err("the startup locality is not 0, 3 or 4"),
    }
}
