//! A mission's shared secret over the command line: two robots, the chip of the person who commands both, an authority.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_testkit::{Served, Swtpm};
use serde_json::Value;
use support::fleet::Fleet;
use support::{Run, assert_error};

/// A fleet with the chips of carol, who commands, and of a second robot.
struct Shared {
    fleet: Fleet,
    carol: Served,
    second: Served,
    _chips: [Swtpm; 2],
}

impl Shared {
    fn start() -> Option<Self> {
        let fleet = Fleet::start()?;
        fleet.provisioned();
        fleet.yes("authority show --key authority.pub");
        let chips = [Swtpm::start().unwrap(), Swtpm::start().unwrap()];
        Some(Self {
            fleet,
            carol: chips[0].serve().unwrap(),
            second: chips[1].serve().unwrap(),
            _chips: chips,
        })
    }

    fn carol(&self, words: &str) -> Run {
        self.fleet
            .elsewhere(&self.carol, "carol", &format!("--json {words}"))
    }

    fn carol_does(&self, words: &str) -> Value {
        done(words, &self.carol(words))
    }

    /// The second robot, with a boot log of its own, provisioned and armed, on a mission.
    fn second_mission(&self) -> Value {
        self.fleet.boot_of(&self.second);
        self.second("provision r2 --level UNCLASSIFIED --level SECRET --simulator-ca --eventlog boot.log");
        self.second("estop reset --approve alice=alice.key --approve bob=bob.key");
        self.second("attest --eventlog boot.log");
        self.second(
            "mission start --level SECRET --duration-s 600 --issuer carol=move.* --approve alice=alice.key --approve \
             bob=bob.key",
        )
    }

    fn second(&self, words: &str) -> Value {
        done(
            words,
            &self
                .fleet
                .elsewhere(&self.second, "second", &format!("--json {words}")),
        )
    }

    /// Carol's chip, from a blank one to an admitted one.
    fn admitted(&self) {
        self.carol_does("chip present carol --key carol.key --simulator-ca carol-ca.pem -o carol.chip");
        self.fleet.yes("authority roots --simulator carol-ca.pem");
        self.admit();
    }

    /// Carol's presented chip, admitted.
    fn admit(&self) {
        self.fleet
            .yes("authority chip challenge carol.chip -o carol.challenge");
        self.carol_does(
            "chip answer carol.challenge --request carol.chip --authority-key authority.pub -o carol.answer",
        );
        let admitted = self.fleet.yes("authority chip admit carol.answer");
        assert_eq!(
            (&admitted["operator"], &admitted["tpm"]),
            (&"carol".into(), &"simulator".into())
        );
    }

    /// The first robot asks.
    fn asked(&self, mission: &Value, out: &str) {
        let exchange = self.fleet.yes("mission share open r1")["exchange"].clone();
        let (id, exchange) = (mission["mission"].as_str().unwrap(), exchange.as_str().unwrap());
        self.fleet
            .yes(&format!("mission share ask {id} --exchange {exchange} -o {out}"));
    }

    fn second_asked(&self, mission: &Value, out: &str) {
        let exchange = self.fleet.yes("mission share open r2")["exchange"].clone();
        let (id, exchange) = (mission["mission"].as_str().unwrap(), exchange.as_str().unwrap());
        self.second(&format!("mission share ask {id} --exchange {exchange} -o {out}"));
    }

    /// Carol's next command for a robot, by her chip.
    fn command(&self, robot: &str, mission: &Value, mac: &str, sequence: u64) -> String {
        let (id, lease) = (
            mission["mission"].as_str().unwrap(),
            mission["lease"].as_str().unwrap(),
        );
        let out = format!("{robot}-{mac}-{sequence}.cose");
        self.carol_does(&format!(
            "command sign move.velocity --arg velocity_x_mm_per_s=100 --robot {robot} --mission {id} --lease {lease} \
             --issuer carol --mac {mac} --sequence {sequence} --level SECRET -o {out}"
        ));
        out
    }

    fn refused(&self, envelope: &str, reason: &str) {
        let reasons = self.fleet.no(&format!("command validate {envelope}"))["reasons"].to_string();
        assert!(reasons.contains(reason), "{envelope}: {reasons}");
    }
}

fn done(words: &str, run: &Run) -> Value {
    assert_eq!(run.code, 0, "{words}: {}{}", run.stdout, run.stderr);
    run.json()
}

#[test]
fn a_shared_secret_commands_two_robots_from_a_proven_chip_and_ends_with_mission_and_stop() {
    let Some(world) = Shared::start() else { return };
    world.admitted();
    let (first, second) = (world.fleet.mission(), world.second_mission());
    world.asked(&first, "r1.ask");
    world.second_asked(&second, "r2.ask");
    let wrapped = world
        .fleet
        .yes("mission share wrap r1.ask r2.ask --commander carol -o shared");
    assert_eq!(wrapped["copies"].as_array().unwrap().len(), 3);
    let taken = world
        .fleet
        .yes("mission share take shared/r1.shared --request r1.ask");
    assert_eq!(
        (&taken["origin"], &taken["issuer"]),
        (&"shared".into(), &"carol".into())
    );
    world.second("mission share take shared/r2.shared --request r2.ask");
    let held =
        world.carol_does("commander take shared/carol.command --authority-key authority.pub -o carol.mac");
    assert_eq!(held["missions"][1]["robot"], "r2");

    let good = world.command("r1", &first, "carol.mac", 1);
    assert_eq!(
        world.fleet.yes(&format!("command validate {good}"))["issuer"],
        "carol"
    );
    world.refused(&good, "replay");
    let other = world.command("r2", &second, "carol.mac", 1);
    world.second(&format!("command validate {other}"));
    world.refused(&other, "robot");
    let mut forged = std::fs::read(
        world
            .fleet
            .path()
            .join(world.command("r1", &first, "carol.mac", 2)),
    )
    .unwrap();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(world.fleet.path().join("forged.cose"), forged).unwrap();
    world.refused("forged.cose", "not-authentic");

    // A key of another mission is a wrong key here, although it is carol's as well.
    let later = world.fleet.yes(
        "mission start --level SECRET --duration-s 600 --issuer carol=move.* --approve alice=alice.key --approve \
         bob=bob.key",
    );
    world.asked(&later, "later.ask");
    world
        .fleet
        .yes("mission share wrap later.ask --commander carol -o later");
    world
        .fleet
        .yes("mission share take later/r1.shared --request later.ask");
    world.carol_does("commander take later/carol.command --authority-key authority.pub -o later.mac");
    let wrong = world.command("r1", &first, "later.mac", 3);
    world.refused(&wrong, "not-authentic");
    let right = world.command("r1", &later, "later.mac", 4);
    world.fleet.yes(&format!("command validate {right}"));

    world.fleet.yes(&format!(
        "mission complete {}",
        first["mission"].as_str().unwrap()
    ));
    let ended = world.command("r1", &first, "carol.mac", 5);
    world.refused(&ended, "mission");
    world.fleet.yes("estop");
    let stopped = world.command("r1", &later, "later.mac", 6);
    world.refused(&stopped, "emergency-stop");
    // The second robot's mission goes on.
    let still = world.command("r2", &second, "carol.mac", 2);
    world.second(&format!("command validate {still}"));
}

#[test]
fn no_secret_goes_to_a_chip_that_is_not_proven_or_not_the_persons() {
    let Some(world) = Shared::start() else { return };
    let mission = world.fleet.mission();
    world.asked(&mission, "r1.ask");
    let wrap = "--json mission share wrap r1.ask --commander carol -o shared";
    assert_error(&world.fleet.run(wrap), 1, "no-chip");
    assert!(!world.fleet.path().join("shared").exists());

    // Not certified by a root of this authority; signed by another person; of a person who is not registered.
    world.carol_does("chip present carol --key carol.key --simulator-ca carol-ca.pem -o carol.chip");
    let challenge = "--json authority chip challenge carol.chip -o carol.challenge";
    assert_error(&world.fleet.run(challenge), 1, "endorsement");
    world.fleet.yes("authority roots --simulator carol-ca.pem");
    for (name, key, code) in [
        ("carol", "alice.key", "chip-refused"),
        ("dave", "carol.key", "operator-unknown"),
    ] {
        world.carol_does(&format!("chip present {name} --key {key} -o carol.chip"));
        assert_error(&world.fleet.run(challenge), 1, code);
    }
    world.carol_does("chip present carol --key carol.key -o carol.chip");
    world
        .fleet
        .yes("authority chip challenge carol.chip -o carol.challenge");
    // Another chip cannot answer, and what it cannot answer admits nothing.
    let answer =
        "chip answer carol.challenge --request carol.chip --authority-key authority.pub -o carol.answer";
    let elsewhere = world
        .fleet
        .elsewhere(&world.second, "none", &format!("--json {answer}"));
    assert_error(&elsewhere, 70, "tpm-refused");
    let impostor = answer.replace("authority.pub", "alice.key.pub");
    assert_error(&world.carol(&impostor), 1, "chip-refused");
    world.carol_does(answer);
    let mut forged = std::fs::read(world.fleet.path().join("carol.answer")).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(world.fleet.path().join("forged.answer"), forged).unwrap();
    let admit = world.fleet.run("--json authority chip admit forged.answer");
    assert_error(&admit, 1, "proof");
    // A challenge counts once, whatever came of it.
    let admit = world.fleet.run("--json authority chip admit carol.answer");
    assert_error(&admit, 1, "chip-refused");

    world.admit();
    world.asked(&mission, "r1.ask");
    world.fleet.yes(&wrap.replace("--json ", ""));
    let take = "commander take shared/carol.command --authority-key authority.pub -o carol.mac";
    let elsewhere = world
        .fleet
        .elsewhere(&world.second, "none", &format!("--json {take}"));
    assert_error(&elsewhere, 1, "import-integrity");
    world.carol_does(take);
    let sign = format!(
        "--json command sign move.stop --robot r1 --mission {} --lease {} --sequence 1 --mac carol.mac -o x.cose --issuer",
        mission["mission"].as_str().unwrap(),
        mission["lease"].as_str().unwrap()
    );
    let other_chip = world
        .fleet
        .elsewhere(&world.second, "none", &format!("{sign} carol"));
    assert_error(&other_chip, 70, "other-tpm");
    assert_error(&world.fleet.run(&format!("{sign} alice")), 2, "usage");
}

#[test]
fn what_one_robot_sealed_with_a_shared_key_another_opens_with_its_copy() {
    let Some(world) = Shared::start() else { return };
    let (first, second) = (world.fleet.mission(), world.second_mission());
    let missions = [&first, &second].map(|mission| mission["mission"].as_str().unwrap());
    for (robot, mission) in ["r1", "r2"].iter().zip(missions) {
        let exchange = world.fleet.yes(&format!("mission share open {robot}"))["exchange"].clone();
        let ask = format!(
            "mission share ask {mission} --exchange {} --purpose data-sealing -o {robot}.ask",
            exchange.as_str().unwrap()
        );
        match *robot {
            "r1" => world.fleet.yes(&ask),
            _ => world.second(&ask),
        };
    }
    world.fleet.yes("mission share wrap r1.ask r2.ask -o shared");
    let own = world
        .fleet
        .yes("mission share take shared/r1.shared --request r1.ask")["key"]
        .clone();
    let theirs = world.second("mission share take shared/r2.shared --request r2.ask")["key"].clone();
    let [own, theirs] = [&own, &theirs].map(|key| key.as_str().unwrap());
    std::fs::write(world.fleet.path().join("map"), b"a map").unwrap();
    world.fleet.yes(&format!(
        "mission key seal {} {own} map -o map.sealed",
        missions[0]
    ));
    // Another robot has no key of that name, and its own copy under its own mission.
    let alone = world.fleet.elsewhere(
        &world.second,
        "second",
        "--json mission key open map.sealed -o map.out",
    );
    assert_ne!(alone.code, 0);
    world.second(&format!(
        "mission key open map.sealed -o map.out --mission {} --key {theirs}",
        missions[1]
    ));
    assert_eq!(
        std::fs::read(world.fleet.path().join("map.out")).unwrap(),
        b"a map"
    );
}
