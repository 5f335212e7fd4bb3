//! A robot's life with an attacker on its bus, from snapshots of the chip and the robot's folder.

use crate::support::{
    LEVEL, LONG, NOW_MS, SoftAuthority, certify_ek, copy_folder, digest, nonce, open_tpm, request,
};
use alcub3_agent::{AgentError, Asked, PlatformLogs, Robot, Surroundings, provision};
use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::Signature;
use alcub3_keys::{KeysError, MissionRecord, RobotKeys, RobotRecord, StateFolder};
use alcub3_security_hal::{StopReport, StopScope};
use alcub3_testkit::{Attack, Bus, Hostile, SimulatorCa, Swtpm, When};
use alcub3_tpm::transport::{Recorded, Tape};
use alcub3_tpm::{Chip, ChipOptions, Lane, ResponseCode, Tpm, TpmOptions};
use alcub3_trust_model::nv_map::{NvIndex, NvMap};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{Integrity, Labels, Level, SessionId, StopCause};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub const LEVELS: [Level; 2] = [Level::Unclassified, Level::Cui];
/// How often a step is tried again after the attack: one that hits a session may cost the next command too.
const TRIES: usize = 3;

/// A chip and a robot's folder at one moment, to start from any number of times.
pub struct Snapshot {
    chip: TempDir,
    folder: TempDir,
}

impl Snapshot {
    /// Of a chip that nobody is using, and a folder.
    pub fn of(swtpm: &Swtpm, folder: &Path) -> Self {
        swtpm.shutdown().unwrap();
        let (chip, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        copy_folder(swtpm.state_dir(), chip.path());
        copy_folder(folder, copy.path());
        Self { chip, folder: copy }
    }

    /// A new chip that holds a simulator's certificate for its EK, and an empty folder.
    pub fn blank() -> Self {
        let (swtpm, folder) = (Swtpm::start().unwrap(), TempDir::new().unwrap());
        let (tpm, _) = open_tpm(swtpm.transport());
        certify_ek(&tpm, &SimulatorCa::new().unwrap());
        drop(tpm);
        Self::of(&swtpm, folder.path())
    }
}

/// A chip and a folder of their own, with an attacker between them.
pub struct World {
    pub swtpm: Swtpm,
    pub folder: TempDir,
    pub bus: Bus,
    tpm: Option<Tpm>,
}

impl World {
    pub fn of(snapshot: &Snapshot, attack: Option<(When, Attack)>) -> Self {
        let swtpm = Swtpm::start_from(snapshot.chip.path()).unwrap();
        let folder = TempDir::new().unwrap();
        copy_folder(snapshot.folder.path(), folder.path());
        let hostile = Hostile::new(swtpm.transport());
        let bus = hostile.bus();
        let dropping = matches!(&attack, Some((_, Attack::DropCommand | Attack::DropResponse)));
        if let Some((when, attack)) = attack {
            bus.attack(when, attack);
        }
        // A drop is waited for until the command's deadline.
        let command_timeout = Duration::from_millis(if dropping { 400 } else { 20_000 });
        let chip = ChipOptions {
            command_timeout,
            ..ChipOptions::default()
        };
        let tpm = Tpm::start(Box::new(hostile), TpmOptions { chip }).unwrap();
        Self {
            swtpm,
            folder,
            bus,
            tpm: Some(tpm),
        }
    }

    /// With a listener instead of an attacker.
    pub fn recorded(snapshot: &Snapshot) -> (Self, Tape) {
        let mut world = Self::of(snapshot, None);
        let recorded = Recorded::to_memory(world.swtpm.transport());
        let tape = recorded.tape();
        world.tpm = Some(Tpm::start(Box::new(recorded), TpmOptions::default()).unwrap());
        (world, tape)
    }

    pub fn tpm(&self) -> Tpm {
        self.tpm.clone().unwrap()
    }

    /// Asks the chip past the attacker, without a session: on this channel nobody else is.
    pub fn honest<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Chip) -> alcub3_tpm::Result<T> + Send + 'static,
    ) -> T {
        let (tpm, _) = open_tpm(self.swtpm.transport());
        tpm.run(Lane::Background, LONG, ask).unwrap()
    }

    /// What a counter of the NV map really is.
    pub fn counter(&self, index: NvIndex) -> u64 {
        let handle = NvMap::new(HashAlg::Sha256).unwrap().spec(index).handle;
        self.honest(move |chip| chip.nv_counter(handle))
    }

    fn state(&self) -> Arc<StateFolder> {
        Arc::new(StateFolder::open(self.folder.path()).unwrap())
    }

    /// Ends the robot's use of the chip; its last commands can be attacked too.
    pub fn close(&mut self) {
        self.tpm = None;
    }
}

/// What failed on the way, each with the step it failed in.
#[derive(Debug, Default)]
pub struct Failures(pub Vec<String>);

impl Failures {
    /// Does a step, again while it fails. After the attack is over, a step that goes on failing is a finding.
    fn attempt<T, E: std::fmt::Debug>(&mut self, step: &str, mut work: impl FnMut() -> Result<T, E>) -> T {
        for _ in 0..TRIES {
            match work() {
                Ok(done) => return done,
                Err(error) => self.0.push(format!("{step}: {error:?}")),
            }
        }
        panic!("the attack is over, and still: {:?}", self.0)
    }
}

/// Provisions the world's robot. An error is followed by another try, as an installer would. None where the attacker
/// made the chip see a wrong lockout authorisation: it then takes none for a while, whatever we do.
pub fn provisioned(
    world: &World,
    authority: &mut SoftAuthority,
    failures: &mut Failures,
) -> Option<RobotRecord> {
    let request = request(authority);
    let tpm = world.tpm();
    failures.attempt("provision", || {
        let folder = world.state();
        match provision(&tpm, &folder, &request, authority) {
            Err(AgentError::Keys(KeysError::AlreadyProvisioned { .. })) => {
                drop(folder);
                let keys = RobotKeys::open(tpm.clone(), world.state(), PcrMap::DEFAULT)?;
                Ok(Some(keys.record().clone()))
            }
            Err(AgentError::Keys(KeysError::Tpm(error))) if error.is_refusal(ResponseCode::LOCKOUT) => {
                Ok(None)
            }
            other => other.map(Some),
        }
    })
}

/// What a life left behind, for the judgement.
pub struct Lived {
    pub epochs_given: (u64, Vec<(Level, u64)>),
    pub evidence: Vec<u8>,
    /// A mission that was completed.
    pub ended: MissionRecord,
    /// What its anchor then really was: the next mission may take the same.
    pub anchor_after: u64,
    pub mission: MissionRecord,
    pub signature: Signature,
    pub report: StopReport,
    pub stopped: bool,
    pub armed_refused: bool,
}

/// Opens, rearms, attests, starts a mission and ends it, starts another, signs with its key, stops.
pub fn live(world: &World, authority: &SoftAuthority, failures: &mut Failures) -> Lived {
    live_until_the_stop(world, authority, failures, || {})
}

/// As [`live`], with something done right before the stop.
pub fn live_until_the_stop(
    world: &World,
    authority: &SoftAuthority,
    failures: &mut Failures,
    before_the_stop: impl FnOnce(),
) -> Lived {
    let robot = failures.attempt("open", || Robot::open(world.tpm(), world.state(), Vec::new()));
    let mut session = 0;
    let mut next = || {
        session += 1;
        SessionId::new([session; 16])
    };
    failures.attempt("rearm", || {
        let session = next();
        let request = robot.rearm_request(session, &LEVELS)?;
        robot.rearm(&authority.approve_rearm(&request, session), session, NOW_MS)
    });
    let evidence = failures.attempt("evidence", || {
        robot.evidence(
            &Asked::all(nonce(7)),
            &Surroundings::unknown(),
            &PlatformLogs::NONE,
            NOW_MS,
        )
    });
    let mut start = |failures: &mut Failures| {
        failures.attempt("mission", || {
            let (session, labels) = (next(), Labels::new(LEVEL, Integrity::Operational));
            let (start, request) = robot.mission_request(session, labels, 600_000)?;
            let approval = authority.approve_mission(&request, session, 600_000);
            robot.start_mission(&start, &approval, NOW_MS)
        })
    };
    let ended = start(failures);
    failures.attempt("end", || robot.complete_mission(ended.mission, NOW_MS));
    let anchor_after = world.counter(NvIndex::MissionAnchor(ended.anchor));
    let mission = start(failures);
    // Flushing permits no session, so an attacker can flush what is loaded: then it is loaded again.
    let (key, signature) = failures.attempt("sign", || {
        let key = robot.keys().load_mission_key(mission.mission)?;
        let signature = robot.keys().sign(&key, digest())?;
        Ok::<_, KeysError>((key, signature))
    });
    let armed = failures.attempt("arm", || robot.keys().arm(&key));
    before_the_stop();
    let report = robot
        .stop(StopScope::Robot, StopCause::ManualTrigger, NOW_MS)
        .unwrap();
    let armed_refused = robot.keys().sign_armed(&key, &armed, digest()).is_err();
    let record = robot.keys().rearm_record().unwrap().unwrap();
    let epochs = record
        .approvals
        .iter()
        .map(|a| (a.level, a.level_epoch))
        .collect();
    Lived {
        epochs_given: (record.approvals[0].robot_epoch, epochs),
        evidence,
        ended,
        anchor_after,
        mission,
        signature,
        stopped: robot.is_stopped(),
        armed_refused,
        report,
    }
}
