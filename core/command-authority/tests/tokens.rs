//! Mission tokens, leases, COSE messages and the replay window.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use std::collections::BTreeSet;

use alcub3_command_authority::cose::{CoseError, Message, Unsigned};
use alcub3_command_authority::{
    CommandName, CommandPattern, LeaseError, MissionError, MissionToken, RESERVE_AHEAD, ReplayFault,
    ReplayWindow, ReplayWindows, Reservation, Role, VerifiedLease, VerifiedMission, WINDOW,
};
use alcub3_crypto::{Curve, HashAlg, MacKey, SigningKey, Suite};
use alcub3_trust_model::canonical::{Encoder, Fault};
use alcub3_trust_model::{BootId, Integrity, LeaseId, Level, LevelProfiles, OperatorId, RobotId, profile};
use coset::{CborSerializable, CoseSign1, TaggedCborSerializable};
use fixture::{BOOT, LEASE, World, issuer, lease, signed_token, token};
use proptest::prelude::*;

fn key(curve: Curve) -> SigningKey {
    SigningKey::generate(curve).unwrap()
}

fn verify(token: &MissionToken, authority: &SigningKey) -> Result<VerifiedMission, MissionError> {
    let bytes = signed_token(token, authority);
    VerifiedMission::verify(
        &bytes,
        &authority.verifying_key(),
        &RobotId::new("rover-17").unwrap(),
        &LevelProfiles::builtin(),
    )
}

/// The built-in profiles, with no level below P-384, no mission longer than ten minutes and no lease longer than ten seconds.
fn stricter() -> LevelProfiles {
    let mut rows = *LevelProfiles::builtin().rows();
    for row in &mut rows {
        row.suite_floor = Suite::EcdsaP384Sha384;
        row.max_mission_ms = 600_000;
        row.lease_ms = 10_000;
        row.allowed_resets = 0;
    }
    LevelProfiles::tightened(rows).unwrap()
}

#[test]
fn a_token_survives_and_every_changed_byte_is_refused() {
    let (authority, operator) = (key(Curve::P256), key(Curve::P256));
    let token = token(Level::Cui, &operator);
    let bytes = signed_token(&token, &authority);
    let robot = RobotId::new("rover-17").unwrap();
    let verified = VerifiedMission::as_approved(&bytes, &authority.verifying_key(), &robot).unwrap();
    assert_eq!(verified.token(), &token);
    assert_eq!(token.max_reset_count(), 4);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(
            VerifiedMission::as_approved(&changed, &authority.verifying_key(), &robot).is_err(),
            "byte {at}"
        );
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(VerifiedMission::as_approved(&longer, &authority.verifying_key(), &robot).is_err());
    let other = key(Curve::P256).verifying_key();
    let refused = VerifiedMission::as_approved(&bytes, &other, &robot);
    assert_eq!(refused.unwrap_err(), MissionError::Cose(CoseError::BadSignature));
    let stranger = RobotId::new("rover-18").unwrap();
    assert!(matches!(
        VerifiedMission::as_approved(&bytes, &authority.verifying_key(), &stranger),
        Err(MissionError::WrongRobot(_))
    ));
}

#[test]
fn a_token_stays_within_its_levels_profile() {
    let (authority, operator) = (key(Curve::P256), key(Curve::P256));
    let base = token(Level::Cui, &operator);
    let floor = profile(Level::Cui);
    let longest = base.not_before_ms + floor.max_mission_ms;
    verify(
        &MissionToken {
            not_after_ms: longest,
            ..base.clone()
        },
        &authority,
    )
    .unwrap();
    let too_long = MissionToken {
        not_after_ms: longest + 1,
        ..base.clone()
    };
    assert!(matches!(
        verify(&too_long, &authority),
        Err(MissionError::TooLong { .. })
    ));
    let backwards = MissionToken {
        not_after_ms: base.not_before_ms - 1,
        ..base.clone()
    };
    assert_eq!(verify(&backwards, &authority).unwrap_err(), MissionError::Times);
    let resets = MissionToken {
        allowed_resets: floor.allowed_resets + 1,
        ..base.clone()
    };
    assert!(matches!(
        verify(&resets, &authority),
        Err(MissionError::TooManyResets { .. })
    ));
    let nobody = MissionToken {
        issuers: vec![],
        ..base.clone()
    };
    assert_eq!(verify(&nobody, &authority).unwrap_err(), MissionError::NoIssuer);
    let alice = base.issuers[0].clone();
    let twice = MissionToken {
        issuers: vec![alice.clone(), alice],
        ..base
    };
    assert!(matches!(
        verify(&twice, &authority),
        Err(MissionError::IssuerTwice(_))
    ));
}

#[test]
fn a_high_level_needs_strong_keys_throughout() {
    let (weak, strong) = (key(Curve::P256), key(Curve::P384));
    let base = token(Level::Confidential, &strong);
    verify(&base, &strong).unwrap();
    assert!(matches!(
        verify(&base, &weak),
        Err(MissionError::SuiteTooWeak { .. })
    ));
    let mixed = issuer(
        "ida",
        Role::Observer,
        &weak,
        Integrity::Operational,
        &["observe.*"],
    );
    let mixed = MissionToken {
        issuers: [base.issuers.clone(), vec![mixed]].concat(),
        ..base
    };
    assert!(
        matches!(verify(&mixed, &strong), Err(MissionError::SuiteTooWeak { what, .. }) if what.contains("ida"))
    );
}

#[test]
fn a_stricter_policy_binds_token_issuers_and_lease() {
    let (weak, strong) = (key(Curve::P256), key(Curve::P384));
    let (robot, policy) = (RobotId::new("rover-17").unwrap(), stricter());
    let code = |token: &MissionToken, authority: &SigningKey| {
        let (bytes, key) = (signed_token(token, authority), authority.verifying_key());
        let approved = VerifiedMission::as_approved(&bytes, &key, &robot).unwrap();
        let judged = VerifiedMission::verify(&bytes, &key, &robot, &policy).map(drop);
        assert_eq!(judged, approved.meets(&policy));
        judged.err().map(|error| error.code())
    };
    let short = |issuer: &SigningKey| {
        let token = token(Level::Cui, issuer);
        let not_after_ms = token.not_before_ms + 600_000;
        MissionToken {
            not_after_ms,
            ..token
        }
    };
    assert_eq!(code(&short(&strong), &strong), None);
    assert_eq!(code(&short(&strong), &weak), Some("suite-too-weak"));
    assert_eq!(code(&short(&weak), &strong), Some("suite-too-weak"));
    assert_eq!(
        code(&token(Level::Cui, &strong), &strong),
        Some("mission-too-long")
    );
    let resets = MissionToken {
        allowed_resets: 1,
        ..short(&strong)
    };
    assert_eq!(code(&resets, &strong), Some("too-many-resets"));

    let code = |lasts_ms, authority: &SigningKey| {
        let good = lease(Level::Cui);
        let not_after_ms = good.not_before_ms + lasts_ms;
        let lease = alcub3_command_authority::AttestationLease { not_after_ms, ..good };
        let bytes = lease.unsigned(authority.suite()).sign(authority).unwrap();
        let judged = VerifiedLease::verify(&bytes, &authority.verifying_key(), &robot, BOOT, &policy);
        judged.err().map(|error| error.code())
    };
    assert_eq!(code(10_000, &strong), None);
    assert_eq!(code(10_001, &strong), Some("lease-too-long"));
    assert_eq!(code(10_000, &weak), Some("suite-too-weak"));
}

#[test]
fn leases_are_verified_for_this_boot() {
    let authority = key(Curve::P256);
    let robot = RobotId::new("rover-17").unwrap();
    let signed = |lease: &alcub3_command_authority::AttestationLease| {
        lease.unsigned(authority.suite()).sign(&authority).unwrap()
    };
    let (key, builtin) = (authority.verifying_key(), LevelProfiles::builtin());
    let check = |bytes: &[u8], boot| VerifiedLease::verify(bytes, &key, &robot, boot, &builtin);
    let good = lease(Level::Cui);
    let bytes = signed(&good);
    assert_eq!(check(&bytes, BOOT).unwrap().lease(), &good);
    assert_eq!(
        check(&bytes, BootId::new([9; 16])).unwrap_err(),
        LeaseError::WrongBoot
    );
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(check(&changed, BOOT).is_err(), "byte {at}");
    }
    let long = alcub3_command_authority::AttestationLease {
        not_after_ms: good.not_before_ms + profile(Level::Cui).lease_ms + 1,
        ..good.clone()
    };
    assert!(matches!(
        check(&signed(&long), BOOT),
        Err(LeaseError::TooLong { .. })
    ));
    let high = lease(Level::Secret);
    assert!(matches!(
        check(&signed(&high), BOOT),
        Err(LeaseError::SuiteTooWeak { .. })
    ));
    let other = alcub3_command_authority::AttestationLease {
        robot: RobotId::new("r2").unwrap(),
        ..good
    };
    assert_eq!(check(&signed(&other), BOOT).unwrap_err(), LeaseError::WrongRobot);
}

/// The reader against coset, which reads all of COSE: what we write, it reads alike; what it writes in our one form, we
/// read; what it writes otherwise, we refuse.
#[test]
fn our_reader_and_coset_agree() {
    let key = key(Curve::P256);
    let bytes = Unsigned::new(Suite::EcdsaP256Sha256, b"payload".to_vec())
        .sign(&key)
        .unwrap();
    let theirs = CoseSign1::from_tagged_slice(&bytes).unwrap();
    let ours = Message::parse("test", &bytes).unwrap();
    assert_eq!(theirs.payload.as_deref(), Some(ours.payload()));
    assert_eq!(theirs.signature, ours.signature());
    assert_eq!(theirs.tbs_data(&[]), ours.signed_parts().concat());
    ours.verify(&key.verifying_key()).unwrap();
    let mac = MacKey::new(HashAlg::Sha384, b"key");
    let bytes = Unsigned::new(Suite::HmacSha384, b"payload".to_vec())
        .mac(&mac)
        .unwrap();
    let theirs = coset::CoseMac0::from_tagged_slice(&bytes).unwrap();
    let mut data = Vec::new();
    let keep = |_: &[u8], structure: &[u8]| {
        data.extend_from_slice(structure);
        Ok::<_, ()>(())
    };
    theirs.verify_payload_tag(&[], || (), keep).unwrap();
    let ours = Message::parse("test", &bytes).unwrap();
    assert_eq!(data, ours.signed_parts().concat());
    ours.verify_mac(&mac).unwrap();
    assert_eq!(ours.verify(&key.verifying_key()), Err(CoseError::WrongKey));
    assert_eq!(
        ours.verify_mac(&MacKey::new(HashAlg::Sha256, b"key")),
        Err(CoseError::WrongKey)
    );
}

#[test]
fn other_forms_of_cose_are_refused() {
    let builder = || {
        coset::CoseSign1Builder::new()
            .payload(b"p".to_vec())
            .signature(vec![0; 64])
    };
    let alg = |alg| coset::HeaderBuilder::new().algorithm(alg).build();
    let es256 = alg(coset::iana::Algorithm::ES256);
    let parse = |message: CoseSign1| Message::parse("test", &message.to_tagged_vec().unwrap()).unwrap_err();
    Message::parse(
        "test",
        &builder()
            .protected(es256.clone())
            .build()
            .to_tagged_vec()
            .unwrap(),
    )
    .unwrap();
    let untagged = builder().protected(es256.clone()).build().to_vec().unwrap();
    assert_eq!(Message::parse("test", &untagged).unwrap_err(), CoseError::Kind);
    let critical = coset::HeaderBuilder::new()
        .algorithm(coset::iana::Algorithm::ES256)
        .add_critical(coset::iana::HeaderParameter::Kid)
        .build();
    assert_eq!(
        parse(builder().protected(critical).build()),
        CoseError::CriticalHeader
    );
    let kid = coset::HeaderBuilder::new()
        .algorithm(coset::iana::Algorithm::ES256)
        .key_id(vec![1])
        .build();
    assert_eq!(
        parse(builder().protected(kid.clone()).build()),
        CoseError::UnknownHeader
    );
    assert_eq!(
        parse(builder().protected(es256.clone()).unprotected(kid).build()),
        CoseError::UnprotectedHeader
    );
    let es512 = alg(coset::iana::Algorithm::ES512);
    assert_eq!(
        parse(builder().protected(es512).build()),
        CoseError::UnknownSuite(-36)
    );
    let mac_in_sign1 = alg(coset::iana::Algorithm::HMAC_256_256);
    assert_eq!(
        parse(builder().protected(mac_in_sign1).build()),
        CoseError::UnknownSuite(5)
    );
    let short = builder().protected(es256).signature(vec![0; 63]).build();
    assert_eq!(parse(short), CoseError::BadSignature);
    let none = builder().protected(coset::Header::default()).build();
    assert!(matches!(parse(none), CoseError::Malformed(_)));
}

#[test]
fn only_the_right_key_signs_a_suite() {
    let payload = || Unsigned::new(Suite::EcdsaP384Sha384, vec![]);
    payload().sign(&key(Curve::P256)).unwrap_err();
    payload().mac(&MacKey::new(HashAlg::Sha384, b"key")).unwrap_err();
    assert_eq!(
        payload().finish(vec![0; 64]).unwrap_err(),
        CoseError::BadSignature
    );
    let bytes = payload().sign(&key(Curve::P384)).unwrap();
    let message = Message::parse("test", &bytes).unwrap();
    assert_eq!(
        message.verify(&key(Curve::P256).verifying_key()),
        Err(CoseError::WrongKey)
    );
}

#[test]
fn the_window_slides_and_forgets_nothing() {
    let mut window = ReplayWindow::new();
    assert_eq!(
        window.check_and_record(1),
        Err(ReplayFault::NotReserved { reserved: 0 })
    );
    window.confirm(100_000);
    window.check_and_record(1).unwrap();
    window.check_and_record(5000).unwrap();
    assert_eq!(
        window.check_and_record(5000 - WINDOW),
        Err(ReplayFault::TooOld {
            floor: 5000 - WINDOW + 1
        })
    );
    window.check_and_record(5000 - WINDOW + 1).unwrap();
    assert_eq!(window.check_and_record(5000 - WINDOW + 1), Err(ReplayFault::Used));
    window.check_and_record(4999).unwrap();
    window.check_and_record(5001).unwrap();
    assert_eq!(window.check_and_record(4999), Err(ReplayFault::Used));
    assert_eq!(
        window.check_and_record(100_001),
        Err(ReplayFault::NotReserved { reserved: 100_000 })
    );
    assert_eq!(window.highest(), 5001);
}

#[test]
fn what_was_reserved_before_a_crash_is_used_after_it() {
    let alice = OperatorId::new("alice").unwrap();
    let mut windows = ReplayWindows::new(LEASE);
    windows.open(&alice);
    let wanted = windows.wanted();
    assert_eq!(
        wanted,
        [Reservation {
            lease: LEASE,
            issuer: alice.clone(),
            through: RESERVE_AHEAD
        }]
    );
    assert!(
        windows.check_and_record(&alice, 1).is_err(),
        "not before it was stored"
    );
    windows.confirm(&wanted[0]);
    windows.check_and_record(&alice, 1).unwrap();
    assert!(windows.wanted().is_empty());
    let stored = Reservation::from_canonical(&wanted[0].to_canonical()).unwrap();
    let mut after = ReplayWindows::restored(LEASE, std::slice::from_ref(&stored));
    for sequence in [1, 2, RESERVE_AHEAD] {
        assert!(matches!(
            after.check_and_record(&alice, sequence),
            Err(ReplayFault::Used | ReplayFault::TooOld { .. })
        ));
    }
    let next = after.wanted();
    after.confirm(&next[0]);
    after.check_and_record(&alice, RESERVE_AHEAD + 1).unwrap();
    let other = ReplayWindows::restored(LeaseId::new([9; 16]), &[stored]);
    assert!(other.window(&alice).is_none());
    let stranger = OperatorId::new("bob").unwrap();
    assert_eq!(
        after.check_and_record(&stranger, 1),
        Err(ReplayFault::NotReserved { reserved: 0 })
    );
}

#[test]
fn after_a_clean_end_only_what_was_used_stays_used() {
    let alice = OperatorId::new("alice").unwrap();
    let mut windows = ReplayWindows::new(LEASE);
    windows.open(&alice);
    let wanted = windows.wanted();
    windows.confirm(&wanted[0]);
    windows.check_and_record(&alice, 3).unwrap();
    let used = windows.used();
    assert_eq!(
        used,
        [Reservation {
            lease: LEASE,
            issuer: alice.clone(),
            through: 3
        }]
    );
    let mut after = ReplayWindows::restored(LEASE, &used);
    let wanted = after.wanted();
    after.confirm(&wanted[0]);
    for sequence in [1, 2, 3] {
        assert!(after.check_and_record(&alice, sequence).is_err());
    }
    after.check_and_record(&alice, 4).unwrap();
}

#[test]
fn reservations_are_wanted_early_enough() {
    let mut window = ReplayWindow::new();
    window.confirm(RESERVE_AHEAD);
    window.check_and_record(RESERVE_AHEAD / 2 - 1).unwrap();
    assert_eq!(window.wanted(), None);
    window.check_and_record(RESERVE_AHEAD / 2).unwrap();
    assert_eq!(window.wanted(), Some(RESERVE_AHEAD / 2 + RESERVE_AHEAD));
    window.confirm(5);
    assert!(
        window.check_and_record(RESERVE_AHEAD).is_ok(),
        "a lower bound takes nothing back"
    );
}

#[test]
fn names_and_patterns_are_checked() {
    for good in ["move.velocity", "observe.camera_2.front"] {
        CommandName::new(good).unwrap();
    }
    for bad in [
        "move",
        "move.",
        ".x",
        "fly.up",
        "move.Velocity",
        "move..x",
        &format!("move.{}", "x".repeat(60)),
    ] {
        assert!(CommandName::new(bad).is_err(), "{bad}");
    }
    for bad in ["*", "mo*", "move*", "fly.*", "move.*.x", "move.x*"] {
        assert!(CommandPattern::new(bad).is_err(), "{bad}");
    }
    let pattern = CommandPattern::new("move.*").unwrap();
    assert!(pattern.matches("move.x") && pattern.matches("move.x.y") && !pattern.matches("moves.x"));
    let exact = CommandPattern::new("move.x").unwrap();
    assert!(exact.matches("move.x") && !exact.matches("move.x.y") && !exact.matches("move.xy"));
    for role in Role::ALL {
        assert_eq!(
            (Role::from_id(role.id()), role.name().parse()),
            (Some(role), Ok(role))
        );
    }
}

#[test]
fn the_set_of_missions_has_one_digest() {
    let mut world = World::p256();
    let alone = world.missions.set_digest(HashAlg::Sha256);
    let mission = world.missions.remove(&fixture::MISSION).unwrap();
    let none = world.missions.set_digest(HashAlg::Sha256);
    assert_ne!(alone, none);
    assert!(world.missions.insert(mission).is_none());
    assert_eq!(world.missions.set_digest(HashAlg::Sha256), alone);
}

#[test]
fn a_reservation_is_read_strictly() {
    let stored = Reservation {
        lease: LEASE,
        issuer: OperatorId::new("alice").unwrap(),
        through: 77,
    };
    let bytes = stored.to_canonical();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert_ne!(Reservation::from_canonical(&changed).ok().as_ref(), Some(&stored));
        assert!(Reservation::from_canonical(&bytes[..at]).is_err());
    }
    let mut other = Encoder::structure("alcub3/replay-reservation/v1", 2, 0);
    other.u64(9);
    assert_eq!(
        Reservation::from_canonical(&other.finish()).unwrap_err().fault,
        Fault::UnknownVersion(2)
    );
}

proptest! {
    /// The window against a set that remembers everything.
    #[test]
    fn the_window_accepts_each_number_once(numbers in prop::collection::vec(1u64..6000, 0..400)) {
        let (mut window, mut used, mut highest) = (ReplayWindow::new(), BTreeSet::new(), 0u64);
        window.confirm(10_000);
        for number in numbers {
            let expected = number + WINDOW > highest && !used.contains(&number);
            prop_assert_eq!(window.check_and_record(number).is_ok(), expected);
            used.insert(number);
            highest = highest.max(number);
        }
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Message::parse("test", &bytes).is_err());
    }
}
