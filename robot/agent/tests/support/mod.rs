//! A robot on a swtpm and an authority whose keys are in software: what the authority decides is tested elsewhere,
//! here it is what the robot's chip enforces.
#![allow(dead_code, missing_docs, unreachable_pub)]

mod authority;
mod certifier;
pub mod counts;

use alcub3_agent::{
    AgentError, Asked, DeclaredAnew, Identity, PlatformLogs, ProvisionRequest, Robot, Surroundings,
    TakenReplacement, provision,
};
use alcub3_attestation::attest::Attest;
use alcub3_attestation::evidence::{Evidence, Nonce, RegisterEvidence, RegisterPositions};
use alcub3_crypto::tpm::{EkTemplate, Public};
use alcub3_crypto::{Curve, Digest, HashAlg, Secret};
use alcub3_keys::{DeviceKey, MissionKey, MissionRecord, StateFolder};
use alcub3_security_hal::{StopReport, StopScope};
use alcub3_testkit::{SimulatorCa, Swtpm};
use alcub3_tpm::transport::{Counted, Counts, Transport};
use alcub3_tpm::{Auth, Lane, Tpm, TpmOptions};
use alcub3_trust_model::hardware::{Inventory, Part, PartClass, PartSource};
use alcub3_trust_model::{Integrity, Labels, Level, RobotId, SessionId, StopCause};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub use authority::SoftAuthority;

pub const NOW_MS: u64 = 1_790_000_000_000;
pub const LONG: Duration = Duration::from_secs(60);
pub const LEVEL: Level = Level::Unclassified;

pub fn robot_id() -> RobotId {
    RobotId::new("rover-1").unwrap()
}

/// A main board as a person declares it.
pub fn board(serial: &str) -> Part {
    Part {
        class: PartClass::Mainboard,
        slot: "board".to_owned(),
        serial: serial.to_owned(),
        source: PartSource::Declared,
    }
}

/// A provisioned robot on a swtpm of its own.
pub struct Life {
    pub swtpm: Swtpm,
    pub authority: SoftAuthority,
    pub folder: TempDir,
    pub tpm: Tpm,
    pub counts: Counts,
    pub robot: Option<Robot>,
    session: u8,
}

pub fn open_tpm(transport: impl Transport + 'static) -> (Tpm, Counts) {
    let counted = Counted::new(transport);
    let counts = counted.counts();
    (
        Tpm::start(Box::new(counted), TpmOptions::default()).unwrap(),
        counts,
    )
}

/// Puts a simulator CA's certificate for the chip's EK into its NV.
pub fn certify_ek(tpm: &Tpm, ca: &SimulatorCa) {
    let ek = make_ek(tpm, EkTemplate::L2);
    let spki = ek.verifying_key().unwrap().to_spki_der();
    let (certificate, index) = (ca.issue(&spki).unwrap(), SimulatorCa::nv_index(&spki).unwrap());
    put_into_nv(tpm, index, &certificate);
}

/// The public area of the endorsement key that a template gives in this chip.
pub fn make_ek(tpm: &Tpm, template: EkTemplate) -> Public {
    tpm.run(Lane::Background, LONG, move |chip| {
        let template = template.public();
        let made = chip.create_primary(
            alcub3_tpm::ops::Hierarchy::Endorsement,
            Auth::Empty,
            template.as_tpmt_bytes(),
            None,
            &[],
        )?;
        Ok(made.object.public().clone())
    })
    .unwrap()
}

/// Defines an index as vendors do, and writes it.
pub fn put_into_nv(tpm: &Tpm, index: u32, contents: &[u8]) {
    let certificate = contents.to_vec();
    tpm.run(Lane::Background, LONG, move |chip| {
        use alcub3_tpm::ops::{NvPublic, nv_attribute};
        let public = NvPublic {
            index,
            name_alg: HashAlg::Sha256,
            attributes: nv_attribute::AUTHREAD
                | nv_attribute::AUTHWRITE
                | nv_attribute::OWNERREAD
                | nv_attribute::NO_DA,
            auth_policy: Vec::new(),
            size: u16::try_from(certificate.len()).unwrap(),
        };
        let empty = Secret::from_slice(&[]);
        chip.nv_define(&empty, &public, &empty)?;
        chip.nv_write(index, Auth::Empty, &certificate)
    })
    .unwrap();
}

pub fn request(authority: &SoftAuthority) -> ProvisionRequest {
    ProvisionRequest {
        robot: robot_id(),
        curve: Curve::P256,
        levels: vec![Level::Unclassified, Level::Cui],
        inventory: Inventory::new().with(board("serial-1")).unwrap(),
        certificate_chain: Vec::new(),
        platform: None,
        authority: authority.signing.verifying_key(),
    }
}

impl Life {
    /// A certified chip that nothing was done with.
    pub fn blank() -> Self {
        let swtpm = Swtpm::start().unwrap();
        let (tpm, counts) = open_tpm(swtpm.transport());
        certify_ek(&tpm, &SimulatorCa::new().unwrap());
        Self {
            swtpm,
            authority: SoftAuthority::new(),
            folder: TempDir::new().unwrap(),
            tpm,
            counts,
            robot: None,
            session: 0,
        }
    }

    pub fn provisioned() -> Self {
        Self::provisioned_by(SoftAuthority::new())
    }

    /// A robot on a new chip, enrolled by this authority.
    pub fn provisioned_by(authority: SoftAuthority) -> Self {
        let mut life = Self {
            authority,
            ..Self::blank()
        };
        {
            let state = StateFolder::open(life.folder.path()).unwrap();
            let request = request(&life.authority);
            provision(&life.tpm, &state, &request, &mut life.authority).unwrap();
        }
        life.open();
        life
    }

    /// A robot that two persons have set running.
    pub fn running() -> Self {
        let mut life = Self::provisioned();
        life.rearm();
        life
    }

    pub fn open(&mut self) -> &Robot {
        self.robot = None;
        let folder = Arc::new(StateFolder::open(self.folder.path()).unwrap());
        self.robot = Some(Robot::open(self.tpm.clone(), folder, Vec::new()).unwrap());
        self.robot()
    }

    /// As after a power cut: a new process on a chip that was started as told.
    pub fn reopen_after(&mut self, change: impl FnOnce(&Swtpm)) -> &Robot {
        self.robot = None;
        change(&self.swtpm);
        (self.tpm, self.counts) = open_tpm(self.swtpm.transport());
        self.open()
    }

    pub fn robot(&self) -> &Robot {
        self.robot.as_ref().unwrap()
    }

    pub fn next_session(&mut self) -> SessionId {
        self.session += 1;
        SessionId::new([self.session; 16])
    }

    pub fn rearm(&mut self) {
        let session = self.next_session();
        let request = self
            .robot()
            .rearm_request(session, &[Level::Unclassified, Level::Cui])
            .unwrap();
        let approval = self.authority.approve_rearm(&request, session);
        self.robot().rearm(&approval, session, NOW_MS).unwrap();
    }

    pub fn start_mission(&mut self, lasts_ms: u64) -> MissionRecord {
        let session = self.next_session();
        let labels = Labels::new(LEVEL, Integrity::Operational);
        let (start, request) = self.robot().mission_request(session, labels, lasts_ms).unwrap();
        let approval = self.authority.approve_mission(&request, session, lasts_ms);
        self.robot().start_mission(&start, &approval, NOW_MS).unwrap()
    }

    pub fn stop(&self) -> StopReport {
        self.robot()
            .stop(StopScope::Robot, StopCause::ManualTrigger, NOW_MS)
            .unwrap()
    }

    /// Gets what is missing of the robot's identity.
    pub fn create_identity(&mut self) -> Result<Identity, AgentError> {
        let robot = self.robot.take().unwrap();
        let created = robot.create_identity(&mut self.authority, NOW_MS);
        self.robot = Some(robot);
        created
    }

    /// Replaces the local device key.
    pub fn renew_identity(&mut self) -> Result<DeviceKey, AgentError> {
        let robot = self.robot.take().unwrap();
        let renewed = robot.renew_identity(&mut self.authority, NOW_MS);
        self.robot = Some(robot);
        renewed
    }

    /// Asks for replaced parts to be taken into the record: the request, and the exchange.
    pub fn ask_replacement(
        &mut self,
        machine: Option<&Path>,
        declared: &DeclaredAnew,
    ) -> Result<(Vec<u8>, SessionId), AgentError> {
        let session = self.next_session();
        let request = self.robot().replacement_request(session, machine, declared)?;
        Ok((request, session))
    }

    /// Takes an answer, and opens the robot again whatever came of it.
    pub fn take_replacement(&mut self, answer: &[u8]) -> Result<TakenReplacement, AgentError> {
        let taken = self.robot.take().unwrap().take_replacement(answer, NOW_MS);
        self.open();
        taken
    }

    pub fn key(&self, record: &MissionRecord) -> MissionKey {
        self.robot().mission_key(record.mission).unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

pub fn digest() -> Digest {
    HashAlg::Sha256.digest(&[b"telemetry"])
}

pub fn nonce(n: u8) -> Nonce {
    Nonce([n; 32])
}

/// What a verifier asks for that has judged this robot's registers before.
pub fn steady(robot: &Robot) -> Asked {
    let (first, surroundings) = (Asked::all(nonce(1)), Surroundings::unknown());
    let bytes = robot
        .evidence(&first, &surroundings, &PlatformLogs::NONE, NOW_MS)
        .unwrap();
    let evidence = Evidence::from_canonical(&bytes).unwrap();
    let clock = Attest::parse(evidence.quote).unwrap().clock;
    let held =
        |shown: &RegisterEvidence| (shown.register, shown.register.replay(shown.base, &shown.measured));
    Asked {
        registers: Some(RegisterPositions {
            reset_count: clock.reset_count,
            restart_count: clock.restart_count,
            values: evidence.registers.iter().map(held).collect(),
        }),
        ..first
    }
}

/// Copies a state folder, as a thief of the disk would.
pub fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
