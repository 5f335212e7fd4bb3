//! What each kind of attestation must hold beside the quote: a mission's proof, a stop's, the sensors.

use super::asked::{Asked, MissionScope};
use super::check::{Check, Quoted};
use super::reason::Reason;
use crate::certify::Signed;
use crate::evidence::{Evidence, MissionEvidence};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{AttestationKind, RobotState};

impl Check<'_> {
    /// Judges what the kind of attestation asks for, and refuses what belongs to another kind. Gives the robot's epoch, where
    /// one was proven.
    pub(super) fn content(
        &mut self,
        evidence: &Evidence<'_>,
        quoted: &Quoted,
        state: Option<&RobotState>,
    ) -> Option<u64> {
        let asked = self.policy.asked;
        let kind = asked.kind();
        self.unasked(evidence, kind);
        match asked {
            Asked::Platform | Asked::Operational => None,
            Asked::Sensor => self.sensors(state),
            Asked::UnapprovedMission(mission) => {
                let detail =
                    format!("{mission}: no approval of it is known for this robot, or its token is another");
                self.find(Reason::MissionUnknown, detail);
                None
            }
            Asked::Mission(scope) => self.mission(scope, evidence.mission_proof.as_ref(), quoted, state),
            Asked::Emergency { approved_epoch } => {
                self.stop(approved_epoch, evidence.epoch.as_ref(), quoted, state)
            }
        }
    }

    /// Content of another kind: whoever sends it sends something else than was asked.
    fn unasked(&mut self, evidence: &Evidence<'_>, kind: AttestationKind) {
        let present = [
            (
                "a mission's proof",
                evidence.mission_proof.is_some(),
                kind.mission().is_some(),
            ),
            (
                "a stop's epoch",
                evidence.epoch.is_some(),
                kind == AttestationKind::Emergency,
            ),
        ];
        for (what, _, _) in present
            .into_iter()
            .filter(|(_, is_there, asked)| *is_there && !asked)
        {
            self.find(
                Reason::ContentUnexpected,
                format!("{what} is in evidence of the kind {kind}"),
            );
        }
    }

    fn sensors(&mut self, state: Option<&RobotState>) -> Option<u64> {
        if state.is_some_and(|state| state.calibration.is_empty()) {
            let detail = "the state names no sensor: give the robot's adapter its sensors' calibration";
            self.find(Reason::ContentMissing, detail);
        }
        None
    }

    /// A mission lives where its keys would work: every bound of their policy, read from the chip.
    fn mission(
        &mut self,
        scope: &MissionScope,
        proof: Option<&MissionEvidence<'_>>,
        quoted: &Quoted,
        state: Option<&RobotState>,
    ) -> Option<u64> {
        let Some(proof) = proof else {
            self.find(
                Reason::ContentMissing,
                "the mission's token, epochs and anchor are to be there",
            );
            return None;
        };
        if HashAlg::Sha256.digest(&[proof.token]) != scope.token {
            self.find(
                Reason::MissionUnknown,
                "the token is not the one that was approved",
            );
        }
        if state.is_some_and(|state| !state.missions.contains(&scope.mission)) {
            let detail = format!(
                "the robot's state does not have {} among its missions",
                scope.mission
            );
            self.find(Reason::MissionOver, detail);
        }
        self.mission_window(scope, quoted);
        let mut alive = |index, signed, alive_at| {
            let found = self.counter(index, signed, quoted)?;
            if found != alive_at {
                let detail = format!(
                    "{} is at {found}; the mission lives at {alive_at}: it ended, or a stop ended it",
                    index.name()
                );
                self.find(Reason::MissionOver, detail);
            }
            Some(found)
        };
        alive(
            NvIndex::LevelEpoch(scope.level),
            &proof.level_epoch,
            scope.level_epoch,
        );
        alive(
            NvIndex::MissionAnchor(scope.anchor),
            &proof.anchor,
            scope.anchor_value,
        );
        alive(NvIndex::RobotEpoch, &proof.robot_epoch, scope.robot_epoch)
    }

    fn mission_window(&mut self, scope: &MissionScope, quoted: &Quoted) {
        let (now_ms, clock) = (self.now_ms, quoted.quote.clock());
        if now_ms < scope.not_before_ms || now_ms >= scope.not_after_ms {
            let (from, to) = (scope.not_before_ms, scope.not_after_ms);
            let detail = format!("it lasts from {from} to {to} (UTC in ms since 1970), and it is {now_ms}");
            self.find(Reason::MissionWindow, detail);
        }
        if clock.clock_ms >= scope.end_clock_ms {
            let detail = format!(
                "the TPM's clock is at {} ms, its end was {} ms",
                clock.clock_ms, scope.end_clock_ms
            );
            self.find(Reason::MissionOver, detail);
        }
        if clock.reset_count > scope.max_reset_count {
            let detail = format!(
                "the TPM had {} resets, its keys end after {}",
                clock.reset_count, scope.max_reset_count
            );
            self.find(Reason::MissionOver, detail);
        }
    }

    /// A stop is proven by the log and the lockdown PCR, as in all evidence, and made permanent by the robot's epoch.
    fn stop(
        &mut self,
        approved_epoch: u64,
        epoch: Option<&Signed>,
        quoted: &Quoted,
        state: Option<&RobotState>,
    ) -> Option<u64> {
        if state.is_some_and(|state| !state.stopped) {
            let detail = "the robot's state says that it works: ask for another kind of attestation";
            self.find(Reason::NotStopped, detail);
        }
        let Some(epoch) = epoch else {
            self.find(Reason::ContentMissing, "the robot's epoch is to be certified");
            return None;
        };
        let found = self.counter(NvIndex::RobotEpoch, epoch, quoted)?;
        if found <= approved_epoch {
            let detail = format!(
                "the robot's epoch is {found}, as two persons approved ({approved_epoch}): no stop moved it"
            );
            self.find(Reason::NotStopped, detail);
        }
        Some(found)
    }

    fn counter(&mut self, index: NvIndex, signed: &Signed, quoted: &Quoted) -> Option<u64> {
        let value = self.certified(index, signed, quoted)?.counter();
        if value.is_none() {
            self.find(
                Reason::Register,
                format!("{}: not the whole counter was certified", index.name()),
            );
        }
        value
    }
}
