//! Stops of the whole robot: in force until two persons rearm it, whatever is rebooted, lost, denied or sent again.

use std::collections::BTreeMap;

use alcub3_attestation::appraisal::{Reason, Verdict};
use alcub3_attestation::receipt::Outcome;
use alcub3_server::{OperatorVote, RearmApprovalError};
use alcub3_trust_model::{Level, StopId};

use super::Fleet;

/// A stop while it lasts.
struct Stop {
    receipt: Vec<u8>,
    /// Whether the authority was shown it, by evidence or by the receipt.
    shown: bool,
    /// Whether the machine was started anew since: the log that names the stop is then gone.
    rebooted: bool,
}

impl Fleet {
    /// A robot is stopped, lives through it, is rearmed, and is trusted again.
    pub fn stop_and_rearm(&mut self, at: usize) {
        self.attest(at);
        self.count("stops");
        let id = StopId::new(self.course.id());
        let receipt = self.robots[at].stop(id);
        let mut stop = Stop {
            receipt,
            shown: false,
            rebooted: false,
        };
        match self.course.below(3) {
            0 => self.count("receipts lost"),
            1 => self.count("receipts that come after the rearm"),
            _ => self.receipt_arrives(at, &mut stop),
        }
        for _ in 0..self.course.below(5) {
            self.stopped_life(at, &mut stop);
            self.check_health();
        }
        self.one_person_rearms_nobody(at);
        self.rearm(at, 2).unwrap();
        self.robots[at].stopped = false;
        self.count("rearms by two persons");
        self.trusted_again(at, &stop);
        self.receipts.push((at, stop.receipt));
        let surplus = self.receipts.len().saturating_sub(16);
        self.receipts.drain(..surplus);
    }

    fn receipt_arrives(&mut self, at: usize, stop: &mut Stop) {
        let robot = self.robots[at].id.clone();
        let verdict = self
            .world
            .authority
            .verify_receipt(&robot, &stop.receipt, self.now)
            .unwrap();
        assert_eq!(verdict.outcome, Outcome::Proven, "{:?}", verdict.reasons);
        self.count("receipts judged");
        if !stop.shown {
            self.judged(at, false);
        }
        stop.shown = true;
    }

    /// What happens between a stop and its rearm: nothing of it makes the robot trusted.
    fn stopped_life(&mut self, at: usize, stop: &mut Stop) {
        let passed = self.course.below(12 * 60 * 60 * 1000);
        self.now += passed;
        for robot in &mut self.robots {
            robot.clock.clock_ms += passed;
        }
        match self.course.below(6) {
            0 => {
                self.count("stops lived through a reboot");
                self.power_cut(at);
                stop.rebooted = true;
            }
            1 => self.restart_authority(),
            2 => self.receipt_arrives(at, stop),
            3 => self.denied_stop(at, stop),
            4 => self.hidden_stop(at, stop),
            _ => {
                let verdict = self.evidence_while_stopped(at, "evidence of stopped robots");
                assert!(verdict.has(Reason::Stopped));
                stop.shown |= !stop.rebooted;
                let in_force = verdict.has(Reason::StopInForce);
                assert_eq!(in_force, stop.shown, "{:?}", verdict.findings());
            }
        }
    }

    fn evidence_while_stopped(&mut self, at: usize, what: &'static str) -> Verdict {
        let request = self.ask(at);
        let evidence = self.robots[at].evidence(&request);
        self.refused(at, &evidence, what).unwrap()
    }

    /// The robot says that it is not stopped: its log says it all the same, and after a reboot the authority remembers.
    fn denied_stop(&mut self, at: usize, stop: &mut Stop) {
        if stop.rebooted && !stop.shown {
            // Nobody can know, but by the epoch: no approval fits it.
            return;
        }
        self.robots[at].stopped = false;
        let verdict = self.evidence_while_stopped(at, "stops that are denied");
        assert!(verdict.has(Reason::StopInForce), "{:?}", verdict.findings());
        self.robots[at].stopped = true;
        stop.shown = true;
    }

    /// The agent's log loses the stop that the lockdown PCR holds.
    fn hidden_stop(&mut self, at: usize, stop: &Stop) {
        if stop.rebooted {
            return;
        }
        let pcrs = self.robots[at].pcrs();
        let stops = std::mem::take(&mut self.robots[at].stops);
        self.robots[at].stopped = false;
        let request = self.ask(at);
        let evidence = self.robots[at].evidence_of(&request, pcrs);
        let verdict = self.refused(at, &evidence, "stops that a log hides").unwrap();
        assert!(verdict.has(Reason::AgentLogMismatch));
        self.robots[at].stops = stops;
        self.robots[at].stopped = true;
    }

    fn one_person_rearms_nobody(&mut self, at: usize) {
        if self.course.once_in(3) {
            self.count("rearms by one person");
            self.rearm(at, 1).unwrap_err();
        }
    }

    /// Rearms a robot with the votes of so many persons.
    fn rearm(&mut self, at: usize, persons: usize) -> Result<(), RearmApprovalError> {
        let (world, robot, now) = (&mut self.world, &self.robots[at], self.now);
        let session = world.authority.open_rearm(&robot.id, now)?;
        let request = robot.rearm_request(session, &[Level::Unclassified, Level::Secret]);
        let proposal = world.authority.propose_rearm(&request, &mut world.vault, now)?;
        let vote = |ballot| [world.bob.vote(ballot), world.alice.vote(ballot)][..persons].to_vec();
        let votes: BTreeMap<Level, Vec<OperatorVote>> = proposal
            .ballots()
            .map(|(level, ballot)| (level, vote(ballot)))
            .collect();
        let approved = world
            .authority
            .approve_rearm(proposal, &votes, &mut world.vault, now);
        approved.map(|_| ())
    }

    /// Rearmed, the robot is trusted, once the authority knows which stop it was that is over.
    fn trusted_again(&mut self, at: usize, stop: &Stop) {
        if !stop.shown && !stop.rebooted {
            // The approval named no stop that nobody had shown. The receipt proves that it was counted before.
            let verdict = self.evidence_while_stopped(at, "rearmed before the stop was shown");
            assert!(verdict.has(Reason::StopInForce) && !verdict.has(Reason::Stopped));
            self.receipt_of_the_past(at, &stop.receipt);
        }
        self.attest(at);
        self.check_health();
        // Late, or sent again, the receipt of a stop that is over changes nothing.
        self.receipt_of_the_past(at, &stop.receipt);
        if !self.receipts.is_empty() {
            let pick = self.course.below(self.receipts.len() as u64);
            let (whose, receipt) = self.receipts[usize::try_from(pick).unwrap()].clone();
            self.receipt_of_the_past(whose, &receipt);
        }
        self.attest(at);
    }

    fn receipt_of_the_past(&mut self, at: usize, receipt: &[u8]) {
        self.count("receipts of stops that are over");
        let robot = self.robots[at].id.clone();
        let judged = self.world.authority.verify_receipt(&robot, receipt, self.now);
        assert_eq!(judged.unwrap().outcome, Outcome::Proven);
        self.check_health();
    }

    /// A rearm that asks with the epochs of another robot's TPM.
    pub fn forged_rearm(&mut self, at: usize) {
        self.count("rearms with another robot's epochs");
        let other = (at + 1) % super::ROBOTS;
        let (world, now) = (&mut self.world, self.now);
        let session = world.authority.open_rearm(&self.robots[at].id, now).unwrap();
        let asked = self.robots[at].id.clone();
        let id = std::mem::replace(&mut self.robots[other].id, asked);
        let request = self.robots[other].rearm_request(session, &[Level::Secret]);
        self.robots[other].id = id;
        let proposed = world.authority.propose_rearm(&request, &mut world.vault, now);
        assert!(proposed.is_err(), "false pass: another robot's epochs");
    }
}
