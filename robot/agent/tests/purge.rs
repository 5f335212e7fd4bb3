//! A purge: two persons' order clears the chip, and the receipt of it needs no TPM to be believed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/crash.rs"]
mod crash;
#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::{AgentError, Robot, provision};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::receipt::{
    Expected, PurgeReason, PurgeReceipt, PurgeStatement, PurgeVerdict, verify_purge_receipt,
};
use alcub3_audit_log::{EntryKind, Outcome, Piece, pieces};
use alcub3_crypto::Secret;
use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_keys::{KeysError, PURGE_RECEIPT_FILE, StateFolder, resume_purge};
use alcub3_security_hal::StopReport;
use alcub3_testkit::{PowerUp, Swtpm};
use alcub3_tpm::ResponseCode;
use alcub3_tpm::ops::{Hierarchy, PolicyInputs};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::command_code;
use crash::{Among, Dying, Side};
use reach::{mission, refusal};
use std::sync::Arc;
use support::{Life, NOW_MS, certify_ek, open_tpm, request, robot_id};

/// The verdict of somebody who has the enrolment and nothing of the robot.
fn judge(life: &Life, receipt: &[u8]) -> PurgeVerdict {
    let enrolment = life.authority.enrolment();
    let robot = robot_id();
    let expected = Expected {
        attestation_key: enrolment.attestation_key(),
        robot: Some(&robot),
        stop: None,
        nv: *enrolment.nv_map(),
        alive_at: None,
        anchor: None,
        pcrs: PcrMap::DEFAULT,
    };
    verify_purge_receipt(receipt, &expected)
}

fn stopped() -> (Life, StopReport) {
    let mut life = Life::running();
    mission(&mut life);
    let report = life.stop();
    assert!(report.is_complete());
    (life, report)
}

/// An order as two persons give it for the robot as it is now.
fn purge(life: &mut Life, report: &StopReport) -> Result<Vec<u8>, AgentError> {
    let session = life.next_session();
    let request = life.robot().purge_request(session).unwrap();
    let order = life.authority.approve_purge(&request, session);
    life.robot.take().unwrap().purge(&order, session, report, NOW_MS)
}

fn assert_wiped(life: &Life) {
    let mut left: Vec<String> = std::fs::read_dir(life.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["lock", PURGE_RECEIPT_FILE, "version"]);
    let folder = Arc::new(StateFolder::open(&life.path()).unwrap());
    let opened = Robot::open(life.tpm.clone(), folder, Vec::new());
    assert!(matches!(
        opened.err(),
        Some(AgentError::Keys(KeysError::NotProvisioned))
    ));
}

#[test]
fn a_purged_robot_is_blank_and_its_receipt_proves_it() {
    let (mut life, report) = stopped();
    let (tpm, room) = (life.tpm.clone(), life.room());
    assert!(!room.persistent.is_empty() && !room.nv.is_empty());
    // What links in the folder lead to is not the robot's.
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("file"), b"another's").unwrap();
    std::os::unix::fs::symlink(outside.path(), life.path().join("a-folder")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("file"), life.path().join("a-file")).unwrap();
    let receipt = purge(&mut life, &report).unwrap();
    assert_wiped(&life);
    assert_eq!(std::fs::read(outside.path().join("file")).unwrap(), b"another's");
    let (handles, set) = tpm
        .run(alcub3_tpm::Lane::Background, support::LONG, |chip| {
            let handles = [chip.handles(0x8100_0000)?, chip.handles(0x0100_0000)?];
            Ok((handles, chip.lockout_state()?))
        })
        .unwrap();
    assert!(handles.iter().all(Vec::is_empty), "{handles:?}");
    assert!(!set.owner_auth_set && !set.endorsement_auth_set && !set.lockout_auth_set);

    let verdict = judge(&life, &receipt);
    assert!(verdict.is_proven(), "{verdict:?}");
    for at in (0..receipt.len()).step_by(7) {
        let mut changed = receipt.clone();
        changed[at] ^= 1;
        assert!(!judge(&life, &changed).is_proven(), "byte {at}");
    }
}

#[test]
fn a_purged_chip_takes_a_new_provisioning() {
    let (mut life, report) = stopped();
    let before = life.robot().keys().record().clone();
    purge(&mut life, &report).unwrap();
    (life.tpm, life.counts) = open_tpm(life.swtpm.transport());
    certify_ek(&life.tpm, &alcub3_testkit::SimulatorCa::new().unwrap());
    let folder = StateFolder::open(&life.path()).unwrap();
    let request = request(&life.authority);
    let record = provision(&life.tpm, &folder, &request, &mut life.authority).unwrap();
    assert!(
        resume_purge(&life.tpm, &folder, PcrMap::DEFAULT)
            .unwrap()
            .is_none(),
        "the receipt of before is none of the new robot's"
    );
    // The chip is the same chip, and nothing of the owner is what it was.
    assert_eq!(record.attestation_key.name(), before.attestation_key.name());
    assert_ne!(record.storage_root.name(), before.storage_root.name());
    for (new, old) in record.parents.iter().zip(&before.parents) {
        assert_ne!(new.public.name(), old.public.name());
        assert_ne!(new.kdf.name(), old.kdf.name());
    }
}

/// A receipt whose quote was made by the robot's own attestation key, and whose chip was never cleared.
#[test]
fn a_chip_that_was_not_cleared_proves_no_purge() {
    let (mut life, report) = stopped();
    let stop_receipt = report.receipt.unwrap();
    let session = life.next_session();
    let order = life
        .robot()
        .purge_request(session)
        .map(|request| life.authority.approve_purge(&request, session))
        .unwrap();
    let keys = life.robot().keys().clone();
    let bank = keys.hash();
    let [pcr, _] = keys.stop_pcrs().unwrap();
    let statement = PurgeStatement {
        robot: robot_id(),
        order: bank.digest(&[&order]),
        stop_receipt: bank.digest(&[&stop_receipt]),
        purged_utc_ms: NOW_MS,
        pcr,
    };
    let (key, data) = (keys.attestation_key(), statement.qualifying_data(bank));
    let quote = life
        .chip(move |chip| chip.quote(&key, data.as_bytes(), &[(bank, 1 << PcrMap::DEFAULT.lockdown())]))
        .unwrap();
    let receipt = PurgeReceipt {
        statement,
        stop_receipt,
        quote: Signed {
            message: quote.message,
            signature: quote.signature,
        },
    };
    let verdict = judge(&life, &receipt.to_canonical());
    assert_eq!(verdict.reasons, [PurgeReason::NotCleared]);
}

#[test]
fn an_approval_from_before_another_stop_clears_nothing() {
    let (mut life, report) = stopped();
    let session = life.next_session();
    let request = life.robot().purge_request(session).unwrap();
    let order = life.authority.approve_purge(&request, session);
    life.increment(NvIndex::RobotEpoch);
    let room = life.room();
    let robot = life.robot.take().unwrap();
    let error = robot.purge(&order, session, &report, NOW_MS).unwrap_err();
    let AgentError::Keys(error) = error else {
        panic!("{error}")
    };
    assert_eq!(refusal(&error), Some(ResponseCode::POLICY), "{error}");
    assert_eq!(life.room(), room);
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    let entries: Vec<_> = pieces(&log)
        .filter_map(|piece| match piece {
            Piece::Entry { entry, .. } if entry.kind == EntryKind::Purge => Some(entry),
            _ => None,
        })
        .map(|entry| (entry.outcome, entry.reasons.join(",")))
        .collect();
    let policy = (Outcome::Refused, "tpm-policy".to_owned());
    assert_eq!(entries, [(Outcome::Unconfirmed, String::new()), policy]);
}

#[test]
fn an_order_of_another_exchange_or_for_a_robot_that_runs_purges_nothing() {
    let (mut life, report) = stopped();
    let room = life.room();
    let session = life.next_session();
    let request = life.robot().purge_request(session).unwrap();
    let order = life.authority.approve_purge(&request, session);
    let other = life.next_session();
    let error = life.robot.take().unwrap().purge(&order, other, &report, NOW_MS);
    assert!(
        matches!(error, Err(AgentError::OtherApproval { .. })),
        "{error:?}"
    );
    life.open();
    let mut unproven = report.clone();
    unproven.receipt = None;
    let error = purge(&mut life, &unproven);
    assert!(matches!(error, Err(AgentError::NotStopped)), "{error:?}");
    life.open();
    life.rearm();
    let error = purge(&mut life, &report);
    assert!(matches!(error, Err(AgentError::NotStopped)), "{error:?}");
    life.open();
    assert_eq!(life.room(), room, "nothing was cleared");
    let log = std::fs::read(life.path().join("audit.log")).unwrap();
    for code in [&b"other-approval"[..], b"not-stopped"] {
        assert!(log.windows(code.len()).any(|window| window == code));
    }
}

#[test]
fn without_two_persons_the_chip_refuses_to_be_cleared() {
    let (life, _) = stopped();
    let owner = life.owner();
    let error = life.chip(move |chip| chip.clear(&owner)).unwrap_err();
    assert!(
        error.is_refusal(ResponseCode::AUTH_FAIL) || error.is_refusal(ResponseCode::BAD_AUTH),
        "{error}"
    );
    // Nor does a session do that allows the command without their approval.
    let clear = Assertion::CommandCode(command_code::CLEAR);
    let policy = Policy::new(life.robot().keys().hash(), vec![clear]).unwrap();
    let error = life
        .chip(move |chip| {
            let session = chip.policy_session(&policy, &PolicyInputs::new())?;
            chip.clear_by_policy(&session)
        })
        .unwrap_err();
    assert!(error.is_refusal(ResponseCode::POLICY_FAIL), "{error}");
}

fn not_proven(error: &AgentError, reason: &str) -> bool {
    matches!(error, AgentError::Keys(KeysError::PurgeNotProven { reasons }) if *reasons == [reason])
}

#[test]
fn the_folder_is_kept_unless_the_receipt_proves_the_purge() {
    let (mut life, report) = stopped();
    let room = life.room();
    let mut damaged = report;
    *damaged.receipt.as_mut().unwrap().last_mut().unwrap() ^= 1;
    let error = purge(&mut life, &damaged).unwrap_err();
    assert!(not_proven(&error, "stop-not-proven"), "{error}");
    assert_eq!(life.room(), room, "nothing was cleared");
    life.open();
    let report = life.stop();
    // A chip that says it was cleared, its lockout authorisation being unset, and was not.
    let custody = &life.authority.enrolled.as_ref().unwrap().custody;
    let [endorsement, lockout] = [custody.endorsement.clone(), custody.lockout.clone()];
    life.chip(move |chip| {
        let empty = Secret::from_slice(&[]);
        chip.change_hierarchy_auth(Hierarchy::Endorsement, &endorsement, &empty)?;
        chip.change_hierarchy_auth(Hierarchy::Lockout, &lockout, &empty)
    })
    .unwrap();
    let error = purge(&mut life, &report).unwrap_err();
    assert!(not_proven(&error, "not-cleared"), "{error}");
    assert!(!life.path().join(PURGE_RECEIPT_FILE).exists());
    assert!(life.path().join("robot.cbor").exists(), "nothing was wiped");
}

#[test]
fn a_purge_that_was_cut_short_is_finished() {
    for side in Side::BOTH {
        let (mut life, _) = stopped();
        // A chip that was started a few times since it was owned: the count that clearing sets back.
        for _ in 0..3 {
            life.reopen_after(|swtpm| swtpm.power_cycle(PowerUp::Clear).unwrap());
        }
        life.robot = None;
        let (dying, trigger) = Dying::new(&life.swtpm);
        (life.tpm, life.counts) = open_tpm(dying);
        life.open();
        let report = life.stop();
        let session = life.next_session();
        let request = life.robot().purge_request(session).unwrap();
        let order = life.authority.approve_purge(&request, session);
        trigger.arm(0, side, Among::Lasting);
        let robot = life.robot.take().unwrap();
        robot.purge(&order, session, &report, NOW_MS).unwrap_err();
        assert!(trigger.fired());
        life.swtpm.kill_and_respawn(PowerUp::Clear).unwrap();
        (life.tpm, life.counts) = open_tpm(life.swtpm.transport());
        let receipt = {
            let folder = StateFolder::open(&life.path()).unwrap();
            let blank = Swtpm::start().unwrap();
            let (other_chip, _) = open_tpm(blank.transport());
            let error = resume_purge(&other_chip, &folder, PcrMap::DEFAULT);
            assert!(matches!(error, Err(KeysError::OtherChip)), "{error:?}");
            resume_purge(&life.tpm, &folder, PcrMap::DEFAULT)
                .unwrap()
                .unwrap()
        };
        assert_wiped(&life);
        let verdict = judge(&life, &receipt);
        assert!(verdict.is_proven(), "{side:?}: {verdict:?}");
    }
}

#[test]
fn a_purge_goes_on_after_a_crash_at_each_file_that_it_wipes() {
    let (mut life, report) = stopped();
    life.rearm();
    life.create_identity().unwrap();
    let report_again = life.stop();
    assert!(report_again.is_complete() && report.is_complete());
    // In the order in which they are wiped.
    let mut names = files_of(&life.path());
    names.retain(|name| !["lock", "version"].contains(&name.as_str()));
    names.sort();
    assert!(
        names.len() > 5 && names.iter().any(|name| name.contains('/')),
        "{names:?}"
    );
    let mut purging = Some(report_again);
    // A folder is where each would get the name under which it is wiped; then as the process leaves a wipe at its ends.
    for name in &names {
        let wiped = life.path().join(format!("{name}.wiping"));
        std::fs::create_dir(&wiped).unwrap();
        let result = match purging.take() {
            Some(report) => purge(&mut life, &report)
                .map(Some)
                .map_err(|error| error.to_string()),
            None => resumed(&life),
        };
        let error = result.unwrap_err();
        assert!(error.contains(name.as_str()), "{name}: {error}");
        std::fs::remove_dir(&wiped).unwrap();
        for content in [std::fs::read(life.path().join(name)).unwrap(), vec![0; 9]] {
            std::fs::write(&wiped, content).unwrap();
            drop(StateFolder::open(&life.path()).unwrap());
            assert!(!wiped.exists(), "{name}");
        }
    }
    let receipt = resumed(&life).unwrap().unwrap();
    assert_wiped(&life);
    assert!(judge(&life, &receipt).is_proven());
}

fn resumed(life: &Life) -> Result<Option<Vec<u8>>, String> {
    let folder = StateFolder::open(&life.path()).unwrap();
    resume_purge(&life.tpm, &folder, PcrMap::DEFAULT).map_err(|error| error.to_string())
}

/// Names of the files of a folder and those in it.
fn files_of(folder: &std::path::Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            names.extend(
                files_of(&entry.path())
                    .iter()
                    .map(|inner| format!("{name}/{inner}")),
            );
        } else {
            names.push(name);
        }
    }
    names
}
