//! Deterministic CBOR (RFC 8949 §4.2.1), the encoding of every signed or hashed structure (DESIGN §5).
//!
//! The reader accepts exactly what the encoder can write: shortest heads, definite lengths, ascending keys, no
//! tags, no floats, nothing after the end. It borrows from its input and allocates nothing, so that it can stand
//! on the path of a command's verdict. A *structure* is a map with small unsigned keys; key 0 is its domain
//! string, key 1 its version, and a key that its reader does not know is an error that says which.

use alcub3_crypto::{Digest, HashAlg};

/// What is wrong with the bytes.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum Fault {
    /// The input ends inside the value.
    #[error("the input ends inside it")]
    Truncated,
    /// Another type of value was expected.
    #[error("it has the wrong type")]
    Type,
    /// A length or number is not in its shortest form, or a length is indefinite.
    #[error("it is not in canonical form")]
    NotCanonical,
    /// More elements or bytes than the field may have.
    #[error("it is longer than allowed")]
    TooLong,
    /// The elements are not in ascending order, or one is repeated.
    #[error("its elements are out of order or repeated")]
    Order,
    /// The value is not one of those allowed.
    #[error("its value is not allowed")]
    Value,
    /// A text is not UTF-8.
    #[error("it is not UTF-8")]
    Utf8,
    /// The structure lacks the field.
    #[error("it is missing")]
    Missing,
    /// The structure has a field of this key, which this version does not know.
    #[error("field {0} is unknown")]
    UnknownField(u64),
    /// The structure is of another domain.
    #[error("the domain string is another")]
    Domain,
    /// The structure is of this version, which is unknown.
    #[error("version {0} is unknown")]
    UnknownVersion(u64),
    /// Bytes follow the structure's end.
    #[error("{0} bytes follow its end")]
    Trailing(usize),
}

/// A structure was refused: which, where and why.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("{structure}: {field} at byte {offset}: {fault}")]
pub struct DecodeError {
    /// The structure's domain or name.
    pub structure: &'static str,
    /// The field.
    pub field: &'static str,
    /// Where in the input, in bytes.
    pub offset: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// Writes deterministic CBOR.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// An empty encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a structure with `fields` fields beside domain and version.
    pub fn structure(domain: &str, version: u64, fields: usize) -> Self {
        let mut out = Self::new();
        out.map(fields.saturating_add(2))
            .u64(0)
            .text(domain)
            .u64(1)
            .u64(version);
        out
    }

    /// The bytes written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// An unsigned number; also a key.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.head(0, value)
    }

    /// A signed number.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        match u64::try_from(value) {
            Ok(value) => self.head(0, value),
            Err(_) => self.head(1, value.unsigned_abs().saturating_sub(1)),
        }
    }

    /// A byte string.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.length(2, value.len());
        self.bytes.extend_from_slice(value);
        self
    }

    /// A text.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.length(3, value.len());
        self.bytes.extend_from_slice(value.as_bytes());
        self
    }

    /// The head of an array of `length` values, which follow.
    pub fn array(&mut self, length: usize) -> &mut Self {
        self.length(4, length)
    }

    /// The head of a map of `length` pairs, which follow with their keys ascending.
    pub fn map(&mut self, length: usize) -> &mut Self {
        self.length(5, length)
    }

    /// A digest, as an array of its algorithm's TPM identifier and its bytes.
    pub fn digest(&mut self, digest: &Digest) -> &mut Self {
        self.array(2)
            .u64(digest.alg().tpm_id().into())
            .bytes(digest.as_bytes())
    }

    /// A truth value.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.head(7, if value { 21 } else { 20 })
    }

    fn length(&mut self, major: u8, length: usize) -> &mut Self {
        self.head(major, u64::try_from(length).unwrap_or(u64::MAX))
    }

    fn head(&mut self, major: u8, value: u64) -> &mut Self {
        let major = major << 5;
        let wide = value.to_be_bytes();
        let [.., b4, b5, b6, b7] = wide;
        match value {
            0..=23 => self.bytes.push(major | b7),
            24..=0xFF => self.bytes.extend_from_slice(&[major | 24, b7]),
            0x100..=0xFFFF => self.bytes.extend_from_slice(&[major | 25, b6, b7]),
            0x1_0000..=0xFFFF_FFFF => self.bytes.extend_from_slice(&[major | 26, b4, b5, b6, b7]),
            _ => {
                self.bytes.push(major | 27);
                self.bytes.extend_from_slice(&wide);
            }
        }
        self
    }
}

/// Reads deterministic CBOR, strictly, borrowing from the input.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    structure: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader of a structure that errors will name.
    pub const fn new(structure: &'static str, input: &'a [u8]) -> Self {
        Self {
            input,
            offset: 0,
            structure,
        }
    }

    /// An error at the current place.
    pub const fn fault(&self, field: &'static str, fault: Fault) -> DecodeError {
        DecodeError {
            structure: self.structure,
            field,
            offset: self.offset,
            fault,
        }
    }

    /// Where the reader is, in bytes.
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// The bytes from an earlier [`Self::offset`] to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.input.get(start..self.offset).unwrap_or_default()
    }

    /// Whether nothing is left.
    pub const fn is_at_end(&self) -> bool {
        self.offset >= self.input.len()
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`Fault::Trailing`] where bytes are left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.input.len().saturating_sub(self.offset) {
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
        self.expect(field, 0)
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
        let (major, value) = self.head(field)?;
        let magnitude = i64::try_from(value).map_err(|_| self.fault(field, Fault::Value))?;
        match major {
            0 => Ok(magnitude),
            1 => Ok(-1 - magnitude),
            _ => Err(self.fault(field, Fault::Type)),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.head(field)? {
            (7, 20) => Ok(false),
            (7, 21) => Ok(true),
            _ => Err(self.fault(field, Fault::Type)),
        }
    }

    /// A byte string.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding.
    #[inline]
    pub fn bytes(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.expect(field, 2)?;
        self.take(field, length)
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
        let length = self.expect(field, 3)?;
        let bytes = self.take(field, length)?;
        std::str::from_utf8(bytes).map_err(|_| self.fault(field, Fault::Utf8))
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
        self.counted(field, 4, most)
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
        self.counted(field, 5, most)
    }

    /// Accepts a CBOR tag of exactly this number.
    ///
    /// # Errors
    /// [`Fault::Type`] for anything else.
    pub fn tag(&mut self, field: &'static str, number: u64) -> Result<(), DecodeError> {
        let found = self.expect(field, 6)?;
        if found == number {
            Ok(())
        } else {
            Err(self.fault(field, Fault::Type))
        }
    }

    /// The major type of the next value, without taking it.
    pub fn peek_major(&self) -> Option<u8> {
        self.input.get(self.offset).map(|byte| byte >> 5)
    }

    fn counted(&mut self, field: &'static str, major: u8, most: usize) -> Result<usize, DecodeError> {
        let count = self.expect(field, major)?;
        match usize::try_from(count) {
            Ok(count) if count <= most => Ok(count),
            _ => Err(self.fault(field, Fault::TooLong)),
        }
    }

    #[inline]
    fn expect(&mut self, field: &'static str, major: u8) -> Result<u64, DecodeError> {
        let start = self.offset;
        let (found, value) = self.head(field)?;
        if found == major {
            return Ok(value);
        }
        self.offset = start;
        Err(self.fault(field, Fault::Type))
    }

    #[inline]
    fn head(&mut self, field: &'static str) -> Result<(u8, u64), DecodeError> {
        let first = *self
            .input
            .get(self.offset)
            .ok_or_else(|| self.fault(field, Fault::Truncated))?;
        let (major, info) = (first >> 5, first & 0x1F);
        if info < 24 {
            self.offset += 1;
            return Ok((major, u64::from(info)));
        }
        self.long_head(field, major, info)
    }

    fn long_head(&mut self, field: &'static str, major: u8, info: u8) -> Result<(u8, u64), DecodeError> {
        let (width, least) = match info {
            24 => (1, 24),
            25 => (2, 0x100),
            26 => (4, 0x1_0000),
            27 => (8, 0x1_0000_0000),
            _ => return Err(self.fault(field, Fault::NotCanonical)),
        };
        let start = self.offset.saturating_add(1);
        let bytes = self.input.get(start..start.saturating_add(width));
        let bytes = bytes.ok_or_else(|| self.fault(field, Fault::Truncated))?;
        let value = bytes
            .iter()
            .fold(0u64, |value, byte| (value << 8) | u64::from(*byte));
        if value < least || major == 7 {
            return Err(self.fault(field, Fault::NotCanonical));
        }
        self.offset = start.saturating_add(width);
        Ok((major, value))
    }

    #[inline]
    fn take(&mut self, field: &'static str, length: u64) -> Result<&'a [u8], DecodeError> {
        let rest = self.input.get(self.offset..).unwrap_or_default();
        let length = usize::try_from(length).map_err(|_| self.fault(field, Fault::Truncated))?;
        let taken = rest
            .get(..length)
            .ok_or_else(|| self.fault(field, Fault::Truncated))?;
        self.offset += length;
        Ok(taken)
    }
}

/// The fields of a structure, read in ascending order of their keys.
#[derive(Debug)]
pub struct Fields {
    left: usize,
    pending: Option<u64>,
    last: Option<u64>,
}

/// More fields than any structure has.
const MAX_FIELDS: usize = 64;

impl Fields {
    /// Starts a map with unsigned keys that has no domain of its own: a part of a structure.
    ///
    /// # Errors
    /// A [`Fault`] of type or encoding.
    pub fn open(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let left = reader.map("fields", MAX_FIELDS)?;
        Ok(Self {
            left,
            pending: None,
            last: None,
        })
    }

    /// Moves to the field of this key; its value follows in the reader.
    ///
    /// # Errors
    /// [`Fault::Missing`] where the structure lacks it, [`Fault::UnknownField`] where an unknown one stands before.
    #[inline]
    pub fn key(&mut self, reader: &mut Reader<'_>, key: u64, field: &'static str) -> Result<(), DecodeError> {
        match self.next(reader, field)? {
            Some(found) if found == key => {
                self.pending = None;
                Ok(())
            }
            Some(found) if found < key => Err(reader.fault(field, Fault::UnknownField(found))),
            _ => Err(reader.fault(field, Fault::Missing)),
        }
    }

    /// Whether the field of this key is there; where it is, its value follows in the reader.
    ///
    /// # Errors
    /// [`Fault::UnknownField`] where an unknown one stands before.
    pub fn optional(
        &mut self,
        reader: &mut Reader<'_>,
        key: u64,
        field: &'static str,
    ) -> Result<bool, DecodeError> {
        match self.next(reader, field)? {
            Some(found) if found == key => {
                self.pending = None;
                Ok(true)
            }
            Some(found) if found < key => Err(reader.fault(field, Fault::UnknownField(found))),
            _ => Ok(false),
        }
    }

    /// Ends the structure.
    ///
    /// # Errors
    /// [`Fault::UnknownField`] where a field is left.
    pub fn finish(mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match self.next(reader, "fields")? {
            None => Ok(()),
            Some(found) => Err(reader.fault("fields", Fault::UnknownField(found))),
        }
    }

    #[inline]
    fn next(&mut self, reader: &mut Reader<'_>, field: &'static str) -> Result<Option<u64>, DecodeError> {
        if self.pending.is_none() && self.left > 0 {
            let key = reader.u64(field)?;
            if self.last.is_some_and(|last| last >= key) {
                return Err(reader.fault(field, Fault::Order));
            }
            self.left -= 1;
            self.last = Some(key);
            self.pending = Some(key);
        }
        Ok(self.pending)
    }
}
