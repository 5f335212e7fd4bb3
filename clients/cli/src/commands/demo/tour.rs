//! The steps of the tour.

use super::actors::{DemoRobot, Persons, Plan, authority, person, throwaway_tpm, uncounted_tpm};
use super::boot::{BootedLog, curve_for};
use super::story::{Story, Telling, duration};
use crate::args::Context;
use crate::authority_vault::VaultError;
use crate::clock::now_ms;
use crate::commands::receipt;
use crate::error::{CliError, with_sources};
use crate::local_authority::{LocalAuthority, Person};
use crate::tpm_access;
use alcub3_agent::BootLog;
use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::receipt::Outcome;
use alcub3_command_authority::{
    Arguments, CommandEnvelope, CommandName, CommandPattern, SafetyLimits, Value as Argument,
};
use alcub3_crypto::{Curve, Secret, Suite};
use alcub3_keys::{KeysError, MissionKey, MissionRecord};
use alcub3_security_hal::{GateVerdict, Step, StopCause, StopReport, StopScope};
use alcub3_server::{Appraised, ApprovalPurpose, ApprovalVault, MissionPlan};
use alcub3_tpm::{PolicySession, ResponseCode, Tpm, TpmError};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{Integrity, Labels, Level};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

/// The robot of the tour.
const NAME: &str = "robot-1";
const MISSION_MS: u64 = 10 * 60_000;

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
fn levels(curve: Curve) -> Vec<Level> {
    match curve {
        Curve::P256 => vec![Level::Unclassified, Level::Cui],
        Curve::P384 => vec![Level::Unclassified, Level::Secret],
    }
}

/// What had to be refused was not: the tour proves nothing then.
fn held<T>(outcome: Option<T>, what: &'static str) -> Result<T, CliError> {
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

/// The robot's life after it was enrolled.
struct Life {
    demo: DemoRobot,
    authority: LocalAuthority,
    persons: Persons,
    curve: Curve,
}

/// A mission and its loaded key.
type Mission = (MissionRecord, MissionKey);

impl Life {
    fn arm(&mut self, telling: &mut Telling) -> Result<(), CliError> {
        let robot = &self.demo.robot;
        held(robot.is_stopped().then_some(()), "a robot that nobody armed runs")?;
        telling.done("a new robot is stopped, as one is after a stop or with its files deleted");
        let levels = levels(self.curve);
        let [alice, bob] = &self.persons.approvers;
        let alone = std::slice::from_ref(alice);
        let error = self.authority.rearm(robot, &levels, alone).err();
        let error = held(error, "one person armed the robot")?;
        telling.refused(format!("alice alone: {}", with_sources(&error)));
        let again = Person {
            id: bob.id.clone(),
            key: copy_of(&alice.key)?,
        };
        let twice = [
            Person {
                id: alice.id.clone(),
                key: copy_of(&alice.key)?,
            },
            again,
        ];
        let error = self.authority.rearm(robot, &levels, &twice).err();
        let error = held(error, "one person voted twice and armed the robot")?;
        telling.refused(format!("alice votes in bob's name: {}", with_sources(&error)));
        let armed = self.authority.rearm(robot, &levels, &self.persons.approvers)?;
        held(
            (!robot.is_stopped()).then_some(()),
            "the robot did not start after two persons approved",
        )?;
        let names: Vec<_> = armed.iter().map(ToString::to_string).collect();
        telling.done(format!(
            "alice and bob approved the epochs that the robot's TPM certified: {}",
            names.join(", ")
        ));
        telling.enforced(
            "mission keys can be made again: the level parents open only with an approval that names the \
                          present epochs",
        );
        Ok(())
    }

    fn attest(&mut self, telling: &mut Telling) -> Result<Vec<u8>, CliError> {
        let robot = &self.demo.robot;
        let request = self.authority.authority.challenge(robot.robot(), now_ms())?;
        let surroundings = alcub3_agent::Surroundings::unknown(robot.keys().hash());
        let evidence = robot.attest(&request.to_canonical(), &surroundings, &self.demo.log, now_ms())?;
        let appraised = self.authority.authority.appraise(&evidence, now_ms())?;
        let lease = appraised.answer.lease.clone();
        trusted(&appraised)?;
        robot.take_lease(&held(lease, "a trusted robot got no lease")?)?;
        telling.done("the TPM quoted the boot PCRs and the agent's, bound to the nonce, the robot's state, its missions \
                      and a sequence number");
        telling.done(
            "the verifier replayed the log event by event, compared it with the reference values, and signed \
                      the result (EAR)",
        );
        telling.enforced("only this TPM's attestation key signs such quotes, and only of what its PCRs hold");
        tell_verdict(telling, &appraised);
        telling.fact(
            "evidence",
            format!("{} bytes, result {} bytes", evidence.len(), appraised.ear.len()),
        );
        Ok(evidence)
    }

    fn attack_evidence(
        &mut self,
        telling: &mut Telling,
        log: &BootedLog,
        old: &[u8],
    ) -> Result<(), CliError> {
        let error = self.authority.authority.appraise(old, now_ms()).err();
        let error = held(error, "evidence counted twice")?;
        telling.refused(format!("the same evidence once more: {}", with_sources(&error)));
        // The old quote, put into the answer to a new request.
        let robot = &self.demo.robot;
        let request = self.authority.authority.challenge(robot.robot(), now_ms())?;
        let mut message = alcub3_fleet_protocol::attestation::EvidenceMessage::from_canonical(old)
            .map_err(|source| CliError::Message { source })?;
        message.session = request.session;
        let appraised = self
            .authority
            .authority
            .appraise(&message.to_canonical(), now_ms())?;
        untrusted(
            telling,
            "an old quote for a new nonce",
            &appraised,
            Reason::Binding,
        )?;
        let tampered = BootLog::Bytes(log.tampered()?);
        let appraised = self.authority.attest(robot, &tampered)?;
        untrusted(
            telling,
            "a boot log with one changed measurement",
            &appraised,
            Reason::BootLogMismatch,
        )
    }

    fn judge_log(&mut self, telling: &mut Telling, log: &BootedLog, folder: &Path) -> Result<(), CliError> {
        telling.fact("event log", log.origin.clone());
        let parsed = log.parsed()?;
        let banks: Vec<&str> = parsed.banks().map(|bank| bank.name()).collect();
        telling.fact(
            "contents",
            format!("{} events, banks {}", parsed.events().len(), banks.join(", ")),
        );
        let Some(curve) = curve_for(&parsed) else {
            telling.refused(
                "the log has neither SHA-256 nor SHA-384 digests: SHA-1 proves nothing, so no robot is \
                             judged by it",
            );
            return Ok(());
        };
        let tpm = uncounted_tpm()?;
        let plan = Plan {
            name: "robot-2",
            log,
            curve,
            levels: vec![Level::Unclassified],
        };
        plan.certify(&tpm, &self.authority)?;
        let measured = plan.boot(&tpm)?;
        let robot = plan.provision(&tpm, &folder.join(plan.name), &mut self.authority)?;
        telling.done(format!(
            "{measured} measurements were extended into another software TPM, which was provisioned; \
                              the log as it is became its reference"
        ));
        let appraised = robot.attest(&mut self.authority)?;
        telling.fact(
            "quote and log",
            if appraised.verdict.attested().is_some() {
                "the quote holds"
            } else {
                "no"
            },
        );
        tell_log_verdict(telling, &appraised);
        let appraised = self
            .authority
            .attest(&robot.robot, &BootLog::Bytes(log.tampered()?))?;
        untrusted(
            telling,
            "your log with one changed measurement",
            &appraised,
            Reason::BootLogMismatch,
        )
    }

    fn attest_again(&mut self, telling: &mut Telling) -> Result<(), CliError> {
        let appraised = self.demo.attest(&mut self.authority)?;
        trusted(&appraised)?;
        telling.done("nothing has changed since, so that the quote is the only TPM command; the robot has a lease again");
        tell_verdict(telling, &appraised);
        Ok(())
    }

    fn start_mission(&mut self, telling: &mut Telling) -> Result<Mission, CliError> {
        let level = held(levels(self.curve).pop(), "the robot serves no level")?;
        let pattern = CommandPattern::new("move.*").map_err(CliError::Role)?;
        let limits = SafetyLimits {
            max_speed_mm_per_s: 1_500,
            max_turn_mdeg_per_s: 90_000,
            max_duration_ms: 10_000,
            geofence: None,
        };
        let plan = MissionPlan {
            issuers: vec![(self.persons.operator.id.clone(), vec![pattern])],
            limits,
        };
        let labels = Labels::new(level, Integrity::Operational);
        let persons = alcub3_trust_model::profile(level).persons;
        let voters = self
            .persons
            .approvers
            .get(..usize::from(persons))
            .unwrap_or_default();
        let record = self
            .authority
            .start_mission(&self.demo.robot, labels, MISSION_MS, &plan, voters)?;
        let key = self.demo.robot.mission_key(record.mission)?;
        telling.done(format!(
            "{persons} of the approvers voted for ten minutes at {level}; carol may give move commands up \
                              to 1.5 m/s"
        ));
        telling.done("the mission's key was made in the robot's chip, and certified by its attestation key");
        telling.enforced("the key signs only before its end on the TPM's clock, while no stop extended the lockdown PCR, \
                          while the robot's epoch, the level's epoch and the mission's anchor stand where they stood");
        telling.fact("mission", record.mission.to_string());
        Ok((record, key))
    }

    fn command(&mut self, telling: &mut Telling, mission: &MissionRecord) -> Result<(), CliError> {
        let good = self.envelope(mission, 1, 1_000)?;
        let verdict = self.demo.robot.validate(&good, Some(now_ms()))?;
        held(
            matches!(verdict, GateVerdict::Admitted(_)).then_some(()),
            "a good command was refused",
        )?;
        telling.done("carol sends `move.velocity`, 1.0 m/s: admitted");
        self.refuse(telling, "the same envelope again", &good)?;
        let mut forged = self.envelope(mission, 2, 1_000)?;
        if let Some(byte) = forged.last_mut() {
            *byte ^= 1;
        }
        self.refuse(telling, "one bit of the signature changed", &forged)?;
        let stranger = person("carol", Curve::P384)?;
        let theirs = self.envelope_by(&stranger, mission, 3, 1_000)?;
        self.refuse(telling, "another's key in carol's name", &theirs)?;
        let fast = self.envelope(mission, 4, 9_000)?;
        self.refuse(telling, "9 m/s, which the mission does not allow", &fast)
    }

    fn refuse(&self, telling: &mut Telling, what: &str, envelope: &[u8]) -> Result<(), CliError> {
        let reasons = match self.demo.robot.validate(envelope, Some(now_ms()))? {
            GateVerdict::Refused(refusal) => Some(
                refusal
                    .reasons()
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            ),
            GateVerdict::Admitted(_) => None,
        };
        let reasons = held(reasons, "a command that must be refused was admitted")?;
        telling.refused(format!("{what}: {}", reasons.join(", ")));
        Ok(())
    }

    fn envelope(
        &self,
        mission: &MissionRecord,
        sequence: u64,
        speed_mm_per_s: i64,
    ) -> Result<Vec<u8>, CliError> {
        self.envelope_by(&self.persons.operator, mission, sequence, speed_mm_per_s)
    }

    fn envelope_by(
        &self,
        issuer: &Person,
        mission: &MissionRecord,
        sequence: u64,
        speed_mm_per_s: i64,
    ) -> Result<Vec<u8>, CliError> {
        let now = now_ms();
        let speed = Arguments::new().with("velocity_x_mm_per_s", Argument::Int(speed_mm_per_s));
        let envelope = CommandEnvelope {
            robot: self.demo.robot.robot().clone(),
            mission: mission.mission,
            lease: self.demo.robot.lease_id(),
            issuer: issuer.id.clone(),
            sequence,
            issued_at_ms: now,
            expires_at_ms: now + 10_000,
            command: CommandName::new("move.velocity").map_err(CliError::Role)?,
            labels: Labels::new(mission.level, Integrity::Operational),
            arguments: speed.map_err(CliError::Argument)?,
        };
        Ok(envelope.unsigned(Suite::EcdsaP384Sha384).sign(&issuer.key)?)
    }

    fn use_key(&self, telling: &mut Telling, (_, key): &Mission) -> Result<PolicySession, CliError> {
        let keys = self.demo.robot.keys();
        keys.sign(key, keys.hash().digest(&[b"telemetry"]))?;
        let armed = keys.arm(key)?;
        telling.done("it signed a message: the TPM checked the eight parts of its policy first");
        telling.done(
            "one more policy session was armed and kept, as an attacker would, to be used after the stop",
        );
        Ok(armed)
    }

    fn stop(&self, telling: &mut Telling) -> Result<StopReport, CliError> {
        let report = self
            .demo
            .robot
            .stop(StopScope::Robot, StopCause::Operator, now_ms())?;
        let missing = report.unconfirmed().next().map(|step| step.step.name());
        held(
            missing.is_none().then_some(()),
            "a step of the stop is unconfirmed",
        )?;
        let at = |step| {
            report
                .step(step)
                .map_or(Duration::ZERO, |record| Duration::from_nanos(record.ended_ns))
        };
        telling.done(format!(
            "gate closed {} after the call, secrets in memory wiped {}; then the TPM's two commands: lockdown PCR extended \
             {}, robot's epoch incremented {}",
            duration(at(Step::GateClosed)),
            duration(at(Step::MemoryWiped)),
            duration(at(Step::PcrExtended)),
            duration(at(Step::CounterIncremented)),
        ));
        telling.done("two TPM commands stop everything, whatever the number of keys; the others prove it: the receipt's \
                      quote and certification");
        telling
            .enforced("the PCR kills what is armed, the counter makes it permanent: neither can be undone");
        telling.fact("stop", report.stop.to_string());
        telling.fact(
            "note",
            "a security-triggered protective stop with evidence, not a certified ISO 13850 emergency stop",
        );
        Ok(report)
    }

    fn prove_dead(
        &self,
        telling: &mut Telling,
        (record, key): &Mission,
        armed: &PolicySession,
    ) -> Result<(), CliError> {
        let keys = self.demo.robot.keys();
        let digest = keys.hash().digest(&[b"after the stop"]);
        let code = |error: KeysError| match error {
            KeysError::Tpm(error) if error.response_code().is_some() => Some(error),
            _ => None,
        };
        let old = keys.sign_armed(key, armed, digest).err().and_then(code);
        let old = held(old, "a session armed before the stop still signs")?;
        telling.refused(format!(
            "the session that was armed before the stop: {}",
            said(&old)
        ));
        let new = keys.arm(key).err().and_then(code);
        let new = held(new, "the mission key can be armed after the stop")?;
        telling.refused(format!(
            "a new session with the same approvals: {}: the lockdown PCR is not what the policy names",
            said(&new)
        ));
        let late = self.envelope(record, 5, 100)?;
        self.refuse(telling, "a command after the stop", &late)
    }

    fn verify_receipt(&self, telling: &mut Telling, report: &StopReport) -> Result<Value, CliError> {
        let bytes = held(report.receipt.clone(), "the stop has no receipt")?;
        let enrolment = self.authority.authority.enrolment(self.demo.robot.robot())?;
        let (key, robot) = (enrolment.attestation_key(), self.demo.robot.robot());
        let verdict = receipt::judge(&bytes, key, Some(robot), Some(report.stop))?;
        held(
            (verdict.outcome == Outcome::Proven).then_some(()),
            "the receipt does not prove the stop",
        )?;
        telling.done(format!(
            "{} bytes and the robot's attestation key were enough; no robot, TPM or network was asked",
            bytes.len()
        ));
        telling.enforced("quote and counter were signed by the robot's TPM over this stop's own identifier, before and after");
        let mut forged = bytes.clone();
        let middle = forged.len() / 2;
        if let Some(byte) = forged.get_mut(middle) {
            *byte ^= 1;
        }
        let refused = receipt::judge(&forged, key, Some(robot), Some(report.stop))?;
        held(
            (refused.outcome != Outcome::Proven).then_some(()),
            "a changed receipt was accepted",
        )?;
        let reasons: Vec<_> = refused.reasons.iter().map(|reason| reason.text()).collect();
        telling.refused(format!(
            "the receipt with one bit changed: {}",
            reasons.join("; ")
        ));
        Ok(receipt::to_json(&verdict))
    }
}

/// What the TPM said, without the advice for those who did not mean it.
fn said(error: &TpmError) -> String {
    let text = error.to_string();
    text.split("; ").next().unwrap_or_default().to_owned()
}

fn copy_of(key: &alcub3_crypto::SigningKey) -> Result<alcub3_crypto::SigningKey, CliError> {
    alcub3_crypto::SigningKey::from_pkcs8(key.to_pkcs8().expose()).map_err(CliError::Crypto)
}

fn trusted(appraised: &Appraised) -> Result<(), CliError> {
    if appraised.verdict.is_trusted() {
        return Ok(());
    }
    let findings = appraised
        .verdict
        .findings()
        .iter()
        .map(|finding| finding.reason.code())
        .collect::<Vec<_>>();
    Err(CliError::Untrusted {
        findings: findings.join(", "),
    })
}

fn untrusted(
    telling: &mut Telling,
    what: &str,
    appraised: &Appraised,
    reason: Reason,
) -> Result<(), CliError> {
    let found = appraised
        .verdict
        .findings()
        .iter()
        .find(|finding| finding.reason == reason);
    let found = found.filter(|_| !appraised.verdict.is_trusted() && appraised.answer.lease.is_none());
    let found = held(found, "changed evidence was trusted")?;
    telling.refused(format!("{what}: untrusted, {}: {}", reason.code(), found.detail));
    Ok(())
}

fn tell_verdict(telling: &mut Telling, appraised: &Appraised) {
    let codes: Vec<_> = appraised
        .verdict
        .findings()
        .iter()
        .map(|finding| finding.reason.code())
        .collect();
    let also = if codes.is_empty() {
        String::new()
    } else {
        format!(" (noted: {})", codes.join(", "))
    };
    telling.fact("verdict", format!("trusted{also}"));
}

fn tell_log_verdict(telling: &mut Telling, appraised: &Appraised) {
    if appraised.verdict.is_trusted() {
        return tell_verdict(telling, appraised);
    }
    telling.fact("verdict", "untrusted");
    for finding in appraised.verdict.findings().iter().take(5) {
        telling.fact(
            "because",
            format!("{}: {}", finding.reason.code(), finding.detail),
        );
    }
}
