//! Evidence for a verifier's nonce.

use crate::platform_logs::PlatformLogs;
use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_attestation::attest::Attest;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::evidence::{
    Evidence, MissionEvidence, Nonce, RegisterPositions, RuntimeLog, RuntimePosition, qualifying_data,
};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::Digest;
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::pcr_map::{BOOT, IMA};
use alcub3_trust_model::{
    AttestationKind, Level, MissionId, OperationalMode, Payload, PlatformType, Position, ReportedFault,
    RobotState, SensorCalibration, SubsystemFirmware,
};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What the robot knows of itself beside its keys.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// What kind of machine it is.
    pub platform: PlatformType,
    /// Its subsystems' firmware.
    pub firmware: Vec<SubsystemFirmware>,
    /// Its sensors' calibration.
    pub calibration: Vec<SensorCalibration>,
    /// What it carries.
    pub payload: Vec<Payload>,
    /// Its faults.
    pub faults: Vec<ReportedFault>,
    /// Speed over ground in millimetres per second.
    pub speed_mm_per_s: u32,
    /// Charge in thousandths of full.
    pub battery_permille: u16,
    /// Position, where it knows.
    pub position: Option<Position>,
    /// When it was maintained last, UTC in milliseconds since 1970, where that is known.
    pub maintained_at_ms: Option<u64>,
}

impl Surroundings {
    /// A robot at rest of whose parts nothing is known.
    pub const fn unknown() -> Self {
        Self {
            platform: PlatformType::Custom,
            firmware: Vec::new(),
            calibration: Vec::new(),
            payload: Vec::new(),
            faults: Vec::new(),
            speed_mm_per_s: 0,
            battery_permille: 1000,
            position: None,
            maintained_at_ms: None,
        }
    }
}

/// What a verifier asks for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its nonce.
    pub nonce: Nonce,
    /// What is to be proven.
    pub kind: AttestationKind,
    /// How far it knows what this boot's system measured; nothing where it does not.
    pub runtime_from: Option<RuntimePosition>,
    /// What it knows of the registers; nothing where it does not.
    pub registers: Option<RegisterPositions>,
}

impl Asked {
    /// All that it takes to be commanded, under this nonce, of a verifier that knows nothing.
    #[must_use]
    pub const fn all(nonce: Nonce) -> Self {
        Self {
            nonce,
            kind: AttestationKind::Operational,
            runtime_from: None,
            registers: None,
        }
    }

    fn of(request: &AttestRequest) -> Result<Self> {
        let nonce = <[u8; 32]>::try_from(request.nonce.as_slice());
        Ok(Self {
            nonce: Nonce(nonce.map_err(|_| AgentError::Evidence {
                what: "the nonce is not 32 bytes",
            })?),
            kind: request.kind,
            runtime_from: request.runtime_from,
            registers: request.registers.clone(),
        })
    }
}

/// What shows that a mission lives in the chip, with the token that it goes by.
struct MissionProof {
    token: Vec<u8>,
    robot_epoch: Signed,
    level_epoch: Signed,
    anchor: Signed,
}

impl Robot {
    /// Answers a verifier's request with evidence. Commands: 1 Quote in the steady state; PCR_Read when PCRs changed. For each robot
    /// register that changed since, 1 NV_Extend and 1 NV_Certify; at the first evidence of a start, 1 NV_Read more for each. A
    /// mission's proof takes 3 NV_Certify, a stop's 1.
    ///
    /// # Errors
    /// A malformed request, the chip's, or a boot log that cannot be read.
    pub fn attest(
        &self,
        request: &[u8],
        surroundings: &Surroundings,
        logs: &PlatformLogs,
        now_utc_ms: u64,
    ) -> Result<Vec<u8>> {
        let request = AttestRequest::from_canonical(request)?;
        let evidence = self.evidence(&Asked::of(&request)?, surroundings, logs, now_utc_ms)?;
        let entry = self.audit.entry(
            EntryKind::Attest,
            request.session.to_string(),
            now_utc_ms,
            Outcome::Done,
        );
        self.audit.append(&entry)?;
        let message = EvidenceMessage {
            session: request.session,
            robot: self.robot().clone(),
            boot: self.boot(),
            lease: self.lease_id(),
            evidence,
        };
        Ok(message.to_canonical())
    }

    /// The evidence itself: the quote, bound to the state, with the logs that explain it.
    ///
    /// # Errors
    /// As [`Self::attest`].
    pub fn evidence(
        &self,
        asked: &Asked,
        surroundings: &Surroundings,
        logs: &PlatformLogs,
        now_utc_ms: u64,
    ) -> Result<Vec<u8>> {
        let alg = self.keys.hash();
        // One at a time: what another measures between this state and its certifications would contradict it.
        let _one = self.evidence.lock().unwrap_or_else(PoisonError::into_inner);
        // A part that no verifier would read is named here.
        let state = self.state(surroundings, asked.kind, now_utc_ms).to_canonical();
        let state = RobotState::from_canonical(&state).map_err(AgentError::Surroundings)?;
        self.measure_state(&state)?;
        let mission = self.commands.mission_digest(alg);
        let sequence = self.run().next_sequence(&self.folder)?;
        let qualifying = qualifying_data(alg, &asked.nonce, &state.digest(alg), &mission, sequence).ok_or(
            AgentError::Evidence {
                what: "a digest is of another algorithm",
            },
        )?;
        let map = self.keys.pcrs();
        let pcrs: Vec<u8> = BOOT.chain([IMA, map.retire(), map.lockdown()]).collect();
        let mask = pcrs.iter().fold(0u32, |mask, pcr| mask | 1 << pcr);
        let quoted = self.keys.quote(qualifying, mask, &self.cache)?;
        let signed = (quoted.quote.message.as_slice(), &qualifying);
        let registers = self.certify_registers(&state, asked.registers.as_ref(), signed)?;
        let proof = match asked.kind {
            AttestationKind::Mission(mission) => Some(self.mission_proof(mission, &qualifying)?),
            _ => None,
        };
        let epoch = match asked.kind {
            AttestationKind::Emergency => Some(self.certified_index(NvIndex::RobotEpoch, &qualifying)?),
            _ => None,
        };
        let selection = PcrSelection::of(alg, &pcrs).map_err(|_| AgentError::Evidence {
            what: "the selection",
        })?;
        let values = selection
            .pcrs()
            .filter_map(|(bank, pcr)| quoted.values.get(bank, pcr.into()).copied())
            .collect();
        let pcrs = PcrValues::new(selection, values).map_err(|_| AgentError::Evidence {
            what: "the PCR values",
        })?;
        let uefi_log = logs.read_uefi()?;
        // Read behind the quote, so that what the quote covers is in it.
        let measured = logs.read_runtime()?;
        let runtime_log = measured
            .as_deref()
            .map(|list| runtime_log(list, asked.runtime_from, &quoted.quote.message));
        let agent_log = self.log().to_event_log(&map, &[alg])?;
        let evidence = Evidence {
            quote: &quoted.quote.message,
            signature: &quoted.quote.signature,
            pcrs,
            state: &state.to_canonical(),
            mission,
            sequence,
            tier: self.tier,
            uefi_log: uefi_log.as_deref(),
            agent_log: agent_log.as_deref(),
            runtime_log: runtime_log.as_ref().map(|(first, entries)| RuntimeLog {
                first: *first,
                entries,
            }),
            registers,
            mission_proof: proof.as_ref().map(|proof| MissionEvidence {
                token: &proof.token,
                robot_epoch: proof.robot_epoch.clone(),
                level_epoch: proof.level_epoch.clone(),
                anchor: proof.anchor.clone(),
            }),
            epoch,
        };
        Ok(evidence.to_canonical())
    }

    /// The counters that a mission lives by, certified with the quote's qualifying data. Commands: 3 NV_Certify.
    fn mission_proof(&self, mission: MissionId, qualifying: &Digest) -> Result<MissionProof> {
        let record = self.keys.mission(mission)?;
        let certify = |index| self.certified_index(index, qualifying);
        Ok(MissionProof {
            robot_epoch: certify(NvIndex::RobotEpoch)?,
            level_epoch: certify(NvIndex::LevelEpoch(record.level))?,
            anchor: certify(NvIndex::MissionAnchor(record.anchor))?,
            token: record.token_in_force().to_vec(),
        })
    }

    fn state(&self, surroundings: &Surroundings, kind: AttestationKind, now_utc_ms: u64) -> RobotState {
        let missions = self.commands.missions();
        let stopped = self.is_stopped();
        let mode = match (stopped, missions.is_empty()) {
            (true, _) => OperationalMode::Stopped,
            (false, true) => OperationalMode::Idle,
            (false, false) => OperationalMode::Mission,
        };
        let levels = self.keys.record().parents.iter().map(|parent| parent.level);
        let seen = surroundings.clone();
        RobotState {
            kind,
            platform: seen.platform,
            mode,
            stopped,
            level: levels.max().unwrap_or(Level::Unclassified),
            missions,
            software: concat!("alcub3 ", env!("CARGO_PKG_VERSION")).to_owned(),
            firmware: seen.firmware,
            calibration: seen.calibration,
            hardware: self.hardware().unwrap_or_else(|| self.keys.hash().digest(&[])),
            payload: seen.payload,
            command_sequence: self.admitted.load(Ordering::Relaxed),
            faults: seen.faults,
            speed_mm_per_s: seen.speed_mm_per_s,
            battery_permille: seen.battery_permille,
            position: seen.position,
            maintained_at_ms: seen.maintained_at_ms,
            robot: self.robot().clone(),
            boot: self.boot(),
            time_ms: now_utc_ms,
        }
    }
}

/// The entries behind those that the verifier knows, if they are of the quote's boot; else all.
fn runtime_log(list: &[u8], known: Option<RuntimePosition>, quote: &[u8]) -> (u64, Vec<u8>) {
    let known = known.filter(|known| Attest::parse(quote).is_ok_and(|attest| known.is_of(attest.clock)));
    let rest = known.and_then(|known| {
        let list = ImaLog::parse(list).ok()?;
        let first = usize::try_from(known.entries)
            .ok()
            .filter(|first| *first <= list.len())?;
        Some((known.entries, list.bytes_from(first).to_vec()))
    });
    rest.unwrap_or_else(|| (0, list.to_vec()))
}
