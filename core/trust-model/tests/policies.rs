//! The key policies: their order, what their digests depend on and what they do not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::tpm::Name;
use alcub3_crypto::tpm::policy::{Assertion, NvOperation, pcr_digest};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::{
    CounterBinding, MissionPolicyInput, PcrBinding, PolicyBuildError, command_code, head_policy,
    mission_end_message, mission_end_ref, mission_pcr_mask, mission_policy, parent_policy,
    parent_session_policy, rearm_message, rearm_policy, rearm_ref, two_person_policy,
};
use alcub3_trust_model::{Level, MissionId, RobotId, profile};

const ALG: HashAlg = HashAlg::Sha256;

fn counter(index: NvIndex, value: u64) -> CounterBinding {
    CounterBinding {
        name: NvMap::new(ALG).unwrap().spec(index).tpm_name(true),
        value,
    }
}

fn key(byte: u8) -> Name {
    Name::of_public(ALG, &[byte])
}

fn input() -> MissionPolicyInput {
    let pcrs = PcrBinding {
        bank: ALG,
        mask: 1 << 13,
        digest: pcr_digest(ALG, &[Digest::zero(ALG)]),
    };
    MissionPolicyInput {
        alg: ALG,
        end_clock_ms: 3_600_000,
        approval_key: key(1),
        mission: MissionId::new([7; 16]),
        pcrs,
        robot_epoch: counter(NvIndex::RobotEpoch, 4),
        level_epoch: counter(NvIndex::LevelEpoch(Level::Cui), 5),
        anchor: counter(NvIndex::MissionAnchor(MissionAnchor::new(2).unwrap()), 6),
        max_reset_count: 9,
        command_code: command_code::SIGN,
    }
}

fn rover() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

/// The same index has the same Name on every chip, so only the reference keeps an approval to its robot.
#[test]
fn a_rearm_approval_of_one_robot_opens_no_other() {
    let other = RobotId::new("rover-2").unwrap();
    let parent = |robot: &RobotId| parent_policy(ALG, key(3), robot, Level::Cui).unwrap().digest();
    assert_ne!(rearm_ref(&rover(), Level::Cui), rearm_ref(&other, Level::Cui));
    assert_ne!(parent(&rover()), parent(&other));
}

#[test]
fn mission_policy_has_the_normative_order() {
    let policy = mission_policy(&input()).unwrap();
    let order: Vec<&str> = policy.assertions().iter().map(kind).collect();
    assert_eq!(
        order,
        [
            "counter-timer",
            "authorize",
            "pcr",
            "nv",
            "nv",
            "nv",
            "counter-timer",
            "command-code"
        ]
    );
    let Assertion::CounterTimer {
        operand,
        offset,
        operation,
    } = &policy.assertions()[0]
    else {
        panic!()
    };
    assert_eq!(
        (operand.as_slice(), *offset),
        (3_600_000u64.to_be_bytes().as_slice(), 8)
    );
    assert_eq!(*operation, NvOperation::UnsignedLt);
    let Assertion::CounterTimer {
        operand,
        offset,
        operation,
    } = &policy.assertions()[6]
    else {
        panic!()
    };
    assert_eq!((operand.as_slice(), *offset), (9u32.to_be_bytes().as_slice(), 16));
    assert_eq!(*operation, NvOperation::UnsignedLe);
    let epochs: Vec<_> = policy.assertions()[3..6].iter().map(nv).collect();
    assert_eq!(
        epochs,
        [
            (input().robot_epoch.name, 4),
            (input().level_epoch.name, 5),
            (input().anchor.name, 6)
        ]
    );
}

fn kind(assertion: &Assertion) -> &'static str {
    match assertion {
        Assertion::CounterTimer { .. } => "counter-timer",
        Assertion::Authorize { .. } => "authorize",
        Assertion::Pcr { .. } => "pcr",
        Assertion::Nv { .. } => "nv",
        Assertion::CommandCode(_) => "command-code",
        _ => "other",
    }
}

fn nv(assertion: &Assertion) -> (Name, u64) {
    let Assertion::Nv {
        index_name,
        operand,
        offset: 0,
        operation: NvOperation::Eq,
    } = assertion
    else {
        panic!("{assertion:?}")
    };
    (
        *index_name,
        u64::from_be_bytes(operand.as_slice().try_into().unwrap()),
    )
}

/// The digest step by step, written out from TPM 2.0 Library Part 3 §23 and not from the builder.
#[test]
fn mission_policy_digest_is_that_of_the_specification() {
    let h = |parts: &[&[u8]]| ALG.digest(parts).as_bytes().to_vec();
    let input = input();
    let mut d = vec![0u8; 32];
    d = h(&[&d, &0x16Au32.to_be_bytes(), input.approval_key.as_bytes()]);
    d = h(&[&d, &h(&[b"alcub3/mission-end/v1", &[7; 16]])]);
    let selection = [0, 0, 0, 1, 0, 0x0B, 3, 0, 0x20, 0];
    d = h(&[&d, &0x17Fu32.to_be_bytes(), &selection, &h(&[&[0; 32]])]);
    for counter in [input.robot_epoch, input.level_epoch, input.anchor] {
        let args = h(&[&counter.value.to_be_bytes(), &[0, 0], &[0, 0]]);
        d = h(&[&d, &0x149u32.to_be_bytes(), &args, counter.name.as_bytes()]);
    }
    let args = h(&[&9u32.to_be_bytes(), &16u16.to_be_bytes(), &9u16.to_be_bytes()]);
    d = h(&[&d, &0x16Du32.to_be_bytes(), &args]);
    d = h(&[&d, &0x16Cu32.to_be_bytes(), &0x15Du32.to_be_bytes()]);
    assert_eq!(mission_policy(&input).unwrap().digest().as_bytes(), d);
}

#[test]
fn moving_the_end_keeps_the_policy_and_nothing_else_does() {
    let digest = |input: &MissionPolicyInput| mission_policy(input).unwrap().digest();
    let base = digest(&input());
    assert_eq!(
        digest(&MissionPolicyInput {
            end_clock_ms: 1,
            ..input()
        }),
        base
    );
    let other_pcrs = PcrBinding {
        mask: 1 << 14,
        ..input().pcrs
    };
    let changed = [
        MissionPolicyInput {
            approval_key: key(2),
            ..input()
        },
        MissionPolicyInput {
            mission: MissionId::new([8; 16]),
            ..input()
        },
        MissionPolicyInput {
            pcrs: other_pcrs,
            ..input()
        },
        MissionPolicyInput {
            robot_epoch: counter(NvIndex::RobotEpoch, 5),
            ..input()
        },
        MissionPolicyInput {
            level_epoch: counter(NvIndex::LevelEpoch(Level::Secret), 5),
            ..input()
        },
        MissionPolicyInput {
            anchor: counter(NvIndex::AuditAnchor, 6),
            ..input()
        },
        MissionPolicyInput {
            max_reset_count: 10,
            ..input()
        },
        MissionPolicyInput {
            command_code: command_code::HMAC,
            ..input()
        },
    ];
    for input in changed {
        assert_ne!(digest(&input), base, "{input:?}");
    }
}

#[test]
fn approvals_name_what_they_approve() {
    let near = head_policy(ALG, 1000).unwrap().digest();
    let far = head_policy(ALG, 2000).unwrap().digest();
    assert_ne!(near, far);
    let mission = MissionId::new([7; 16]);
    assert_eq!(
        mission_end_message(&near, &mission),
        [near.as_bytes(), &mission_end_ref(&mission)].concat()
    );
    assert_ne!(
        mission_end_ref(&mission),
        mission_end_ref(&MissionId::new([6; 16]))
    );
    // TPM2B_NONCE holds a policyRef: never more than the smallest of our hashes may carry on any chip.
    assert_eq!(
        (
            mission_end_ref(&mission).len(),
            rearm_ref(&rover(), Level::TopSecret).len()
        ),
        (32, 32)
    );
}

#[test]
fn a_rearm_of_one_level_does_not_open_another() {
    let (robot, cui) = (
        counter(NvIndex::RobotEpoch, 4),
        counter(NvIndex::LevelEpoch(Level::Cui), 5),
    );
    let approved = rearm_policy(ALG, robot, cui).unwrap();
    assert_ne!(
        rearm_message(&approved.digest(), &rover(), Level::Cui),
        rearm_message(&approved.digest(), &rover(), Level::Secret)
    );
    let parents: Vec<Digest> = Level::ALL
        .iter()
        .map(|level| parent_policy(ALG, key(3), &rover(), *level).unwrap().digest())
        .collect();
    for (at, parent) in parents.iter().enumerate() {
        assert!(parents.iter().skip(at + 1).all(|other| other != parent));
    }
}

#[test]
fn the_session_of_a_parent_ends_in_its_policy() {
    let (robot, cui) = (
        counter(NvIndex::RobotEpoch, 4),
        counter(NvIndex::LevelEpoch(Level::Cui), 5),
    );
    let session = parent_session_policy(ALG, key(3), (&rover(), Level::Cui), robot, cui).unwrap();
    assert_eq!(
        session.digest(),
        parent_policy(ALG, key(3), &rover(), Level::Cui).unwrap().digest()
    );
    let approved = rearm_policy(ALG, robot, cui).unwrap();
    assert_eq!(&session.assertions()[..3], approved.assertions());
    assert!(matches!(approved.assertions()[0], Assertion::Pcr { .. }));
}

#[test]
fn two_persons_are_two_keys() {
    assert_eq!(
        two_person_policy(ALG, key(1), key(1)),
        Err(PolicyBuildError::SamePerson)
    );
    let one = two_person_policy(ALG, key(1), key(2)).unwrap();
    assert_ne!(
        one.digest(),
        two_person_policy(ALG, key(2), key(1)).unwrap().digest()
    );
}

#[test]
fn a_digest_of_another_hash_is_refused() {
    let pcrs = PcrBinding {
        digest: Digest::zero(HashAlg::Sha384),
        ..input().pcrs
    };
    let built = mission_policy(&MissionPolicyInput { pcrs, ..input() });
    assert!(matches!(built, Err(PolicyBuildError::Policy(_))));
}

#[test]
fn boot_pcrs_are_bound_where_the_profile_asks() {
    let map = PcrMap::DEFAULT;
    assert_eq!(mission_pcr_mask(&map, &profile(Level::Cui)), 1 << 13);
    assert_eq!(mission_pcr_mask(&map, &profile(Level::Secret)), 1 << 13 | 0xFF);
}
