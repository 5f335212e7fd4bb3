//! The reference: what must be refused, said in a few sets and numbers. It knows nothing of encodings, gates or windows of
//! bits, and shares no code with what it judges but names.

use super::steps::{LEVELS, Rules, Scope, Second, WINDOWS, What, Who};
use alcub3_command_authority::MissionOrder;
use alcub3_trust_model::{Integrity, Level};
use std::collections::{BTreeMap, BTreeSet};

/// A command as it was made: all that it says, in absolute numbers.
#[derive(Copy, Clone, Debug)]
pub struct Facts {
    pub robot: bool,
    pub mission: usize,
    pub who: Who,
    pub what: What,
    pub lease: u64,
    pub sequence: u64,
    pub issued_ms: u64,
    pub expires_ms: u64,
    pub level: Level,
    pub integrity: Integrity,
    pub maced: bool,
    pub forged: bool,
    pub second: Second,
}

/// Which stops came before: a command is good only while none was added for it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    robot: u64,
    level: u64,
    mission: u64,
    expires_ms: u64,
    at: usize,
    orders: bool,
}

#[derive(Default)]
pub struct Model {
    /// None where the robot has no trustworthy time.
    pub now_ms: Option<u64>,
    pub open: bool,
    pub open_levels: [bool; 3],
    stops: u64,
    level_stops: [u64; 3],
    mission_stops: [u64; 3],
    dead: BTreeSet<usize>,
    active: BTreeSet<usize>,
    suspended: BTreeSet<usize>,
    lease: Option<(u64, u64, usize)>,
    /// The identifier of this boot.
    pub boot: u64,
    used: BTreeSet<(u64, u8, u64)>,
    highest: BTreeMap<(u64, u8), u64>,
    pub rules: Option<Rules>,
}

impl Model {
    /// A robot that has just been started.
    pub fn started(now_ms: u64, boot: u64) -> Self {
        Self {
            now_ms: Some(now_ms),
            boot,
            ..Self::default()
        }
    }

    pub fn is_open_for(&self, mission: usize) -> bool {
        self.open && self.open_levels[mission] && !self.dead.contains(&mission)
    }

    pub fn start(&mut self, mission: usize) {
        self.active.insert(mission);
    }

    pub fn end(&mut self, mission: usize) {
        self.active.remove(&mission);
        self.suspended.remove(&mission);
    }

    pub fn obey(&mut self, mission: usize, suspends: bool) {
        if suspends {
            self.suspended.insert(mission);
        } else {
            self.suspended.remove(&mission);
        }
    }

    pub fn attest(&mut self, from_ms: u64, until_ms: u64, ceiling: usize) {
        self.lease = Some((from_ms, until_ms, ceiling));
    }

    pub fn stop(&mut self, scope: Scope) {
        match scope {
            Scope::Robot => {
                self.stops += 1;
                self.open = false;
                self.open_levels = [false; 3];
                (0..3).for_each(|mission| self.end(mission));
                self.lease = None;
            }
            Scope::Level(level) => {
                self.level_stops[level] += 1;
                self.open_levels[level] = false;
                self.end(level);
            }
            Scope::Mission(mission) => {
                self.mission_stops[mission] += 1;
                self.dead.insert(mission);
                self.end(mission);
            }
        }
    }

    /// Another process: nothing runs, and what a stop ended stays ended.
    pub fn restart(&mut self, boot: u64) {
        self.stops += 1;
        self.open = false;
        self.open_levels = [false; 3];
        (0..3).for_each(|mission| self.end(mission));
        self.lease = None;
        self.boot = boot;
    }

    pub fn is_dead(&self, mission: usize) -> bool {
        self.dead.contains(&mission)
    }

    /// Judges a command, and notes that its number is used. A number that the robot did not look at, since it is above what
    /// it reserved on its disk, is not used.
    pub fn judge(&mut self, facts: &Facts, looked_at: bool) -> Result<Seen, &'static str> {
        self.begin(facts)?;
        let issuer = facts.who as u8;
        let fresh = facts.lease == self.boot && self.is_fresh(facts.lease, issuer, facts.sequence);
        if fresh && looked_at {
            self.used.insert((facts.lease, issuer, facts.sequence));
            let highest = self.highest.entry((facts.lease, issuer)).or_default();
            *highest = (*highest).max(facts.sequence);
        }
        self.conclude(facts, fresh)?;
        Ok(Seen {
            robot: self.stops,
            level: self.level_stops[facts.mission],
            mission: self.mission_stops[facts.mission],
            expires_ms: facts.expires_ms,
            at: facts.mission,
            orders: matches!(facts.what, What::Order(_)),
        })
    }

    /// Whether an admitted command may still be carried out.
    pub fn may_release(&self, seen: &Seen) -> bool {
        seen.robot == self.stops
            && seen.level == self.level_stops[seen.at]
            && seen.mission == self.mission_stops[seen.at]
            && self.active.contains(&seen.at)
            && (seen.orders || !self.suspended.contains(&seen.at))
            && self.now_ms.is_some_and(|now| now < seen.expires_ms)
    }

    fn is_fresh(&self, lease: u64, issuer: u8, sequence: u64) -> bool {
        let highest = self.highest.get(&(lease, issuer)).copied().unwrap_or_default();
        sequence > 0 && sequence + 1024 > highest && !self.used.contains(&(lease, issuer, sequence))
    }

    /// What is said about nobody's words.
    fn begin(&self, facts: &Facts) -> Result<(), &'static str> {
        let mission = facts.mission < 3 && self.active.contains(&facts.mission);
        if !self.open || !facts.robot || !mission || facts.forged {
            return Err("gate, robot, mission or authenticity");
        }
        let role = match facts.who {
            Who::Alice => !matches!(facts.what, What::Maintain),
            Who::Eve => !matches!(facts.what, What::Maintain | What::Order(_)),
            Who::Sam => facts.what == What::Observe,
            Who::Mallory => false,
        };
        let policy = match self.rules.unwrap_or(Rules::Builtin) {
            Rules::Builtin => true,
            Rules::Strict => facts.who != Who::Sam && facts.what != What::Observe,
            Rules::Elsewhere | Rules::Lost => false,
        };
        if !role || !policy || (facts.maced && facts.who != Who::Alice) {
            return Err("role, policy or key");
        }
        Ok(())
    }

    fn conclude(&self, facts: &Facts, fresh: bool) -> Result<(), &'static str> {
        let trusted = match facts.who {
            Who::Alice => Integrity::MissionCritical,
            Who::Eve => Integrity::Untrusted,
            _ => Integrity::Operational,
        };
        if facts.integrity > trusted || facts.integrity < Integrity::Operational {
            return Err("integrity");
        }
        if facts.level > LEVELS[facts.mission] {
            return Err("labels");
        }
        let now = self.now_ms.ok_or("no clock")?;
        let (begins, ends) = WINDOWS[facts.mission];
        if now < super::robot::BEGIN_MS + begins || now >= super::robot::BEGIN_MS + ends {
            return Err("mission's time");
        }
        let late = now >= facts.expires_ms || facts.issued_ms > now + 2_000;
        if late || facts.expires_ms - facts.issued_ms.min(facts.expires_ms) > 60_000 {
            return Err("freshness");
        }
        let resumes = facts.what == What::Order(MissionOrder::Resume);
        if self.suspended.contains(&facts.mission) && !resumes {
            return Err("suspended");
        }
        if !fresh {
            return Err("replay");
        }
        let (from, until, ceiling) = self.lease.ok_or("no lease")?;
        if now < from || now >= until || LEVELS[ceiling] < LEVELS[facts.mission] {
            return Err("lease");
        }
        let strict = self.rules == Some(Rules::Strict);
        if let What::Move(speed) = facts.what
            && speed.abs() > if strict { 500 } else { 2_000 }
        {
            return Err("speed");
        }
        let two = match facts.second {
            Second::None => !(strict && facts.what == What::Payload),
            Second::Sam => {
                let known = matches!(facts.what, What::Payload | What::Observe);
                known && facts.who != Who::Sam && facts.integrity == Integrity::Operational
            }
            Second::Issuer | Second::Forged => false,
        };
        if two { Ok(()) } else { Err("second person") }
    }
}
