//! What operations would cost on real chips: swtpm's answers with the published latencies of five chips added.

use crate::missions::{Commander, command_secret, share};
use crate::row::{Must, Row, median, millis, timed};
use crate::stop::intent;
use crate::support::{LONG, Life, NOW_MS, digest, open_tpm, steady};
use alcub3_agent::{PlatformLogs, Surroundings};
use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Secret};
use alcub3_keys::RobotZeroizer;
use alcub3_security_hal::{GateVerdict, Zeroizer};
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::transport::{ChipModel, ModelClock, Timed, TimedMode};
use alcub3_tpm::{Auth, Chip, Lane};
use alcub3_trust_model::handle_map;

/// Median milliseconds of each operation on one chip.
struct Figures {
    keygen: f64,
    attest: f64,
    seal: f64,
    mission_sign: f64,
    stop_tpm: f64,
}

/// A robot on a chip that answers as slowly as the model says, by the model's clock.
struct Robot {
    life: Life,
    clock: ModelClock,
}

impl Robot {
    fn on(model: ChipModel) -> Self {
        let mut life = Life::running();
        let timed = Timed::new(life.swtpm.transport(), model, TimedMode::Account);
        let clock = timed.clock();
        life.robot = None;
        (life.tpm, life.counts) = open_tpm(timed);
        life.open();
        Self { life, clock }
    }

    /// The median: what our side took, plus what the chip would have.
    fn ms(&self, rounds: usize, mut work: impl FnMut(&Life)) -> f64 {
        let times = (0..rounds).map(|_| {
            self.clock.reset();
            let took = timed(|| work(&self.life));
            millis(took.saturating_sub(self.clock.inner()) + self.clock.elapsed())
        });
        median(times.collect())
    }

    fn figures(mut self) -> Figures {
        let (keygen, seal) = (self.ms(20, generate_key), self.ms(20, seal));
        let surroundings = Surroundings::unknown();
        let asked = steady(self.life.robot());
        let attest = self.ms(20, |life| {
            let evidence = life
                .robot()
                .evidence(&asked, &surroundings, &PlatformLogs::NONE, NOW_MS);
            evidence.unwrap();
        });
        let mission = self.life.start_mission(600_000);
        let key = self.life.key(&mission);
        let mission_sign = self.ms(20, |life| {
            life.robot().keys().sign(&key, digest()).unwrap();
        });
        let mut zeroizer = RobotZeroizer::new(self.life.robot().keys().clone());
        let stop_tpm = self.ms(10, |_| {
            zeroizer.lock(&intent());
        });
        Figures {
            keygen,
            attest,
            seal,
            mission_sign,
            stop_tpm,
        }
    }
}

fn storage_root(life: &Life) -> Key {
    Key::from(PersistentKey::new(
        handle_map::STORAGE_ROOT,
        life.robot().keys().record().storage_root.clone(),
    ))
}

fn on_chip<T: Send + 'static>(
    life: &Life,
    operation: impl FnOnce(&mut Chip) -> alcub3_tpm::Result<T> + Send + 'static,
) -> T {
    life.tpm.run(Lane::Command, LONG, operation).unwrap()
}

fn generate_key(life: &Life) {
    let root = storage_root(life);
    on_chip(life, move |chip| {
        let attributes = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA
            | attribute::SIGN;
        let template = PublicTemplate::signing_key(Curve::P256, attributes, None);
        let no_auth = Secret::from_slice(&[]);
        chip.create(&root, Auth::Empty, template.as_tpmt_bytes(), &no_auth, None, &[])
            .map(|_| ())
    });
}

fn seal(life: &Life) {
    let root = storage_root(life);
    on_chip(life, move |chip| {
        chip.seal(&root, Auth::Empty, None, &[7; 64]).map(|_| ())
    });
}

/// The rows that must hold on the SLB9672.
pub fn slb9672() -> Vec<Row> {
    let figures = Robot::on(ChipModel::SLB9672).figures();
    let row = |name, value, most| Row::of(name, value, "ms", Must::AtMost(most));
    vec![
        row("keygen_slb9672_ms", figures.keygen, 1000.0),
        row("attest_slb9672_ms", figures.attest, 500.0),
        row("seal_slb9672_ms", figures.seal, 100.0),
        row("mission_sign_slb9672_ms", figures.mission_sign, 100.0),
        row("stop_tpm_slb9672_ms", figures.stop_tpm, 50.0),
    ]
}

/// The verdict over a command whose key is used inside the chip: with a session armed ahead, and without. What the chip
/// does in the background meanwhile, arming the next session, counts as well.
pub fn verdicts_on_slb9672() -> Vec<Row> {
    const VERDICTS: usize = 20;
    let mut robot = Robot::on(ChipModel::SLB9672);
    let mission = robot.life.start_mission(600_000);
    robot.life.take_lease();
    let secret = command_secret();
    let commander = Commander::new(&secret);
    let record = share(&mut robot.life, &mission, &secret);
    let key = robot.life.robot().further_key(mission.mission, record.key);
    let key = key.unwrap();
    let wait = || {
        while !key.is_armed_ahead() {
            std::thread::yield_now();
        }
    };
    let mut sequence = 0;
    let mut verdict = |prepare: &dyn Fn()| {
        let times = (0..VERDICTS).map(|_| {
            sequence += 1;
            let envelope = commander.command(&robot.life, &mission, sequence);
            prepare();
            robot.ms(1, |life| {
                let verdict = life.robot().validate(&envelope, Some(NOW_MS)).unwrap();
                assert!(matches!(verdict, GateVerdict::Admitted(_)));
            })
        });
        median(times.collect())
    };
    let ready = verdict(&wait);
    let unready = verdict(&|| {
        wait();
        key.disarm();
    });
    vec![
        Row::of("verdict_slb9672_ms", ready, "ms", Must::AtMost(100.0)),
        Row::of("verdict_unready_slb9672_ms", unready, "ms", Must::AtMost(100.0)),
    ]
}

/// The table of all five chips, as the README shows it. Nothing must hold but what the SLB9672's rows say.
pub fn table() -> String {
    let mut table = String::from(
        "| chip (model, P-256) | key generation | attest | seal | sign with a mission key | stop, TPM part |\n\
         |---|---|---|---|---|---|\n",
    );
    for model in ChipModel::ALL {
        let Figures {
            keygen,
            attest,
            seal,
            mission_sign,
            stop_tpm,
        } = Robot::on(model).figures();
        table += &format!(
            "| {} | {keygen:.0} ms | {attest:.0} ms | {seal:.0} ms | {mission_sign:.0} ms | {stop_tpm:.0} ms |\n",
            model.name
        );
    }
    table
}
