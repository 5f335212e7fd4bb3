use thiserror::Error;

/// Where in a log something was found: the event's number (the first is 0) and its byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Number of the event, counted from 0 and including the Spec ID header.
    pub event: usize,
    /// Offset in bytes of the event's first byte.
    pub offset: usize,
}

impl core::fmt::Display for Position {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "event {} at offset {}", self.event, self.offset)
    }
}

/// Why a byte string is not an event log that can be replayed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventLogError {
    /// Nothing was handed in.
    #[error("the event log is empty; read the whole of binary_bios_measurements (root may be needed)")]
    Empty,
    /// More bytes than any firmware writes.
    #[error(
        "the event log has {length} bytes, more than the {limit} accepted; hand in one machine's binary log"
    )]
    TooLong {
        /// Bytes handed in.
        length: usize,
        /// Bytes accepted.
        limit: usize,
    },
    /// The log ends within an event.
    #[error(
        "{at}: the log ends inside the {field} ({needed} bytes needed, {left} left); it was cut, copy it again whole"
    )]
    Truncated {
        /// The event.
        at: Position,
        /// The field that could not be read.
        field: &'static str,
        /// Bytes the field needs.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// Only filler follows: the area the firmware reserved was copied, not the log.
    #[error(
        "{at}: only bytes {value:#04x} follow, which is filler and not an event; cut the file to {} bytes",
        at.offset
    )]
    Filler {
        /// Where the filler begins.
        at: Position,
        /// The repeated byte.
        value: u8,
    },
    /// A PCR number no PC Client TPM has.
    #[error("{at}: PCR {pcr} does not exist (0 to 23 do); the bytes are not a PC Client event log")]
    Pcr {
        /// The event.
        at: Position,
        /// The number found.
        pcr: u32,
    },
    /// The Spec ID header is malformed.
    #[error("{at}: the Spec ID header's {field} is {value}, {expected}; the log's header is damaged")]
    Header {
        /// The event (always the first).
        at: Position,
        /// The field.
        field: &'static str,
        /// The value found.
        value: u32,
        /// What would have been right.
        expected: &'static str,
    },
    /// An event carries another number of digests than the header announced.
    #[error(
        "{at}: {found} digests where the header announces {announced}; the log is damaged or not from one boot"
    )]
    DigestCount {
        /// The event.
        at: Position,
        /// Digests found.
        found: u32,
        /// Algorithms in the header.
        announced: usize,
    },
    /// A digest's algorithm was not announced, or comes twice.
    #[error(
        "{at}: a digest of algorithm {algorithm:#06x} is not announced in the header or comes twice; the log is damaged"
    )]
    DigestAlgorithm {
        /// The event.
        at: Position,
        /// The TCG algorithm identifier.
        algorithm: u16,
    },
    /// An H-CRTM event or startup locality comes after PCR 0 was extended, or is malformed.
    #[error("{at}: {what}; PCR 0 cannot be replayed, the log is damaged or was edited")]
    InitialValue {
        /// The event.
        at: Position,
        /// What is wrong.
        what: &'static str,
    },
}
