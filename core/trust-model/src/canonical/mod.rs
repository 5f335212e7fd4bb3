//! Deterministic CBOR (RFC 8949 §4.2.1), the encoding of every signed or hashed structure (DESIGN §5).
//!
//! `minicbor` encodes and decodes; this module holds it to one form. The reader accepts exactly what the encoder
//! can write: shortest heads, definite lengths, ascending keys, no
//! tags, no floats, nothing after the end. It borrows from its input and allocates nothing, so that it can stand
//! on the path of a command's verdict. A *structure* is a map with small unsigned keys; key 0 is its domain
//! string, key 1 its version, and a key that its reader does not know is an error that says which.

mod encoder;
mod fields;
mod reader;

pub use encoder::Encoder;
pub use fields::Fields;
pub use reader::Reader;

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
