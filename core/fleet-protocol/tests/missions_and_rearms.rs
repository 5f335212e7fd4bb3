//! What a robot's TPM certifies for a mission or a rearm, what the authority answers, and the messages' strictness.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod fixture;

use std::collections::BTreeMap;

use alcub3_attestation::evidence::{RegisterPositions, RuntimePosition};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, HashAlg, SignatureScheme, SigningKey};
use alcub3_fleet_protocol::attestation::{AttestRequest, AttestResult, EvidenceMessage};
use alcub3_fleet_protocol::endorsement::EndorsementBasis;
use alcub3_fleet_protocol::mission::{
    CertifiedMission, MissionApproval, MissionRequest, MissionRequestError, mission_binding,
};
use alcub3_fleet_protocol::rearm::{
    CertifiedEpochs, LevelRearm, RearmApproval, RearmError, RearmRecord, RearmRequest, VerifiedRearm,
    rearm_binding,
};
use alcub3_fleet_protocol::{CounterError, EnrolmentRecord, VerifiedEnrolment};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, NvMap, Register};
use alcub3_trust_model::policies::rearm_message;
use alcub3_trust_model::{
    AttestationKind, BootId, HardwareTier, Integrity, Labels, LeaseId, Level, MissionId, OperatorId, RobotId,
    SessionId,
};
use fixture::{Fleet, NOW_MS, SoftChip};

const SESSION: SessionId = SessionId::new([4; 16]);
const MISSION: MissionId = MissionId::new([5; 16]);

fn robot() -> RobotId {
    RobotId::new("rover-17").unwrap()
}

fn enrolment(chip: &SoftChip, fleet: &Fleet) -> VerifiedEnrolment {
    let request = chip.request();
    let record = EnrolmentRecord {
        robot: robot(),
        endorsement_key: request.endorsement_key.name(),
        endorsement: EndorsementBasis::Certificate(HashAlg::Sha256.digest(&[b"certificate"])),
        attestation_key: request.attestation_key,
        identity: request.identity,
        hardware_binding: request.hardware.binding(chip.curve.hash()),
        tier: HardwareTier::Discrete,
        ceiling: Level::Cui,
        issued_at_ms: NOW_MS,
        origin: Default::default(),
    };
    let bytes = record
        .unsigned(fleet.signing.suite())
        .sign(&fleet.signing)
        .unwrap();
    VerifiedEnrolment::verify(&bytes, &fleet.signing.verifying_key()).unwrap()
}

fn anchor() -> MissionAnchor {
    MissionAnchor::new(6).unwrap()
}

fn mission_request(chip: &SoftChip) -> MissionRequest {
    let binding = mission_binding(chip.curve.hash(), SESSION, MISSION);
    let certify = |index, value| chip.certify_counter(index, value, &binding);
    MissionRequest {
        session: SESSION,
        robot: robot(),
        mission: MISSION,
        labels: Labels::new(Level::Cui, Integrity::Operational),
        duration_ms: 3_600_000,
        anchor: anchor(),
        robot_epoch: certify(NvIndex::RobotEpoch, 2),
        level_epoch: certify(NvIndex::LevelEpoch(Level::Cui), 3),
        anchor_value: certify(NvIndex::MissionAnchor(anchor()), 9),
    }
}

#[test]
fn a_mission_request_proves_its_counters() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let enrolment = enrolment(&chip, &fleet);
    let request = mission_request(&chip);
    let again = MissionRequest::from_canonical(&request.to_canonical()).unwrap();
    assert_eq!(again, request);
    let certified = CertifiedMission::verify(again, &enrolment, SESSION).unwrap();
    assert_eq!(
        (certified.robot_epoch().value(), certified.level_epoch().value()),
        (2, 3)
    );
    assert_eq!(
        (certified.anchor().value(), certified.clock().reset_count),
        (9, 3)
    );
    let name = NvMap::new(HashAlg::Sha256)
        .unwrap()
        .spec(NvIndex::RobotEpoch)
        .tpm_name(true);
    assert_eq!(certified.robot_epoch().binding().name, name);
}

#[test]
fn a_mission_request_that_proves_something_else_is_refused() {
    let (mut chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let enrolment = enrolment(&chip, &fleet);
    let base = mission_request(&chip);
    let verify = |request| CertifiedMission::verify(request, &enrolment, SESSION).map(|_| ());
    verify(base.clone()).unwrap();
    let other = RobotId::new("rover-18").unwrap();
    let wrong = MissionRequest {
        robot: other,
        ..base.clone()
    };
    assert!(matches!(verify(wrong), Err(MissionRequestError::WrongRobot(_))));
    let session = SessionId::new([9; 16]);
    let wrong = MissionRequest {
        session,
        ..base.clone()
    };
    assert!(matches!(verify(wrong), Err(MissionRequestError::WrongSession)));
    let replayed = CertifiedMission::verify(
        MissionRequest {
            session,
            ..base.clone()
        },
        &enrolment,
        session,
    );
    assert!(matches!(
        replayed,
        Err(MissionRequestError::Counter(CounterError::Certify { .. }))
    ));
    let high = MissionRequest {
        labels: Labels::new(Level::Secret, Integrity::Operational),
        ..base.clone()
    };
    assert!(matches!(verify(high), Err(MissionRequestError::AboveCeiling)));
    // The level's epoch shown as the robot's, and another anchor's value as this one's.
    let swapped = MissionRequest {
        robot_epoch: base.level_epoch.clone(),
        ..base.clone()
    };
    assert!(matches!(
        verify(swapped),
        Err(MissionRequestError::Counter(CounterError::OtherIndex(_)))
    ));
    let swapped = MissionRequest {
        anchor: MissionAnchor::new(0).unwrap(),
        ..base.clone()
    };
    assert!(matches!(
        verify(swapped),
        Err(MissionRequestError::Counter(CounterError::OtherIndex(_)))
    ));
    chip.reset_count += 1;
    let later = MissionRequest {
        anchor_value: mission_request(&chip).anchor_value,
        ..base
    };
    assert!(matches!(verify(later), Err(MissionRequestError::ResetBetween)));
}

#[test]
fn an_index_defined_otherwise_is_another_index() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let enrolment = enrolment(&chip, &fleet);
    let binding = mission_binding(HashAlg::Sha256, SESSION, MISSION);
    // The same handle with the attributes of an ordinary index, which could be written back.
    let mut public = NvMap::new(HashAlg::Sha256)
        .unwrap()
        .spec(NvIndex::RobotEpoch)
        .nv_public_bytes(true);
    public[9] &= !0x10;
    let name = alcub3_crypto::tpm::Name::of_public(HashAlg::Sha256, &public);
    let own = [&[0, 34], name.as_bytes(), &[0, 0, 0, 8], &2u64.to_be_bytes()].concat();
    let robot_epoch = chip.attest(0x8014, binding.as_bytes(), &own);
    let refused = CertifiedMission::verify(
        MissionRequest {
            robot_epoch,
            ..mission_request(&chip)
        },
        &enrolment,
        SESSION,
    );
    assert!(matches!(
        refused,
        Err(MissionRequestError::Counter(CounterError::OtherIndex(_)))
    ));
}

fn rearm_request(chip: &SoftChip) -> RearmRequest {
    let binding = rearm_binding(chip.curve.hash(), SESSION, &robot());
    let certify = |index, value| chip.certify_counter(index, value, &binding);
    let level = |level, value| (level, certify(NvIndex::LevelEpoch(level), value));
    RearmRequest {
        session: SESSION,
        robot: robot(),
        robot_epoch: certify(NvIndex::RobotEpoch, 7),
        level_epochs: BTreeMap::from([level(Level::Unclassified, 3), level(Level::Cui, 4)]),
    }
}

fn rearm_record(chip: &SoftChip, fleet: &Fleet, key: &SigningKey) -> RearmRecord {
    let enrolment = enrolment(chip, fleet);
    let request = RearmRequest::from_canonical(&rearm_request(chip).to_canonical()).unwrap();
    let epochs = CertifiedEpochs::verify(&request, &enrolment, SESSION).unwrap();
    let approve = |(level, approved): (Level, _)| {
        let scheme = SignatureScheme::Ecdsa(HashAlg::Sha256);
        let bytes = key.sign(&rearm_message(&approved, &robot(), level)).unwrap();
        let epoch = epochs.level_epochs()[&level].value();
        (
            level,
            LevelRearm {
                epoch,
                approval: Signature { scheme, bytes }.to_tpmt(),
            },
        )
    };
    RearmRecord {
        session: SESSION,
        robot: robot(),
        robot_epoch: epochs.robot_epoch().value(),
        levels: epochs
            .approved_policies(HashAlg::Sha256)
            .unwrap()
            .into_iter()
            .map(approve)
            .collect(),
        approvers: vec![OperatorId::new("anne").unwrap(), OperatorId::new("bert").unwrap()],
        issued_at_ms: NOW_MS,
    }
}

fn signed(record: &RearmRecord, fleet: &Fleet) -> Vec<u8> {
    record
        .unsigned(fleet.signing.suite())
        .sign(&fleet.signing)
        .unwrap()
}

fn verify(bytes: &[u8], fleet: &Fleet) -> Result<VerifiedRearm, RearmError> {
    VerifiedRearm::verify(
        bytes,
        &fleet.anchors(),
        &NvMap::new(HashAlg::Sha256).unwrap(),
        &robot(),
    )
}

#[test]
fn a_rearm_names_the_epochs_and_nothing_else() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let record = rearm_record(&chip, &fleet, &fleet.rearm);
    let rearm = verify(&signed(&record, &fleet), &fleet).unwrap();
    assert_eq!(rearm.record(), &record);
    assert!(rearm.rearms(Level::Cui, 7, 4) && rearm.rearms(Level::Unclassified, 7, 3));
    for (level, robot_epoch, level_epoch) in [
        (Level::Cui, 8, 4),
        (Level::Cui, 6, 4),
        (Level::Cui, 7, 5),
        (Level::Secret, 7, 4),
        (Level::Unclassified, 7, 4),
    ] {
        assert!(!rearm.rearms(level, robot_epoch, level_epoch));
    }
}

#[test]
fn a_rearm_takes_two_persons_and_the_rearm_key() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let good = rearm_record(&chip, &fleet, &fleet.rearm);
    let refused = |record: &RearmRecord| verify(&signed(record, &fleet), &fleet).unwrap_err();
    let one = RearmRecord {
        approvers: good.approvers[..1].to_vec(),
        ..good.clone()
    };
    assert!(matches!(refused(&one), RearmError::Persons(1)));
    let same = RearmRecord {
        approvers: vec![good.approvers[0].clone(); 2],
        ..good.clone()
    };
    assert!(matches!(refused(&same), RearmError::Payload(_)));
    let mission_key = rearm_record(&chip, &fleet, &fleet.two);
    assert!(matches!(
        refused(&mission_key),
        RearmError::Approval(Level::Unclassified)
    ));
    // An approval for one epoch does not serve for the next, nor one level's for another.
    let later = RearmRecord {
        robot_epoch: 8,
        ..good.clone()
    };
    assert!(matches!(refused(&later), RearmError::Approval(_)));
    let mut crossed = good.clone();
    let low = crossed.levels[&Level::Unclassified].clone();
    crossed.levels.insert(Level::Cui, low);
    assert!(matches!(refused(&crossed), RearmError::Approval(Level::Cui)));
    let none = RearmRecord {
        levels: BTreeMap::new(),
        ..good.clone()
    };
    assert!(matches!(refused(&none), RearmError::NoLevel));
    let other = RearmRecord {
        robot: RobotId::new("rover-18").unwrap(),
        ..good.clone()
    };
    assert!(matches!(refused(&other), RearmError::WrongRobot(_)));
    let rogue = Fleet::new(Curve::P256);
    assert!(matches!(
        verify(&signed(&good, &rogue), &fleet),
        Err(RearmError::Cose(_))
    ));
}

#[test]
fn every_changed_byte_of_a_rearm_is_refused() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let bytes = signed(&rearm_record(&chip, &fleet, &fleet.rearm), &fleet);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(verify(&changed, &fleet).is_err(), "byte {at}");
    }
    assert!(verify(&[bytes.as_slice(), &[0]].concat(), &fleet).is_err());
}

#[test]
fn a_rearm_request_of_another_exchange_is_refused() {
    let (chip, fleet) = (SoftChip::new(Curve::P256), Fleet::new(Curve::P256));
    let enrolment = enrolment(&chip, &fleet);
    let base = rearm_request(&chip);
    let later = SessionId::new([9; 16]);
    assert!(matches!(
        CertifiedEpochs::verify(&base, &enrolment, later),
        Err(RearmError::WrongSession)
    ));
    let replayed = RearmRequest {
        session: later,
        ..base.clone()
    };
    assert!(matches!(
        CertifiedEpochs::verify(&replayed, &enrolment, later),
        Err(RearmError::Counter(_))
    ));
    let mut high = base.clone();
    high.level_epochs.insert(Level::Secret, base.robot_epoch);
    assert!(matches!(
        CertifiedEpochs::verify(&high, &enrolment, SESSION),
        Err(RearmError::AboveCeiling(_))
    ));
}

/// Each message: it survives, is refused when cut or followed by anything, and a changed byte never reads as the same.
#[test]
fn every_message_is_read_strictly() {
    let chip = SoftChip::new(Curve::P256);
    strict(
        &mission_request(&chip),
        |m| m.to_canonical(),
        MissionRequest::from_canonical,
    );
    strict(
        &rearm_request(&chip),
        |m| m.to_canonical(),
        RearmRequest::from_canonical,
    );
    let approval = MissionApproval {
        session: SESSION,
        token: vec![1; 40],
        end_approval: vec![2; 70],
    };
    strict(&approval, |m| m.to_canonical(), MissionApproval::from_canonical);
    let rearm = RearmApproval {
        session: SESSION,
        record: vec![3; 99],
    };
    strict(&rearm, |m| m.to_canonical(), RearmApproval::from_canonical);
    let known = RuntimePosition {
        entries: 780,
        reset_count: u32::MAX,
        restart_count: 1,
    };
    let registers = RegisterPositions {
        reset_count: 3,
        restart_count: u32::MAX,
        values: Register::ALL
            .map(|register| (register, HashAlg::Sha384.digest(&[b"held"])))
            .to_vec(),
    };
    let mission = AttestationKind::Mission(MissionId::new([5; 16]));
    for kind in AttestationKind::PLAIN.into_iter().chain([mission]) {
        for (runtime_from, registers) in [(None, None), (Some(known), None), (None, Some(registers.clone()))]
        {
            let ask = AttestRequest {
                session: SESSION,
                nonce: vec![4; 32],
                kind,
                runtime_from,
                registers,
            };
            strict(&ask, |m| m.to_canonical(), AttestRequest::from_canonical);
        }
    }
    let evidence = EvidenceMessage {
        session: SESSION,
        robot: robot(),
        boot: BootId::new([6; 16]),
        lease: LeaseId::new([7; 16]),
        evidence: vec![8; 300],
    };
    strict(&evidence, |m| m.to_canonical(), EvidenceMessage::from_canonical);
    for lease in [None, Some(vec![9; 50])] {
        let result = AttestResult {
            session: SESSION,
            result: b"result".to_vec(),
            lease,
        };
        strict(&result, |m| m.to_canonical(), AttestResult::from_canonical);
    }
    let short = AttestRequest {
        session: SESSION,
        nonce: vec![4; 15],
        kind: AttestationKind::Operational,
        runtime_from: None,
        registers: None,
    };
    AttestRequest::from_canonical(&short.to_canonical()).unwrap_err();
}

fn strict<T: PartialEq + std::fmt::Debug, E>(
    message: &T,
    write: fn(&T) -> Vec<u8>,
    read: fn(&[u8]) -> Result<T, E>,
) {
    let bytes = write(message);
    let again = read(&bytes);
    assert_eq!(again.ok().as_ref(), Some(message));
    assert!(read(&[bytes.as_slice(), &[0]].concat()).is_err());
    for at in 0..bytes.len() {
        assert!(read(&bytes[..at]).is_err(), "cut at {at}");
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        if let Ok(other) = read(&changed) {
            assert_ne!(&other, message, "byte {at}");
            assert_eq!(write(&other), changed, "byte {at}");
        }
    }
}
