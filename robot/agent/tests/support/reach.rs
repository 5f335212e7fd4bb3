//! What somebody does who can reach a robot's chip or disk, and what a verifier then says.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::support::{LONG, Life, NOW_MS, digest, nonce, robot_id};
use alcub3_agent::{Asked, PlatformLogs, Surroundings};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::Evidence;
use alcub3_attestation::receipt::{Expected, ReceiptVerdict, verify_receipt};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg, Secret};
use alcub3_keys::{KeysError, MissionKey, MissionRecord};
use alcub3_security_hal::StopReport;
use alcub3_testkit::{PowerUp, Swtpm};
use alcub3_tpm::ops::{Approval, PolicyInputs};
use alcub3_tpm::{Chip, Lane, ResponseCode};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::policies::mission_end_ref;
use alcub3_trust_model::{MissionId, RobotState};
use std::path::PathBuf;

impl Life {
    /// An operation of somebody who can reach the chip.
    pub fn chip<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Chip) -> alcub3_tpm::Result<T> + Send + 'static,
    ) -> alcub3_tpm::Result<T> {
        self.tpm.run(Lane::Background, LONG, operation)
    }

    /// The owner authorisation, which the authority holds.
    pub fn owner(&self) -> Secret {
        self.authority.enrolled.as_ref().unwrap().custody.owner.clone()
    }

    /// Counts an NV counter up, as anybody who can reach the chip may.
    pub fn increment(&self, index: NvIndex) {
        self.chip(move |chip| chip.nv_increment(index.handle())).unwrap();
    }

    /// Extends a PCR, as anybody who can reach the chip may.
    pub fn extend(&self, pcr: u32) {
        self.chip(move |chip| chip.pcr_extend(pcr, &[digest()])).unwrap();
    }

    pub fn anchor(record: &MissionRecord) -> NvIndex {
        NvIndex::MissionAnchor(record.anchor)
    }

    /// What the replay of a mission's policy needs.
    pub fn inputs(&self, record: &MissionRecord) -> PolicyInputs {
        let approval = Approval {
            key: self.authority.anchors().mission_by_one,
            policy_ref: mission_end_ref(&record.mission),
            signature: Signature::from_tpmt_signature(&record.end_approval).unwrap(),
        };
        [
            NvIndex::RobotEpoch,
            NvIndex::LevelEpoch(record.level),
            Self::anchor(record),
        ]
        .iter()
        .fold(PolicyInputs::new().approval(approval), |inputs, index| {
            inputs.nv(index.handle())
        })
    }

    pub fn mission_file(&self, mission: MissionId) -> PathBuf {
        self.path().join(format!("missions/{mission}.cbor"))
    }

    /// Loads a mission's key by its stolen record, as a program of root's would that asks the chip alone.
    pub fn load_stolen(&self, record: &MissionRecord) -> Result<MissionKey, KeysError> {
        assert!(matches!(
            self.robot().keys().load_mission_key(record.mission),
            Err(KeysError::NoSuchMission { .. })
        ));
        self.robot().keys().load_first_key_of(record)
    }

    /// The verdict on a stop's receipt, by somebody who has the enrolment and nothing of the robot.
    pub fn judge(&self, report: &StopReport) -> ReceiptVerdict {
        let enrolment = self.authority.enrolment();
        let robot = robot_id();
        let expected = Expected {
            attestation_key: enrolment.attestation_key(),
            robot: Some(&robot),
            stop: Some(report.stop),
            nv: *enrolment.nv_map(),
            alive_at: None,
            anchor: None,
            pcrs: self.robot().keys().pcrs(),
        };
        verify_receipt(report.receipt.as_ref().unwrap(), &expected)
    }
}

/// The response code with which the chip itself refused.
pub fn refusal(error: &KeysError) -> Option<ResponseCode> {
    match error {
        KeysError::Tpm(error) => error.response_code().map(ResponseCode::base),
        _ => None,
    }
}

/// Whether the log in the robot's evidence leads to the lockdown and retire PCRs that its quote shows, as appraisal
/// checks it on a chip whose boot extended neither.
pub fn log_explains_the_pcrs(life: &Life) -> bool {
    let alg = HashAlg::Sha256;
    let bytes = life
        .robot()
        .evidence(
            &Asked::all(nonce(3)),
            &Surroundings::unknown(),
            &PlatformLogs::NONE,
            NOW_MS,
        )
        .unwrap();
    let evidence = Evidence::from_canonical(&bytes).unwrap();
    let replayed = evidence
        .agent_log
        .and_then(|log| EventLog::parse(log).unwrap().replay_bank(alg).unwrap());
    [PcrMap::DEFAULT.lockdown(), PcrMap::DEFAULT.retire()]
        .iter()
        .all(|pcr| {
            let led_to = replayed.as_ref().and_then(|bank| bank.value(*pcr));
            led_to.unwrap_or(Digest::zero(alg)) == *evidence.pcrs.value(alg, *pcr).unwrap()
        })
}

/// The missions whose commands the gate judges, as the robot's evidence says.
pub fn in_the_gate(life: &Life) -> Vec<MissionId> {
    let nowhere = Surroundings::unknown();
    let evidence = life
        .robot()
        .evidence(&Asked::all(nonce(4)), &nowhere, &PlatformLogs::NONE, NOW_MS)
        .unwrap();
    let state = Evidence::from_canonical(&evidence).unwrap().state.to_vec();
    RobotState::from_canonical(&state).unwrap().missions
}

pub const MINUTE_MS: u64 = 60_000;

/// How the chip's power goes and comes back.
#[derive(Copy, Clone, Debug)]
pub enum Power {
    Restart,
    Resume,
    Reset,
}

impl Power {
    pub const ALL: [Self; 3] = [Self::Restart, Self::Resume, Self::Reset];

    pub fn cycle(self, swtpm: &Swtpm) {
        match self {
            Self::Restart => swtpm.shutdown().and_then(|()| swtpm.power_cycle(PowerUp::Clear)),
            Self::Resume => swtpm.shutdown().and_then(|()| swtpm.power_cycle(PowerUp::Resume)),
            Self::Reset => swtpm.power_cycle(PowerUp::Clear),
        }
        .unwrap();
    }
}

/// A mission whose key works.
pub fn mission(life: &mut Life) -> (MissionRecord, MissionKey) {
    let record = life.start_mission(60 * MINUTE_MS);
    let key = life.key(&record);
    life.robot().keys().sign(&key, digest()).unwrap();
    (record, key)
}

/// Refused by the chip itself, with this code.
pub fn refused(result: Result<impl Sized, KeysError>, code: ResponseCode) {
    match result {
        Ok(_) => panic!("must be refused with {code:?}"),
        Err(error) => assert_eq!(refusal(&error), Some(code), "{error}"),
    }
}
