//! What honest life does to a robot, and its attestations.

use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_server::AttestationError;
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{MissionId, StopCause, StopId};

use super::support::robot::{BANK, Robot};
use super::{Fleet, PROGRAMS};

pub fn program(list: &mut ListBuilder, number: u64) {
    let name = format!("/opt/program-{number}");
    list.file(&name, &BANK.digest(&[name.as_bytes()]));
}

/// A list as a boot begins it.
pub fn booted(robot: &Robot) -> ListBuilder {
    let mut list = ListBuilder::new();
    list.boot_aggregate(BANK, &robot.pcrs());
    list
}

impl Fleet {
    /// What honest life does to a robot between two attestations.
    pub fn live(&mut self, at: usize) {
        let passed = self.course.below(60 * 60 * 1000);
        self.now += passed;
        for robot in &mut self.robots {
            robot.clock.clock_ms += passed;
        }
        match self.course.below(40) {
            0 => self.power_cut(at),
            1 => {
                self.count("suspends");
                self.robots[at].clock.restart_count += 1;
            }
            2 => self.restart_authority(),
            3 => {
                // Its sequence numbers were reserved ahead.
                self.count("agent restarts");
                self.robots[at].sequence += 1 + self.course.below(64);
            }
            4 => self.mission_ends(at),
            _ => {}
        }
        for _ in 0..self.course.below(4) {
            let number = self.course.below(PROGRAMS);
            program(&mut self.robots[at].measured, number);
            self.count("list entries");
        }
        let clock = &mut self.robots[at].clock;
        if clock.clock_ms.is_multiple_of(7) {
            clock.safe = true;
        }
    }

    pub fn power_cut(&mut self, at: usize) {
        self.count("power cuts");
        let robot = &mut self.robots[at];
        robot.clock.reset_count += 1;
        robot.clock.restart_count = 0;
        // The clock stands still without power, and is behind until its next whole interval.
        robot.clock.clock_ms = robot.clock.clock_ms.saturating_sub(4000);
        robot.clock.safe = false;
        robot.boots_anew();
        robot.measured = booted(robot);
    }

    /// An attestation of a robot that nothing was done to: it is trusted, at once or when it is asked again.
    pub fn attest(&mut self, at: usize) {
        self.count("attestations");
        for _ in 0..8 {
            let request = self.ask(at);
            if self.course.once_in(25) {
                self.count("requests lost");
                continue;
            }
            let evidence = self.robots[at].evidence(&request);
            if self.course.once_in(25) {
                self.count("evidence lost");
                self.kept.push(evidence);
                continue;
            }
            if self.course.once_in(60) {
                // The list grew between the quote and its reading: that is for the next quote.
                program(&mut self.robots[at].measured, 1);
            }
            if self.course.once_in(30) {
                self.restart_authority();
            }
            let judged = self.world.authority.appraise(&evidence, self.now);
            let verdict = match judged {
                Ok(appraised) => appraised.verdict,
                Err(AttestationError::PlatformForgotten) => {
                    self.count("asked again");
                    continue;
                }
                Err(error) => panic!("false failure: {error} ({:?})", self.counts),
            };
            assert!(verdict.is_trusted(), "false failure: {:?}", verdict.findings());
            self.judged(at, true);
            if self.course.once_in(20) {
                self.count("evidence doubled");
                self.world.authority.appraise(&evidence, self.now).unwrap_err();
            }
            if self.course.once_in(4) {
                self.kept.push(evidence);
                let surplus = self.kept.len().saturating_sub(32);
                self.kept.drain(..surplus);
            }
            return;
        }
        self.count("given up");
    }

    /// A mission ends by itself or is stopped: the retire PCR is extended, and the robot is as good as before.
    fn mission_ends(&mut self, at: usize) {
        let mission = MissionId::new(self.course.id());
        let event = if self.course.once_in(3) {
            self.count("mission stops");
            let scope = StopScope::Mission(mission, MissionAnchor::new(2).unwrap());
            AgentEvent::Stop(StopEvent {
                stop: StopId::new(self.course.id()),
                robot: self.robots[at].id.clone(),
                scope,
                cause: StopCause::ManualTrigger,
                called_utc_ms: self.now,
            })
        } else {
            self.count("mission ends");
            AgentEvent::MissionEnded(mission)
        };
        self.robots[at].retired.push(event);
    }
}
