//! What accepts the one form alone.

use super::{DecodeError, Fault, Fields};
use alcub3_crypto::{Digest, HashAlg};

/// Reads deterministic CBOR, strictly, borrowing from the input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    decoder: minicbor::Decoder<'a>,
    structure: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of a structure that errors will name.
    pub fn new(structure: &'static str, input: &'a [u8]) -> Self {
        Self {
            decoder: minicbor::Decoder::new(input),
            structure,
        }
    }

    /// An error at the current place.
    pub fn fault(&self, field: &'static str, fault: Fault) -> DecodeError {
        DecodeError {
            structure: self.structure,
            field,
            offset: self.offset(),
            fault,
        }
    }

    /// Where the reader is, in bytes.
    pub fn offset(&self) -> usize {
        self.decoder.position()
    }

    /// The bytes from an earlier [`Self::offset`] to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.decoder.input().get(start..self.offset()).unwrap_or_default()
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.offset() >= self.decoder.input().len()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Fault::Trailing`] where bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.decoder.input().len().saturating_sub(self.offset()) {
            0 => Ok(()),
            left => Err(self.fault("end", Fault::Trailing(left))),
        }
    }

    /// Starts a structure: its domain and version must be the expected ones.
    ///
    /// # Errors
    /// [`Fault::Domain`] or [`Fault::UnknownVersion`], or a fault of the encoding.
    pub fn structure(&mut self, domain: &str, version: u64) -> Result<Fields, DecodeError> {
        let mut fields = Fields::open(self)?;
        fields.key(self, 0, "domain")?;
        if self.text("domain")? != domain {
            return Err(self.fault("domain", Fault::Domain));
        }
        fields.key(self, 1, "version")?;
        let found = self.u64("version")?;
        if found != version {
            return Err(self.fault("version", Fault::UnknownVersion(found)));
        }
        Ok(fields)
    }

    /// An unsigned number.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding; so for all readers of single values below.
    #[inline]
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.read(field, |d| d.u64(), |value| head_length(*value))
    }

    /// An unsigned number of 32 bits.
    ///
    /// # Errors
    /// [`Fault::Value`] where it does not fit.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let value = self.u64(field)?;
        u32::try_from(value).map_err(|_| self.fault(field, Fault::Value))
    }

    /// An unsigned number of 16 bits.
    ///
    /// # Errors
    /// [`Fault::Value`] where it does not fit.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        let value = self.u64(field)?;
        u16::try_from(value).map_err(|_| self.fault(field, Fault::Value))
    }

    /// An unsigned number of 8 bits.
    ///
    /// # Errors
    /// [`Fault::Value`] where it does not fit.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let value = self.u64(field)?;
        u8::try_from(value).map_err(|_| self.fault(field, Fault::Value))
    }

    /// A small number that stands for a value.
    ///
    /// # Errors
    /// [`Fault::Value`] where it stands for none.
    #[inline]
    pub fn id_of<T>(
        &mut self,
        field: &'static str,
        from: impl Fn(u8) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let id = self.u8(field)?;
        from(id).ok_or_else(|| self.fault(field, Fault::Value))
    }

    /// A signed number.
    ///
    /// # Errors
    /// [`Fault::Value`] where it does not fit.
    pub fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.read(
            field,
            |d| d.i64(),
            |value| {
                head_length(if *value < 0 {
                    value.unsigned_abs() - 1
                } else {
                    value.unsigned_abs()
                })
            },
        )
    }

    /// A truth value.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        self.read(field, |d| d.bool(), |_| 1)
    }

    /// A byte string.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding.
    #[inline]
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        self.read(field, |d| d.bytes(), |bytes| sized_length(bytes.len()))
    }

    /// A byte string of one length.
    ///
    /// # Errors
    /// [`Fault::Value`] for any other length.
    #[inline]
    pub fn bytes_of<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], DecodeError> {
        let bytes = self.bytes(field)?;
        bytes.try_into().map_err(|_| self.fault(field, Fault::Value))
    }

    /// A text.
    ///
    /// # Errors
    /// [`Fault::Utf8`], or a [`Fault`] of type or encoding.
    #[inline]
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        self.read(field, |d| d.str(), |text| sized_length(text.len()))
    }

    /// A digest of an approved algorithm.
    ///
    /// # Errors
    /// [`Fault::Value`] for an unknown or unapproved algorithm, or a length that is not its own.
    pub fn digest(&mut self, field: &'static str) -> Result<Digest, DecodeError> {
        self.array_of(field, 2)?;
        let alg = HashAlg::from_tpm_id(self.u16(field)?).filter(|alg| alg.is_approved());
        let bytes = self.bytes(field)?;
        alg.and_then(|alg| Digest::from_slice(alg, bytes))
            .ok_or_else(|| self.fault(field, Fault::Value))
    }

    /// The head of an array of at most `most` values; gives their number.
    ///
    /// # Errors
    /// [`Fault::TooLong`], or a [`Fault`] of type or encoding.
    pub fn array(&mut self, field: &'static str, most: usize) -> Result<usize, DecodeError> {
        let count = self.read(field, |d| d.array(), |count| count.map_or(0, head_length))?;
        self.counted(field, count, most)
    }

    /// The head of an array of exactly `length` values.
    ///
    /// # Errors
    /// [`Fault::Value`] for another length.
    pub fn array_of(&mut self, field: &'static str, length: usize) -> Result<(), DecodeError> {
        match self.array(field, length)? {
            found if found == length => Ok(()),
            _ => Err(self.fault(field, Fault::Value)),
        }
    }

    /// The head of a map of at most `most` pairs; gives their number. The caller checks the order of its keys.
    ///
    /// # Errors
    /// [`Fault::TooLong`], or a [`Fault`] of type or encoding.
    pub fn map(&mut self, field: &'static str, most: usize) -> Result<usize, DecodeError> {
        let count = self.read(field, |d| d.map(), |count| count.map_or(0, head_length))?;
        self.counted(field, count, most)
    }

    /// Accepts a CBOR tag of exactly this number.
    ///
    /// # Errors
    /// [`Fault::Type`] for anything else.
    pub fn tag(&mut self, field: &'static str, number: u64) -> Result<(), DecodeError> {
        let found = self.read(field, |d| d.tag(), |tag| head_length(tag.as_u64()))?;
        if found.as_u64() == number {
            Ok(())
        } else {
            Err(self.fault(field, Fault::Type))
        }
    }

    /// The major type of the next value, without taking it.
    pub fn peek_major(&self) -> Option<u8> {
        self.decoder.input().get(self.offset()).map(|byte| byte >> 5)
    }

    fn counted(&self, field: &'static str, count: Option<u64>, most: usize) -> Result<usize, DecodeError> {
        match count.map(usize::try_from) {
            Some(Ok(count)) if count <= most => Ok(count),
            Some(_) => Err(self.fault(field, Fault::TooLong)),
            None => Err(self.fault(field, Fault::NotCanonical)),
        }
    }

    /// Reads one value and checks that it stood in as few bytes as it can (RFC 8949 §4.2.1).
    #[inline]
    fn read<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut minicbor::Decoder<'a>) -> Result<T, minicbor::decode::Error>,
        shortest: impl FnOnce(&T) -> usize,
    ) -> Result<T, DecodeError> {
        let start = self.offset();
        match read(&mut self.decoder) {
            Ok(value) if self.offset() - start == shortest(&value) => Ok(value),
            Ok(_) => Err(self.fault_at(start, field, Fault::NotCanonical)),
            Err(error) => Err(self.fault_at(start, field, fault_of(&error))),
        }
    }

    #[cold]
    fn fault_at(&mut self, start: usize, field: &'static str, fault: Fault) -> DecodeError {
        self.decoder.set_position(start);
        self.fault(field, fault)
    }
}

fn fault_of(error: &minicbor::decode::Error) -> Fault {
    if error.is_end_of_input() {
        Fault::Truncated
    } else if error.is_type_mismatch() {
        Fault::Type
    } else if std::error::Error::source(error).is_some_and(|source| source.is::<std::str::Utf8Error>()) {
        Fault::Utf8
    } else {
        Fault::NotCanonical
    }
}

/// Bytes of the shortest head that carries `value`.
#[inline]
const fn head_length(value: u64) -> usize {
    match value {
        0..=23 => 1,
        24..=0xFF => 2,
        0x100..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

#[inline]
const fn sized_length(length: usize) -> usize {
    head_length(length as u64) + length
}
