//! Evidence for a verifier's nonce.

use crate::platform_logs::PlatformLogs;
use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_attestation::attest::Attest;
use alcub3_attestation::evidence::{Evidence, Nonce, RuntimeLog, RuntimePosition, qualifying_data};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_trust_model::pcr_map::{BOOT, IMA};
use alcub3_trust_model::{OperationalMode, Position, RobotState};

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

/// What a verifier asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Its nonce.
    pub nonce: Nonce,
    /// How far it knows what this boot's system measured; nothing where it does not.
    pub runtime_from: Option<RuntimePosition>,
}

impl Asked {
    /// Everything, under this nonce.
    #[must_use]
    pub const fn all(nonce: Nonce) -> Self {
        Self {
            nonce,
            runtime_from: None,
        }
    }

    fn of(request: &AttestRequest) -> Result<Self> {
        let nonce = <[u8; 32]>::try_from(request.nonce.as_slice());
        Ok(Self {
            nonce: Nonce(nonce.map_err(|_| AgentError::Evidence {
                what: "the nonce is not 32 bytes",
            })?),
            runtime_from: request.runtime_from,
        })
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
        let state = self.state(surroundings, now_utc_ms)?;
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
