use super::Template;
use alcub3_crypto::HashAlg;
use thiserror::Error;

/// Where in a list something was found: the entry's number (the first is 0) and its offset, in bytes of the binary form or in
/// lines of the ascii form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the entry, counted from 0.
    pub entry: usize,
    /// Offset of the entry's first byte in the binary form; the line's number in the ascii form, counted from 1.
    pub offset: usize,
}

impl core::fmt::Display for Position {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "IMA entry {} at {}", self.entry, self.offset)
    }
}

/// Why bytes are not a measurement list that can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ImaError {
    /// More bytes than any kernel keeps.
    #[error("the IMA list has {length} bytes, more than the {limit} accepted; hand in one machine's list")]
    TooLong {
        /// Bytes handed in.
        length: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// The list ends within an entry.
    #[error(
        "{at}: the list ends inside the {field} ({needed} bytes needed, {left} left); it was cut, copy it again whole"
    )]
    Truncated {
        /// The entry.
        at: Position,
        /// The part that could not be read.
        field: &'static str,
        /// Bytes it needs.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// A length that no kernel writes.
    #[error(
        "{at}: the {field} is said to have {length} bytes, more than the {most} accepted; the list is damaged"
    )]
    Length {
        /// The entry.
        at: Position,
        /// The part.
        field: &'static str,
        /// Its length.
        length: usize,
        /// The most accepted.
        most: usize,
    },
    /// A PCR number no PC Client TPM has.
    #[error("{at}: PCR {pcr} does not exist (0 to 23 do); the bytes are not an IMA list")]
    Pcr {
        /// The entry.
        at: Position,
        /// The number found.
        pcr: u32,
    },
    /// A template that is not one of the kernel's.
    #[error("{at}: the template '{name}' is not known; what such an entry says cannot be judged")]
    Template {
        /// The entry.
        at: Position,
        /// Its name.
        name: String,
    },
    /// The fields are not those of the template.
    #[error("{at}: its data is not that of an entry of {}; the list is damaged", template.name())]
    Fields {
        /// The entry.
        at: Position,
        /// The template.
        template: Template,
    },
    /// Template hashes of another algorithm than the one named.
    #[error(
        "{at}: the template hash has {length} bytes, and one of {hash} has {}; read the kernel's file of one bank \
         (…_measurements_sha256) with that bank's algorithm",
        hash.size()
    )]
    HashLength {
        /// The entry, with the line's number.
        at: Position,
        /// Bytes found.
        length: usize,
        /// The algorithm named.
        hash: HashAlg,
    },
    /// A line of the ascii form that is none.
    #[error("{at}: the line's {field} cannot be read; copy the list again, whole and unedited")]
    Line {
        /// The entry, with the line's number.
        at: Position,
        /// What cannot be read.
        field: &'static str,
    },
}
