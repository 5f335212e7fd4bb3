//! DiceTcbInfo and DiceTcbInfoSeq (TCG DICE Attestation Architecture 1.1, §6.1.1 and §6.1.2).

use super::measurement::{MeasurementError, exact};
use alcub3_crypto::{Digest, HashAlg};
use der::asn1::{BitString, ObjectIdentifier, OctetString};
use der::{Sequence, ValueOrd};

/// Most elements of a DiceTcbInfoSeq, and of an FWIDLIST.
const MAX_ELEMENTS: usize = 16;
/// notConfigured, notSecure, recovery and debug: bits 0 to 3.
const INSECURE: u32 = 0b1111;
/// All that are defined: bits 0 to 8, and fixedWidth, which only makes the string long.
const DEFINED: u32 = 0x1ff | FIXED_WIDTH;
const FIXED_WIDTH: u32 = 1 << 31;

/// One target's measurements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcbInfo {
    /// Who made the target.
    pub vendor: Option<String>,
    /// The target's product name.
    pub model: Option<String>,
    /// Its version, as its vendor writes it.
    pub version: Option<String>,
    /// Its security version number.
    pub svn: Option<u64>,
    /// The DICE layer it is of.
    pub layer: Option<u64>,
    /// Which one of several of that layer.
    pub index: Option<u64>,
    /// Digests of its firmware.
    pub fwids: Vec<Digest>,
    /// How it is operated.
    pub flags: Option<OperationalFlags>,
    /// Whatever else its vendor states.
    pub vendor_info: Option<Vec<u8>>,
    /// What kind of measurement it is.
    pub kind: Option<Vec<u8>>,
}

/// OperationalFlags, with the OperationalFlagsMask where there is one. Bit n of the string is bit n here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationalFlags {
    set: u32,
    said: u32,
}

impl OperationalFlags {
    /// Whether any of notConfigured, notSecure, recovery and debug is set, said or not.
    #[must_use]
    pub const fn is_insecure(self) -> bool {
        self.set & INSECURE != 0
    }

    /// Whether the mask covers notConfigured, notSecure, recovery and debug; without a mask all are said.
    #[must_use]
    pub const fn says_all(self) -> bool {
        self.said & INSECURE == INSECURE
    }

    fn read(flags: Option<&BitString>, mask: Option<&BitString>) -> Result<Option<Self>, MeasurementError> {
        let Some(flags) = flags else {
            // A mask of nothing.
            return match mask {
                Some(_) => Err(MeasurementError::Flags),
                None => Ok(None),
            };
        };
        Ok(Some(Self {
            set: bits(flags)?,
            said: mask.map_or(Ok(u32::MAX), bits)?,
        }))
    }
}

fn bits(string: &BitString) -> Result<u32, MeasurementError> {
    if string.bit_len() > 32 {
        return Err(MeasurementError::Flags);
    }
    let bits = string.bits().enumerate();
    let set = bits.fold(0, |set, (at, bit)| set | u32::from(bit) << at);
    if set & !DEFINED != 0 {
        return Err(MeasurementError::Flags);
    }
    Ok(set & !FIXED_WIDTH)
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence, ValueOrd)]
struct Fwid {
    hash_alg: ObjectIdentifier,
    digest: OctetString,
}

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
struct DiceTcbInfo {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    vendor: Option<String>,
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", optional = "true")]
    model: Option<String>,
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT", optional = "true")]
    version: Option<String>,
    #[asn1(context_specific = "3", tag_mode = "IMPLICIT", optional = "true")]
    svn: Option<u64>,
    #[asn1(context_specific = "4", tag_mode = "IMPLICIT", optional = "true")]
    layer: Option<u64>,
    #[asn1(context_specific = "5", tag_mode = "IMPLICIT", optional = "true")]
    index: Option<u64>,
    #[asn1(context_specific = "6", tag_mode = "IMPLICIT", optional = "true")]
    fwids: Option<Vec<Fwid>>,
    #[asn1(context_specific = "7", tag_mode = "IMPLICIT", optional = "true")]
    flags: Option<BitString>,
    #[asn1(context_specific = "8", tag_mode = "IMPLICIT", optional = "true")]
    vendor_info: Option<OctetString>,
    #[asn1(context_specific = "9", tag_mode = "IMPLICIT", optional = "true")]
    kind: Option<OctetString>,
    #[asn1(context_specific = "10", tag_mode = "IMPLICIT", optional = "true")]
    flags_mask: Option<BitString>,
}

/// The value of tcg-dice-TcbInfo.
pub(super) fn single(der: &[u8]) -> Result<Vec<TcbInfo>, MeasurementError> {
    Ok(vec![TcbInfo::read(exact(der)?)?])
}

/// The value of tcg-dice-MultiTcbInfo.
pub(super) fn multiple(der: &[u8]) -> Result<Vec<TcbInfo>, MeasurementError> {
    let elements: Vec<DiceTcbInfo> = exact(der)?;
    if elements.is_empty() || elements.len() > MAX_ELEMENTS {
        return Err(MeasurementError::Count(elements.len()));
    }
    elements.into_iter().map(TcbInfo::read).collect()
}

impl TcbInfo {
    fn read(der: DiceTcbInfo) -> Result<Self, MeasurementError> {
        let fwids = der.fwids.unwrap_or_default();
        if fwids.is_empty() || fwids.len() > MAX_ELEMENTS {
            return Err(MeasurementError::Count(fwids.len()));
        }
        let owned = |octets: OctetString| octets.into_bytes().into_vec();
        Ok(Self {
            vendor: der.vendor,
            model: der.model,
            version: der.version,
            svn: der.svn,
            layer: der.layer,
            index: der.index,
            fwids: fwids.iter().map(Fwid::read).collect::<Result<_, _>>()?,
            flags: OperationalFlags::read(der.flags.as_ref(), der.flags_mask.as_ref())?,
            vendor_info: der.vendor_info.map(owned),
            kind: der.kind.map(owned),
        })
    }
}

impl Fwid {
    fn read(&self) -> Result<Digest, MeasurementError> {
        let alg = HashAlg::from_oid(&self.hash_alg.to_string()).filter(|alg| alg.is_approved());
        let digest = alg.and_then(|alg| Digest::from_slice(alg, self.digest.as_bytes()));
        digest.ok_or(MeasurementError::Digest)
    }
}
