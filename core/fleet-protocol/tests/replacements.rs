//! Replaced parts: what a robot must prove, and what one person approves.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;
#[path = "fixture/replacing.rs"]
mod replacing;

use alcub3_attestation::certify::Signed;
use alcub3_crypto::{Curve, Digest, SigningKey};
use alcub3_fleet_protocol::CounterError;
use alcub3_fleet_protocol::replacement::{
    MAX_MEASURED, ProvenHardware, Replacement, ReplacementError, ReplacementRequest, replacement_binding,
};
use alcub3_trust_model::hardware::{HardwareReason, PartClass};
use alcub3_trust_model::nv_map::{NvIndex, Register};
use alcub3_trust_model::{RobotId, SessionId};
use fixture::{PARENT, SoftChip, parent_public};
use replacing::{CURVE, REGISTER, SESSION, World, part};
#[test]
fn a_request_has_one_encoding_and_none_with_more_measurements_than_a_log_holds() {
    let world = World::new();
    let mut request = world.request(&[world.lidar("L-1"), world.lidar("L-2")]);
    let bytes = request.to_canonical();
    assert_eq!(ReplacementRequest::from_canonical(&bytes).unwrap(), request);
    for cut in 0..bytes.len() {
        assert!(ReplacementRequest::from_canonical(&bytes[..cut]).is_err());
    }
    request.measured = vec![request.measured[0]; MAX_MEASURED + 1];
    assert!(ReplacementRequest::from_canonical(&request.to_canonical()).is_err());
}

#[test]
fn what_was_measured_last_is_proven_and_one_person_may_approve_a_replaceable_part() {
    let world = World::new();
    for measured in [
        vec![world.lidar("L-2")],
        vec![world.lidar("L-1"), world.lidar("L-3"), world.lidar("L-2")],
    ] {
        let proven = world.proven(world.request(&measured)).unwrap();
        assert!(!proven.is_enrolled_at_robot());
        let verdict = proven.replaces(&world.lidar("L-1")).unwrap();
        let [difference] = &verdict.differences[..] else {
            panic!("{verdict:?}")
        };
        assert_eq!(difference.reason, HardwareReason::PartExchanged);
        assert_eq!(
            (difference.enrolled.as_deref(), difference.found.as_deref()),
            (Some("L-1"), Some("L-2"))
        );
    }
}

#[test]
fn another_robot_or_no_difference_is_nothing_to_approve() {
    let world = World::new();
    let before = world.lidar("L-1");
    let same = world.proven(world.request(&[world.lidar("L-1")])).unwrap();
    assert!(same.is_enrolled_at_robot());
    assert_eq!(same.replaces(&before).unwrap_err().code(), "hardware-same");
    let mut boards = Vec::new();
    let mut other = world.chip.hardware("A-2");
    boards.push((other.clone(), HardwareReason::IdentityPartExchanged));
    other.inventory = alcub3_trust_model::hardware::Inventory::new();
    boards.push((other, HardwareReason::IdentityPartMissing));
    let mut more = world.lidar("L-2");
    more.inventory = more
        .inventory
        .with(part(PartClass::System, "product_serial", "S-1"))
        .unwrap();
    boards.push((more, HardwareReason::IdentityPartAdded));
    let mut chip = world.lidar("L-2");
    chip.endorsement_key = SoftChip::new(CURVE).hardware("A-1").endorsement_key;
    boards.push((chip, HardwareReason::IdentityPartExchanged));
    for (found, reason) in boards {
        // The other part is measured and proven well: it is the comparison that refuses.
        let refused = world
            .proven(world.request(&[found]))
            .unwrap()
            .replaces(&before)
            .unwrap_err();
        assert_eq!(refused.another_robot(), Some(reason), "{refused}");
        assert_eq!(refused.code(), reason.code());
    }
}

#[test]
fn another_robot_or_exchange_is_refused() {
    let world = World::new();
    let request = world.request(&[world.lidar("L-2")]);
    let other = ReplacementRequest {
        robot: RobotId::new("rover-18").unwrap(),
        ..request.clone()
    };
    assert!(matches!(world.refused(other), ReplacementError::Other("robot")));
    let refused = ProvenHardware::verify(request, &world.enrolment(), SessionId::new([8; 16])).unwrap_err();
    assert!(matches!(refused, ReplacementError::Other("exchange")));
}

#[test]
fn a_register_that_does_not_replay_to_the_record_found_is_refused() {
    let world = World::new();
    let good = world.request(&[world.lidar("L-1"), world.lidar("L-2")]);
    // A measurement is left out, told twice, or of another hash; or the order is another.
    for measured in [
        vec![good.measured[1]],
        Vec::new(),
        [good.measured.clone(), vec![good.measured[1]]].concat(),
        vec![good.measured[1], good.measured[0]],
        vec![Digest::zero(Curve::P384.hash()), good.measured[1]],
    ] {
        let request = ReplacementRequest {
            measured,
            ..good.clone()
        };
        assert!(matches!(world.refused(request), ReplacementError::Replay));
    }
    // What was measured last is another record than the one that is claimed.
    let swapped = world.request(&[world.lidar("L-2"), world.lidar("L-1")]);
    let extra = replacement_binding(
        SESSION,
        &world.record.robot,
        &world.lidar("L-2").binding(CURVE.hash()),
    );
    let held = Register::HardwareInventory.replay(Digest::zero(CURVE.hash()), &swapped.measured);
    let request = ReplacementRequest {
        hardware: world.lidar("L-2"),
        register: world.certified(REGISTER, 0, held.as_bytes(), &extra),
        ..swapped
    };
    assert!(matches!(world.refused(request), ReplacementError::NotMeasured));
}

#[test]
fn the_register_is_the_enrolled_chips_own_and_certified_for_this_request() {
    let world = World::new();
    let good = world.request(&[world.lidar("L-2")]);
    let hash = CURVE.hash();
    let extra = replacement_binding(SESSION, &world.record.robot, &good.hardware.binding(hash));
    let held = Register::HardwareInventory.replay(Digest::zero(hash), &good.measured);
    let with = |register: Signed| ReplacementRequest {
        register,
        ..good.clone()
    };
    // Another chip's attestation key.
    let mut stranger = World::new();
    stranger.record = world.record.clone();
    let refused = world.refused(with(stranger.certified(REGISTER, 0, held.as_bytes(), &extra)));
    assert!(matches!(
        refused,
        ReplacementError::Register(CounterError::Certify { .. })
    ));
    // Another exchange's, or another record's certification.
    for extra in [
        replacement_binding(
            SessionId::new([8; 16]),
            &world.record.robot,
            &good.hardware.binding(hash),
        ),
        replacement_binding(SESSION, &world.record.robot, &world.lidar("L-9").binding(hash)),
    ] {
        let refused = world.refused(with(world.certified(REGISTER, 0, held.as_bytes(), &extra)));
        assert!(matches!(
            refused,
            ReplacementError::Register(CounterError::Certify { .. })
        ));
    }
    // Another register, and part of this one.
    let other = NvIndex::Register(Register::OperationalMode);
    let refused = world.refused(with(world.certified(other, 0, held.as_bytes(), &extra)));
    assert!(matches!(
        refused,
        ReplacementError::Register(CounterError::OtherIndex(_))
    ));
    for (offset, contents) in [(1, held.as_bytes()), (0, &held.as_bytes()[1..])] {
        let refused = world.refused(with(world.certified(REGISTER, offset, contents, &extra)));
        assert!(matches!(
            refused,
            ReplacementError::Register(CounterError::NotADigest(_))
        ));
    }
}

#[test]
fn the_storage_root_is_the_enrolled_chips_own() {
    let world = World::new();
    let good = world.request(&[world.lidar("L-2")]);
    // Certified by another chip, or another key than the one certified.
    let stranger = World::new();
    let foreign = ReplacementRequest {
        certification: stranger.request(&[stranger.lidar("L-2")]).certification,
        ..good.clone()
    };
    assert!(matches!(
        world.refused(foreign),
        ReplacementError::Certification(_)
    ));
    let other = ReplacementRequest {
        storage_root: parent_public(&SigningKey::generate(CURVE).unwrap(), PARENT),
        ..good.clone()
    };
    assert!(matches!(
        world.refused(other),
        ReplacementError::Other("storage root")
    ));
    let no_root = ReplacementRequest {
        storage_root: world.chip.ak_public(),
        ..good
    };
    assert!(matches!(world.refused(no_root), ReplacementError::StorageRoot(_)));
}

#[test]
fn what_a_person_signs_is_of_one_change_alone() {
    let change = Replacement {
        session: SESSION,
        robot: RobotId::new("rover-17").unwrap(),
        before: CURVE.hash().digest(&[b"before"]),
        after: CURVE.hash().digest(&[b"after"]),
        elsewhere: Vec::new(),
    };
    let message = change.message();
    let text = String::from_utf8_lossy(&message);
    assert!(text.contains("alcub3/replacement/v1"), "{text}");
    let others = [
        Replacement {
            session: SessionId::new([8; 16]),
            ..change.clone()
        },
        Replacement {
            robot: RobotId::new("rover-18").unwrap(),
            ..change.clone()
        },
        Replacement {
            before: change.after,
            ..change.clone()
        },
        Replacement {
            after: change.before,
            ..change.clone()
        },
        Replacement {
            elsewhere: vec![RobotId::new("rover-18").unwrap()],
            ..change.clone()
        },
    ];
    let elsewhere = |name| Replacement {
        elsewhere: vec![RobotId::new(name).unwrap()],
        ..change.clone()
    };
    assert_ne!(elsewhere("rover-18").message(), elsewhere("rover-19").message());
    for other in others {
        assert_ne!(other.message(), message, "{other:?}");
    }
}
