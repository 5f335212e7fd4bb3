//! The fleet's level policy: the table of level profiles that an authority signed, with a version that only goes up.

use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{LevelProfiles, domain};

use crate::wire::Message;

const VERSION: u64 = 1;

/// A level policy as an authority writes it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LevelPolicy {
    /// The policy's own version; a later policy has a higher one.
    pub version: u64,
    /// When it was issued, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// The table.
    pub profiles: LevelProfiles,
}

/// Why a level policy is not followed.
#[derive(Debug, thiserror::Error)]
pub enum LevelPolicyError {
    /// The message is malformed, of another key, or not authentic.
    #[error("level policy refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed, or a field is out of its bounds.
    #[error("level policy refused: {0}")]
    Payload(#[from] DecodeError),
    /// It is older than one that was followed before.
    #[error("level policy refused: its version {given} is not above {newest}, which is in force")]
    RolledBack {
        /// Its version.
        given: u64,
        /// The newest one seen.
        newest: u64,
    },
}

impl LevelPolicy {
    /// The policy, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::LEVEL_POLICY, VERSION, 3);
        out.u64(2).u64(self.version).u64(3).u64(self.issued_at_ms);
        self.profiles.put(out.u64(4));
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::LEVEL_POLICY, VERSION, bytes)?;
        let version = m.at(2, "version")?.u64("version")?;
        let issued_at_ms = m.at(3, "issued_at_ms")?.u64("issued_at_ms")?;
        let profiles = LevelProfiles::read(m.at(4, "levels")?)?;
        m.finish()?;
        Ok(Self {
            version,
            issued_at_ms,
            profiles,
        })
    }
}

/// A level policy that the authority signed and that is not older than what was followed before.
#[derive(Clone, Debug)]
pub struct VerifiedLevelPolicy {
    policy: LevelPolicy,
    bytes: Vec<u8>,
}

impl VerifiedLevelPolicy {
    /// Verifies the policy that is in force, as it was kept.
    ///
    /// # Errors
    /// [`LevelPolicyError`] says why it is not followed.
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, LevelPolicyError> {
        let message = Cose::parse(domain::LEVEL_POLICY, bytes)?;
        message.verify(authority)?;
        Ok(Self {
            policy: LevelPolicy::decode(message.payload())?,
            bytes: bytes.to_vec(),
        })
    }

    /// Verifies a policy that is to replace this one.
    ///
    /// # Errors
    /// [`LevelPolicyError::RolledBack`] for one that is not newer; as [`Self::verify`].
    pub fn replaced_by(&self, bytes: &[u8], authority: &VerifyingKey) -> Result<Self, LevelPolicyError> {
        let next = Self::verify(bytes, authority)?;
        if next.policy.version <= self.policy.version {
            return Err(LevelPolicyError::RolledBack {
                given: next.policy.version,
                newest: self.policy.version,
            });
        }
        Ok(next)
    }

    /// What the policy says.
    pub const fn policy(&self) -> &LevelPolicy {
        &self.policy
    }

    /// The table in force.
    pub const fn profiles(&self) -> &LevelProfiles {
        &self.policy.profiles
    }

    /// The signed policy, to be stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}
