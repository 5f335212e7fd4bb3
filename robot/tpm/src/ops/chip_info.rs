//! What a chip is and can do, read once.

use super::capability::Capability;
use crate::{Chip, Result};
use alcub3_crypto::{Curve, HashAlg, Suite};
use alcub3_trust_model::HardwareTier;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// TPM_PT (TPM 2.0 Part 2, 6.13).
mod pt {
    pub(super) const FIXED: u32 = 0x100;
    pub(super) const FAMILY: u32 = 0x100;
    pub(super) const REVISION: u32 = 0x102;
    pub(super) const DAY_OF_YEAR: u32 = 0x103;
    pub(super) const YEAR: u32 = 0x104;
    pub(super) const MANUFACTURER: u32 = 0x105;
    pub(super) const VENDOR_STRING_1: u32 = 0x106;
    pub(super) const FIRMWARE_1: u32 = 0x10b;
    pub(super) const FIRMWARE_2: u32 = 0x10c;
    pub(super) const INPUT_BUFFER: u32 = 0x10d;
    pub(super) const TRANSIENT_MIN: u32 = 0x10e;
    pub(super) const PERSISTENT_MIN: u32 = 0x10f;
    pub(super) const LOADED_MIN: u32 = 0x110;
    pub(super) const ACTIVE_SESSIONS_MAX: u32 = 0x111;
    pub(super) const CONTEXT_GAP_MAX: u32 = 0x114;
    pub(super) const NV_COUNTERS_MAX: u32 = 0x116;
    pub(super) const NV_INDEX_MAX: u32 = 0x117;
    pub(super) const MAX_COMMAND: u32 = 0x11e;
    pub(super) const MAX_RESPONSE: u32 = 0x11f;
    pub(super) const MAX_DIGEST: u32 = 0x120;
    pub(super) const NV_BUFFER_MAX: u32 = 0x12c;
    pub(super) const MODES: u32 = 0x12d;
    pub(super) const LAST_FIXED: u32 = 0x1ff;
    pub(super) const NV_INDICES: u32 = 0x202;
    pub(super) const TRANSIENT_AVAILABLE: u32 = 0x207;
    pub(super) const PERSISTENT: u32 = 0x208;
    pub(super) const PERSISTENT_AVAILABLE: u32 = 0x209;
    pub(super) const NV_COUNTERS: u32 = 0x20a;
    pub(super) const NV_COUNTERS_AVAILABLE: u32 = 0x20b;
    pub(super) const LAST_VARIABLE: u32 = 0x2ff;
}

/// How the chip is built, as far as its own words tell. A guess: nothing in the protocol proves it, the endorsement
/// certificate does.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum ChipKind {
    /// A separate chip.
    Discrete,
    /// In the processor's trusted environment.
    Firmware,
    /// Provided by a hypervisor.
    Virtual,
    /// A program, reached directly.
    Simulator,
    /// By a manufacturer we do not know.
    Unknown,
}

impl ChipKind {
    /// The hardware tier this kind counts as; unknown ones count as virtual, the least trusted real kind.
    pub const fn tier(self) -> HardwareTier {
        match self {
            Self::Discrete => HardwareTier::Discrete,
            Self::Firmware => HardwareTier::Firmware,
            Self::Virtual | Self::Unknown => HardwareTier::Virtual,
            Self::Simulator => HardwareTier::Simulator,
        }
    }

    /// The word for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Firmware => "firmware",
            Self::Virtual => "virtual",
            Self::Simulator => "simulator",
            Self::Unknown => "unknown",
        }
    }
}

/// TPMA_MODES (TPM 2.0 Part 2, 8.12): bits the chip reports about itself. They are a claim of the chip, not a
/// validation: a validation is a certificate.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash, Default)]
pub struct FipsBits {
    /// The raw value of TPM_PT_MODES; 0 where the chip has no such property.
    pub raw: u32,
    /// Bit 0.
    pub fips_140_2: bool,
    /// Bit 1.
    pub fips_140_3: bool,
    /// Bits 3:2.
    pub fips_140_3_indicator: u8,
}

impl FipsBits {
    const fn of(raw: u32) -> Self {
        let indicator = if raw & 8 != 0 { 2 } else { 0 } + if raw & 4 != 0 { 1 } else { 0 };
        Self {
            raw,
            fips_140_2: raw & 1 != 0,
            fips_140_3: raw & 2 != 0,
            fips_140_3_indicator: indicator,
        }
    }
}

/// An algorithm the chip implements.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub struct Algorithm {
    /// TPM_ALG_ID.
    pub id: u16,
    /// TPMA_ALGORITHM.
    pub attributes: u32,
}

/// Numbers that bound what a chip takes. Zero where it does not say.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Default)]
pub struct ChipLimits {
    /// Longest TPM2B_MAX_BUFFER, bytes.
    pub input_buffer: u32,
    /// Longest NV read or write at once, bytes.
    pub nv_buffer: u32,
    /// Largest NV index, bytes.
    pub nv_index: u32,
    /// Largest digest, bytes.
    pub digest: u32,
    /// Longest command, bytes.
    pub command: u32,
    /// Longest response, bytes.
    pub response: u32,
    /// Transient objects it holds at least.
    pub transient_slots: u32,
    /// Loaded sessions it holds at least.
    pub session_slots: u32,
    /// Sessions that may exist at once, loaded or saved.
    pub active_sessions: u32,
    /// Persistent objects it holds at least.
    pub persistent_slots: u32,
    /// How far the context counter may run ahead of the oldest saved session.
    pub context_gap: u32,
    /// NV counters it holds at most; zero means bounded by memory only.
    pub nv_counters: u32,
    /// NV indices in use when this was read.
    pub nv_indices_used: u32,
    /// NV counters in use when this was read.
    pub nv_counters_used: u32,
    /// NV counters that could still be defined when this was read.
    pub nv_counters_available: u32,
    /// Persistent objects when this was read.
    pub persistent_used: u32,
    /// Persistent objects that could still be made when this was read.
    pub persistent_available: u32,
    /// Transient objects that could still be loaded when this was read.
    pub transient_available: u32,
}

/// What a chip is and can do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChipInfo {
    /// TPM_PT_MANUFACTURER as text, for example `IFX`.
    pub manufacturer: String,
    /// The vendor's own string.
    pub vendor: String,
    /// Firmware version: two 32-bit words.
    pub firmware: u64,
    /// Family, for example `2.0`.
    pub family: String,
    /// Specification revision times 100, for example 159.
    pub revision: u32,
    /// Year of the specification.
    pub year: u32,
    /// Day of that year.
    pub day_of_year: u32,
    /// How it is built, as far as it tells.
    pub kind: ChipKind,
    /// Whether a program answers instead of a chip: evidence says so.
    pub simulator: bool,
    /// Algorithms.
    pub algorithms: Vec<Algorithm>,
    /// TPM_ECC_CURVE ids.
    pub curves: BTreeSet<u16>,
    /// Command codes.
    pub commands: BTreeSet<u32>,
    /// Allocated PCR banks: algorithm id and mask of PCRs.
    pub banks: BTreeMap<u16, u32>,
    /// Bounds.
    pub limits: ChipLimits,
    /// FIPS mode bits.
    pub fips: FipsBits,
    /// Every property as the chip gave it.
    pub properties: BTreeMap<u32, u32>,
}

impl ChipInfo {
    /// Whether it implements an algorithm.
    pub fn has_algorithm(&self, id: u16) -> bool {
        self.algorithms.iter().any(|algorithm| algorithm.id == id)
    }

    /// Whether it implements a curve.
    pub fn has_curve(&self, curve: Curve) -> bool {
        self.curves.contains(&curve.tpm_id())
    }

    /// Whether PCR 0 to 23 are allocated in the bank of this hash.
    pub fn has_bank(&self, hash: HashAlg) -> bool {
        self.banks
            .get(&hash.tpm_id())
            .is_some_and(|mask| mask & 0x00ff_ffff == 0x00ff_ffff)
    }

    /// The suites it can serve: hash, curve (or HMAC) and a PCR bank of that hash.
    pub fn suites(&self) -> Vec<Suite> {
        (1..=4)
            .filter_map(Suite::from_id)
            .filter(|suite| self.missing_for(*suite).is_none())
            .collect()
    }

    /// What it lacks for a suite, for people; none if it can serve it.
    pub fn missing_for(&self, suite: Suite) -> Option<&'static str> {
        let hash = suite.hash();
        let curve = if hash == HashAlg::Sha384 {
            Curve::P384
        } else {
            Curve::P256
        };
        if !self.has_algorithm(hash.tpm_id()) {
            return Some("the suite's hash algorithm");
        }
        if suite.is_signature() && !self.has_curve(curve) {
            return Some("the suite's elliptic curve");
        }
        if !suite.is_signature() && !self.has_algorithm(alcub3_crypto::tpm::alg::HMAC) {
            return Some("HMAC");
        }
        (!self.has_bank(hash)).then_some("an allocated PCR bank of the suite's hash")
    }
}

impl Chip {
    /// What the chip is and can do. Cached; what changes (slots in use) is as it was at the first call. Commands: 6 to 8
    /// GetCapability the first time, then none.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn chip_info(&mut self) -> Result<Arc<ChipInfo>> {
        if let Some(info) = &self.cache.info {
            return Ok(info.clone());
        }
        let info = Arc::new(self.read_chip_info()?);
        self.cache.info = Some(info.clone());
        Ok(info)
    }

    /// The suites the chip can serve. Commands: as [`Self::chip_info`].
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn suites(&mut self) -> Result<Vec<Suite>> {
        self.chip_info().map(|info| info.suites())
    }

    fn read_chip_info(&mut self) -> Result<ChipInfo> {
        let mut properties = self.tpm_properties(pt::FIXED, pt::LAST_FIXED)?;
        properties.extend(self.tpm_properties(super::lockout::PT_PERMANENT, pt::LAST_VARIABLE)?);
        let algorithms = self.capability(Capability::Algorithms, 0, 0xffff)?;
        let curves = self.capability(Capability::Curves, 0, 0xffff)?;
        let commands = self.capability(Capability::Commands, 0, u32::MAX)?;
        let banks = self.pcr_banks()?;
        let number = |property: u32| properties.get(&property).copied().unwrap_or(0);
        let manufacturer = text([number(pt::MANUFACTURER)]);
        let vendor = text([0, 1, 2, 3].map(|n| number(pt::VENDOR_STRING_1 + n)));
        let simulator = self.is_simulator();
        Ok(ChipInfo {
            kind: kind_of(&manufacturer, &vendor, simulator),
            manufacturer,
            vendor,
            firmware: u64::from(number(pt::FIRMWARE_1)) << 32 | u64::from(number(pt::FIRMWARE_2)),
            family: text([number(pt::FAMILY)]),
            revision: number(pt::REVISION),
            year: number(pt::YEAR),
            day_of_year: number(pt::DAY_OF_YEAR),
            simulator,
            algorithms: algorithms.into_iter().filter_map(algorithm).collect(),
            curves: curves
                .into_keys()
                .filter_map(|curve| u16::try_from(curve).ok())
                .collect(),
            commands: commands.into_keys().collect(),
            banks,
            limits: limits(number),
            fips: FipsBits::of(number(pt::MODES)),
            properties,
        })
    }
}

fn algorithm((id, attributes): (u32, u32)) -> Option<Algorithm> {
    u16::try_from(id).ok().map(|id| Algorithm { id, attributes })
}

fn limits(number: impl Fn(u32) -> u32) -> ChipLimits {
    ChipLimits {
        input_buffer: number(pt::INPUT_BUFFER),
        nv_buffer: number(pt::NV_BUFFER_MAX),
        nv_index: number(pt::NV_INDEX_MAX),
        digest: number(pt::MAX_DIGEST),
        command: number(pt::MAX_COMMAND),
        response: number(pt::MAX_RESPONSE),
        transient_slots: number(pt::TRANSIENT_MIN),
        session_slots: number(pt::LOADED_MIN),
        active_sessions: number(pt::ACTIVE_SESSIONS_MAX),
        persistent_slots: number(pt::PERSISTENT_MIN),
        context_gap: number(pt::CONTEXT_GAP_MAX),
        nv_counters: number(pt::NV_COUNTERS_MAX),
        nv_indices_used: number(pt::NV_INDICES),
        nv_counters_used: number(pt::NV_COUNTERS),
        nv_counters_available: number(pt::NV_COUNTERS_AVAILABLE),
        persistent_used: number(pt::PERSISTENT),
        persistent_available: number(pt::PERSISTENT_AVAILABLE),
        transient_available: number(pt::TRANSIENT_AVAILABLE),
    }
}

/// Properties that hold four characters each; padding and anything unprintable left out.
fn text<const N: usize>(words: [u32; N]) -> String {
    let bytes = words.into_iter().flat_map(u32::to_be_bytes);
    let printable: String = bytes
        .filter(|b| b.is_ascii_graphic() || *b == b' ')
        .map(char::from)
        .collect();
    printable.trim().to_owned()
}

/// Manufacturer ids of the TCG Vendor ID Registry.
fn kind_of(manufacturer: &str, vendor: &str, simulator: bool) -> ChipKind {
    let known = match manufacturer {
        "IFX" | "STM" | "NTC" | "NTZ" | "ATML" | "WEC" | "NSM" | "NSG" => ChipKind::Discrete,
        "INTC" | "AMD" | "QCOM" | "ROCC" | "SEAL" | "SECE" => ChipKind::Firmware,
        "MSFT" if vendor.contains("fTPM") || vendor.contains("OP-TEE") => ChipKind::Firmware,
        "GOOG" | "MSFT" | "VMW" | "AMZN" | "IBM" => ChipKind::Virtual,
        _ => ChipKind::Unknown,
    };
    if simulator { ChipKind::Simulator } else { known }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channel_says_what_is_a_simulator_and_the_chip_what_else() {
        assert_eq!(kind_of("IBM", "SW   TPM", true), ChipKind::Simulator);
        assert_eq!(kind_of("IBM", "SW   TPM", false), ChipKind::Virtual);
        assert_eq!(kind_of("IFX", "SLB9672", false), ChipKind::Discrete);
        assert_eq!(kind_of("XYZ", "", false).tier(), HardwareTier::Virtual);
    }

    #[test]
    fn text_of_properties_is_printable() {
        assert_eq!(text([0x4946_5800]), "IFX");
        assert_eq!(text([0x5357_2020, 0x2054_504d, 0]), "SW   TPM");
        assert_eq!(text([0x1b5b_326a]), "[2j");
    }

    #[test]
    fn fips_bits_are_read_where_the_specification_puts_them() {
        let bits = FipsBits::of(0b1010);
        assert_eq!(
            (bits.fips_140_2, bits.fips_140_3, bits.fips_140_3_indicator),
            (false, true, 2)
        );
        assert_eq!(FipsBits::of(0b0101).fips_140_3_indicator, 1);
    }
}
