//! Every row of the table in DESIGN §4, tried on swtpm: what the mission-key policy stops, and why each part of it and
//! their order are needed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::policy::{Assertion, NvOperation, Policy};
use alcub3_crypto::tpm::{PublicTemplate, Signature};
use alcub3_crypto::{Curve, HashAlg, SignatureScheme, SigningKey};
use alcub3_testkit::PowerUp;
use alcub3_tpm::ops::{Approval, Created, Key, PolicyInputs, nv_attribute};
use alcub3_tpm::{Auth, PolicySession, ResponseCode, Result, TpmError};
use alcub3_trust_model::MissionId;
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, command_code, head_policy, mission_end_message,
    mission_end_ref, mission_policy,
};
use support::{Fixture, attributes, fixture, nothing};

const SHA256: HashAlg = HashAlg::Sha256;
const LOCKDOWN: u32 = 13;
const ROBOT_EPOCH: u32 = 0x0181_0000;
const LEVEL_EPOCH: u32 = 0x0181_0010;
const ANCHOR: u32 = 0x0181_0020;
const HOUR_MS: u64 = 3_600_000;

/// A robot with its counters, and one mission key under the normative policy.
struct Mission {
    f: Fixture,
    input: MissionPolicyInput,
    approver: SigningKey,
    blobs: Created,
}

impl Mission {
    fn start(resets_allowed: u32) -> Self {
        let mut f = fixture();
        for index in [ROBOT_EPOCH, LEVEL_EPOCH, ANCHOR] {
            f.define(index, nv_attribute::COUNTER, 8);
            f.chip.nv_increment(index).unwrap();
        }
        let approver = SigningKey::generate(Curve::P256).unwrap();
        let clock = f.chip.read_clock().unwrap();
        let digest = f.chip.pcr_digest(SHA256, &[(SHA256, 1 << LOCKDOWN)]).unwrap();
        let mut binding = |index| CounterBinding {
            name: f.chip.nv_read_public(index).unwrap().name(),
            value: f.chip.nv_counter(index).unwrap(),
        };
        let (robot_epoch, level_epoch, anchor) =
            (binding(ROBOT_EPOCH), binding(LEVEL_EPOCH), binding(ANCHOR));
        let input = MissionPolicyInput {
            alg: SHA256,
            end_clock_ms: clock.clock_ms + HOUR_MS,
            approval_key: approver_public(&approver).name(),
            mission: MissionId::new([7; 16]),
            pcrs: PcrBinding {
                bank: SHA256,
                mask: 1 << LOCKDOWN,
                digest,
            },
            robot_epoch,
            level_epoch,
            anchor,
            max_reset_count: clock.reset_count + resets_allowed,
            command_code: command_code::SIGN,
        };
        let blobs = make_key(&mut f, &mission_policy(&input).unwrap());
        Self {
            f,
            input,
            approver,
            blobs,
        }
    }

    fn policy(&self) -> Policy {
        mission_policy(&self.input).unwrap()
    }

    /// The authority's approval of the mission's end as it stands in the input.
    fn inputs(&self) -> PolicyInputs {
        let head = head_policy(SHA256, self.input.end_clock_ms).unwrap().digest();
        let message = mission_end_message(&head, &self.input.mission);
        let bytes = self.approver.sign(&message).unwrap();
        let nv = PolicyInputs::new().nv(ROBOT_EPOCH).nv(LEVEL_EPOCH).nv(ANCHOR);
        nv.approval(Approval {
            key: approver_public(&self.approver),
            policy_ref: mission_end_ref(&self.input.mission),
            signature: Signature {
                scheme: SignatureScheme::Ecdsa(SHA256),
                bytes,
            },
        })
    }

    fn arm(&mut self) -> Result<PolicySession> {
        self.f.chip.policy_session(&self.policy(), &self.inputs())
    }

    fn sign(&mut self, session: &PolicySession) -> Result<()> {
        sign(&mut self.f, &self.blobs, session)
    }

    /// A whole use: arm and sign.
    fn try_use(&mut self) -> Result<()> {
        let session = self.arm()?;
        self.sign(&session)
    }

    fn past_the_end(&mut self) {
        self.f
            .chip
            .clock_set(Auth::Empty, self.input.end_clock_ms + 1)
            .unwrap();
    }

    fn extend(&mut self, pcr: u32) {
        self.f
            .chip
            .pcr_extend(pcr, &[SHA256.digest(&[b"event"])])
            .unwrap();
    }

    fn refused_with(&mut self, code: ResponseCode) {
        let refused = self.try_use().unwrap_err();
        assert!(refused.is_refusal(code), "{refused}");
    }
}

fn approver_public(key: &SigningKey) -> alcub3_crypto::tpm::Public {
    PublicTemplate::external(&key.verifying_key(), SHA256)
        .to_public()
        .unwrap()
}

fn make_key(f: &mut Fixture, policy: &Policy) -> Created {
    let srk = f.srk.clone();
    let template =
        PublicTemplate::signing_key(Curve::P256, attributes::SIGN_WITH_POLICY, Some(&policy.digest()));
    f.chip
        .create(&srk, Auth::Empty, template.as_tpmt_bytes(), &nothing(), None, &[])
        .unwrap()
}

fn sign(f: &mut Fixture, blobs: &Created, session: &PolicySession) -> Result<()> {
    let srk = f.srk.clone();
    let key: Key = f
        .chip
        .load(&srk, Auth::Empty, &blobs.private, &blobs.public)?
        .into();
    let signature = f
        .chip
        .sign(&key, Auth::Policy(session), &SHA256.digest(&[b"m"]))?;
    signature.verify(&key.public().verifying_key()?, b"m")?;
    Ok(())
}

#[test]
fn a_new_session_after_the_end_or_after_anchor_or_epoch_moved_is_refused() {
    let mut mission = Mission::start(0);
    mission.try_use().unwrap();
    for index in [ANCHOR, LEVEL_EPOCH, ROBOT_EPOCH] {
        let mut mission = Mission::start(0);
        mission.f.chip.nv_increment(index).unwrap();
        mission.refused_with(ResponseCode::POLICY);
    }
    mission.past_the_end();
    mission.refused_with(ResponseCode::POLICY);
}

#[test]
fn a_session_armed_before_epoch_anchor_or_clock_moved_still_signs() {
    for index in [ANCHOR, LEVEL_EPOCH, ROBOT_EPOCH] {
        let mut mission = Mission::start(0);
        let armed = mission.arm().unwrap();
        mission.f.chip.nv_increment(index).unwrap();
        mission.sign(&armed).unwrap();
    }
    let mut mission = Mission::start(0);
    let armed = mission.arm().unwrap();
    mission.past_the_end();
    mission.sign(&armed).unwrap();
}

#[test]
fn any_counting_pcr_kills_an_armed_session() {
    for pcr in [7, 12, LOCKDOWN] {
        let mut mission = Mission::start(0);
        let armed = mission.arm().unwrap();
        mission.extend(pcr);
        let refused = mission.sign(&armed).unwrap_err();
        assert!(
            refused.is_refusal(ResponseCode::PCR_CHANGED),
            "PCR {pcr}: {refused}"
        );
    }
}

#[test]
fn resettable_pcrs_do_not_count() {
    for pcr in [16, 23] {
        let mut mission = Mission::start(0);
        let armed = mission.arm().unwrap();
        mission.extend(pcr);
        mission.sign(&armed).unwrap();
    }
}

/// How much of a policy is replayed before the stop; the rest comes after.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
enum Replayed {
    First,
    Both,
}

/// Arms a session, wholly or with the first of two assertions, has the chip save it, stops the robot, lets power go
/// and come as said, replays the rest and uses it.
fn saved_across_power(pcr_first: bool, replayed: Replayed, orderly: bool, then: PowerUp) -> Result<()> {
    let mut mission = Mission::start(9);
    let pcrs = mission.input.pcrs;
    let pcr = Assertion::Pcr {
        bank_selection: vec![(pcrs.bank, pcrs.mask)],
        pcr_digest: pcrs.digest,
    };
    let epoch = Assertion::Nv {
        index_name: mission.input.robot_epoch.name,
        operand: mission.input.robot_epoch.value.to_be_bytes().to_vec(),
        offset: 0,
        operation: NvOperation::Eq,
    };
    let assertions = if pcr_first { [pcr, epoch] } else { [epoch, pcr] };
    let part = |range: std::ops::Range<usize>| Policy::new(SHA256, assertions[range].to_vec()).unwrap();
    let (before, after) = match replayed {
        Replayed::First => (part(0..1), part(1..2)),
        Replayed::Both => (part(0..2), part(2..2)),
    };
    let policy = part(0..2);
    let blobs = make_key(&mut mission.f, &policy);
    let inputs = PolicyInputs::new().nv(ROBOT_EPOCH);
    let armed = mission.f.chip.policy_session(&before, &inputs).unwrap();
    // A second session takes the only free slot, so that the first one is saved.
    let second = mission.f.chip.begin_policy(&policy).unwrap();
    assert_eq!(mission.f.chip.slot_usage().sessions_loaded, 1);
    drop(second);
    mission.f.settle();
    let digest = SHA256.digest(&[b"stop"]);
    let stop = mission
        .f
        .chip
        .emergency_stop_commands(LOCKDOWN, &[digest], ROBOT_EPOCH);
    assert!(stop.extend.is_ok() && stop.increment.is_ok());
    if orderly {
        mission.f.swtpm.shutdown().unwrap();
    }
    mission.f.swtpm.power_cycle(then).unwrap();
    mission.f.chip.complete_policy(&armed, &after, &inputs)?;
    sign(&mut mission.f, &blobs, &armed)
}

#[test]
fn with_pcr_last_a_session_saved_before_a_stop_signs_after_a_restart() {
    // Why the order is normative: the lockdown PCR is back at its baseline, and the epoch is not looked at again.
    saved_across_power(false, Replayed::First, true, PowerUp::Clear).unwrap();
}

#[test]
fn with_pcr_first_a_session_saved_before_a_stop_does_not_sign_after_restart_resume_or_reset() {
    for (orderly, then) in [
        (true, PowerUp::Clear),
        (true, PowerUp::Resume),
        (false, PowerUp::Clear),
    ] {
        for replayed in [Replayed::First, Replayed::Both] {
            let refused = saved_across_power(true, replayed, orderly, then).unwrap_err();
            assert!(
                matches!(refused, TpmError::Refused { .. }),
                "{replayed:?} {then:?}: {refused}"
            );
        }
    }
}

#[test]
fn a_counter_defined_again_starts_above_the_highest_undefined_one() {
    let mut f = fixture();
    f.define(ROBOT_EPOCH, nv_attribute::COUNTER, 8);
    f.define(LEVEL_EPOCH, nv_attribute::COUNTER, 8);
    for _ in 0..5 {
        f.chip.nv_increment(ROBOT_EPOCH).unwrap();
    }
    for _ in 0..20 {
        f.chip.nv_increment(LEVEL_EPOCH).unwrap();
    }
    let (old, live) = (
        f.chip.nv_counter(ROBOT_EPOCH).unwrap(),
        f.chip.nv_counter(LEVEL_EPOCH).unwrap(),
    );
    f.chip.nv_undefine(&nothing(), ROBOT_EPOCH).unwrap();
    f.define(ROBOT_EPOCH, nv_attribute::COUNTER, 8);
    f.chip.nv_increment(ROBOT_EPOCH).unwrap();
    let new = f.chip.nv_counter(ROBOT_EPOCH).unwrap();
    assert!(new > old, "{new} after {old}");
    assert!(new < live, "live counters do not count: {new}, {live}");
}

#[test]
fn an_end_is_moved_by_approval_and_nothing_else_is() {
    let mut mission = Mission::start(0);
    let key_policy = mission.policy().digest();
    mission.try_use().unwrap();
    mission.past_the_end();
    mission.refused_with(ResponseCode::POLICY);
    mission.input.end_clock_ms += 10 * HOUR_MS;
    // The same key: its authPolicy does not depend on the end.
    assert_eq!(mission.policy().digest(), key_policy);
    mission.try_use().unwrap();
    // Not by another's approval, nor by an approval for another mission.
    let approver = std::mem::replace(&mut mission.approver, SigningKey::generate(Curve::P256).unwrap());
    assert!(matches!(mission.try_use(), Err(TpmError::PolicyInput { .. })));
    mission.approver = approver;
    let head = head_policy(SHA256, mission.input.end_clock_ms + 1)
        .unwrap()
        .digest();
    let other = mission_end_message(&head, &MissionId::new([8; 16]));
    let bytes = mission.approver.sign(&other).unwrap();
    mission.input.end_clock_ms += 1;
    let forged = PolicyInputs::new().approval(Approval {
        key: approver_public(&mission.approver),
        policy_ref: mission_end_ref(&mission.input.mission),
        signature: Signature {
            scheme: SignatureScheme::Ecdsa(SHA256),
            bytes,
        },
    });
    let refused = mission
        .f
        .chip
        .policy_session(&mission.policy(), &forged)
        .unwrap_err();
    assert!(refused.is_refusal(ResponseCode::SIGNATURE), "{refused}");
    // Armed, then stopped; and a new session after the stop.
    let armed = mission.arm().unwrap();
    let stop = mission
        .f
        .chip
        .emergency_stop_commands(LOCKDOWN, &[SHA256.digest(&[b"stop"])], ROBOT_EPOCH);
    assert!(stop.protected);
    assert!(
        mission
            .sign(&armed)
            .unwrap_err()
            .is_refusal(ResponseCode::PCR_CHANGED)
    );
    mission.refused_with(ResponseCode::VALUE);
}

#[test]
fn without_power_the_clock_stands_and_the_reset_count_ends_the_key() {
    let mut mission = Mission::start(0);
    let before = mission.f.chip.read_clock().unwrap();
    mission.try_use().unwrap();
    for _ in 0..3 {
        mission.f.swtpm.kill_and_respawn(PowerUp::Clear).unwrap();
    }
    let after = mission.f.chip.read_clock().unwrap();
    assert!(after.clock_ms < before.clock_ms + 60_000, "{before:?} {after:?}");
    assert!(after.reset_count > before.reset_count);
    mission.refused_with(ResponseCode::POLICY);
    let mut lasting = Mission::start(1);
    lasting.f.swtpm.kill_and_respawn(PowerUp::Clear).unwrap();
    lasting.try_use().unwrap();
}

#[test]
fn a_key_is_for_one_command() {
    let mut mission = Mission::start(0);
    let (srk, ak) = (mission.f.srk.clone(), mission.f.ak.clone());
    let key: Key = mission
        .f
        .chip
        .load(&srk, Auth::Empty, &mission.blobs.private, &mission.blobs.public)
        .unwrap()
        .into();
    let armed = mission.arm().unwrap();
    let refused = mission
        .f
        .chip
        .certify(&key, Auth::Policy(&armed), &ak, b"")
        .unwrap_err();
    assert!(
        refused.is_refusal(ResponseCode::POLICY_CC) || refused.is_refusal(ResponseCode::POLICY_FAIL),
        "{refused}"
    );
}
