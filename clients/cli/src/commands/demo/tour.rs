//! The steps of the tour.

use super::actors::{DemoRobot, Persons, Plan, authority, throwaway_tpm};
use super::boot::{BootedLog, curve_for};
use super::judging::Life;
use super::story::{Story, Telling};
use crate::args::Context;
use crate::authority_vault::VaultError;
use crate::error::CliError;
use crate::local_authority::LocalAuthority;
use crate::tpm_access;
use alcub3_crypto::{Curve, Secret};
use alcub3_server::{ApprovalPurpose, ApprovalVault};
use alcub3_tpm::{ResponseCode, Tpm, TpmError};
use alcub3_trust_model::Level;
use alcub3_trust_model::nv_map::NvIndex;
use serde_json::Value;
use std::path::Path;

/// The robot of the tour.
const NAME: &str = "robot-1";

/// Runs the tour in a folder of its own and gives its document.
pub(super) fn run(folder: &Path, eventlog: Option<&Path>, context: &Context) -> Result<Value, CliError> {
    // What the user handed in is read before anything is started.
    let theirs = eventlog.map(BootedLog::of_file).transpose()?;
    let ours = BootedLog::of_this_machine()?;
    let (robot_tpm, robot_counts) = throwaway_tpm()?;
    let (authority_tpm, authority_counts) = throwaway_tpm()?;
    let mut story = Story::begin(context.style(), context.is_json(), robot_counts, authority_counts);
    let persons = Persons::new()?;
    let mut authority = story.step("The authority makes its approval keys", |telling| {
        found_authority(telling, folder, authority_tpm, &persons)
    })?;
    let curve = curve_for(&ours.parsed()?).unwrap_or(Curve::P256);
    let plan = Plan {
        name: NAME,
        log: &ours,
        curve,
        levels: levels(curve),
    };
    story.step("The robot boots, measured", |telling| {
        boot_robot(telling, &plan, &robot_tpm, &authority)
    })?;
    let demo = story.step("Provision: from a blank chip to an enrolled robot", |telling| {
        provision(telling, &plan, &robot_tpm, folder, &mut authority)
    })?;
    let mut life = Life {
        demo,
        authority,
        persons,
        curve,
    };
    story.step("Arm: a robot runs only when two persons say so", |telling| {
        life.arm(telling)
    })?;
    let evidence = story.step("Attest and appraise", |telling| life.attest(telling))?;
    story.step("A replayed quote and a tampered boot log", |telling| {
        life.attack_evidence(telling, &ours, &evidence)
    })?;
    if let Some(theirs) = &theirs {
        story.step("A second robot boots with your event log", |telling| {
            life.judge_log(telling, theirs, folder)
        })?;
    }
    story.step("Attest again, in the steady state", |telling| {
        life.attest_again(telling)
    })?;
    let mission = story.step("Start a mission", |telling| life.start_mission(telling))?;
    story.step("Commands, good and bad", |telling| {
        life.command(telling, &mission.0)
    })?;
    let armed = story.step("The mission key is used in the chip", |telling| {
        life.use_key(telling, &mission)
    })?;
    let report = story.step("EMERGENCY STOP", |telling| life.stop(telling))?;
    story.step("The mission key is dead", |telling| {
        life.prove_dead(telling, &mission, &armed)
    })?;
    let receipt = story.step("The receipt, verified offline", |telling| {
        life.verify_receipt(telling, &report)
    })?;
    Ok(story.end(&receipt))
}

/// The levels that a robot of this curve serves in the tour.
pub(super) fn levels(curve: Curve) -> Vec<Level> {
    match curve {
        Curve::P256 => vec![Level::Unclassified, Level::Cui],
        Curve::P384 => vec![Level::Unclassified, Level::Secret],
    }
}

/// What had to be refused was not: the tour proves nothing then.
pub(super) fn held<T>(outcome: Option<T>, what: &'static str) -> Result<T, CliError> {
    outcome.ok_or(CliError::Demo(what))
}

fn found_authority(
    telling: &mut Telling,
    folder: &Path,
    tpm: Tpm,
    persons: &Persons,
) -> Result<LocalAuthority, CliError> {
    let mut authority = authority(folder, tpm, persons)?;
    telling.done("alice and bob are registered as approvers, carol as an operator; three approval keys (P-384) were made \
                  in the authority's TPM");
    let [alice, _] = &persons.approvers;
    let digest = Curve::P384.hash().digest(&[b"alice alone"]);
    let ballot = authority.vault.begin(ApprovalPurpose::Rearm, &digest)?;
    let vote = alice.vote(&ballot)?;
    let alone = authority
        .vault
        .sign_with(&ballot, &[(alice.key.verifying_key(), vote.signature)]);
    let refused = match alone {
        Err(VaultError::Tpm(error)) if error.is_refusal(ResponseCode::POLICY_FAIL) => Some(error),
        _ => None,
    };
    let refused = held(refused, "the authority's TPM signed for one person alone")?;
    telling
        .enforced("a rearm is signed only after both approvers signed this one digest in this one session");
    telling.refused(format!(
        "alice alone asks the TPM for a rearm: {}",
        said(&refused)
    ));
    Ok(authority)
}

fn boot_robot(
    telling: &mut Telling,
    plan: &Plan<'_>,
    tpm: &Tpm,
    authority: &LocalAuthority,
) -> Result<(), CliError> {
    plan.certify(tpm, authority)?;
    let measured = plan.boot(tpm)?;
    telling.done(format!(
        "{measured} measurements of the firmware, boot loader and kernel were extended into the PCRs"
    ));
    telling.done("a simulator's endorsement certificate was put where a vendor would have put its own");
    telling.fact("event log", plan.log.origin.clone());
    Ok(())
}

fn provision(
    telling: &mut Telling,
    plan: &Plan<'_>,
    tpm: &Tpm,
    folder: &Path,
    authority: &mut LocalAuthority,
) -> Result<DemoRobot, CliError> {
    let demo = plan.provision(tpm, &folder.join(plan.name), authority)?;
    let enrolment = authority.authority.enrolment(demo.robot.robot())?;
    let record = enrolment.record();
    telling.done("EK, attestation key, storage root, identity, NV counters and level parents were made in the chip; the \
                  owner, endorsement and lockout authorisations are random, and the authority's alone");
    telling.enforced(
        "the authority's challenge opened only because attestation key and endorsement key are in one TPM \
                      (TPM2_ActivateCredential)",
    );
    let handle = demo.robot.keys().nv().spec(NvIndex::RobotEpoch).handle;
    let wipe = tpm_access::run(tpm, move |chip| {
        chip.nv_undefine(&Secret::from_slice(&[]), handle)
    });
    let refused = match wipe {
        Err(CliError::Tpm(error)) if error.response_code().is_some() => Some(error),
        _ => None,
    };
    let refused = held(
        refused,
        "the robot's epoch counter could be removed without the owner authorisation",
    )?;
    telling.refused(format!(
        "root on the robot tries to remove the stop's counter: {}",
        said(&refused)
    ));
    telling.fact("robot", record.robot.to_string());
    telling.fact(
        "endorsement",
        format!("{} (the certificate says so)", record.tier.name()),
    );
    telling.fact("attestation key", record.attestation_key.name().to_hex());
    Ok(demo)
}

/// What the TPM said, without the advice for those who did not mean it.
pub(super) fn said(error: &TpmError) -> String {
    let text = error.to_string();
    text.split("; ").next().unwrap_or_default().to_owned()
}

pub(super) fn copy_of(key: &alcub3_crypto::SigningKey) -> Result<alcub3_crypto::SigningKey, CliError> {
    alcub3_crypto::SigningKey::from_pkcs8(key.to_pkcs8().expose()).map_err(CliError::Crypto)
}
