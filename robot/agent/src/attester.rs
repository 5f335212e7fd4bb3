//! Evidence for a verifier's nonce.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_attestation::evidence::{Evidence, Nonce, qualifying_data};
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_trust_model::pcr_map::BOOT;
use alcub3_trust_model::{OperationalMode, Position, RobotState};
use std::path::{Path, PathBuf};

/// Where Linux shows the firmware's event log.
const PLATFORM_LOG: &str = "/sys/kernel/security/tpm0/binary_bios_measurements";

/// Which boot log goes into the evidence.
#[derive(Clone, Debug, Default)]
pub enum BootLog {
    /// The machine's own, where it has one that may be read; none otherwise.
    #[default]
    Platform,
    /// A file.
    File(PathBuf),
    /// Bytes that the caller has.
    Bytes(Vec<u8>),
}

impl BootLog {
    /// The log's bytes; `None` where the machine has none.
    ///
    /// # Errors
    /// A log that is there and cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        let (path, optional) = match self {
            Self::Bytes(bytes) => return Ok(Some(bytes.clone())),
            Self::Platform => (Path::new(PLATFORM_LOG), true),
            Self::File(path) => (path.as_path(), false),
        };
        match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if optional && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(AgentError::BootLog {
                path: path.to_owned(),
                source,
            }),
        }
    }
}

/// What the robot knows of itself beside its keys.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Digest of the subsystems' firmware inventory.
    pub firmware: Digest,
    /// Digest of the sensors' calibration.
    pub calibration: Digest,
    /// Speed over ground in millimetres per second.
    pub speed_mm_per_s: u32,
    /// Charge in thousandths of full.
    pub battery_permille: u16,
    /// Position, where it knows.
    pub position: Option<Position>,
}

impl Surroundings {
    /// A robot at rest whose firmware and calibration have not been inventoried: their digests are those of nothing.
    pub fn unknown(alg: HashAlg) -> Self {
        let nothing = alg.digest(&[]);
        Self {
            firmware: nothing,
            calibration: nothing,
            speed_mm_per_s: 0,
            battery_permille: 1000,
            position: None,
        }
    }
}

impl Robot {
    /// Answers a verifier's request with evidence. Commands: 1 Quote in the steady state; PCR_Read when PCRs changed.
    ///
    /// # Errors
    /// A malformed request, the chip's, or a boot log that cannot be read.
    pub fn attest(
        &self,
        request: &[u8],
        surroundings: &Surroundings,
        log: &BootLog,
        now_utc_ms: u64,
    ) -> Result<Vec<u8>> {
        let request = AttestRequest::from_canonical(request)?;
        let nonce = Nonce(
            request
                .nonce
                .as_slice()
                .try_into()
                .map_err(|_| AgentError::Evidence {
                    what: "the nonce is not 32 bytes",
                })?,
        );
        let uefi_log = log.read()?;
        let evidence = self.evidence(&nonce, surroundings, uefi_log.as_deref(), now_utc_ms)?;
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
        nonce: &Nonce,
        surroundings: &Surroundings,
        uefi_log: Option<&[u8]>,
        now_utc_ms: u64,
    ) -> Result<Vec<u8>> {
        let alg = self.keys.hash();
        let state = self.state(surroundings, now_utc_ms)?;
        let mission = self.commands.mission_digest(alg);
        let sequence = self.run().next_sequence(&self.folder)?;
        let qualifying = qualifying_data(alg, nonce, &state.digest(alg), &mission, sequence).ok_or(
            AgentError::Evidence {
                what: "a digest is of another algorithm",
            },
        )?;
        let map = self.keys.pcrs();
        let pcrs: Vec<u8> = BOOT.chain([map.retire(), map.lockdown()]).collect();
        let mask = pcrs.iter().fold(0u32, |mask, pcr| mask | 1 << pcr);
        let quoted = self.keys.quote(qualifying, mask, &self.cache)?;
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
        let agent_log = self.log().to_event_log(&map, &[alg])?;
        let evidence = Evidence {
            quote: &quoted.quote.message,
            signature: &quoted.quote.signature,
            pcrs,
            state: &state.to_canonical(),
            mission,
            sequence,
            tier: self.tier,
            uefi_log,
            agent_log: agent_log.as_deref(),
            runtime_log: None,
        };
        Ok(evidence.to_canonical())
    }

    fn state(&self, surroundings: &Surroundings, now_utc_ms: u64) -> Result<RobotState> {
        let missions = self.commands.missions();
        let stopped = self.is_stopped();
        let mode = match (stopped, missions.is_empty()) {
            (true, _) => OperationalMode::Stopped,
            (false, true) => OperationalMode::Idle,
            (false, false) => OperationalMode::Mission,
        };
        Ok(RobotState {
            robot: self.robot().clone(),
            boot: self.boot(),
            time_ms: now_utc_ms,
            mode,
            stopped,
            level: self
                .keys
                .record()
                .parents
                .iter()
                .map(|p| p.level)
                .max()
                .unwrap_or(alcub3_trust_model::Level::Unclassified),
            missions,
            software: concat!("alcub3 ", env!("CARGO_PKG_VERSION")).to_owned(),
            firmware: surroundings.firmware,
            calibration: surroundings.calibration,
            hardware: self.hardware().unwrap_or_else(|| self.keys.hash().digest(&[])),
            speed_mm_per_s: surroundings.speed_mm_per_s,
            battery_permille: surroundings.battery_permille,
            position: surroundings.position,
        })
    }
}
