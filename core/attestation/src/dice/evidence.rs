//! What a DICE platform sends, and what its attestation key signs.
//!
//! Decoding is strict and borrows; it proves nothing.

use crate::evidence::Nonce;
use alcub3_crypto::Digest;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{RobotId, domain};

const VERSION: u64 = 1;
/// Longest chain: a manufacturer's three authorities and five layers.
const MAX_CERTIFICATES: usize = 8;
const MAX_CERTIFICATE_BYTES: usize = 8 * 1024;
const MAX_STATEMENT_BYTES: usize = 1024;
/// An RSA signature of 4096 bits.
const MAX_SIGNATURE_BYTES: usize = 512;
const MAX_STATE_BYTES: usize = 16 * 1024;

/// What a robot sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// The certificates in DER, from the root's side to the attestation key's.
    pub chain: Vec<&'a [u8]>,
    /// The statement, canonical ([`Statement`]).
    pub statement: &'a [u8],
    /// Its signature by the attestation key, over the statement's bytes with the scheme that is native to the key
    /// ([`alcub3_crypto::VerifyingKey::native_scheme`]): ECDSA as r ‖ s.
    pub signature: &'a [u8],
    /// The robot's state, canonical ([`alcub3_trust_model::RobotState`]).
    pub state: &'a [u8],
}

impl<'a> Evidence<'a> {
    /// The canonical CBOR.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::DICE_EVIDENCE, VERSION, 4);
        out.u64(2).array(self.chain.len());
        for certificate in &self.chain {
            out.bytes(certificate);
        }
        out.u64(3).bytes(self.statement);
        out.u64(4).bytes(self.signature).u64(5).bytes(self.state);
        out.finish()
    }

    /// The evidence of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version or field, a part that is too long, no certificate, bytes after its end.
    pub fn from_canonical(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::DICE_EVIDENCE, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::DICE_EVIDENCE, VERSION)?;
        fields.key(r, 2, "chain")?;
        let chain = read_chain(r)?;
        fields.key(r, 3, "statement")?;
        let statement = bounded(r, "statement", MAX_STATEMENT_BYTES)?;
        fields.key(r, 4, "signature")?;
        let signature = bounded(r, "signature", MAX_SIGNATURE_BYTES)?;
        fields.key(r, 5, "state")?;
        let state = bounded(r, "state", MAX_STATE_BYTES)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            chain,
            statement,
            signature,
            state,
        })
    }
}

/// What the attestation key signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The verifier's nonce.
    pub nonce: Nonce,
    /// The robot.
    pub robot: RobotId,
    /// Digest over the robot's state, by the hash of the attestation key's native scheme.
    pub state: Digest,
    /// Number of this evidence; higher than of all before.
    pub sequence: u64,
}

impl Statement {
    /// The canonical CBOR, which is signed.
    #[must_use]
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::DICE_STATEMENT, VERSION, 4);
        out.u64(2).bytes(&self.nonce.0);
        out.u64(3).text(self.robot.as_str());
        out.u64(4).digest(&self.state).u64(5).u64(self.sequence);
        out.finish()
    }

    /// The statement of exactly these bytes.
    ///
    /// # Errors
    /// Unknown version or field, a value that is none, bytes after its end.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::DICE_STATEMENT, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::DICE_STATEMENT, VERSION)?;
        fields.key(r, 2, "nonce")?;
        let nonce = Nonce(*r.bytes_of("nonce")?);
        fields.key(r, 3, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 4, "state")?;
        let state = r.digest("state")?;
        fields.key(r, 5, "sequence")?;
        let sequence = r.u64("sequence")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            nonce,
            robot,
            state,
            sequence,
        })
    }
}

fn read_chain<'a>(r: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, DecodeError> {
    let count = r.array("chain", MAX_CERTIFICATES)?;
    if count == 0 {
        return Err(r.fault("chain", Fault::Missing));
    }
    (0..count)
        .map(|_| bounded(r, "certificate", MAX_CERTIFICATE_BYTES))
        .collect()
}

fn bounded<'a>(r: &mut Reader<'a>, field: &'static str, limit: usize) -> Result<&'a [u8], DecodeError> {
    let bytes = r.bytes(field)?;
    if bytes.len() > limit {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(bytes)
    }
}
