//! The attacker after a stop ("It holds when" 3): the whole disk copied before it, root on the robot, and the owner
//! authorisation. Each row of the table is one thing such an attacker does; after it, every mission key of the copied disk,
//! of each purpose, made by the chip or shared by the authority, is refused by the chip itself, and still is when two persons
//! have rearmed the robot.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/crash.rs"]
mod crash;
#[path = "support/missions.rs"]
mod missions;
#[path = "support/reach.rs"]
mod reach;
#[path = "support/saved.rs"]
mod saved;
mod support;

use alcub3_crypto::Secret;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_keys::{KeysError, MissionKey, MissionKeyRecord, MissionRecord};
use alcub3_testkit::PowerUp;
use alcub3_tpm::ops::NvPublic;
use alcub3_tpm::{Auth, PolicySession, ResponseCode, TpmError};
use alcub3_trust_model::MissionKeyPurpose;
use alcub3_trust_model::nv_map::{NvIndex, NvKind};
use crash::{Among, Dying, Side};
use missions::{share_for, shared_secret};
use reach::{Power, mission, refusal};
use saved::{UP_TO_COUNTERS_PCR_FIRST, saved_over, saved_over_half_a_stop, use_for};
use support::{Life, NOW_MS, copy_folder, open_tpm};
use tempfile::TempDir;

/// One key that the attacker took before the stop.
struct Taken {
    mission: MissionRecord,
    /// None for the key that the mission began with.
    further: Option<MissionKeyRecord>,
    /// Still loaded in the chip, with a session armed for it.
    loaded: Option<(MissionKey, PolicySession)>,
}

impl Taken {
    fn of(life: &Life, mission: &MissionRecord, further: Option<MissionKeyRecord>) -> Self {
        let robot = life.robot();
        let key = match &further {
            Some(further) => robot.further_key(mission.mission, further.key).unwrap(),
            None => robot.mission_key(mission.mission).unwrap(),
        };
        // It works, until something happens.
        let (armed, again) = (robot.keys().arm(&key).unwrap(), robot.keys().arm(&key).unwrap());
        used(life, &key, &again).unwrap();
        Self {
            mission: mission.clone(),
            further,
            loaded: Some((key, armed)),
        }
    }

    /// Loads it by its stolen records, as a program of root's would that asks the chip alone.
    fn load(&self, life: &Life) -> Result<MissionKey, KeysError> {
        match &self.further {
            Some(further) => life.robot().keys().load_further_key_of(&self.mission, further),
            None => life.load_stolen(&self.mission),
        }
    }
}

/// Uses a key for the one thing that it is for, in an armed session.
fn used(life: &Life, key: &MissionKey, armed: &PolicySession) -> Result<(), TpmError> {
    let (key, armed) = (key.clone(), armed.clone());
    life.chip(move |chip| use_for(chip, key.key(), key.purpose(), &armed))
}

/// What the chip says to a new session for a key: it is the one that refuses.
fn arming_is_refused(life: &Life, key: &MissionKey, attack: &str) {
    let error = life.robot().keys().arm(key).unwrap_err();
    let purpose = key.purpose();
    assert!(refusal(&error).is_some(), "{attack}, {purpose}: {error}");
}

struct Scene {
    life: Life,
    disk: TempDir,
    taken: Vec<Taken>,
}

impl Scene {
    /// Two missions under way, one of them with a key of each purpose that the chip made and of each that can be shared;
    /// everything copied, a session armed for each key.
    fn before_the_stop() -> Self {
        let mut life = Life::running();
        let (plain, rich) = (mission(&mut life).0, mission(&mut life).0);
        let mut further = Vec::new();
        for purpose in MissionKeyPurpose::ALL {
            let made = life.robot().create_mission_keys(rich.mission, purpose, 1, NOW_MS);
            further.extend(made.unwrap());
            if purpose != MissionKeyPurpose::Signing {
                further.push(share_for(&mut life, &rich, &shared_secret(purpose), purpose));
            }
        }
        let first = [&plain, &rich].map(|mission| Taken::of(&life, mission, None));
        let further = further.into_iter().map(|key| Taken::of(&life, &rich, Some(key)));
        let taken = first.into_iter().chain(further).collect();
        let disk = TempDir::new().unwrap();
        copy_folder(&life.path(), disk.path());
        Self { life, disk, taken }
    }

    fn stop(&mut self) {
        let report = self.life.stop();
        assert!(report.is_complete(), "{report:?}");
    }

    /// The power goes: what was loaded in the chip is no more.
    fn power(&mut self, power: Power) {
        self.taken.iter_mut().for_each(|taken| taken.loaded = None);
        self.life.reopen_after(|swtpm| power.cycle(swtpm));
    }

    /// Puts the copied disk back and starts the robot on it.
    fn put_the_disk_back(&mut self) {
        self.life.robot = None;
        self.restore_the_disk();
        self.life.open();
    }

    /// Removes every file that is not needed to open the robot: the stop's journal, the rearm, the logs.
    fn delete_the_latch(&mut self) {
        self.life.robot = None;
        for entry in std::fs::read_dir(self.life.path()).unwrap() {
            let path = entry.unwrap().path();
            let needed = ["robot.cbor", "version", "lock"].map(|name| path.ends_with(name));
            if path.is_dir() {
                std::fs::remove_dir_all(path).unwrap();
            } else if !needed.contains(&true) {
                std::fs::remove_file(path).unwrap();
            }
        }
        std::fs::create_dir(self.life.path().join("missions")).unwrap();
        self.life.open();
    }

    /// Undefines every counter of the map, defines it again and counts it up until it was written.
    fn redefine_the_counters(&mut self) {
        let (owner, nv) = (self.life.owner(), self.life.robot().keys().nv());
        self.life
            .chip(move |chip| {
                for spec in nv.specs().filter(|spec| spec.kind == NvKind::Counter) {
                    let public = NvPublic {
                        index: spec.handle,
                        name_alg: spec.name_alg,
                        attributes: spec.attributes,
                        auth_policy: Vec::new(),
                        size: spec.size,
                    };
                    chip.nv_undefine(&owner, spec.handle)?;
                    chip.nv_define(&owner, &public, &Secret::from_slice(&[]))?;
                    chip.nv_increment(spec.handle)?;
                }
                Ok(())
            })
            .unwrap();
    }

    /// Sets the chip's clock, which the owner can; back it does not go.
    fn set_the_clock(&mut self) {
        let owner = self.life.owner();
        let back = self.life.chip(move |chip| {
            let now = chip.read_clock()?.clock_ms;
            chip.clock_set(Auth::Value(&owner), now.saturating_sub(1_000).max(1))
        });
        assert!(back.unwrap_err().is_refusal(ResponseCode::VALUE));
        let owner = self.life.owner();
        self.life
            .chip(move |chip| {
                let now = chip.read_clock()?.clock_ms;
                chip.clock_set(Auth::Value(&owner), now + 1_000)
            })
            .unwrap();
    }

    /// The chip dies after the first of the stop's two commands; `meanwhile` is what happens to the disk until the robot
    /// starts again. Gives by how much the robot's epoch has moved then.
    fn stop_with_a_power_cut_between_its_commands(&mut self, meanwhile: fn(&Self)) -> u64 {
        self.taken.iter_mut().for_each(|taken| taken.loaded = None);
        self.life.robot = None;
        let (dying, trigger) = Dying::new(&self.life.swtpm);
        (self.life.tpm, self.life.counts) = open_tpm(dying);
        self.life.open();
        let epoch = |life: &Life| life.robot().keys().counter(NvIndex::RobotEpoch).unwrap().value;
        let before = epoch(&self.life);
        trigger.arm(0, Side::After, Among::Lasting);
        assert!(!self.life.stop().is_complete());
        assert!(trigger.fired());
        self.life.robot = None;
        meanwhile(self);
        self.life
            .reopen_after(|swtpm| swtpm.kill_and_respawn(PowerUp::Clear).unwrap());
        epoch(&self.life) - before
    }

    fn restore_the_disk(&self) {
        std::fs::remove_dir_all(self.life.path()).unwrap();
        std::fs::create_dir(self.life.path()).unwrap();
        copy_folder(self.disk.path(), &self.life.path());
    }

    /// Every way to use what was taken, asked of the chip.
    fn nothing_works(&mut self, attack: &str) {
        assert!(self.life.robot().is_stopped(), "{attack}");
        let keys = self.life.robot().keys().clone();
        for taken in &self.taken {
            if let Some((key, armed)) = &taken.loaded {
                let error = used(&self.life, key, armed).unwrap_err();
                assert!(error.is_refusal(ResponseCode::PCR_CHANGED), "{attack}: {error}");
                arming_is_refused(&self.life, key, attack);
            }
            let error = taken.load(&self.life).unwrap_err();
            // Without the rearm of before, there is nothing that the chip could be asked with.
            let asked = keys.rearm_record().unwrap().is_some();
            assert_eq!(refusal(&error).is_some(), asked, "{attack}: {error}");
        }
        // Whatever is loaded now was loaded by two persons' leave, and still does not sign.
        self.taken.iter_mut().for_each(|taken| taken.loaded = None);
        self.life.rearm();
        for taken in &self.taken {
            let key = taken.load(&self.life).unwrap();
            arming_is_refused(&self.life, &key, attack);
        }
    }
}

/// One attack: what happens from the moment the copy is made.
type Attack = (&'static str, fn(&mut Scene));

const ATTACKS: [Attack; 13] = [
    ("sessions armed before", |scene| scene.stop()),
    ("the old disk", |scene| {
        scene.stop();
        scene.put_the_disk_back();
    }),
    ("the old disk after a Reset", |scene| {
        scene.stop();
        scene.power(Power::Reset);
        scene.put_the_disk_back();
    }),
    ("the old disk after a Restart", |scene| {
        scene.stop();
        scene.power(Power::Restart);
        scene.put_the_disk_back();
    }),
    ("the old disk after a Resume", |scene| {
        scene.stop();
        scene.power(Power::Resume);
        scene.put_the_disk_back();
    }),
    ("indices undefined and defined again", |scene| {
        scene.stop();
        scene.redefine_the_counters();
        scene.put_the_disk_back();
    }),
    ("indices undefined and defined again, after a Reset", |scene| {
        scene.stop();
        scene.power(Power::Reset);
        scene.redefine_the_counters();
        scene.put_the_disk_back();
    }),
    ("TPM2_ClockSet", |scene| {
        scene.stop();
        scene.set_the_clock();
        scene.put_the_disk_back();
    }),
    ("a deleted latch", |scene| {
        scene.stop();
        scene.delete_the_latch();
    }),
    ("a deleted latch and a Reset", |scene| {
        scene.stop();
        scene.power(Power::Reset);
        scene.delete_the_latch();
    }),
    ("power cut between the stop's two commands", |scene| {
        // The next start completes it, which counts once more (decision 0006).
        assert_eq!(scene.stop_with_a_power_cut_between_its_commands(|_| {}), 2);
        assert!(scene.life.robot().recovered_stops()[0].is_complete());
        scene.put_the_disk_back();
    }),
    (
        "power cut between the stop's two commands, and the old disk",
        |scene| {
            // Nothing on the disk tells of the stop: the chip alone knows.
            assert_eq!(
                scene.stop_with_a_power_cut_between_its_commands(Scene::restore_the_disk),
                1
            );
            assert!(scene.life.robot().recovered_stops().is_empty());
        },
    ),
    (
        "process killed between the stop's two commands, and the old disk",
        |scene| {
            scene.life.increment(NvIndex::RobotEpoch);
            scene.put_the_disk_back();
        },
    ),
];

#[test]
fn after_zeroization_no_attack_uses_a_mission_key_of_the_copied_disk() {
    for (name, attack) in ATTACKS {
        let mut scene = Scene::before_the_stop();
        attack(&mut scene);
        scene.nothing_works(name);
    }
}

/// After how many assertions a session was saved, and what it was to use: each cut for a signing key, and for the others
/// those between the PCRs, the counters and the end.
fn half_armed() -> impl Iterator<Item = (usize, MissionKeyPurpose)> {
    let signing = [1, 2].map(|replayed| (replayed, MissionKeyPurpose::Signing));
    let all = MissionKeyPurpose::ALL.into_iter();
    let all = all.flat_map(|purpose| [UP_TO_COUNTERS_PCR_FIRST, 8].map(|replayed| (replayed, purpose)));
    signing.into_iter().chain(all)
}

#[test]
fn after_zeroization_no_saved_session_goes_on_over_reset_restart_or_resume() {
    for power in Power::ALL {
        for (replayed, purpose) in half_armed() {
            let error = saved_over(power, Policy::clone, replayed, purpose).unwrap_err();
            assert!(
                matches!(error, TpmError::Refused { .. }),
                "{purpose}, {power:?} after {replayed} assertions: {error}"
            );
        }
    }
}

/// As above, and the stop got no further than its counter; the attacker has told the chip beforehand that its power goes,
/// so that what the power's loss would end is kept.
#[test]
fn no_saved_session_goes_on_after_half_a_stop_in_an_announced_loss_of_power() {
    for power in [PowerUp::Clear, PowerUp::Resume] {
        for (replayed, purpose) in half_armed() {
            let error = saved_over_half_a_stop(power, replayed, purpose).unwrap_err();
            assert!(
                matches!(error, TpmError::Refused { .. }),
                "{purpose}, {power:?} after {replayed} assertions: {error}"
            );
        }
    }
}
