//! What can go wrong with the robot's keys.

use crate::refusal::KeyRefusal;
use crate::state::StateError;
use crate::store::StoreError;
use alcub3_tpm::{ResponseCode, TpmError};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::managed_key::{IllegalTransition, UseRefusal};
use alcub3_trust_model::policies::PolicyBuildError;
use alcub3_trust_model::{BelowFloor, KeyId, Level, MissionId, MissionKeyId};

/// Why an operation on the robot's keys failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The TPM refused or failed.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The state folder failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A record in the state folder is not one of ours, or was cut short.
    #[error(
        "the record {name} in the state folder is not readable: {source}; restore the folder or provision again"
    )]
    Record {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The enrolment in the state folder is not the authority's.
    #[error("the enrolment in the state folder is refused: {0}; provision again")]
    Enrolment(#[from] alcub3_fleet_protocol::RecordError),
    /// A structure made by the TPM or the authority is malformed.
    #[error("{what} is malformed: {source}")]
    Structure {
        /// Which.
        what: &'static str,
        /// Where.
        source: alcub3_crypto::tpm::StructureError,
    },
    /// A cryptographic step failed.
    #[error(transparent)]
    Crypto(#[from] alcub3_crypto::CryptoError),
    /// A policy could not be built.
    #[error(transparent)]
    Policy(#[from] PolicyBuildError),
    /// The robot is not provisioned.
    #[error("this robot is not provisioned; run `alcub3 provision` first")]
    NotProvisioned,
    /// The robot has no such device key.
    #[error("this robot has no {kind} device key; run `alcub3 identity create` first")]
    NoDeviceKey {
        /// "initial" or "local".
        kind: &'static str,
    },
    /// The key has no file to export.
    #[error("the initial device key is recreated by the chip and has no file; export the local one")]
    NotExportable,
    /// The hardware record in the folder is not the enrolled one.
    #[error(
        "the hardware record in the state folder is missing or not the one that the authority signed; restore it with \
         `alcub3 identity recover`"
    )]
    OtherHardwareRecord,
    /// The chip does not hold what a provisioned robot's chip holds.
    #[error(
        "the chip holds no {key} of a provisioned robot: it was cleared or replaced; provision the robot again"
    )]
    ChipLost {
        /// Which key.
        key: &'static str,
    },
    /// A certificate could not be asked for or taken.
    #[error(transparent)]
    Certificate(#[from] alcub3_fleet_protocol::certificate::CertificateError),
    /// The authority's answer to a lost disk was refused.
    #[error(transparent)]
    Restore(#[from] alcub3_fleet_protocol::restore::RestoreError),
    /// The authority's answer to replaced parts was refused.
    #[error(transparent)]
    Replacement(#[from] alcub3_fleet_protocol::replacement::ReplacementError),
    /// No request for replaced parts waits for its answer.
    #[error("no request for replaced parts waits for an answer; make one with `alcub3 identity parts ask`")]
    NoReplacementAsked,
    /// A key file cannot be written.
    #[error("the TPM key file: {0}")]
    KeyFile(#[from] der::Error),
    /// The robot is provisioned already.
    #[error(
        "this robot is provisioned as {robot}; a robot has one identity: clear the TPM to give it another"
    )]
    AlreadyProvisioned {
        /// Its name.
        robot: String,
    },
    /// An earlier provisioning was cut short and belongs to another plan.
    #[error(
        "an unfinished provisioning as {robot} is in the state folder; finish that one, or clear the TPM and remove the folder"
    )]
    OtherProvisioning {
        /// The name in the unfinished one.
        robot: String,
    },
    /// The TPM has authorisations set that this folder does not know.
    #[error(
        "the TPM's {hierarchy} authorisation is set and this state folder does not know it: the chip is owned by something else; \
         clear it from the firmware's menu before provisioning"
    )]
    Owned {
        /// Which hierarchy.
        hierarchy: &'static str,
    },
    /// What is at a handle or index is not what provisioning puts there.
    #[error("something else is at {place} 0x{handle:08x}; clear the TPM before provisioning")]
    Foreign {
        /// "handle" or "NV index".
        place: &'static str,
        /// Where.
        handle: u32,
    },
    /// The robot was not provisioned for a level.
    #[error("this robot has no keys for {level}; provision it with that level if its chip meets the floor")]
    NoSuchLevel {
        /// The level.
        level: Level,
    },
    /// The suite of a chip, or of a storage key that the level's keys would go to, is below the level's floor.
    #[error("{0}; choose the stronger curve or chip, or drop the level")]
    BelowFloor(#[from] BelowFloor),
    /// The endorsement key that the chip can prove is weaker than a level asks for.
    #[error(
        "{below}: the endorsement key that this chip has a certificate for is {key}; serve lower levels only (`--level`), or use a \
         chip with a certificate of a P-384 key"
    )]
    EndorsementBelowFloor {
        /// The kind of key.
        key: &'static str,
        /// Which level asks for more.
        #[source]
        below: BelowFloor,
    },
    /// The chip listed other certificates once its answers were protected.
    #[error(
        "the chip lists other endorsement certificates than before its answers were protected: check the bus for an interposer, and \
         try again"
    )]
    CertificatesChanged,
    /// The chip holds fewer persistent keys than the levels need.
    #[error(
        "the robot's keys need {needed} more persistent slots and the chip has {available} left; serve fewer levels, or \
         remove persistent keys that others left (`tpm2_evictcontrol`)"
    )]
    PersistentSlots {
        /// Slots still to be taken: EK, AK, storage root, identity, and two for each level.
        needed: u32,
        /// Slots the chip says it has (TPM_PT_HR_PERSISTENT_AVAIL).
        available: u32,
    },
    /// A derivation's context is too long for one HMAC.
    #[error("a context of {length} bytes was given and {most} fit; hash it first")]
    Context {
        /// Its length in bytes.
        length: usize,
        /// The most in bytes.
        most: usize,
    },
    /// The chip makes another attestation key from the robot's template.
    #[error("this is not the robot's chip: it makes another attestation key; connect the right TPM")]
    OtherChip,
    /// The receipt of a purge, or of the stop before it, proves nothing: the state folder is kept.
    #[error(
        "the purge is not proven ({}): the state folder is kept; keep it for those who ordered the purge, or stop the robot \
         and purge it again",
        reasons.join(", ")
    )]
    PurgeNotProven {
        /// The reasons' codes.
        reasons: Vec<&'static str>,
    },
    /// A label that cannot be used.
    #[error("the label {label:?} {problem}")]
    Label {
        /// The label.
        label: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A duplicate is of another robot.
    #[error("the duplicate is of robot {robot}; only a robot that bears its name can use what is restored")]
    OtherRobot {
        /// The robot it is of.
        robot: String,
    },
    /// A duplicate is of another parent than the one in use.
    #[error(
        "the duplicate {label:?} is wrapped to another parent; give the recovery set that it was made for"
    )]
    OtherRecoveryParent {
        /// What the key is called.
        label: String,
    },
    /// Nobody approved that the key in a duplicate was duplicated to its parent.
    #[error(
        "not-approved: no two persons approved the duplicate {label:?} of this key to this parent; it is somebody else's, and \
         not taken"
    )]
    DuplicateNotApproved {
        /// What the key is called.
        label: String,
    },
    /// What is in a duplicate is no recoverable key of the level and label it names.
    #[error(
        "the duplicate {label:?} holds no recoverable key of this robot's of that label at {level}; it is not taken"
    )]
    NotRecoverable {
        /// What the key is called.
        label: String,
        /// The level that the duplicate names.
        level: Level,
    },
    /// What a key is to be duplicated to is no storage key that the product makes.
    #[error(
        "a key is duplicated to an elliptic-curve storage key alone; take a recovery set, or an admitted recovery TPM"
    )]
    NoStorageKey,
    /// A command key is used in another chip than the one that took it.
    #[error("the command key was taken by another TPM; name that one with --tpm")]
    OtherCommander,
    /// A recovery set was not made, or its shares recover nothing.
    #[error(transparent)]
    Recovery(#[from] alcub3_fleet_protocol::recovery::RecoveryError),
    /// A level policy is not followed.
    #[error(transparent)]
    LevelPolicy(#[from] alcub3_fleet_protocol::level_policy::LevelPolicyError),
    /// A command policy is not followed.
    #[error(transparent)]
    CommandPolicy(#[from] alcub3_command_authority::policy::PolicyOrderError),
    /// The robot was given a command policy, and the state folder has none of that version.
    #[error(
        "this robot follows version {version} of the command policy, and its state folder has an older one or none: no command is \
         accepted; install that version or a later one (`alcub3 policy install`)"
    )]
    CommandPolicyLost {
        /// The version that was taken.
        version: u64,
    },
    /// The robot is stopped.
    #[error(
        "the robot is stopped: no rearm names the epochs its TPM holds; two persons must rearm it (`alcub3 estop reset`)"
    )]
    Stopped,
    /// There is no such mission.
    #[error("there is no active mission {mission}; `alcub3 mission list` shows them")]
    NoSuchMission {
        /// Its identifier.
        mission: MissionId,
    },
    /// There is no such key.
    #[error("mission {mission} has no key {key}; `alcub3 mission key list` shows its keys")]
    NoSuchMissionKey {
        /// The mission.
        mission: MissionId,
        /// The key.
        key: MissionKeyId,
    },
    /// Refused, with a reason code.
    #[error("{}: {source}", source.code())]
    Refused {
        /// Why.
        #[from]
        source: KeyRefusal,
    },
    /// More data than is sealed at once.
    #[error("at most {most} bytes are sealed at once; seal parts")]
    TooMuchData {
        /// The most, in bytes.
        most: usize,
    },
    /// Every anchor is taken.
    #[error("all {count} mission anchors are taken; complete a mission first")]
    NoFreeAnchor {
        /// How many there are.
        count: u8,
    },
    /// What the authority granted does not fit what was asked.
    #[error("the authority's approval does not fit this robot: {what}")]
    Grant {
        /// What does not fit.
        what: &'static str,
    },
    /// The key store is refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A managed key is not used for what was asked.
    #[error(transparent)]
    Use(#[from] UseRefusal),
    /// A managed key's state does not allow what was asked.
    #[error(transparent)]
    Transition(#[from] IllegalTransition),
    /// There is no such managed key.
    #[error("there is no key {id}; `alcub3 key list` shows them")]
    NoSuchManagedKey {
        /// Its identifier.
        id: KeyId,
    },
    /// Every key anchor is taken.
    #[error(
        "all {count} key anchors are taken by living keys; destroy one, or wait until a rotated one's overlap ends"
    )]
    NoFreeKeyAnchor {
        /// How many there are.
        count: u8,
    },
    /// Mission keys are not made by hand.
    #[error("mission keys are made by missions; start one with `alcub3 mission start`")]
    MissionPurpose,
}

impl KeysError {
    /// The reason code, where the error is a verdict over a key or the key store and not a failure.
    pub fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Store(error) if error.is_refusal() => Some(error.code()),
            Self::Use(refusal) => Some(refusal.code()),
            Self::Transition(_) => Some("key-transition"),
            Self::NoSuchManagedKey { .. } => Some("key-unknown"),
            Self::NoFreeKeyAnchor { .. } => Some("key-anchors-taken"),
            Self::MissionPurpose => Some("key-purpose"),
            Self::Refused { source } => Some(source.code()),
            Self::Stopped => Some("emergency-stop"),
            Self::Grant { .. } => Some("other-approval"),
            Self::DuplicateNotApproved { .. } => Some("not-approved"),
            Self::BelowFloor(below) | Self::EndorsementBelowFloor { below, .. } => Some(below.code()),
            Self::LevelPolicy(_) => Some("bad-policy"),
            Self::CommandPolicy(error) => Some(error.code()),
            Self::CommandPolicyLost { .. } => Some("policy-lost"),
            Self::PurgeNotProven { .. } => Some("purge-not-proven"),
            Self::Replacement(error) => Some(error.code()),
            Self::NoReplacementAsked => Some("not-asked"),
            Self::OtherRobot { .. } => Some("other-robot"),
            Self::OtherRecoveryParent { .. } => Some("other-recovery-parent"),
            Self::NotRecoverable { .. } => Some("not-recoverable"),
            Self::Recovery(_) => Some("recovery-refused"),
            Self::Tpm(error) if is_policy_refusal(error) => Some("tpm-policy"),
            _ => None,
        }
    }
}

/// Whether the chip refused because a policy does not hold: an end, an epoch, an anchor, a command that it is not for.
fn is_policy_refusal(error: &TpmError) -> bool {
    let codes = [
        ResponseCode::POLICY,
        ResponseCode::POLICY_FAIL,
        ResponseCode::POLICY_CC,
        ResponseCode::PCR_CHANGED,
    ];
    codes.into_iter().any(|code| error.is_refusal(code))
}
