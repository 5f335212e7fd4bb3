//! The message that brings a robot its copy, signed by the authority.

use alcub3_command_authority::MissionToken;
use alcub3_command_authority::cose::{Message as Cose, Unsigned};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{MissionId, MissionKeyPurpose, OperatorId, RobotId, SessionId, domain};

use super::{SharedKeyError, WrappedKey};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const MAX_DUPLICATE: usize = 1024;
const MAX_SEED: usize = 512;

/// A shared key for one robot, before the authority signs it or after the robot verified it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedKey {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// Its mission.
    pub mission: MissionId,
    /// What the key is for.
    pub purpose: MissionKeyPurpose,
    /// For whose commands a command key stands; none for data.
    pub issuer: Option<OperatorId>,
    /// The key, for this robot's chip alone.
    pub wrapped: WrappedKey,
}

impl SharedKey {
    /// The key, ready to be signed by the authority. Anybody could wrap a key to the robot's parent: the signature says
    /// whose it is.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(
            domain::SHARED_KEY,
            VERSION,
            7 + usize::from(self.issuer.is_some()),
        );
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .bytes(self.mission.as_bytes())
            .u64(5)
            .u64(self.purpose.id().into());
        if let Some(issuer) = &self.issuer {
            out.u64(6).text(issuer.as_str());
        }
        wire::put_public(out.u64(7), &self.wrapped.public);
        out.u64(8)
            .bytes(&self.wrapped.duplicate)
            .u64(9)
            .bytes(&self.wrapped.encrypted_seed);
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::SHARED_KEY, VERSION, bytes)?;
        let session = wire::session(m.at(2, "session")?)?;
        let robot = wire::robot(m.at(3, "robot")?)?;
        let mission = MissionId::new(*m.at(4, "mission")?.bytes_of("mission")?);
        let purpose = m.at(5, "purpose")?.id_of("purpose", MissionKeyPurpose::from_id)?;
        let issuer = if m.has(6, "issuer")? {
            Some(wire::operator(&mut m.r, "issuer")?)
        } else {
            None
        };
        let wrapped = WrappedKey {
            public: wire::public(m.at(7, "public")?, "public")?,
            duplicate: wire::bounded(m.at(8, "duplicate")?, "duplicate", MAX_DUPLICATE)?,
            encrypted_seed: wire::bounded(m.at(9, "encrypted_seed")?, "encrypted_seed", MAX_SEED)?,
        };
        m.finish()?;
        Ok(Self {
            session,
            robot,
            mission,
            purpose,
            issuer,
            wrapped,
        })
    }
}

/// A shared key that its authority signed for this robot and its level's suite. Whether it is under this robot's policy
/// only the robot knows.
#[derive(Clone, Debug)]
pub struct VerifiedSharedKey(SharedKey);

impl VerifiedSharedKey {
    /// Verifies a signed key of the exchange in which this robot asked, for one of its missions.
    ///
    /// # Errors
    /// [`SharedKeyError`] says why it is none of this authority for this mission.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        token: &MissionToken,
        session: SessionId,
    ) -> Result<Self, SharedKeyError> {
        let message = Cose::parse(domain::SHARED_KEY, bytes)?;
        message.verify(authority)?;
        let key = SharedKey::decode(message.payload())?;
        if key.session != session {
            return Err(SharedKeyError::WrongSession);
        }
        if key.robot != token.robot || key.mission != token.mission {
            return Err(SharedKeyError::WrongMission);
        }
        let known = |issuer: &OperatorId| token.issuers.iter().any(|known| known.operator == *issuer);
        match (key.purpose, &key.issuer) {
            (MissionKeyPurpose::Signing, _) => Err(SharedKeyError::Purpose),
            (MissionKeyPurpose::CommandMac, Some(issuer)) if known(issuer) => Ok(Self(key)),
            (MissionKeyPurpose::DataSealing, None) => Ok(Self(key)),
            _ => Err(SharedKeyError::Issuer),
        }
    }

    /// What the authority signed.
    pub const fn key(&self) -> &SharedKey {
        &self.0
    }
}
