//! A robot whose attestation key is in software: makes evidence of every kind, good and bad, fast.
#![allow(dead_code, unreachable_pub)]

use alcub3_attestation::appraisal::{Asked, LastSeen, Policy, ReferenceValues, RegisterRecord};
use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::evidence::{
    Evidence, MissionEvidence, Nonce, RegisterEvidence, RegisterPositions, RuntimeLog, qualifying_data,
};
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Curve, Digest, HashAlg, SignatureScheme, SigningKey, VerifyingKey};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, NvMap, Register};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{
    AttestationKind, BootId, HardwareTier, Level, RobotId, RobotState, SensorCalibration, StopCause, StopId,
    SubsystemFirmware,
};
use std::collections::BTreeMap;

pub const BANK: HashAlg = HashAlg::Sha256;
pub const NOW_MS: u64 = 1_790_000_000_000;
/// The counters that a mission of the level UNCLASSIFIED with the first anchor lives by.
pub const MISSION_COUNTERS: [NvIndex; 3] = [
    NvIndex::RobotEpoch,
    NvIndex::LevelEpoch(Level::Unclassified),
    NvIndex::MissionAnchor(MissionAnchor::new(0).unwrap()),
];
pub const NONCE: Nonce = Nonce([0x42; 32]);

#[derive(Clone)]
pub struct Robot {
    pub key: std::sync::Arc<SigningKey>,
    pub id: RobotId,
    pub uefi_log: Vec<u8>,
    pub agent: Vec<AgentEvent>,
    pub state: RobotState,
    pub mission: Digest,
    pub sequence: u64,
    pub tier: HardwareTier,
    pub clock: ClockInfo,
    pub nonce: Nonce,
    pub selected: Vec<u8>,
    /// What its kernel has extended into PCR 10.
    pub measured: Vec<Digest>,
    /// The measurement list that it sends: the number of its first entry, and the entries.
    pub sent: Option<(u64, Vec<u8>)>,
    /// What was measured into its registers before what its state says now.
    pub measured_before: BTreeMap<Register, Vec<Digest>>,
    /// What the verifier says that it knows of the registers.
    pub known: Option<RegisterPositions>,
    /// Its counters.
    pub counters: BTreeMap<NvIndex, u64>,
    /// The token of the mission that it is to prove.
    pub token: Vec<u8>,
}

pub fn nv() -> NvMap {
    NvMap::new(BANK).unwrap()
}

pub fn uefi_log(boot: &Boot<'_>) -> Vec<u8> {
    Builder::new(&[HashAlg::Sha1, BANK])
        .unwrap()
        .uefi_boot(boot)
        .clone()
        .finish()
}

impl Robot {
    pub fn new() -> Self {
        let id = RobotId::new("r1").unwrap();
        let state = RobotState {
            software: "alcub3 0.1.0".to_owned(),
            firmware: vec![SubsystemFirmware {
                subsystem: "legs".to_owned(),
                version: "2.1.0".to_owned(),
                image: Some(BANK.digest(&[b"image"])),
            }],
            calibration: vec![SensorCalibration {
                sensor: "lidar".to_owned(),
                calibration: BANK.digest(&[b"calibration"]),
            }],
            battery_permille: 900,
            ..RobotState::at_rest(id.clone(), BootId::new([1; 16]), NOW_MS, BANK)
        };
        Self {
            key: std::sync::Arc::new(SigningKey::generate(Curve::P256).unwrap()),
            id,
            uefi_log: uefi_log(&Boot::default()),
            agent: Vec::new(),
            state,
            mission: BANK.digest(&[b"no missions"]),
            sequence: 10,
            tier: HardwareTier::Discrete,
            clock: ClockInfo {
                clock_ms: 5000,
                reset_count: 3,
                restart_count: 0,
                safe: true,
            },
            nonce: NONCE,
            selected: (0..=15).chain([23]).collect(),
            measured: Vec::new(),
            sent: None,
            measured_before: BTreeMap::new(),
            known: None,
            counters: BTreeMap::new(),
            token: Vec::new(),
        }
    }

    /// A TPM2_NV_Certify of an index's contents.
    pub fn certify(&self, index: NvIndex, contents: &[u8], extra_data: &[u8]) -> Signed {
        let name = nv().spec(index).tpm_name(true);
        let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat();
        let attested = [sized(name.as_bytes()), vec![0, 0], sized(contents)].concat();
        let message = self.attest(0x8014, extra_data, &attested);
        Signed {
            signature: self.sign(&message),
            message,
        }
    }

    pub fn counter(&self, index: NvIndex, extra_data: &[u8]) -> Signed {
        let value = self.counters.get(&index).copied().unwrap_or(1);
        self.certify(index, &value.to_be_bytes(), extra_data)
    }

    /// Everything that was measured into a register in this boot.
    pub fn measured_into(&self, register: Register) -> Vec<Digest> {
        let mut measured = self.measured_before.get(&register).cloned().unwrap_or_default();
        let now = self.state.measured(register, BANK);
        if measured.last() != Some(&now) {
            measured.push(now);
        }
        measured
    }

    /// The registers that its kind of attestation shows, but for those that the verifier knows.
    pub fn registers(&self, extra_data: &[u8]) -> Vec<RegisterEvidence> {
        let kind = self.state.kind;
        let shown = kind.registers().iter().filter_map(|register| {
            let mut measured = self.measured_into(*register);
            let (zero, mut base) = (Digest::zero(BANK), Digest::zero(BANK));
            let value = register.replay(zero, &measured);
            let known = self.known.iter().flat_map(|known| &known.values);
            if let Some((_, known)) = known.clone().find(|(known, _)| known == register) {
                if *known == value && !kind.certifies_anew() {
                    return None;
                }
                let from = (0..=measured.len()).find(|to| register.replay(zero, &measured[..*to]) == *known);
                measured.drain(..from.unwrap());
                base = *known;
            }
            Some(RegisterEvidence {
                register: *register,
                base,
                measured,
                certified: self.certify(NvIndex::Register(*register), value.as_bytes(), extra_data),
            })
        });
        shown.collect()
    }

    fn mission_proof(&self, extra_data: &[u8]) -> Option<MissionEvidence<'_>> {
        let scope = MISSION_COUNTERS.map(|index| self.counter(index, extra_data));
        let [robot_epoch, level_epoch, anchor] = scope;
        self.state.kind.mission().map(|_| MissionEvidence {
            token: &self.token,
            robot_epoch,
            level_epoch,
            anchor,
        })
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.verifying_key()
    }

    pub fn stop_event(&self, id: u8) -> AgentEvent {
        AgentEvent::Stop(StopEvent {
            stop: StopId::new([id; 16]),
            robot: self.id.clone(),
            scope: StopScope::Robot,
            cause: StopCause::ManualTrigger,
            called_utc_ms: NOW_MS,
        })
    }

    pub fn references(&self) -> ReferenceValues {
        ReferenceValues::golden(&EventLog::parse(&uefi_log(&Boot::default())).unwrap(), BANK).unwrap()
    }

    pub fn agent_log(&self) -> Vec<u8> {
        let mut log = Builder::new(&[BANK]).unwrap();
        for event in &self.agent {
            log.agent(event.pcr(&PcrMap::DEFAULT), event);
        }
        log.finish()
    }

    /// The PCR values a TPM would hold after the log and the agent's events.
    pub fn pcrs(&self) -> PcrValues {
        let replay = EventLog::parse(&self.uefi_log).unwrap().replay().unwrap();
        let selection = PcrSelection::of(BANK, &self.selected).unwrap();
        let value = |pcr: u8| {
            let mine = self
                .agent
                .iter()
                .filter(|event| event.pcr(&PcrMap::DEFAULT) == pcr);
            let value = mine.fold(replay.value(BANK, pcr).unwrap(), |value, event| {
                value.extend(event.digest(BANK).as_bytes())
            });
            let measured = self.measured.iter().filter(|_| pcr == 10);
            measured.fold(value, |value, digest| value.extend(digest.as_bytes()))
        };
        PcrValues::new(selection, selection.pcrs().map(|(_, pcr)| value(pcr)).collect()).unwrap()
    }

    pub fn quote(&self, extra_data: &[u8], pcrs: &PcrValues) -> Vec<u8> {
        let digest = [&[0, 32], pcrs.digest(BANK).as_bytes()].concat();
        self.attest(0x8018, extra_data, &[pcrs.selection().encode(), digest].concat())
    }

    /// A TPMS_ATTEST of a type.
    pub fn attest(&self, kind: u16, extra_data: &[u8], attested: &[u8]) -> Vec<u8> {
        let mut attest = vec![0xff, 0x54, 0x43, 0x47];
        attest.extend(kind.to_be_bytes());
        attest.extend([0, 4, 1, 2, 3, 4]);
        attest.extend(u16::try_from(extra_data.len()).unwrap().to_be_bytes());
        attest.extend(extra_data);
        attest.extend(self.clock.clock_ms.to_be_bytes());
        attest.extend(self.clock.reset_count.to_be_bytes());
        attest.extend(self.clock.restart_count.to_be_bytes());
        attest.push(u8::from(self.clock.safe));
        attest.extend([0; 8]);
        attest.extend(attested);
        attest
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let bytes = self.key.sign(message).unwrap();
        Signature {
            scheme: SignatureScheme::Ecdsa(BANK),
            bytes,
        }
        .to_tpmt()
    }

    pub fn evidence(&self) -> Vec<u8> {
        self.evidence_with(self.pcrs(), true)
    }

    pub fn evidence_with(&self, pcrs: PcrValues, with_log: bool) -> Vec<u8> {
        let state = self.state.to_canonical();
        let data = qualifying_data(
            BANK,
            &self.nonce,
            &BANK.digest(&[&state]),
            &self.mission,
            self.sequence,
        )
        .unwrap();
        let quote = self.quote(data.as_bytes(), &pcrs);
        let signature = self.sign(&quote);
        let agent_log = self.agent_log();
        Evidence {
            quote: &quote,
            signature: &signature,
            pcrs,
            state: &state,
            mission: self.mission,
            sequence: self.sequence,
            tier: self.tier,
            uefi_log: with_log.then_some(self.uefi_log.as_slice()),
            agent_log: (!self.agent.is_empty()).then_some(agent_log.as_slice()),
            runtime_log: self.sent.as_ref().map(|(first, entries)| RuntimeLog {
                first: *first,
                entries,
            }),
            registers: self.registers(data.as_bytes()),
            mission_proof: self.mission_proof(data.as_bytes()),
            epoch: (self.state.kind == AttestationKind::Emergency)
                .then(|| self.counter(NvIndex::RobotEpoch, data.as_bytes())),
        }
        .to_canonical()
    }
}

/// A production policy for the robot, with the parts that live as long as it.
pub struct Verifier {
    pub key: VerifyingKey,
    pub id: RobotId,
    pub references: ReferenceValues,
    pub rearmed: Vec<StopId>,
    pub last_seen: Option<LastSeen>,
    pub asked: Asked<'static>,
    pub registers: Option<RegisterRecord>,
}

impl Verifier {
    pub fn of(robot: &Robot) -> Self {
        Self {
            key: robot.verifying_key(),
            id: robot.id.clone(),
            references: robot.references(),
            rearmed: Vec::new(),
            last_seen: None,
            asked: Asked::Operational,
            registers: None,
        }
    }

    pub fn policy(&self) -> Policy<'_> {
        Policy {
            attestation_key: &self.key,
            robot: &self.id,
            nonce: &NONCE,
            asked: self.asked,
            references: &self.references,
            pcrs: PcrMap::DEFAULT,
            nv: nv(),
            enrolled_tier: HardwareTier::Discrete,
            min_tier: HardwareTier::Firmware,
            rearmed_stops: &self.rearmed,
            last_seen: self.last_seen,
            known_boot: None,
            known_runtime: None,
            known_registers: self.registers.as_ref(),
            max_state_age_ms: 60_000,
        }
    }
}
