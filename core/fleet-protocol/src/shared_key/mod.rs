//! A mission's shared secret on its way into each robot's chip: the robot shows its storage parent and its PCRs, the
//! authority wraps the secret to that parent under that robot's own mission policy, and signs what it wrapped.
//!
//! The copy dies with the robot's anchor, epochs, PCRs, clock and resets like a key that the chip made itself. Nobody but
//! the chip reads it: what travels is TPM2_Import's input (Part 1, §23.3).

mod message;
mod wrapping;

pub use message::{SharedKey, VerifiedSharedKey};
pub use wrapping::{SharedSecret, WrappedKey, is_shared_key};

use alcub3_attestation::certify::{CertifyError, Signed, verify_certify};
use alcub3_attestation::pcr::PcrSelection;
use alcub3_attestation::quote::{QuoteError, verify_quoted_digest};
use alcub3_command_authority::MissionToken;
use alcub3_command_authority::cose::CoseError;
use alcub3_crypto::tpm::policy::{Policy, PolicyError};
use alcub3_crypto::tpm::{ObjectKind, Public, Signature, StructureError, attribute};
use alcub3_crypto::{CryptoError, Digest, EntropyError, HashAlg};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, PolicyBuildError, mission_pcr_mask, mission_policy,
    parent_policy,
};
use alcub3_trust_model::{MissionId, MissionKeyPurpose, RobotId, SessionId, domain, profile};

use crate::wire::{self, Message};
use crate::{TrustAnchors, VerifiedEnrolment};

const VERSION: u64 = 1;
/// What a level's storage parent must be, and must not.
const PARENT: u32 = attribute::FIXED_TPM
    | attribute::FIXED_PARENT
    | attribute::SENSITIVE_DATA_ORIGIN
    | attribute::RESTRICTED
    | attribute::DECRYPT;

/// The robot asks for its copy of a shared key. Certification and quote carry [`shared_key_binding`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SharedKeyRequest {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// Its mission.
    pub mission: MissionId,
    /// What the key is for.
    pub purpose: MissionKeyPurpose,
    /// The storage parent of the mission's level.
    pub parent: Public,
    /// That the parent is in the robot's TPM (TPM2_Certify by the AK).
    pub parent_certification: Signed,
    /// The PCRs that the mission's policy names (TPM2_Quote by the AK).
    pub pcr_quote: Signed,
}

/// The extra data of certification and quote: H(domain ‖ session ‖ mission ‖ purpose).
pub fn shared_key_binding(
    alg: HashAlg,
    session: SessionId,
    mission: MissionId,
    purpose: MissionKeyPurpose,
) -> Digest {
    alg.digest(&[
        domain::SHARED_KEY_REQUEST.as_bytes(),
        session.as_bytes(),
        mission.as_bytes(),
        &[purpose.id()],
    ])
}

impl SharedKeyRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::SHARED_KEY_REQUEST, VERSION, 7);
        out.u64(2)
            .bytes(self.session.as_bytes())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4)
            .bytes(self.mission.as_bytes())
            .u64(5)
            .u64(self.purpose.id().into());
        wire::put_public(out.u64(6), &self.parent);
        wire::put_signed(out.u64(7), &self.parent_certification);
        wire::put_signed(out.u64(8), &self.pcr_quote);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::SHARED_KEY_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            mission: MissionId::new(*m.at(4, "mission")?.bytes_of("mission")?),
            purpose: m.at(5, "purpose")?.id_of("purpose", MissionKeyPurpose::from_id)?,
            parent: wire::public(m.at(6, "parent")?, "parent")?,
            parent_certification: wire::signed(m.at(7, "parent_certification")?, "parent_certification")?,
            pcr_quote: wire::signed(m.at(8, "pcr_quote")?, "pcr_quote")?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// Why a shared key is not wrapped for a robot, or what was wrapped is not taken by it.
#[derive(Debug, thiserror::Error)]
pub enum SharedKeyError {
    /// The message is malformed, of another key, or not authentic.
    #[error("the shared key is refused: {0}")]
    Cose(#[from] CoseError),
    /// The payload is not the one form allowed.
    #[error("the shared key is refused: {0}")]
    Payload(#[from] DecodeError),
    /// It is another robot's, or of another mission.
    #[error("it is for another robot or another mission")]
    WrongMission,
    /// The exchange is not the one that was opened.
    #[error("it belongs to another exchange: ask again")]
    WrongSession,
    /// Signing keys are a robot's own.
    #[error("signing keys are never shared: each robot makes its own")]
    Purpose,
    /// The robot's chip works with another hash than the secret was made for.
    #[error("the robots of one shared key need chips of one suite: wrap another secret for this one")]
    OtherHash,
    /// The commander's chip is weaker than the robots'.
    #[error(
        "the commander's storage key is weaker than the robots' suite: admit a chip with a P-384 storage key"
    )]
    WeakCommander,
    /// A command key without an issuer, another key with one, or an issuer that the mission does not name.
    #[error("a command key speaks for one issuer of the mission, and no other key for any")]
    Issuer,
    /// The parent is not proven to be in the robot's TPM.
    #[error("the storage parent: {0}")]
    Parent(#[from] CertifyError),
    /// The parent is not what the authority lets a level's keys live under.
    #[error("the storage parent is none that only this authority's rearm opens, or is another key")]
    OtherParent,
    /// The PCRs are not proven.
    #[error("the PCRs: {0}")]
    Pcrs(#[from] QuoteError),
    /// Other PCRs are quoted than the mission's policy names.
    #[error("other PCRs are quoted than the mission's policy names")]
    OtherPcrs,
    /// A structure is malformed.
    #[error("{0}")]
    Structure(#[from] StructureError),
    /// The policy cannot be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The commander's policy cannot be built.
    #[error(transparent)]
    CommanderPolicy(#[from] PolicyError),
    /// The secret could not be wrapped.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// The policy of a mission's key on one robot, as the authority computes it from its own token.
///
/// # Errors
/// [`PolicyBuildError`] where the PCR digest is of another hash.
pub fn robot_mission_policy(
    token: &MissionToken,
    purpose: MissionKeyPurpose,
    anchors: &TrustAnchors,
    (nv, pcrs): (&NvMap, &PcrMap),
    pcr_digest: Digest,
) -> Result<Policy, PolicyBuildError> {
    let (alg, level) = (nv.name_alg(), token.labels.level);
    let counter = |index, value| CounterBinding {
        name: nv.spec(index).tpm_name(true),
        value,
    };
    mission_policy(&MissionPolicyInput {
        alg,
        end_clock_ms: token.end_clock_ms,
        approval_key: anchors.approval_key(level).name(),
        mission: token.mission,
        pcrs: PcrBinding {
            bank: alg,
            mask: mission_pcr_mask(pcrs, &profile(level)),
            digest: pcr_digest,
        },
        robot_epoch: counter(NvIndex::RobotEpoch, token.robot_epoch),
        level_epoch: counter(NvIndex::LevelEpoch(level), token.level_epoch),
        anchor: counter(NvIndex::MissionAnchor(token.anchor), token.anchor_value),
        max_reset_count: token.max_reset_count(),
        command_code: purpose.command_code(),
    })
}

/// A robot that a shared key may be wrapped for: its parent and the policy of its copy. Only a verified request makes one.
#[derive(Clone, Debug)]
pub struct Recipient {
    session: SessionId,
    robot: RobotId,
    mission: MissionId,
    purpose: MissionKeyPurpose,
    parent: Public,
    policy: Digest,
}

impl Recipient {
    /// Verifies a request of the exchange that the authority opened, for a mission that it approved.
    ///
    /// # Errors
    /// [`SharedKeyError`] says what is not proven.
    pub fn verify(
        request: &SharedKeyRequest,
        token: &MissionToken,
        enrolment: &VerifiedEnrolment,
        anchors: &TrustAnchors,
        pcrs: &PcrMap,
        session: SessionId,
    ) -> Result<Self, SharedKeyError> {
        if request.session != session {
            return Err(SharedKeyError::WrongSession);
        }
        let same_robot = request.robot == enrolment.record().robot && request.robot == token.robot;
        if !same_robot || request.mission != token.mission {
            return Err(SharedKeyError::WrongMission);
        }
        if request.purpose == MissionKeyPurpose::Signing {
            return Err(SharedKeyError::Purpose);
        }
        let alg = enrolment.nv_map().name_alg();
        let binding = shared_key_binding(alg, session, request.mission, request.purpose);
        check_parent(request, token, enrolment, anchors, &binding)?;
        let pcr_digest = quoted_pcrs(request, token, enrolment, pcrs, &binding)?;
        let maps = (enrolment.nv_map(), pcrs);
        let policy = robot_mission_policy(token, request.purpose, anchors, maps, pcr_digest)?;
        Ok(Self {
            session,
            robot: request.robot.clone(),
            mission: request.mission,
            purpose: request.purpose,
            parent: request.parent.clone(),
            policy: policy.digest(),
        })
    }

    /// The robot.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// Its mission.
    pub const fn mission(&self) -> MissionId {
        self.mission
    }

    /// What the key is for.
    pub const fn purpose(&self) -> MissionKeyPurpose {
        self.purpose
    }

    /// The hash that its chip works with.
    pub fn alg(&self) -> HashAlg {
        self.policy.alg()
    }
}

/// The parent is in the robot's TPM for good, and nothing opens it but this authority's rearm of this level.
fn check_parent(
    request: &SharedKeyRequest,
    token: &MissionToken,
    enrolment: &VerifiedEnrolment,
    anchors: &TrustAnchors,
    binding: &Digest,
) -> Result<(), SharedKeyError> {
    let key = enrolment.attestation_key();
    let certified = verify_certify(key, &request.parent_certification, binding.as_bytes())?;
    let parent = &request.parent;
    let alg = enrolment.nv_map().name_alg();
    let policy = parent_policy(alg, anchors.rearm.name(), &token.robot, token.labels.level)?.digest();
    let ours = parent.name() == certified.name
        && parent.kind() == ObjectKind::Storage
        && parent.has_attributes(PARENT)
        && parent.attributes() & attribute::USER_WITH_AUTH == 0
        && parent.auth_policy() == policy.as_bytes();
    if ours {
        Ok(())
    } else {
        Err(SharedKeyError::OtherParent)
    }
}

fn quoted_pcrs(
    request: &SharedKeyRequest,
    token: &MissionToken,
    enrolment: &VerifiedEnrolment,
    pcrs: &PcrMap,
    binding: &Digest,
) -> Result<Digest, SharedKeyError> {
    let alg = enrolment.nv_map().name_alg();
    let signature = Signature::from_tpmt_signature(&request.pcr_quote.signature)?;
    let (key, message) = (enrolment.attestation_key(), &request.pcr_quote.message);
    let quoted = verify_quoted_digest(key, &signature, message, binding.as_bytes())?;
    let mask = mission_pcr_mask(pcrs, &profile(token.labels.level));
    let selected: Vec<u8> = (0..24u8).filter(|pcr| mask & 1 << pcr != 0).collect();
    let expected = PcrSelection::of(alg, &selected).map_err(|_| SharedKeyError::OtherPcrs)?;
    if quoted.selection == expected && quoted.digest.alg() == alg {
        Ok(quoted.digest)
    } else {
        Err(SharedKeyError::OtherPcrs)
    }
}
