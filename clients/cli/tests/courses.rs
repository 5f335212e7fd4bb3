//! Samples of what a thousand simulated days are made of (fleet/server/tests/thousand_days/main.rs), on a TPM: power is cut, the machine
//! sleeps, robot and authority start anew, and nobody honest is found untrusted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_testkit::{PowerUp, Swtpm};
use support::fleet::Fleet;

const TWO: &str = "--approve alice=alice.key --approve bob=bob.key";

/// What happens to the power of a machine.
#[derive(Clone, Copy, Debug)]
enum Power {
    /// It is cut: nothing was saved.
    Cut,
    /// The machine is shut down and started.
    Restart,
    /// It sleeps, and its PCRs stay.
    Sleep,
    /// Nothing: robot and authority start anew with each command all the same.
    Stays,
}

impl Power {
    fn happens_to(self, fleet: &Fleet) {
        let swtpm: &Swtpm = &fleet.robot_swtpm;
        match self {
            Self::Cut => swtpm.power_cycle(PowerUp::Clear).unwrap(),
            Self::Restart => {
                swtpm.shutdown().unwrap();
                swtpm.power_cycle(PowerUp::Clear).unwrap();
            }
            Self::Sleep => {
                swtpm.shutdown().unwrap();
                swtpm.power_cycle(PowerUp::Resume).unwrap();
                return;
            }
            Self::Stays => return,
        }
        fleet.boot();
    }
}

#[test]
fn nobody_honest_is_untrusted_whatever_happens_to_the_power() {
    use Power::{Cut, Restart, Sleep, Stays};
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.yes(&format!("estop reset {TWO}"));
    for course in [[Cut, Cut, Stays], [Sleep, Cut, Sleep], [Restart, Sleep, Restart]] {
        for power in course {
            power.happens_to(&fleet);
            let run = fleet.run("--json attest --eventlog boot.log");
            assert_eq!(run.code, 0, "{power:?} in {course:?}: {}", run.stdout);
            assert_eq!(fleet.yes("authority health r1")["robots"][0]["state"], "fresh");
        }
    }
    // A boot that is another one is found in the midst of it, and the good one after it is trusted.
    Cut.happens_to(&fleet);
    fleet.robot.tools().run("pcrextend", &["4:sha256=00000000000000000000000000000000000000000000000000000000000000ff,sha384=0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000ff"]).unwrap();
    let refused = fleet.no("attest --eventlog boot.log");
    assert!(
        refused["findings"].to_string().contains("boot-log-mismatch"),
        "{refused}"
    );
    Cut.happens_to(&fleet);
    fleet.yes("attest --eventlog boot.log");
}
