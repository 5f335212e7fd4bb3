//! Admitting the chip of whoever commands with shared keys: its storage key is proven to be in a TPM before a secret is
//! wrapped to it.
//!
//! ```text
//! commander                                          authority
//!   CommanderRequest  EK, its certificate, storage key,  ->  whose it is; what vouches for the EK
//!                     signed with the person's key
//!                                <- CommanderChallenge   a credential of this EK for this storage key; signed
//!   CommanderAnswer   proof of the secret             ->  the two are in one TPM: the chip is admitted
//!                                     <- CommanderKey    a shared key, wrapped to the storage key; signed
//! ```
//!
//! TPM2_ActivateCredential gives the secret only in the TPM of the EK, and only where the object with the storage key's
//! Name is loaded with its private part. The Name covers the attributes: restricted, decrypting, and for ever in this TPM.

use alcub3_command_authority::cose::{CoseError, Message as Cose, SignError, Unsigned};
use alcub3_crypto::tpm::policy::{Assertion, Policy, PolicyError};
use alcub3_crypto::tpm::{Public, make_credential};
use alcub3_crypto::{
    CryptoError, Digest, Entropy, EntropyError, HashAlg, MacKey, Secret, Suite, VerifyingKey,
};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use alcub3_trust_model::policies::command_code;
use alcub3_trust_model::{MissionId, MissionKeyPurpose, OperatorId, RobotId, SessionId, domain};

use crate::enrolment::{Credential, KeyFault, endorsement_key, storage_root};
use crate::shared_key::{WrappedKey, is_shared_key};
use crate::wire::{self, Message};

const VERSION: u64 = 1;
const SECRET_BYTES: usize = 32;
const MAX_CREDENTIAL: usize = 1024;
const MAX_MISSIONS: usize = 1024;

/// Why a commander's chip is not admitted, or what it was given is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CommanderError {
    /// A message is not the one form allowed.
    #[error("commander message refused: {0}")]
    Message(#[from] DecodeError),
    /// A signed message is malformed, of another key, or not authentic.
    #[error("commander message refused: {0}")]
    Cose(#[from] CoseError),
    /// A key does not have the attributes or the form it must have.
    #[error("the {key} key: {fault}")]
    Key {
        /// Which key.
        key: &'static str,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The challenge answers another request.
    #[error("the challenge answers another request: present the chip again")]
    OtherRequest,
    /// What was wrapped is no command key under the commander's policy.
    #[error("what was wrapped is no command key of a commander")]
    NoCommandKey,
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Cryptography refused.
    #[error("commander: {0}")]
    Crypto(#[from] CryptoError),
    /// Signing failed.
    #[error("commander: {0}")]
    Sign(#[from] SignError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The policy of a commander's copy: it makes HMACs, and nothing else. When it may command, each robot's own copy says.
///
/// # Errors
/// Never for the hashes that suites use.
pub fn commander_policy(alg: HashAlg) -> Result<Policy, PolicyError> {
    Policy::new(alg, vec![Assertion::CommandCode(command_code::HMAC)])
}

/// A person presents the chip that shared keys are to be wrapped for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommanderRequest {
    /// Whose chip it is.
    pub operator: OperatorId,
    /// Its endorsement key.
    pub endorsement_key: Public,
    /// The endorsement certificate, in DER, padding removed.
    pub endorsement_certificate: Vec<u8>,
    /// Certificates between that and the vendor's root, in DER, leaf side first.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Its storage key.
    pub storage_key: Public,
}

impl CommanderRequest {
    /// The request, ready to be signed by the person.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::COMMANDER_REQUEST, VERSION, 5);
        out.u64(2).text(self.operator.as_str());
        wire::put_public(out.u64(3), &self.endorsement_key);
        wire::put_certificates(
            &mut out,
            4,
            &self.endorsement_certificate,
            &self.certificate_chain,
        );
        wire::put_public(out.u64(6), &self.storage_key);
        Unsigned::new(suite, out.finish())
    }

    /// What a signed request says. It is nobody's word until [`Self::verify`] passed.
    ///
    /// # Errors
    /// [`CommanderError`] where it is not the one form allowed.
    pub fn parse(bytes: &[u8]) -> Result<Self, CommanderError> {
        let message = Cose::parse(domain::COMMANDER_REQUEST, bytes)?;
        let mut m = Message::open(domain::COMMANDER_REQUEST, VERSION, message.payload())?;
        let operator = wire::operator(m.at(2, "operator")?, "operator")?;
        let endorsement_key = wire::public(m.at(3, "endorsement_key")?, "endorsement_key")?;
        let (endorsement_certificate, certificate_chain) = wire::certificates(&mut m, 4)?;
        let request = Self {
            operator,
            endorsement_key,
            endorsement_certificate,
            certificate_chain,
            storage_key: wire::public(m.at(6, "storage_key")?, "storage_key")?,
        };
        m.finish()?;
        Ok(request)
    }

    /// The request, if the person's key signed it and its keys are as they must be. The certificate is still to be judged.
    ///
    /// # Errors
    /// [`CommanderError`].
    pub fn verify(bytes: &[u8], person: &VerifyingKey) -> Result<Self, CommanderError> {
        Cose::parse(domain::COMMANDER_REQUEST, bytes)?.verify(person)?;
        let request = Self::parse(bytes)?;
        let named = |key, fault| CommanderError::Key { key, fault };
        endorsement_key(&request.endorsement_key).map_err(|fault| named("endorsement", fault))?;
        storage_root(&request.storage_key).map_err(|fault| named("storage", fault))?;
        Ok(request)
    }
}

/// The authority's challenge, signed by it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommanderChallenge {
    /// The exchange.
    pub session: SessionId,
    /// The SHA-256 of the signed request that it answers.
    pub request: Digest,
    /// The credential of the endorsement key for the storage key.
    pub credential: Credential,
}

impl CommanderChallenge {
    /// Challenges the chip of a verified request. Gives the SHA-256 of the one right proof as well: who keeps that can check
    /// an answer, and not give one.
    ///
    /// # Errors
    /// [`CommanderError`] where the credential cannot be made.
    pub fn create(
        request: &CommanderRequest,
        signed_request: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Digest), CommanderError> {
        let (mut session, mut secret) = ([0; 16], Secret::zeroed(SECRET_BYTES));
        entropy.fill(&mut session)?;
        entropy.fill(secret.expose_mut())?;
        let name = request.storage_key.name();
        let made = make_credential(&request.endorsement_key, &name, secret.expose(), entropy)?;
        let challenge = Self {
            session: SessionId::new(session),
            request: HashAlg::Sha256.digest(&[signed_request]),
            credential: Credential {
                id_object: made.id_object,
                encrypted_secret: made.encrypted_secret,
            },
        };
        let proof = HashAlg::Sha256.digest(&[&challenge.answer(&secret).proof]);
        Ok((challenge, proof))
    }

    /// The challenge, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::COMMANDER_CHALLENGE, VERSION, 4);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .digest(&self.request);
        out.u64(4)
            .bytes(&self.credential.id_object)
            .u64(5)
            .bytes(&self.credential.encrypted_secret);
        Unsigned::new(suite, out.finish())
    }

    /// The challenge, if the authority signed it in answer to this signed request.
    ///
    /// # Errors
    /// [`CommanderError`].
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        signed_request: &[u8],
    ) -> Result<Self, CommanderError> {
        let message = Cose::parse(domain::COMMANDER_CHALLENGE, bytes)?;
        message.verify(authority)?;
        let challenge = Self::decode(message.payload())?;
        if challenge.request == HashAlg::Sha256.digest(&[signed_request]) {
            Ok(challenge)
        } else {
            Err(CommanderError::OtherRequest)
        }
    }

    fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::COMMANDER_CHALLENGE, VERSION, payload)?;
        let challenge = Self {
            session: wire::session(m.at(2, "session")?)?,
            request: m.at(3, "request")?.digest("request")?,
            credential: Credential {
                id_object: wire::bounded(m.at(4, "id_object")?, "id_object", MAX_CREDENTIAL)?,
                encrypted_secret: wire::bounded(
                    m.at(5, "encrypted_secret")?,
                    "encrypted_secret",
                    MAX_CREDENTIAL,
                )?,
            },
        };
        m.finish()?;
        Ok(challenge)
    }

    /// The answer, with the secret that the chip recovered.
    pub fn answer(&self, secret: &Secret) -> CommanderAnswer {
        let parts: [&[u8]; 3] = [
            domain::COMMANDER_ANSWER.as_bytes(),
            self.session.as_bytes(),
            self.request.as_bytes(),
        ];
        let tag = MacKey::new(HashAlg::Sha256, secret.expose()).tag(&parts);
        CommanderAnswer {
            session: self.session,
            proof: tag.as_bytes().to_vec(),
        }
    }
}

/// The commander's answer to the challenge.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommanderAnswer {
    /// The exchange.
    pub session: SessionId,
    /// HMAC-SHA-256, with the recovered secret, over domain, exchange and the request's digest.
    pub proof: Vec<u8>,
}

impl CommanderAnswer {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::COMMANDER_ANSWER, VERSION, 2);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .bytes(&self.proof);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::COMMANDER_ANSWER, VERSION, bytes)?;
        let answer = Self {
            session: wire::session(m.at(2, "session")?)?,
            proof: wire::bounded(m.at(3, "proof")?, "proof", HashAlg::Sha256.size())?,
        };
        m.finish()?;
        Ok(answer)
    }
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
                duplicate: wire::bounded(m.at(5, "duplicate")?, "duplicate", MAX_CREDENTIAL)?,
                encrypted_seed: wire::bounded(m.at(6, "encrypted_seed")?, "encrypted_seed", MAX_CREDENTIAL)?,
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
