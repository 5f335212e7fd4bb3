//! Reference values as a CoRIM (draft-ietf-rats-corim-11): read from a vendor, or written for another verifier.
//!
//! What is read is the part that fits [`ReferenceValues`]: CoMID reference triples of one environment, whose measurements are
//! TPM PCRs (`integrity-registers`, or `digests` under the PCR's number) and files (`digests` under a path). Whatever would change
//! what these mean and is not understood refuses the whole document: another kind of tag or measurement, a profile, a dependency.
//!
//! The three most important items: [`read`], [`Corim`], [`write`].

mod envelope;
mod read;
mod write;

pub use read::read;
pub use write::{Naming, inexpressible, write};

use crate::appraisal::{ReferenceError, ReferenceValues};
use crate::cbor::CborError;
use alcub3_crypto::{CryptoError, HashAlg, VerifyingKey};
use thiserror::Error;

/// Longest document accepted, in bytes.
pub const MAX_CORIM_BYTES: usize = 16 << 20;

/// `tagged-unsigned-corim-map`.
const UNSIGNED_TAG: u64 = 501;
/// Around every CoRIM, by drafts before 05.
const EARLIER_TAG: u64 = 500;
/// COSE_Sign1 (RFC 9052).
const SIGNED_TAG: u64 = 18;
/// `tagged-concise-mid-tag`.
const COMID_TAG: u64 = 506;

/// How a document is to be read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Whose signature it must have; without a key only an unsigned one is read.
    pub signer: Option<&'a VerifyingKey>,
    /// The bank to take where the PCRs' digests are of several.
    pub bank: Option<HashAlg>,
    /// The time, UTC in seconds since 1970.
    pub now_s: i64,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corim {
    /// The reference values.
    pub references: ReferenceValues,
    /// Its identifier: a text, or a UUID in hexadecimal.
    pub id: String,
    /// What the values are of.
    pub environment: Environment,
    /// Who it says signed it; `None` where it is not signed.
    pub signer: Option<String>,
    /// What it says besides and nothing is made of.
    pub ignored: Vec<&'static str>,
}

/// A class of machines (`class-map`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The class identifier in hexadecimal.
    pub class_id: Option<String>,
    /// The vendor.
    pub vendor: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The layer.
    pub layer: Option<i64>,
    /// The index.
    pub index: Option<i64>,
}

/// Why a document was refused.
#[derive(Debug, Error)]
pub enum CorimError {
    /// Too long.
    #[error("the CoRIM has {0} bytes; at most {MAX_CORIM_BYTES} are read")]
    TooLong(usize),
    /// Malformed.
    #[error("the CoRIM: {what}")]
    Cbor {
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        source: CborError,
    },
    /// Another tag.
    #[error("it begins with the tag {0}; a CoRIM begins with 501, or with 18 where it is signed")]
    Tag(u64),
    /// Signed, and nobody to verify it by.
    #[error("the CoRIM is signed: name the key of its signer, or its reference values are anybody's")]
    Signed,
    /// A signature is asked for.
    #[error("the CoRIM is not signed, and the key of a signer was named")]
    Unsigned,
    /// The envelope.
    #[error("the CoRIM's signature: {0}")]
    Envelope(String),
    /// Signature.
    #[error("the CoRIM is not signed by the key that was named")]
    Signature(#[source] CryptoError),
    /// Time.
    #[error("the {what} holds from {from} to {until} (seconds since 1970, UTC), and it is {now}: get a newer one", from = shown(.from_s), until = shown(.until_s))]
    Time {
        /// Of what.
        what: &'static str,
        /// From.
        from_s: Option<i64>,
        /// To.
        until_s: Option<i64>,
        /// Now.
        now: i64,
    },
    /// A part that is missing.
    #[error("the CoRIM lacks {0}")]
    Missing(&'static str),
    /// A part that is not understood.
    #[error(
        "the CoRIM has {what}, which is not understood here, and without it the rest may mean something else"
    )]
    Unknown {
        /// The part.
        what: String,
    },
    /// Several environments.
    #[error(
        "the CoRIM has reference values of several environments, or of one machine only; one class of machines can be read"
    )]
    Environments,
    /// A digest.
    #[error("{of}: {what}")]
    Digest {
        /// The PCR or file, for people.
        of: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Several banks.
    #[error("its PCRs have digests of {0}: name the bank that robots are judged in")]
    Banks(String),
    /// Values that only hold together.
    #[error(
        "PCR {0} has another value in a second group of registers: values that hold only together cannot be kept apart here; \
         have each alternative stand alone"
    )]
    Together(u8),
    /// What the values are of.
    #[error(transparent)]
    References(#[from] ReferenceError),
    /// What the form cannot say.
    #[error("a CoRIM cannot say: {}", .0.join("; "))]
    Inexpressible(Vec<String>),
    /// A part could not be written.
    #[error("the CoRIM could not be written")]
    Write,
}

fn shown(at: &Option<i64>) -> String {
    at.map_or_else(|| "ever".to_owned(), |at| at.to_string())
}

/// A hash by its number in the IANA registry of Named Information, which CoRIM's digests use.
const ALGORITHMS: [(i64, &str, HashAlg); 3] = [
    (1, "sha-256", HashAlg::Sha256),
    (7, "sha-384", HashAlg::Sha384),
    (8, "sha-512", HashAlg::Sha512),
];
