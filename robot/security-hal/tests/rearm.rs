//! The latch: only two persons, naming the epochs the TPM holds, end a stop.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use std::sync::Arc;

use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::attribute;
use alcub3_security_hal::{EmergencyStop, RearmRecord, RearmRefusal, RearmTrustError, StopLimits, StopScope};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{Level, RobotId, domain};
use support::fleet::{BOUND, Fleet, epochs};
use support::{Manner, Robot, order};

fn started(robot: &Robot) -> EmergencyStop {
    let stop = EmergencyStop::new(Arc::clone(&robot.gates), robot.parts(), StopLimits::default()).unwrap();
    stop.recover().unwrap();
    stop
}

#[test]
fn two_persons_naming_the_present_epochs_open_the_levels_they_approved() {
    let (robot, fleet) = (Robot::new(), Fleet::new());
    let stop = started(&robot);
    assert!(robot.gates.admit().is_none(), "a start is stopped");

    let now = epochs(3);
    let record = fleet.record(&now, &[Level::Unclassified, Level::Secret]);
    let levels = stop.rearm(&fleet.trust(), &record, || Ok(now)).unwrap();
    assert_eq!(levels, [Level::Unclassified, Level::Secret]);
    let admission = robot.gates.admit().unwrap();
    assert!(robot.gates.still_open(&admission, Level::Secret, None));
    assert!(
        !robot.gates.still_open(&admission, Level::Cui, None),
        "CUI was not approved"
    );
    assert!(robot.gates.is_level_stopped(Level::Cui));
}

#[test]
fn a_record_from_before_a_stop_never_opens_again() {
    let (robot, fleet) = (Robot::new(), Fleet::new());
    let stop = started(&robot);
    let record = fleet.record(&epochs(3), &Level::ALL);
    stop.rearm(&fleet.trust(), &record, || Ok(epochs(3))).unwrap();
    stop.stop(order(1, StopScope::Robot));
    let refusal = stop.rearm(&fleet.trust(), &record, || Ok(epochs(4))).unwrap_err();
    assert!(matches!(refusal, RearmRefusal::OtherEpochs(_)), "{refusal}");
    assert!(robot.gates.is_robot_stopped());
    let levels = [Level::Cui];
    stop.rearm(&fleet.trust(), &fleet.record(&epochs(4), &levels), || {
        Ok(epochs(4))
    })
    .unwrap();
    assert!(
        robot.gates.is_level_stopped(Level::Secret),
        "a level approved before the stop needs its own again"
    );
}

#[test]
fn while_the_tpm_has_not_confirmed_a_stop_its_epochs_open_nothing() {
    let fleet = Fleet::new();
    let robot = Robot::new().with("tpm", Manner::Fail);
    let stop = started(&robot);
    let record = fleet.record(&epochs(3), &Level::ALL);
    stop.rearm(&fleet.trust(), &record, || Ok(epochs(3))).unwrap();
    stop.stop(order(1, StopScope::Robot));
    // The increment failed, so the TPM still shows the epochs that the old record names.
    let refusal = stop.rearm(&fleet.trust(), &record, || Ok(epochs(3))).unwrap_err();
    assert!(matches!(refusal, RearmRefusal::StopUnfinished), "{refusal}");
    stop.recover().unwrap();
    let refusal = stop.rearm(&fleet.trust(), &record, || Ok(epochs(3))).unwrap_err();
    assert!(
        matches!(refusal, RearmRefusal::StopUnfinished),
        "still unconfirmed: {refusal}"
    );
    assert!(robot.gates.is_robot_stopped());
}

#[test]
fn a_stop_while_the_epochs_are_read_wins() {
    let (robot, fleet) = (Robot::new(), Fleet::new());
    let stop = started(&robot);
    let record = fleet.record(&epochs(3), &Level::ALL);
    let refusal = stop.rearm(&fleet.trust(), &record, || {
        stop.stop(order(1, StopScope::Robot));
        Ok(epochs(3))
    });
    assert!(matches!(refusal, Err(RearmRefusal::Open(_))), "{refusal:?}");
    assert!(robot.gates.is_robot_stopped());
}

#[test]
fn without_recovery_nothing_is_rearmed() {
    let (robot, fleet) = (Robot::new(), Fleet::new());
    let stop = EmergencyStop::new(Arc::clone(&robot.gates), robot.parts(), StopLimits::default()).unwrap();
    let record = fleet.record(&epochs(3), &Level::ALL);
    let refusal = stop.rearm(&fleet.trust(), &record, || Ok(epochs(3))).unwrap_err();
    assert!(matches!(refusal, RearmRefusal::NotRecovered));
}

#[test]
fn forged_foreign_and_moved_approvals_are_refused() {
    let (robot, fleet) = (Robot::new(), Fleet::new());
    let stop = started(&robot);
    let (trust, now) = (fleet.trust(), epochs(3));
    let good = fleet.record(&now, &[Level::Cui]);
    let refused = |record: &RearmRecord| stop.rearm(&trust, record, || Ok(now)).unwrap_err();

    let mut flipped = good.clone();
    flipped.approvals[0].signature.bytes[5] ^= 1;
    assert!(matches!(refused(&flipped), RearmRefusal::NotSigned { .. }));

    let other = Fleet::new().record(&now, &[Level::Cui]);
    assert!(
        matches!(refused(&other), RearmRefusal::NotSigned { .. }),
        "another rearm key"
    );

    let mut moved = good.clone();
    moved.approvals[0].level = Level::Secret;
    moved.approvals[0].level_epoch = now.level(Level::Secret).unwrap();
    assert!(
        matches!(refused(&moved), RearmRefusal::NotSigned { .. }),
        "an approval of CUI for SECRET"
    );

    let mut foreign = good.clone();
    foreign.robot = RobotId::new("rover-2").unwrap();
    assert!(matches!(refused(&foreign), RearmRefusal::WrongRobot(_)));

    let empty = RearmRecord {
        approvals: Vec::new(),
        ..good.clone()
    };
    assert!(matches!(refused(&empty), RearmRefusal::NothingApproved));
    assert!(robot.gates.is_robot_stopped());
    stop.rearm(&trust, &good, || Ok(now)).unwrap();
}

#[test]
fn unreadable_epochs_leave_the_robot_stopped() {
    let (robot, fleet) = (Robot::new(), Fleet::new());
    let stop = started(&robot);
    let record = fleet.record(&epochs(3), &Level::ALL);
    let refusal = stop
        .rearm(&fleet.trust(), &record, || Err("no TPM".into()))
        .unwrap_err();
    assert!(matches!(refusal, RearmRefusal::Epochs(_)));
    assert!(robot.gates.is_robot_stopped());
}

#[test]
fn a_rearm_key_that_one_person_could_use_is_not_pinned() {
    let fleet = Fleet::new();
    let policy = [7; 48];
    for attributes in [
        BOUND | attribute::USER_WITH_AUTH,
        BOUND & !attribute::FIXED_TPM,
        0,
    ] {
        let public = fleet.rearm_public(attributes, &policy);
        assert!(
            matches!(fleet.pin(&public), Err(RearmTrustError::Attributes)),
            "{attributes:#x}"
        );
    }
    assert!(
        matches!(
            fleet.pin(&fleet.rearm_public(BOUND, &[])),
            Err(RearmTrustError::Attributes)
        ),
        "no policy"
    );
    assert!(fleet.pin(&fleet.rearm_public(BOUND, &policy)).is_ok());
}

#[test]
fn a_record_reads_back_exactly_and_nothing_else_does() {
    let record = Fleet::new().record(&epochs(7), &[Level::Cui, Level::TopSecret]);
    let bytes = record.to_canonical();
    assert_eq!(RearmRecord::from_canonical(&bytes).unwrap(), record);
    for cut in 0..bytes.len() {
        assert!(RearmRecord::from_canonical(&bytes[..cut]).is_err());
    }
    let twice = RearmRecord {
        approvals: vec![record.approvals[0].clone(), record.approvals[0].clone()],
        ..record
    };
    assert!(
        RearmRecord::from_canonical(&twice.to_canonical()).is_err(),
        "a level named twice"
    );
}

/// Found by the fuzz target `robot_files`: a signature whose numbers are longer than we write them.
#[test]
fn a_signature_in_another_form_is_refused() {
    let record = |number: &[u8]| {
        let length = u16::try_from(number.len()).unwrap().to_be_bytes();
        let number = [&length[..], number].concat();
        let signature = [&[0, 0x18, 0, 0x0b][..], &number, &number].concat();
        let mut out = Encoder::structure(domain::REARM, 1, 2);
        out.u64(2).text("robot-17").u64(3).array(1);
        out.array(5).u64(0).u64(3).u64(4);
        out.u64(HashAlg::Sha256.tpm_id().into()).bytes(&signature);
        out.finish()
    };
    assert!(RearmRecord::from_canonical(&record(&[0x11; 32])).is_ok());
    assert!(RearmRecord::from_canonical(&record(&[0x11; 31])).is_err());
    assert!(RearmRecord::from_canonical(&record(&[0x11; 33])).is_err());
}
