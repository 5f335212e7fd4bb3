//! The robot is armed, attested and judged; changed evidence is refused.

use super::actors::{DemoRobot, Persons, Plan, uncounted_tpm};
use super::boot::{BootedLog, curve_for, starts_at_locality_0};
use super::story::Telling;
use super::tour::{copy_of, held, levels};
use crate::clock::now_ms;
use crate::error::{CliError, with_sources};
use crate::local_authority::{LocalAuthority, Person};
use crate::robot_side::Opened;
use alcub3_agent::{ActiveMission, LogSource, PlatformLogs};
use alcub3_attestation::appraisal::{Reason, Severity};
use alcub3_crypto::Curve;
use alcub3_keys::MissionKey;
use alcub3_server::Appraised;
use alcub3_trust_model::Level;
use std::path::Path;

/// The robot's life after it was enrolled.
pub(super) struct Life {
    pub(super) demo: DemoRobot,
    pub(super) authority: LocalAuthority,
    pub(super) persons: Persons,
    pub(super) curve: Curve,
}

/// A mission and its loaded key.
pub(super) type Mission = (ActiveMission, MissionKey);

impl Life {
    pub(super) fn arm(&mut self, telling: &mut Telling) -> Result<(), CliError> {
        let robot = &self.demo.robot;
        held(robot.is_stopped().then_some(()), "a robot that nobody armed runs")?;
        telling.done("a new robot is stopped, as one is after a stop or with its files deleted");
        let levels = levels(self.curve);
        let [alice, bob] = &self.persons.approvers;
        let alone = std::slice::from_ref(alice);
        let error = self
            .authority
            .rearm(&Opened::at_rest(robot), &levels, alone)
            .err();
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
        let error = self
            .authority
            .rearm(&Opened::at_rest(robot), &levels, &twice)
            .err();
        let error = held(error, "one person voted twice and armed the robot")?;
        telling.refused(format!("alice votes in bob's name: {}", with_sources(&error)));
        let armed = self
            .authority
            .rearm(&Opened::at_rest(robot), &levels, &self.persons.approvers)?;
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

    pub(super) fn attest(&mut self, telling: &mut Telling) -> Result<Vec<u8>, CliError> {
        let robot = &self.demo.robot;
        let request = self.authority.authority.challenge(robot.robot(), now_ms())?;
        robot.measure_hardware(crate::parties::machine_root(robot)?.as_deref(), now_ms())?;
        let surroundings = alcub3_agent::Surroundings::unknown();
        let evidence = robot.attest(&request.to_canonical(), &surroundings, &self.demo.logs, now_ms())?;
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

    pub(super) fn attack_evidence(
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
        let tampered = PlatformLogs::uefi(LogSource::Bytes(log.tampered()?));
        let appraised = self.authority.attest(robot, &tampered)?;
        untrusted(
            telling,
            "a boot log with one changed measurement",
            &appraised,
            Reason::BootLogMismatch,
        )
    }

    pub(super) fn judge_log(
        &mut self,
        telling: &mut Telling,
        log: &BootedLog,
        folder: &Path,
    ) -> Result<(), CliError> {
        telling.fact("event log", log.origin.clone());
        let parsed = log.parsed()?;
        let banks: Vec<&str> = parsed.banks().map(|bank| bank.name()).collect();
        telling.fact(
            "contents",
            format!("{} events, banks {}", parsed.events().len(), banks.join(", ")),
        );
        if !starts_at_locality_0(&parsed) {
            telling.fact(
                "note",
                "the machine started its TPM at another locality, which this software TPM does not do: PCR 0 will differ",
            );
        }
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
        self.authority.rearm(
            &Opened::at_rest(&robot.robot),
            &plan.levels,
            &self.persons.approvers,
        )?;
        let appraised = robot.attest(&mut self.authority)?;
        tell_log_verdict(telling, &appraised);
        let appraised = self.authority.attest(
            &robot.robot,
            &PlatformLogs::uefi(LogSource::Bytes(log.tampered()?)),
        )?;
        untrusted(
            telling,
            "your log with one changed measurement",
            &appraised,
            Reason::BootLogMismatch,
        )
    }

    pub(super) fn attest_again(&mut self, telling: &mut Telling) -> Result<(), CliError> {
        let appraised = self.demo.attest(&mut self.authority)?;
        trusted(&appraised)?;
        telling.done("nothing has changed since, so that the quote is the only TPM command; the robot has a lease again");
        tell_verdict(telling, &appraised);
        Ok(())
    }
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
    let findings = appraised.verdict.findings().iter();
    let against = findings.filter(|finding| finding.severity == Severity::Untrusted);
    let reasons: Vec<_> = against
        .map(|finding| format!("{}: {}", finding.reason.code(), finding.detail))
        .collect();
    telling.fact("verdict", format!("untrusted: {}", reasons.join("; ")));
}
