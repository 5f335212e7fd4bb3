//! The key policies of DESIGN §4, each built in one place: the robot replays the assertions on its chip, a verifier
//! recomputes the digest and accepts a key only if its authPolicy is that digest.

use alcub3_crypto::tpm::Name;
use alcub3_crypto::tpm::policy::{
    Assertion, NvOperation, Policy, PolicyError, pcr_digest, policy_authorize_message,
};
use alcub3_crypto::{Digest, HashAlg};

use crate::pcr_map::{self, PcrMap};
use crate::{Level, LevelProfile, MissionId, RobotId, domain};

/// TPM_CC of the commands that policies are for (TPM 2.0 Library Part 2, §6.5.2).
pub mod command_code {
    /// TPM2_Clear.
    pub const CLEAR: u32 = 0x0126;
    /// TPM2_ECDH_ZGen: agree on a key.
    pub const ECDH_ZGEN: u32 = 0x0154;
    /// TPM2_HMAC (in later revisions TPM2_MAC).
    pub const HMAC: u32 = 0x0155;
    /// TPM2_Sign.
    pub const SIGN: u32 = 0x015D;
    /// TPM2_Unseal.
    pub const UNSEAL: u32 = 0x015E;
}

/// Where TPMS_TIME_INFO {time, clock, resetCount, restartCount, safe} holds what (Part 2, §10.11.1), in bytes.
mod time_info {
    pub(super) const CLOCK: u16 = 8;
    pub(super) const RESET_COUNT: u16 = 16;
}

/// Why a policy could not be built.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum PolicyBuildError {
    /// An assertion does not fit the policy's hash, or selects no such PCR.
    #[error("policy cannot be built")]
    Policy(#[from] PolicyError),
    /// The same key was given for two persons.
    #[error("two persons are asked for and one key was given twice")]
    SamePerson,
}

/// PCRs of one bank, and the digest of the values they must have.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct PcrBinding {
    /// The bank.
    pub bank: HashAlg,
    /// Bit n selects PCR n.
    pub mask: u32,
    /// The digest of the values, ascending, with the policy's hash (see `policy::pcr_digest`).
    pub digest: Digest,
}

/// The PCRs that a mission key of a profile is bound to: the lockdown PCR, and the firmware's where the profile asks.
pub fn mission_pcr_mask(map: &PcrMap, profile: &LevelProfile) -> u32 {
    let boot = pcr_map::MISSION_BOOT.fold(0, |mask, pcr| mask | 1 << pcr);
    let lockdown = 1 << map.lockdown();
    if profile.boot_pcrs {
        lockdown | boot
    } else {
        lockdown
    }
}

/// An NV counter and the value it must have.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct CounterBinding {
    /// The index's Name, written.
    pub name: Name,
    /// The value.
    pub value: u64,
}

impl CounterBinding {
    pub(crate) fn assertion(&self) -> Assertion {
        let operand = self.value.to_be_bytes().to_vec();
        Assertion::Nv {
            index_name: self.name,
            operand,
            offset: 0,
            operation: NvOperation::Eq,
        }
    }
}

/// What a mission key's policy is made of.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct MissionPolicyInput {
    /// The hash: the key's nameAlg.
    pub alg: HashAlg,
    /// When the mission ends on the TPM's clock, in milliseconds. The authPolicy does not depend on it: an approval
    /// can move it.
    pub end_clock_ms: u64,
    /// The Name of the key that approves a mission's end.
    pub approval_key: Name,
    /// The mission.
    pub mission: MissionId,
    /// The lockdown PCR, and the boot PCRs where the profile asks.
    pub pcrs: PcrBinding,
    /// The robot's zeroization epoch.
    pub robot_epoch: CounterBinding,
    /// The level's zeroization epoch.
    pub level_epoch: CounterBinding,
    /// The mission's anchor.
    pub anchor: CounterBinding,
    /// The highest resetCount at which the key still works.
    pub max_reset_count: u32,
    /// The one command that the key is for (see [`command_code`]).
    pub command_code: u32,
}

/// A mission key's policy, in the order that DESIGN §4 makes normative.
///
/// # Errors
/// [`PolicyBuildError::Policy`] where the PCR digest is of another hash.
pub fn mission_policy(input: &MissionPolicyInput) -> Result<Policy, PolicyBuildError> {
    let pcrs = Assertion::Pcr {
        bank_selection: vec![(input.pcrs.bank, input.pcrs.mask)],
        pcr_digest: input.pcrs.digest,
    };
    let resets = Assertion::CounterTimer {
        operand: input.max_reset_count.to_be_bytes().to_vec(),
        offset: time_info::RESET_COUNT,
        operation: NvOperation::UnsignedLe,
    };
    let assertions = vec![
        clock_before(input.end_clock_ms),
        Assertion::Authorize {
            key_name: input.approval_key,
            policy_ref: mission_end_ref(&input.mission),
        },
        pcrs,
        input.robot_epoch.assertion(),
        input.level_epoch.assertion(),
        input.anchor.assertion(),
        resets,
        Assertion::CommandCode(input.command_code),
    ];
    Ok(Policy::new(input.alg, assertions)?)
}

pub(crate) fn clock_before(end_clock_ms: u64) -> Assertion {
    let operand = end_clock_ms.to_be_bytes().to_vec();
    Assertion::CounterTimer {
        operand,
        offset: time_info::CLOCK,
        operation: NvOperation::UnsignedLt,
    }
}

/// The head of a mission key's policy, which the approval key signs: the clock alone. Moving a mission's end is
/// approving another head; nothing after the head can be waived so.
///
/// # Errors
/// None today: the assertion fits every hash.
pub fn head_policy(alg: HashAlg, end_clock_ms: u64) -> Result<Policy, PolicyBuildError> {
    Ok(Policy::new(alg, vec![clock_before(end_clock_ms)])?)
}

/// The policyRef under which a mission's end is approved: SHA-256 over the domain and the mission.
pub fn mission_end_ref(mission: &MissionId) -> Vec<u8> {
    policy_ref(&[domain::MISSION_END.as_bytes(), mission.as_bytes()])
}

/// Hashed, because chips without SHA-384 take no more than 32 bytes (TPM2B_NONCE).
pub(crate) fn policy_ref(parts: &[&[u8]]) -> Vec<u8> {
    HashAlg::Sha256.digest(parts).as_bytes().to_vec()
}

/// The message that the approval key signs to set a mission's end.
pub fn mission_end_message(head: &Digest, mission: &MissionId) -> Vec<u8> {
    policy_authorize_message(head, &mission_end_ref(mission))
}

/// The authPolicy of a level's mission parent and of its derivation key: whatever the rearm key approved for that level.
///
/// # Errors
/// None today: the assertion fits every hash.
pub fn parent_policy(
    alg: HashAlg,
    rearm_key: Name,
    robot: &RobotId,
    level: Level,
) -> Result<Policy, PolicyBuildError> {
    Ok(Policy::new(
        alg,
        vec![Assertion::Authorize {
            key_name: rearm_key,
            policy_ref: rearm_ref(robot, level),
        }],
    )?)
}

/// What the rearm key approves for a level: both epochs stand where the approval found them, and no counting PCR was
/// extended since the session was armed.
///
/// # Errors
/// None today: the assertions fit every hash.
pub fn rearm_policy(
    alg: HashAlg,
    robot_epoch: CounterBinding,
    level_epoch: CounterBinding,
) -> Result<Policy, PolicyBuildError> {
    let epochs = [robot_epoch.assertion(), level_epoch.assertion()];
    Ok(Policy::new(
        alg,
        [until_an_extend(alg)].into_iter().chain(epochs).collect(),
    )?)
}

/// PolicyPCR of no PCR: its digest is the same whatever the PCRs hold, but the session dies with the next extend of a
/// counting PCR (Part 3, §23.7). It stands before the comparisons, for the reason DESIGN §4 gives for mission keys.
fn until_an_extend(alg: HashAlg) -> Assertion {
    Assertion::Pcr {
        bank_selection: Vec::new(),
        pcr_digest: pcr_digest(alg, &[]),
    }
}

/// The whole policy by which a mission parent is used: what was approved, and the approval.
///
/// # Errors
/// None today: the assertions fit every hash.
pub fn parent_session_policy(
    alg: HashAlg,
    rearm_key: Name,
    (robot, level): (&RobotId, Level),
    robot_epoch: CounterBinding,
    level_epoch: CounterBinding,
) -> Result<Policy, PolicyBuildError> {
    let mut assertions = rearm_policy(alg, robot_epoch, level_epoch)?.assertions().to_vec();
    assertions.push(Assertion::Authorize {
        key_name: rearm_key,
        policy_ref: rearm_ref(robot, level),
    });
    Ok(Policy::new(alg, assertions)?)
}

/// The policyRef of a rearm approval: SHA-256 over the domain, the level, the robot. Without the level an approval
/// that names a low level's epoch would open a higher level's parent; without the robot, an approval would open
/// another robot whose epochs happen to stand alike, since the same index has the same Name on every chip.
pub fn rearm_ref(robot: &RobotId, level: Level) -> Vec<u8> {
    policy_ref(&[
        domain::REARM_REF.as_bytes(),
        &[level.id()],
        robot.as_str().as_bytes(),
    ])
}

/// The message that the rearm key signs for a level.
pub fn rearm_message(approved: &Digest, robot: &RobotId, level: Level) -> Vec<u8> {
    policy_authorize_message(approved, &rearm_ref(robot, level))
}

/// The policy of a robot's lockout hierarchy, by which it can be cleared: whatever the rearm key, which takes two persons,
/// approved under the reference of a purge.
///
/// # Errors
/// None today: the assertion fits every hash.
pub fn lockout_policy(alg: HashAlg, rearm_key: Name, robot: &RobotId) -> Result<Policy, PolicyBuildError> {
    Ok(Policy::new(alg, vec![purge_approval(rearm_key, robot)])?)
}

fn purge_approval(rearm_key: Name, robot: &RobotId) -> Assertion {
    Assertion::Authorize {
        key_name: rearm_key,
        policy_ref: purge_ref(robot),
    }
}

/// What two persons approve for a purge: TPM2_Clear alone, and only while the robot's epoch is the one they saw.
///
/// # Errors
/// None today: the assertions fit every hash.
pub fn purge_policy(alg: HashAlg, robot_epoch: CounterBinding) -> Result<Policy, PolicyBuildError> {
    let clear = Assertion::CommandCode(command_code::CLEAR);
    Ok(Policy::new(
        alg,
        vec![until_an_extend(alg), robot_epoch.assertion(), clear],
    )?)
}

/// The whole policy by which a robot is purged: what was approved, and the approval.
///
/// # Errors
/// None today: the assertions fit every hash.
pub fn purge_session_policy(
    alg: HashAlg,
    rearm_key: Name,
    robot: &RobotId,
    robot_epoch: CounterBinding,
) -> Result<Policy, PolicyBuildError> {
    let mut assertions = purge_policy(alg, robot_epoch)?.assertions().to_vec();
    assertions.push(purge_approval(rearm_key, robot));
    Ok(Policy::new(alg, assertions)?)
}

/// The policyRef of a purge's approval: SHA-256 over the domain and the robot.
pub fn purge_ref(robot: &RobotId) -> Vec<u8> {
    policy_ref(&[domain::PURGE_REF.as_bytes(), robot.as_str().as_bytes()])
}

/// The message that the rearm key signs for a purge.
pub fn purge_message(approved: &Digest, robot: &RobotId) -> Vec<u8> {
    policy_authorize_message(approved, &purge_ref(robot))
}

/// The message that the two-person key signs for a command policy: the digest of what the policy says, under a reference of
/// its own, so that no approval of a rearm or a purge is one of a policy, nor the other way round.
pub fn command_policy_message(statement: &Digest) -> Vec<u8> {
    policy_authorize_message(statement, &policy_ref(&[domain::COMMAND_POLICY_REF.as_bytes()]))
}

/// The policy of an approval key that two persons hold: both sign, each naming the cpHash of that one use.
///
/// # Errors
/// [`PolicyBuildError::SamePerson`] where both Names are one.
pub fn two_person_policy(alg: HashAlg, first: Name, second: Name) -> Result<Policy, PolicyBuildError> {
    if first == second {
        return Err(PolicyBuildError::SamePerson);
    }
    let signed = |signer_name| Assertion::Signed {
        signer_name,
        policy_ref: Vec::new(),
    };
    Ok(Policy::new(alg, vec![signed(first), signed(second)])?)
}
