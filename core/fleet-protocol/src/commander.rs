//! A shared command key for whoever commands with it: wrapped to their admitted chip (see [`crate::chip`]).

use alcub3_command_authority::cose::{CoseError, Message as Cose, Unsigned};
use alcub3_crypto::tpm::policy::{Assertion, Policy, PolicyError};
use alcub3_crypto::{HashAlg, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::policies::command_code;
use alcub3_trust_model::{MissionId, MissionKeyPurpose, OperatorId, RobotId, domain};

use crate::shared_key::{WrappedKey, is_shared_key};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const MAX_WRAPPED: usize = 1024;
const MAX_MISSIONS: usize = 1024;

/// Why a command key is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommanderError {
    /// The message is not the one form allowed.
    #[error("commander message refused: {0}")]
    Message(#[from] DecodeError),
    /// The message is malformed, of another key, or not authentic.
    #[error("commander message refused: {0}")]
    Cose(#[from] CoseError),
    /// What was wrapped is no command key under the commander's policy.
    #[error("what was wrapped is no command key of a commander")]
    NoCommandKey,
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// The policy of a commander's copy: it makes HMACs, and nothing else. When it may command, each robot's own copy says.
///
/// # Errors
/// Never for the hashes that suites use.
pub fn commander_policy(alg: HashAlg) -> Result<Policy, PolicyError> {
    Policy::new(alg, vec![Assertion::CommandCode(command_code::HMAC)])
}

/// A shared command key for whoever commands with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommanderKey {
    /// Who commands with it.
    pub operator: OperatorId,
    /// Which robots have the same key, each for which mission.
    pub missions: Vec<(RobotId, MissionId)>,
    /// The key, for this chip alone.
    pub wrapped: WrappedKey,
}

impl CommanderKey {
    /// The key, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::COMMANDER_KEY, VERSION, 5);
        out.u64(2)
            .text(self.operator.as_str())
            .u64(3)
            .array(self.missions.len());
        for (robot, mission) in &self.missions {
            out.array(2).text(robot.as_str()).bytes(mission.as_bytes());
        }
        wire::put_public(out.u64(4), &self.wrapped.public);
        out.u64(5)
            .bytes(&self.wrapped.duplicate)
            .u64(6)
            .bytes(&self.wrapped.encrypted_seed);
        Unsigned::new(suite, out.finish())
    }

    /// The key, if the authority signed it and it is a command key under the commander's policy.
    ///
    /// # Errors
    /// [`CommanderError`].
    pub fn verify(bytes: &[u8], authority: &VerifyingKey) -> Result<Self, CommanderError> {
        let message = Cose::parse(domain::COMMANDER_KEY, bytes)?;
        message.verify(authority)?;
        let key = Self::decode(message.payload())?;
        let public = &key.wrapped.public;
        let policy = commander_policy(public.name_alg())?.digest();
        if is_shared_key(public, MissionKeyPurpose::CommandMac, &policy) {
            Ok(key)
        } else {
            Err(CommanderError::NoCommandKey)
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::COMMANDER_KEY, VERSION, payload)?;
        let key = Self {
            operator: wire::operator(m.at(2, "operator")?, "operator")?,
            missions: wire::list(m.at(3, "missions")?, "missions", MAX_MISSIONS, robot_and_mission)?,
            wrapped: WrappedKey {
                public: wire::public(m.at(4, "public")?, "public")?,
                duplicate: wire::bounded(m.at(5, "duplicate")?, "duplicate", MAX_WRAPPED)?,
                encrypted_seed: wire::bounded(m.at(6, "encrypted_seed")?, "encrypted_seed", MAX_WRAPPED)?,
            },
        };
        m.finish()?;
        Ok(key)
    }
}

fn robot_and_mission(r: &mut Reader<'_>) -> Result<(RobotId, MissionId), DecodeError> {
    r.array_of("missions", 2)?;
    Ok((wire::robot(r)?, MissionId::new(*r.bytes_of("mission")?)))
}
