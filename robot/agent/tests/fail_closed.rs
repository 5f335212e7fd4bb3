//! What goes wrong at a start, at a rearm or in the log leaves the robot stopped, and takes nothing along.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::{AgentError, Robot};
use alcub3_command_authority::VerifiedMission;
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_fleet_protocol::mission::MissionApproval;
use alcub3_keys::{KeysError, StateFolder};
use alcub3_security_hal::{FileStopJournal, StopIntent, StopJournal, StopOrder, StopScope};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::{head_policy, mission_end_message};
use alcub3_trust_model::{Integrity, Labels, Level, MissionId, SessionId, StopCause, StopId};
use reach::{MINUTE_MS, in_the_gate, log_explains_the_pcrs};
use std::sync::Arc;
use support::{LEVEL, Life, NOW_MS, robot_id};

fn intent(stop: StopId) -> StopIntent {
    StopIntent::new(StopOrder {
        stop,
        robot: robot_id(),
        scope: StopScope::Robot,
        cause: StopCause::ManualTrigger,
        called_utc_ms: NOW_MS,
    })
}

/// A damaged intent is no reason not to lock what the others ask for.
#[test]
fn one_unreadable_intent_keeps_no_other_stop_from_the_chip() {
    let mut life = Life::running();
    let epoch = life.robot().keys().counter(NvIndex::RobotEpoch).unwrap().value;
    life.robot = None;
    let folder = life.path().join("stops");
    let mut journal = FileStopJournal::open(&folder, robot_id()).unwrap();
    // Damaged ones before and after it, in whatever order the folder lists them.
    for id in [1, 7, 0xff] {
        journal.begin(&intent(StopId::new([id; 16]))).unwrap();
    }
    for id in [1, 0xff] {
        let path = folder.join(format!("{}.intent", StopId::new([id; 16])));
        std::fs::write(path, b"damaged").unwrap();
    }
    let state = Arc::new(StateFolder::open(&life.path()).unwrap());
    let failed = Robot::open(life.tpm.clone(), state, Vec::new())
        .map(|_| ())
        .unwrap_err();
    assert!(failed.to_string().contains("stop journal"), "{failed}");
    let now = life
        .chip(|chip| chip.nv_counter(NvIndex::RobotEpoch.handle()))
        .unwrap();
    assert_eq!(now, epoch + 1);
    assert_eq!(journal.read_each().unwrap().0, [intent(StopId::new([7; 16]))]);
}

#[test]
fn unfinished_stops_are_locked_in_the_chip_even_where_the_start_fails() {
    let mut life = Life::running();
    let lockdown = |life: &Life| {
        let pcr = u32::from(life.robot().keys().pcrs().lockdown());
        let values = life.chip(move |chip| chip.pcr_read(&[(HashAlg::Sha256, 1 << pcr)]));
        *values.unwrap().get(HashAlg::Sha256, pcr).unwrap()
    };
    let before = lockdown(&life);
    let epoch = life.robot().keys().counter(NvIndex::RobotEpoch).unwrap().value;
    life.robot = None;
    // As if the process had been killed right after it wrote the intent.
    let stop = StopId::new([7; 16]);
    let intent = intent(stop);
    let mut journal = FileStopJournal::open(&life.path().join("stops"), robot_id()).unwrap();
    journal.begin(&intent).unwrap();
    let run = life.path().join("run.cbor");
    let genuine = std::fs::read(&run).unwrap();
    std::fs::write(&run, b"damaged").unwrap();

    let folder = Arc::new(StateFolder::open(&life.path()).unwrap());
    let failed = Robot::open(life.tpm.clone(), folder, Vec::new());
    assert!(matches!(failed, Err(AgentError::Record { .. })));
    let now = life
        .chip(|chip| chip.nv_counter(NvIndex::RobotEpoch.handle()))
        .unwrap();
    assert_eq!(now, epoch + 1);
    assert_eq!(journal.unfinished().unwrap(), [intent]);

    std::fs::write(&run, genuine).unwrap();
    life.open();
    assert!(life.robot().is_stopped());
    assert_eq!(life.robot().recovered_stops()[0].stop, stop);
    assert_ne!(lockdown(&life), before);
    assert!(log_explains_the_pcrs(&life));
}

/// A level policy that is not believed keeps the robot from running, and not from being stopped.
#[test]
fn an_unfinished_stop_is_locked_in_the_chip_where_the_level_policy_is_damaged() {
    let mut life = Life::running();
    let epoch = life.robot().keys().counter(NvIndex::RobotEpoch).unwrap().value;
    life.robot = None;
    let mut journal = FileStopJournal::open(&life.path().join("stops"), robot_id()).unwrap();
    journal.begin(&intent(StopId::new([7; 16]))).unwrap();
    std::fs::write(life.path().join("level-policy.cose"), b"damaged").unwrap();
    let folder = Arc::new(StateFolder::open(&life.path()).unwrap());
    let failed = Robot::open(life.tpm.clone(), folder, Vec::new()).map(|_| ());
    assert!(
        matches!(failed, Err(AgentError::Keys(KeysError::LevelPolicy(_)))),
        "{failed:?}"
    );
    let now = life
        .chip(|chip| chip.nv_counter(NvIndex::RobotEpoch.handle()))
        .unwrap();
    assert_eq!(now, epoch + 1);
}

/// An approval of a mission's end by somebody who is not one of the persons.
fn strangers_approval(mission: MissionId, end_clock_ms: u64) -> Vec<u8> {
    let key = SigningKey::generate(Curve::P256).unwrap();
    let head = head_policy(HashAlg::Sha256, end_clock_ms).unwrap().digest();
    let bytes = key.sign(&mission_end_message(&head, &mission)).unwrap();
    let scheme = key.verifying_key().native_scheme();
    Signature { scheme, bytes }.to_tpmt()
}

#[test]
fn a_mission_without_the_persons_approval_does_not_start() {
    let mut life = Life::running();
    let session = life.next_session();
    let labels = Labels::new(LEVEL, Integrity::Operational);
    let (start, request) = life.robot().mission_request(session, labels, MINUTE_MS).unwrap();
    let genuine = life.authority.approve_mission(&request, session, MINUTE_MS);
    let mut approval = MissionApproval::from_canonical(&genuine).unwrap();
    let key = life.authority.signing.verifying_key();
    let token = VerifiedMission::as_approved(&approval.token, &key, &robot_id()).unwrap();
    approval.end_approval = strangers_approval(start.mission(), token.token().end_clock_ms);
    let refused = life
        .robot()
        .start_mission(&start, &approval.to_canonical(), NOW_MS)
        .unwrap_err();
    assert!(matches!(refused, AgentError::OtherApproval { .. }), "{refused}");
    assert!(in_the_gate(&life).is_empty());
    assert!(life.robot().keys().missions().unwrap().is_empty());
    assert!(log_explains_the_pcrs(&life));
}

#[test]
fn a_mission_whose_approval_was_exchanged_on_the_disk_is_not_taken_up() {
    let mut life = Life::running();
    let (kept, changed) = (life.start_mission(MINUTE_MS), life.start_mission(MINUTE_MS));
    assert_eq!(in_the_gate(&life).len(), 2);
    let file = life.mission_file(changed.mission);
    let mut bytes = std::fs::read(&file).unwrap();
    let forged = strangers_approval(changed.mission, changed.end_clock_ms);
    let genuine = &changed.end_approval;
    assert_eq!(forged.len(), genuine.len());
    let at = bytes.windows(genuine.len()).position(|bytes| bytes == genuine);
    bytes[at.unwrap()..][..forged.len()].copy_from_slice(&forged);
    std::fs::write(&file, bytes).unwrap();
    life.open();
    assert_eq!(in_the_gate(&life), [kept.mission]);
}

fn approved_rearm(life: &mut Life) -> (Vec<u8>, SessionId) {
    let session = life.next_session();
    let levels = [Level::Unclassified, Level::Cui];
    let request = life.robot().rearm_request(session, &levels).unwrap();
    (life.authority.approve_rearm(&request, session), session)
}

#[test]
fn a_rearm_that_cannot_be_kept_opens_no_gate() {
    let mut life = Life::provisioned();
    let (approval, session) = approved_rearm(&mut life);
    // Nothing can be written where the record is to be.
    let in_the_way = life.path().join("rearm.cbor.new");
    std::fs::create_dir(&in_the_way).unwrap();
    life.robot().rearm(&approval, session, NOW_MS).unwrap_err();
    assert!(life.robot().is_stopped());
    std::fs::remove_dir(&in_the_way).unwrap();
    life.robot().rearm(&approval, session, NOW_MS).unwrap();
    assert!(!life.robot().is_stopped());
}
