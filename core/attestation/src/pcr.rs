//! PCR selections and the values that go with them (TPM 2.0 Library Part 2, TPML_PCR_SELECTION).

use crate::cursor::{Cursor, Short};
use alcub3_crypto::{Digest, HashAlg};
use core::fmt;
use thiserror::Error;

/// Banks a selection can name: each known algorithm once.
const MAX_BANKS: usize = 4;
/// Bytes of a bank's bitmap: PC Client TPMs have 24 PCRs.
const BITMAP_BYTES: u8 = 3;

/// Why bytes or a list are not a PCR selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SelectionError {
    /// The bytes end within the selection.
    #[error("the PCR selection is cut off ({needed} bytes needed, {left} left)")]
    Truncated {
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// More banks than there are algorithms.
    #[error("the PCR selection names {0} banks; at most 4 can be checked here")]
    TooManyBanks(u32),
    /// A bank of an algorithm that is not known here.
    #[error(
        "the PCR selection names a bank of algorithm {0:#06x}, which is not known; select sha256 or sha384"
    )]
    UnknownBank(u16),
    /// A bank comes twice.
    #[error("the PCR selection names the {0} bank twice")]
    Twice(HashAlg),
    /// A bitmap of another size than a PC Client TPM's.
    #[error("the PCR selection has a bitmap of {0} bytes; a PC Client TPM's has 3")]
    BitmapSize(u8),
    /// A PCR that does not exist.
    #[error("PCR {0} does not exist; 0 to 23 do")]
    NoSuchPcr(u8),
}

impl From<Short> for SelectionError {
    fn from(Short { needed, left }: Short) -> Self {
        Self::Truncated { needed, left }
    }
}

/// Which PCRs of which banks, in an order that matters: a quote's digest is taken in it.
#[derive(Clone, Copy)]
pub struct PcrSelection {
    banks: [(HashAlg, u32); MAX_BANKS],
    count: usize,
}

impl PcrSelection {
    /// Nothing selected.
    pub const EMPTY: Self = Self {
        banks: [(HashAlg::Sha1, 0); MAX_BANKS],
        count: 0,
    };

    /// A selection of one bank.
    ///
    /// # Errors
    /// A PCR above 23.
    pub fn of(alg: HashAlg, pcrs: &[u8]) -> Result<Self, SelectionError> {
        Self::new(&[(alg, pcrs)])
    }

    /// A selection in canonical order, whatever order the banks are given in.
    ///
    /// # Errors
    /// A PCR above 23, a bank twice.
    pub fn new(banks: &[(HashAlg, &[u8])]) -> Result<Self, SelectionError> {
        let mut selection = Self::EMPTY;
        for (alg, pcrs) in banks {
            selection.push(*alg, mask(pcrs)?)?;
        }
        Ok(selection.canonical())
    }

    /// Parses a whole TPML_PCR_SELECTION, keeping its order.
    ///
    /// # Errors
    /// Anything but exactly a selection.
    pub fn parse(bytes: &[u8]) -> Result<Self, SelectionError> {
        let mut cursor = Cursor::new(bytes);
        let selection = Self::read(&mut cursor)?;
        match cursor.rest().len() {
            0 => Ok(selection),
            left => Err(SelectionError::Truncated { needed: 0, left }),
        }
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, SelectionError> {
        let count = cursor.u32_be()?;
        if usize::try_from(count).map_or(true, |count| count > MAX_BANKS) {
            return Err(SelectionError::TooManyBanks(count));
        }
        let mut selection = Self::EMPTY;
        for _ in 0..count {
            let (id, size) = (cursor.u16_be()?, cursor.u8()?);
            let alg = HashAlg::from_tpm_id(id).ok_or(SelectionError::UnknownBank(id))?;
            if size != BITMAP_BYTES {
                return Err(SelectionError::BitmapSize(size));
            }
            let [a, b, c] = cursor.array()?;
            selection.push(alg, u32::from_le_bytes([a, b, c, 0]))?;
        }
        Ok(selection)
    }

    fn push(&mut self, alg: HashAlg, mask: u32) -> Result<(), SelectionError> {
        if self.mask(alg).is_some() {
            return Err(SelectionError::Twice(alg));
        }
        let slot = self
            .banks
            .get_mut(self.count)
            .ok_or(SelectionError::TooManyBanks(5))?;
        *slot = (alg, mask);
        self.count += 1;
        Ok(())
    }

    /// As the TPM takes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = u32::try_from(self.count)
            .unwrap_or(u32::MAX)
            .to_be_bytes()
            .to_vec();
        for (alg, mask) in self.banks() {
            let [a, b, c, _] = mask.to_le_bytes();
            bytes.extend_from_slice(&alg.tpm_id().to_be_bytes());
            bytes.extend_from_slice(&[BITMAP_BYTES, a, b, c]);
        }
        bytes
    }

    /// The banks in order, each with its bitmap (bit n is PCR n).
    pub fn banks(&self) -> impl Iterator<Item = (HashAlg, u32)> + '_ {
        self.banks.iter().copied().take(self.count)
    }

    /// One bank's bitmap, if the bank is named.
    #[must_use]
    pub fn mask(&self, alg: HashAlg) -> Option<u32> {
        self.banks().find(|(bank, _)| *bank == alg).map(|(_, mask)| mask)
    }

    /// Every selected PCR, in the order a quote's digest is taken in.
    pub fn pcrs(&self) -> impl Iterator<Item = (HashAlg, u8)> + '_ {
        self.banks().flat_map(|(alg, mask)| {
            (0..24_u8)
                .filter(move |pcr| mask & (1 << pcr) != 0)
                .map(move |pcr| (alg, pcr))
        })
    }

    /// Whether a PCR of a bank is selected.
    #[must_use]
    pub fn contains(&self, alg: HashAlg, pcr: u8) -> bool {
        pcr < 24 && self.mask(alg).is_some_and(|mask| mask & (1 << pcr) != 0)
    }

    /// Number of selected PCRs over all banks.
    #[must_use]
    pub fn pcr_count(&self) -> usize {
        self.banks().map(|(_, mask)| ones(mask)).sum()
    }

    /// The same with its banks ordered by algorithm, weakest first.
    #[must_use]
    pub fn canonical(mut self) -> Self {
        if let Some(used) = self.banks.get_mut(..self.count) {
            used.sort_unstable();
        }
        self
    }
}

/// Number of selected PCRs in a bitmap; a count of bits fits any usize.
const fn ones(mask: u32) -> usize {
    mask.count_ones() as usize
}

fn mask(pcrs: &[u8]) -> Result<u32, SelectionError> {
    pcrs.iter().try_fold(0, |mask, pcr| match pcr {
        0..=23 => Ok(mask | (1 << pcr)),
        _ => Err(SelectionError::NoSuchPcr(*pcr)),
    })
}

impl PartialEq for PcrSelection {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.banks().eq(other.banks())
    }
}

impl Eq for PcrSelection {}

impl fmt::Debug for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PcrSelection({self})")
    }
}

/// As tpm2-tools write it: `sha256:0,1,2+sha384:0`.
impl fmt::Display for PcrSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (alg, mask)) in self.banks().enumerate() {
            let pcrs: Vec<String> = (0..24_u8)
                .filter(|pcr| mask & (1 << pcr) != 0)
                .map(|pcr| pcr.to_string())
                .collect();
            let plus = if at == 0 { "" } else { "+" };
            write!(f, "{plus}{}:{}", alg.name(), pcrs.join(","))?;
        }
        Ok(())
    }
}

/// PCR values with the selection they belong to: one value for each selected PCR, of its bank's algorithm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PcrValues {
    selection: PcrSelection,
    values: Vec<Digest>,
}

/// Values that do not fit their selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PcrValuesError {
    /// Another number of values than of selected PCRs.
    #[error("{found} PCR values for {selected} selected PCRs")]
    Count {
        /// Values there are.
        found: usize,
        /// PCRs selected.
        selected: usize,
    },
    /// A value of another algorithm than its bank's.
    #[error("the value of {bank} PCR {pcr} is a {} digest", value.name())]
    Algorithm {
        /// The bank.
        bank: HashAlg,
        /// The PCR.
        pcr: u8,
        /// The value's algorithm.
        value: HashAlg,
    },
}

impl PcrValues {
    /// No PCRs, no values.
    pub(crate) const EMPTY: Self = Self {
        selection: PcrSelection::EMPTY,
        values: Vec::new(),
    };

    /// Values in the order of [`PcrSelection::pcrs`].
    ///
    /// # Errors
    /// Another number of values, or one of another algorithm.
    pub fn new(selection: PcrSelection, values: Vec<Digest>) -> Result<Self, PcrValuesError> {
        let selected = selection.pcr_count();
        if values.len() != selected {
            return Err(PcrValuesError::Count {
                found: values.len(),
                selected,
            });
        }
        for ((bank, pcr), value) in selection.pcrs().zip(&values) {
            if value.alg() != bank {
                return Err(PcrValuesError::Algorithm {
                    bank,
                    pcr,
                    value: value.alg(),
                });
            }
        }
        Ok(Self { selection, values })
    }

    /// The selection.
    #[must_use]
    pub const fn selection(&self) -> &PcrSelection {
        &self.selection
    }

    /// Every value with its bank and PCR, in the selection's order.
    pub fn iter(&self) -> impl Iterator<Item = (HashAlg, u8, &Digest)> + '_ {
        self.selection
            .pcrs()
            .zip(&self.values)
            .map(|((alg, pcr), value)| (alg, pcr, value))
    }

    /// One PCR's value, if it is selected.
    #[must_use]
    pub fn value(&self, alg: HashAlg, pcr: u8) -> Option<&Digest> {
        let mut before = 0;
        for (bank, mask) in self.selection.banks() {
            if bank == alg {
                let bit = 1_u32.checked_shl(u32::from(pcr)).filter(|bit| mask & bit != 0)?;
                return self.values.get(before + ones(mask & (bit - 1)));
            }
            before += ones(mask);
        }
        None
    }

    /// The digest a quote holds of them: over all values in the selection's order.
    #[must_use]
    pub fn digest(&self, alg: HashAlg) -> Digest {
        let mut hasher = alg.hasher();
        for value in &self.values {
            hasher.update(value.as_bytes());
        }
        hasher.finish()
    }
}
