//! TPMS_ATTEST: what a TPM signs (TPM 2.0 Library Part 2, §10.12), parsed exactly.
//!
//! Parsing proves nothing: see [`crate::quote`] and [`crate::certify`] for the types that verification makes.

use crate::cursor::{Cursor, Short};
use crate::pcr::{PcrSelection, SelectionError};
use thiserror::Error;

/// `TPM_GENERATED_VALUE`: the first field of everything that a TPM made itself.
pub const GENERATED: u32 = 0xff54_4347;

/// Longest TPM2B_NAME and TPM2B_DATA: an algorithm identifier and a SHA-512 digest.
const MAX_NAME_BYTES: usize = 66;
const MAX_DIGEST_BYTES: usize = 64;
/// Longest TPM2B_MAX_NV_BUFFER of any chip.
const MAX_NV_BYTES: usize = 2048;

/// Why bytes are not a TPMS_ATTEST.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AttestError {
    /// The bytes end within a field.
    #[error("the attestation ends inside its {field} ({needed} bytes needed, {left} left); it was cut")]
    Truncated {
        /// The field.
        field: &'static str,
        /// Bytes needed.
        needed: usize,
        /// Bytes there are.
        left: usize,
    },
    /// The first field is not the TPM's mark: no TPM made this structure.
    #[error("the attestation begins with {0:#010x} instead of {GENERATED:#010x}: no TPM made it")]
    Magic(u32),
    /// A type that is not known.
    #[error("the attestation has the unknown type {0:#06x}")]
    Type(u16),
    /// A field is longer than its type allows.
    #[error("the attestation's {field} has {length} bytes, more than the {limit} possible")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length.
        length: usize,
        /// What is possible.
        limit: usize,
    },
    /// A TPMI_YES_NO that is neither.
    #[error("the attestation's {field} is {value}, neither yes (1) nor no (0)")]
    YesNo {
        /// The field.
        field: &'static str,
        /// The value.
        value: u8,
    },
    /// The PCR selection is malformed.
    #[error("the quote's PCR selection is not usable")]
    Selection(#[source] SelectionError),
    /// Bytes follow the structure.
    #[error("{0} bytes follow the attestation; nothing may")]
    Trailing(usize),
}

/// A TPM's clock at the time of signing (TPMS_CLOCK_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockInfo {
    /// Milliseconds that the TPM was powered, over its life.
    pub clock_ms: u64,
    /// Number of TPM Resets.
    pub reset_count: u32,
    /// Number of restarts and resumes since the last reset.
    pub restart_count: u32,
    /// Whether no larger clock value was reported before: NO for a while after a power cut.
    pub safe: bool,
}

impl ClockInfo {
    /// Whether this is of an earlier boot than another, or of the same one and earlier.
    #[must_use]
    pub const fn is_before(&self, other: &Self) -> bool {
        let same_boot = self.reset_count == other.reset_count;
        self.reset_count < other.reset_count || (same_boot && self.clock_ms < other.clock_ms)
    }
}

/// What a quote states (TPMS_QUOTE_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteInfo<'a> {
    /// Which PCRs.
    pub selection: PcrSelection,
    /// Digest over their values, by the signing scheme's hash.
    pub digest: &'a [u8],
}

/// The part of an attestation that depends on its type. Names and digests are as the TPM wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attested<'a> {
    /// TPM2_Quote.
    Quote(QuoteInfo<'a>),
    /// TPM2_Certify.
    Certify {
        /// Name of the certified object.
        name: &'a [u8],
        /// Its qualified name.
        qualified_name: &'a [u8],
    },
    /// TPM2_CertifyCreation.
    Creation {
        /// Name of the created object.
        name: &'a [u8],
        /// Digest of its creation data.
        creation_hash: &'a [u8],
    },
    /// TPM2_NV_Certify.
    Nv {
        /// Name of the index.
        index_name: &'a [u8],
        /// Where in the index the contents begin, in bytes.
        offset: u16,
        /// The contents read.
        contents: &'a [u8],
    },
    /// TPM2_NV_Certify of a digest of the contents.
    NvDigest {
        /// Name of the index.
        index_name: &'a [u8],
        /// Digest of its contents.
        digest: &'a [u8],
    },
    /// TPM2_GetTime.
    Time {
        /// Milliseconds since the TPM was last powered.
        time_ms: u64,
        /// The clock again.
        clock: ClockInfo,
        /// The firmware's version again.
        firmware_version: u64,
    },
    /// TPM2_GetSessionAuditDigest.
    SessionAudit {
        /// Whether the session was exclusive.
        exclusive: bool,
        /// Its digest.
        digest: &'a [u8],
    },
    /// TPM2_GetCommandAuditDigest.
    CommandAudit {
        /// The audit counter.
        counter: u64,
        /// TCG identifier of the digests' algorithm.
        algorithm: u16,
        /// Digest of the audited commands.
        audit_digest: &'a [u8],
        /// Digest of the set of audited command codes.
        command_digest: &'a [u8],
    },
}

/// A parsed TPMS_ATTEST that borrows its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attest<'a> {
    /// Qualified name of the signing key.
    pub qualified_signer: &'a [u8],
    /// The caller's data, as a nonce.
    pub extra_data: &'a [u8],
    /// The TPM's clock.
    pub clock: ClockInfo,
    /// Vendor-specific firmware version.
    pub firmware_version: u64,
    /// The part that depends on the type.
    pub attested: Attested<'a>,
}

impl<'a> Attest<'a> {
    /// Parses a whole TPMS_ATTEST, without the size of a TPM2B_ATTEST before it.
    ///
    /// # Errors
    /// Anything but exactly one such structure.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, AttestError> {
        let mut reader = Fields(Cursor::new(bytes));
        let magic = reader.get("magic", Cursor::u32_be)?;
        if magic != GENERATED {
            return Err(AttestError::Magic(magic));
        }
        let kind = reader.get("type", Cursor::u16_be)?;
        let attest = Self {
            qualified_signer: reader.sized("signer's name", MAX_NAME_BYTES)?,
            extra_data: reader.sized("extra data", MAX_NAME_BYTES)?,
            clock: reader.clock()?,
            firmware_version: reader.get("firmware version", Cursor::u64_be)?,
            attested: reader.attested(kind)?,
        };
        match reader.0.rest().len() {
            0 => Ok(attest),
            left => Err(AttestError::Trailing(left)),
        }
    }
}

struct Fields<'a>(Cursor<'a>);

impl<'a> Fields<'a> {
    fn get<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Short>,
    ) -> Result<T, AttestError> {
        read(&mut self.0).map_err(|Short { needed, left }| AttestError::Truncated { field, needed, left })
    }

    fn sized(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], AttestError> {
        let bytes = self.get(field, Cursor::tpm2b)?;
        if bytes.len() > limit {
            return Err(AttestError::TooLong {
                field,
                length: bytes.len(),
                limit,
            });
        }
        Ok(bytes)
    }

    fn yes_no(&mut self, field: &'static str) -> Result<bool, AttestError> {
        match self.get(field, Cursor::u8)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(AttestError::YesNo { field, value }),
        }
    }

    fn clock(&mut self) -> Result<ClockInfo, AttestError> {
        Ok(ClockInfo {
            clock_ms: self.get("clock", Cursor::u64_be)?,
            reset_count: self.get("reset count", Cursor::u32_be)?,
            restart_count: self.get("restart count", Cursor::u32_be)?,
            safe: self.yes_no("clock's safe flag")?,
        })
    }

    fn attested(&mut self, kind: u16) -> Result<Attested<'a>, AttestError> {
        match kind {
            0x8014 => Ok(Attested::Nv {
                index_name: self.sized("index name", MAX_NAME_BYTES)?,
                offset: self.get("offset", Cursor::u16_be)?,
                contents: self.sized("contents", MAX_NV_BYTES)?,
            }),
            0x8015 => Ok(Attested::CommandAudit {
                counter: self.get("audit counter", Cursor::u64_be)?,
                algorithm: self.get("digest algorithm", Cursor::u16_be)?,
                audit_digest: self.sized("audit digest", MAX_DIGEST_BYTES)?,
                command_digest: self.sized("command digest", MAX_DIGEST_BYTES)?,
            }),
            0x8016 => Ok(Attested::SessionAudit {
                exclusive: self.yes_no("exclusive flag")?,
                digest: self.sized("session digest", MAX_DIGEST_BYTES)?,
            }),
            0x8017 => Ok(Attested::Certify {
                name: self.sized("object name", MAX_NAME_BYTES)?,
                qualified_name: self.sized("qualified name", MAX_NAME_BYTES)?,
            }),
            0x8018 => Ok(Attested::Quote(QuoteInfo {
                selection: PcrSelection::read(&mut self.0).map_err(AttestError::Selection)?,
                digest: self.sized("PCR digest", MAX_DIGEST_BYTES)?,
            })),
            0x8019 => Ok(Attested::Time {
                time_ms: self.get("time", Cursor::u64_be)?,
                clock: self.clock()?,
                firmware_version: self.get("firmware version", Cursor::u64_be)?,
            }),
            0x801a => Ok(Attested::Creation {
                name: self.sized("object name", MAX_NAME_BYTES)?,
                creation_hash: self.sized("creation hash", MAX_DIGEST_BYTES)?,
            }),
            0x801c => Ok(Attested::NvDigest {
                index_name: self.sized("index name", MAX_NAME_BYTES)?,
                digest: self.sized("contents digest", MAX_DIGEST_BYTES)?,
            }),
            unknown => Err(AttestError::Type(unknown)),
        }
    }
}
