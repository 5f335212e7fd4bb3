//! Health, held against what is known here; and robots that say nothing.

use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::health::HealthState;

use super::support::robot::BANK;
use super::{DAY_MS, Fleet, ROBOTS, interval_ms};

impl Fleet {
    /// The health of every robot, held against what is known here.
    pub fn check_health(&mut self) {
        let interval = interval_ms();
        for at in 0..ROBOTS {
            let health = self.health(at, self.now);
            let told = self.told[at];
            let expected = match (told.at_ms.map(|at_ms| self.now - at_ms), told.failing) {
                (None, _) => HealthState::Unknown,
                (Some(_), true) => HealthState::Failing,
                (Some(age), false) if age < interval / 4 * 3 => HealthState::Fresh,
                (Some(age), false) if age < interval => HealthState::Due,
                (Some(_), false) => HealthState::Late,
            };
            assert_eq!(health.state, expected, "rover-{at} at {}: {health:?}", self.now);
            let silent = told.at_ms.map(|at_ms| at_ms + interval);
            let silent = silent.filter(|silent| *silent <= self.now);
            assert_eq!(health.silent_since_ms, silent, "rover-{at}: {health:?}");
        }
    }

    fn health(&self, at: usize, at_ms: u64) -> alcub3_attestation::health::Health {
        let robot = &self.robots[at].id;
        self.world.authority.health(robot, at_ms).unwrap()
    }

    /// A robot says nothing for a while: exactly at the end of the interval it is late, and not before.
    pub fn silence(&mut self, at: usize) {
        self.attest(at);
        if self.told[at].failing || self.told[at].at_ms != Some(self.now) {
            return;
        }
        self.count("silences");
        let late = self.now + interval_ms();
        let due = self.health(at, late - 1);
        assert_eq!((due.state, due.silent_since_ms), (HealthState::Due, None));
        assert_eq!(due.next_change_ms, Some(late), "it is told when");
        self.now = late;
        assert_eq!(self.health(at, self.now).state, HealthState::Late);
        self.count("silences noticed in time");
        self.now += self.course.below(3 * DAY_MS);
        self.check_health();
    }

    /// A robot is found untrusted and then says nothing: it is failing, and exactly at the end of the interval silent as well.
    pub fn failing_silence(&mut self, at: usize) {
        self.attest(at);
        self.robots[at]
            .measured
            .file("/tmp/intruder", &BANK.digest(&[b"x"]));
        let request = self.ask(at);
        let evidence = self.robots[at].evidence(&request);
        let verdict = self.refused(at, &evidence, "robots that fail and fall silent");
        assert!(verdict.unwrap().has(Reason::RuntimeFile));
        let silent = self.now + interval_ms();
        let heard = self.health(at, silent - 1);
        assert_eq!((heard.state, heard.silent_since_ms), (HealthState::Failing, None));
        assert_eq!(heard.next_change_ms, Some(silent), "it is told when");
        self.now = silent;
        let both = self.health(at, self.now);
        assert_eq!(
            (both.state, both.silent_since_ms),
            (HealthState::Failing, Some(silent))
        );
        self.count("silences of failing robots noticed in time");
        self.now += self.course.below(DAY_MS);
        self.check_health();
        self.power_cut(at);
        self.attest(at);
    }
}
