//! A robot whose TPM is in software: it signs what a TPM would sign, and recovers what a TPM would recover.

mod requests;
mod stops;

use std::collections::BTreeMap;

use alcub3_attestation::attest::ClockInfo;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::agent::{AgentEvent, StopEvent, StopScope};
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::evidence::{
    Evidence, MissionEvidence, Nonce, RegisterEvidence, RuntimeLog, qualifying_data,
};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_attestation::receipt::{
    PurgeReceipt, PurgeStatement, Receipt, Statement, Step, StepTime, epoch_before_data,
};
use alcub3_crypto::tpm::{Name, Public, PublicTemplate, Signature, attribute};
use alcub3_crypto::{
    Curve, Digest, HashAlg, Secret, SigningKey, VerifyingKey, aes_cfb_decrypt, hmac, kdfa, kdfe,
};
use alcub3_fleet_protocol::attestation::{AttestRequest, EvidenceMessage};
use alcub3_fleet_protocol::enrolment::{Credential, EnrolRequest, Robot as Machine};
use alcub3_fleet_protocol::extension::{ExtensionRequest, extension_binding};
use alcub3_fleet_protocol::hand_over::{HandOverRequest, hand_over_binding};
use alcub3_fleet_protocol::mission::{MissionRequest, mission_binding};
use alcub3_fleet_protocol::purge::{PurgeRequest, purge_binding};
use alcub3_fleet_protocol::rearm::{RearmRequest, rearm_binding};
use alcub3_fleet_protocol::shared_key::{SharedKeyRequest, shared_key_binding};
use alcub3_fleet_protocol::{HierarchyAuthorisations, identity_binding};
use alcub3_trust_model::hardware::{HardwareRecord, Inventory};
use alcub3_trust_model::nv_map::{MissionAnchor, NvIndex, NvMap, Register};
use alcub3_trust_model::pcr_map::{IMA, PcrMap};
use alcub3_trust_model::policies::{mission_pcr_mask, parent_policy};
use alcub3_trust_model::{
    AttestationKind, BootId, HardwareTier, Integrity, Labels, LeaseId, Level, MissionId, MissionKeyPurpose,
    OperationalMode, RobotId, RobotState, SensorCalibration, SessionId, StopCause, StopId, SubsystemFirmware,
    profile,
};
use aws_lc_rs::agreement::{self, ECDH_P384, PrivateKey};

use super::{ALG, NOW};

pub const BANK: HashAlg = HashAlg::Sha256;
/// What a key that the TPM made and never gives away has.
pub const BOUND: u32 = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;

/// A template with its point filled in, as the TPM gives it back.
pub fn with_point(template: PublicTemplate, key: &VerifyingKey) -> Public {
    let (_, x, y) = key.ec_point().unwrap();
    let mut bytes = template.into_tpmt_bytes();
    assert_eq!(
        bytes.split_off(bytes.len() - 4),
        [0; 4],
        "the template's point is empty"
    );
    for coordinate in [x, y] {
        bytes.extend(sized(coordinate));
    }
    Public::from_tpmt(&bytes).unwrap()
}

pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub struct Robot {
    pub id: RobotId,
    pub curve: Curve,
    pub root: Vec<u8>,
    pub certificate: Vec<u8>,
    /// Issued the certificate.
    ca: rcgen::Issuer<'static, rcgen::KeyPair>,
    ek_key: SigningKey,
    pub ek: Public,
    ak_key: SigningKey,
    pub ak: Public,
    pub root_public: Public,
    pub identity_key: SigningKey,
    pub identity: Public,
    pub inventory: Inventory,
    pub uefi_log: Vec<u8>,
    /// What its kernel measured.
    pub measured: ListBuilder,
    /// Stops of the whole robot since its boot.
    pub stops: Vec<StopId>,
    /// What its agent extended into the retire PCR since its boot.
    pub retired: Vec<AgentEvent>,
    pub stopped: bool,
    pub sequence: u64,
    pub clock: ClockInfo,
    pub counters: BTreeMap<u32, u64>,
    pub custody: HierarchyAuthorisations,
    /// Its active missions.
    pub missions: Vec<MissionId>,
    /// The token and the level of the mission that it is to prove.
    pub token: Vec<u8>,
    pub mission_level: Level,
    /// The version of its one subsystem.
    pub firmware: &'static str,
    /// What was measured into its registers, by the run (resetCount) in which it was: an attack may show another run for a while.
    registers: BTreeMap<(u32, Register), Vec<Digest>>,
}

impl Robot {
    /// The same chip after it was cleared and provisioned again, under a name: the keys of the endorsement hierarchy stay, as
    /// do counters' values, which a chip never gives twice.
    #[allow(dead_code, reason = "not every test file purges")]
    pub fn provisioned_anew(self, name: &str) -> Self {
        let new = Self::on(self.curve, name);
        Self {
            id: new.id,
            root_public: new.root_public,
            stops: new.stops,
            retired: new.retired,
            stopped: false,
            clock: ClockInfo {
                clock_ms: 100,
                reset_count: 0,
                ..self.clock
            },
            ..self
        }
    }

    pub fn new(name: &str) -> Self {
        Self::on(Curve::P384, name)
    }

    /// The list of the robot's endorsement CA, from the first day of one year to that of another.
    #[allow(dead_code, reason = "not every test file revokes")]
    pub fn revocation_list(&self, revokes: bool, (from, to): (i32, i32)) -> Vec<u8> {
        let made = rcgen::date_time_ymd(from, 1, 1);
        let entry = rcgen::RevokedCertParams {
            serial_number: SERIAL.into(),
            revocation_time: made,
            reason_code: None,
            invalidity_date: None,
        };
        let list = rcgen::CertificateRevocationListParams {
            this_update: made,
            next_update: rcgen::date_time_ymd(to, 1, 1),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revokes.then_some(entry).into_iter().collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.ca).unwrap().der().to_vec()
    }

    /// A robot whose keys are on a curve; its endorsement key is on P-384.
    pub fn on(curve: Curve, name: &str) -> Self {
        let key = || SigningKey::generate(curve).unwrap();
        let (ak_key, root_key, identity_key) = (key(), key(), key());
        let ek_key = SigningKey::generate(Curve::P384).unwrap();
        let ek = with_point(PublicTemplate::ek_ecc_p384(), &ek_key.verifying_key());
        let ak = with_point(PublicTemplate::attestation_key(curve), &ak_key.verifying_key());
        let root_public = with_point(PublicTemplate::storage_parent(curve), &root_key.verifying_key());
        let identity =
            PublicTemplate::signing_key(curve, BOUND | attribute::USER_WITH_AUTH | attribute::SIGN, None);
        let (root, certificate, ca) = certify(&ek_key);
        Self {
            id: RobotId::new(name).unwrap(),
            curve,
            root,
            certificate,
            ca,
            ek_key,
            ek,
            ak_key,
            ak,
            root_public,
            identity: with_point(identity, &identity_key.verifying_key()),
            identity_key,
            inventory: Inventory::new(),
            measured: ListBuilder::new(),
            uefi_log: Builder::new(&[HashAlg::Sha1, BANK])
                .unwrap()
                .uefi_boot(&Boot::default())
                .clone()
                .finish(),
            stops: Vec::new(),
            retired: Vec::new(),
            stopped: false,
            sequence: 0,
            clock: ClockInfo {
                clock_ms: 50_000,
                reset_count: 3,
                restart_count: 0,
                safe: true,
            },
            counters: BTreeMap::new(),
            custody: HierarchyAuthorisations {
                owner: Secret::from_slice(&[1; 32]),
                endorsement: Secret::from_slice(&[2; 32]),
                lockout: Secret::from_slice(&[3; 32]),
            },
            missions: Vec::new(),
            token: Vec::new(),
            mission_level: Level::Unclassified,
            firmware: "2.1.0",
            registers: BTreeMap::new(),
        }
    }

    /// The hash of the robot's curve: of Names, policies and registers.
    pub fn alg(&self) -> HashAlg {
        self.curve.hash()
    }

    pub fn sign(&self, message: Vec<u8>) -> Signed {
        let scheme = self.ak_key.verifying_key().native_scheme();
        let signature = Signature {
            scheme,
            bytes: self.ak_key.sign(&message).unwrap(),
        }
        .to_tpmt();
        Signed { message, signature }
    }

    /// A TPMS_ATTEST of a kind.
    pub fn attest(&self, kind: u16, extra: &[u8], attested: &[u8]) -> Vec<u8> {
        let signer = self.ak.qualified_name(&Name::of_handle(0x4000_000B));
        let mut out = vec![0xff, 0x54, 0x43, 0x47];
        out.extend(kind.to_be_bytes());
        out.extend(sized(signer.as_bytes()));
        out.extend(sized(extra));
        out.extend(self.clock.clock_ms.to_be_bytes());
        out.extend(self.clock.reset_count.to_be_bytes());
        out.extend(self.clock.restart_count.to_be_bytes());
        out.push(u8::from(self.clock.safe));
        out.extend([0; 8]);
        out.extend(attested);
        out
    }

    pub fn hardware(&self) -> HardwareRecord {
        HardwareRecord {
            endorsement_key: self.ek.name(),
            endorsement_certificate: HashAlg::Sha256.digest(&[&self.certificate]),
            inventory: self.inventory.clone(),
        }
    }

    /// The first message of an enrolment.
    pub fn begin(&self) -> Vec<u8> {
        self.request().to_canonical()
    }

    pub fn request(&self) -> EnrolRequest {
        let binding = identity_binding(self.alg(), &self.id, &self.hardware().binding(self.alg()));
        let mut creation = vec![0; 4];
        creation.extend(sized(self.alg().digest(&[]).as_bytes()));
        creation.push(1);
        creation.extend(self.alg().tpm_id().to_be_bytes());
        let hierarchy = 0x4000_000Bu32.to_be_bytes();
        creation.extend([sized(&hierarchy), sized(&hierarchy)].concat());
        creation.extend(sized(binding.as_bytes()));
        let attested = [
            sized(self.identity.name().as_bytes()),
            sized(self.alg().digest(&[&creation]).as_bytes()),
        ]
        .concat();
        EnrolRequest {
            robot: self.id.clone(),
            endorsement_key: self.ek.clone(),
            endorsement_certificate: self.certificate.clone(),
            certificate_chain: Vec::new(),
            attestation_key: self.ak.clone(),
            storage_root: self.root_public.clone(),
            identity: self.identity.clone(),
            identity_creation: creation,
            identity_certification: self.sign(self.attest(0x801A, binding.as_bytes(), &attested)),
            hardware: self.hardware(),
            chip: "software".to_owned(),
            origin: Default::default(),
        }
    }

    /// The answer to the authority's challenge.
    pub fn answer(&self, request: &[u8], challenge: &[u8], authority: &VerifyingKey) -> Vec<u8> {
        let request = EnrolRequest::from_canonical(request).unwrap();
        let (machine, _) = Machine::begin(request, authority.clone());
        let (challenged, credential) = machine.challenged(challenge).unwrap();
        let secret = self.activate(&credential, &self.ak.name());
        challenged.respond(&secret, &self.custody).unwrap().1
    }

    /// TPM2_ActivateCredential for the object of a Name (TPM 2.0 Library Part 1, §24).
    pub fn activate(&self, credential: &Credential, name: &Name) -> Secret {
        let point = &credential.encrypted_secret;
        let (x, y) = (&point[2..50], &point[52..100]);
        let private = PrivateKey::from_private_key_der(&ECDH_P384, self.ek_key.to_pkcs8().expose()).unwrap();
        let peer = agreement::UnparsedPublicKey::new(&ECDH_P384, [&[4], x, y].concat());
        let ek = self.ek_key.verifying_key();
        let ours = ek.ec_point().unwrap().1;
        let seed = agreement::agree(&private, peer, (), |z| {
            Ok(kdfe(ALG, z, b"IDENTITY", x, ours, 384))
        })
        .unwrap();
        let (integrity, sealed) = credential.id_object[2..].split_at(48);
        let mac_key = kdfa(ALG, seed.expose(), b"INTEGRITY", &[], &[], 384);
        assert_eq!(
            hmac(ALG, mac_key.expose(), &[sealed, name.as_bytes()]).as_bytes(),
            integrity
        );
        let key = kdfa(ALG, seed.expose(), b"STORAGE", name.as_bytes(), &[], 256);
        let mut plain = sealed.to_vec();
        aes_cfb_decrypt(key.expose(), &[0; 16], &mut plain).unwrap();
        Secret::from_slice(&plain[2..])
    }

    pub fn boot(&self) -> BootId {
        BootId::new([1; 16])
    }

    pub fn state(&self) -> RobotState {
        let mode = match (self.stopped, self.missions.is_empty()) {
            (true, _) => OperationalMode::Stopped,
            (false, true) => OperationalMode::Idle,
            (false, false) => OperationalMode::Mission,
        };
        RobotState {
            mode,
            stopped: self.stopped,
            missions: self.missions.clone(),
            software: "alcub3".to_owned(),
            firmware: vec![SubsystemFirmware {
                subsystem: "legs".to_owned(),
                version: self.firmware.to_owned(),
                image: None,
            }],
            calibration: vec![SensorCalibration {
                sensor: "lidar".to_owned(),
                calibration: self.alg().digest(&[b"calibration"]),
            }],
            battery_permille: 900,
            ..RobotState::at_rest(self.id.clone(), self.boot(), NOW, self.alg())
        }
    }

    /// Measures what a state says, and certifies what this kind of attestation shows to a verifier that knows what it asks with.
    fn show_registers(
        &mut self,
        state: &RobotState,
        request: &AttestRequest,
        extra: &Digest,
    ) -> Vec<RegisterEvidence> {
        let run = self.clock.reset_count;
        let (alg, zero) = (self.alg(), Digest::zero(self.alg()));
        let known = request.registers.as_ref().filter(|known| {
            (known.reset_count, known.restart_count) == (self.clock.reset_count, self.clock.restart_count)
        });
        let mut shown = Vec::new();
        for register in state.kind.registers() {
            let measured = self.registers.entry((run, *register)).or_default();
            let now = state.measured(*register, alg);
            if measured.last() != Some(&now) {
                measured.push(now);
            }
            let (mut measured, mut base) = (measured.clone(), zero);
            let value = register.replay(zero, &measured);
            let before = known.and_then(|known| known.values.iter().find(|(known, _)| known == register));
            if let Some((_, before)) = before {
                if *before == value && !state.kind.certifies_anew() {
                    continue;
                }
                let from = (0..=measured.len()).find(|to| register.replay(zero, &measured[..*to]) == *before);
                if let Some(from) = from {
                    measured.drain(..from);
                    base = *before;
                }
            }
            shown.push(RegisterEvidence {
                register: *register,
                base,
                measured,
                certified: self.certify_index(NvIndex::Register(*register), value.as_bytes(), extra),
            });
        }
        shown
    }

    fn events(&self) -> Vec<AgentEvent> {
        let event = |stop: &StopId| {
            AgentEvent::Stop(StopEvent {
                stop: *stop,
                robot: self.id.clone(),
                scope: StopScope::Robot,
                cause: StopCause::ManualTrigger,
                called_utc_ms: NOW,
            })
        };
        let stops = self.stops.iter().map(event);
        stops.chain(self.retired.iter().cloned()).collect()
    }

    /// A boot begins the PCRs, the kernel's list and the agent's log anew; a robot that is stopped ends at once what was armed.
    #[allow(dead_code, reason = "not every test file boots it anew")]
    pub fn boots_anew(&mut self) {
        self.measured = ListBuilder::new();
        self.stops.clear();
        self.retired.clear();
        if self.stopped {
            self.retired.push(AgentEvent::StoppedStart(self.id.clone()));
        }
    }

    pub fn pcrs(&self) -> PcrValues {
        let replay = EventLog::parse(&self.uefi_log).unwrap().replay().unwrap();
        let selected: Vec<u8> = (0..=15).chain([23]).collect();
        let selection = PcrSelection::of(BANK, &selected).unwrap();
        let events = self.events();
        let value = |pcr: u8| {
            let mine = events.iter().filter(|event| event.pcr(&PcrMap::DEFAULT) == pcr);
            let start = replay.value(BANK, pcr).unwrap();
            let value = mine.fold(start, |value, event| value.extend(event.digest(BANK).as_bytes()));
            let measured = self.measured.extends(BANK).into_iter().filter(|_| pcr == IMA);
            measured.fold(value, |value, digest| value.extend(digest.as_bytes()))
        };
        PcrValues::new(selection, selection.pcrs().map(|(_, pcr)| value(pcr)).collect()).unwrap()
    }

    /// The evidence message that answers a request.
    pub fn evidence(&mut self, request: &AttestRequest) -> Vec<u8> {
        let pcrs = self.pcrs();
        self.evidence_of(request, pcrs)
    }

    /// As [`Self::evidence`], with PCRs that hold something.
    pub fn evidence_of(&mut self, request: &AttestRequest, pcrs: PcrValues) -> Vec<u8> {
        self.sequence += 1;
        self.clock.clock_ms += 100;
        let said = RobotState {
            kind: request.kind,
            ..self.state()
        };
        let (state, mission) = (said.to_canonical(), self.alg().digest(&[b"no missions"]));
        let nonce = Nonce(request.nonce.as_slice().try_into().unwrap());
        let extra = qualifying_data(
            self.alg(),
            &nonce,
            &self.alg().digest(&[&state]),
            &mission,
            self.sequence,
        )
        .unwrap();
        let attested = [
            pcrs.selection().encode(),
            sized(pcrs.digest(self.alg()).as_bytes()),
        ]
        .concat();
        let quote = self.sign(self.attest(0x8018, extra.as_bytes(), &attested));
        let registers = self.show_registers(&said, request, &extra);
        let mut log = Builder::new(&[BANK]).unwrap();
        let events = self.events();
        for event in &events {
            log.agent(event.pcr(&PcrMap::DEFAULT), event);
        }
        let agent_log = log.finish();
        let measured = ImaLog::parse(self.measured.bytes()).unwrap();
        let known = request.runtime_from.filter(|known| known.is_of(self.clock));
        let first = known.map_or(0, |known| usize::try_from(known.entries).unwrap());
        let evidence = Evidence {
            quote: &quote.message,
            signature: &quote.signature,
            pcrs,
            state: &state,
            mission,
            sequence: self.sequence,
            tier: HardwareTier::Simulator,
            uefi_log: Some(&self.uefi_log),
            agent_log: (!events.is_empty()).then_some(agent_log.as_slice()),
            runtime_log: (!measured.is_empty()).then_some(RuntimeLog {
                first: first as u64,
                entries: measured.bytes_from(first),
            }),
            registers,
            mission_proof: request.kind.mission().map(|_| MissionEvidence {
                token: &self.token,
                robot_epoch: self.certify_counter(NvIndex::RobotEpoch, &extra),
                level_epoch: self.certify_counter(NvIndex::LevelEpoch(self.mission_level), &extra),
                anchor: self.certify_counter(NvIndex::MissionAnchor(MissionAnchor::new(2).unwrap()), &extra),
            }),
            epoch: (request.kind == AttestationKind::Emergency)
                .then(|| self.certify_counter(NvIndex::RobotEpoch, &extra)),
        };
        let evidence = evidence.to_canonical();
        let (robot, boot, lease) = (self.id.clone(), self.boot(), LeaseId::new([9; 16]));
        EvidenceMessage {
            session: request.session,
            robot,
            boot,
            lease,
            evidence,
        }
        .to_canonical()
    }

    /// TPM2_NV_Certify of a counter.
    fn certify_counter(&self, index: NvIndex, extra: &Digest) -> Signed {
        let value = self.counters.get(&index.handle()).copied().unwrap_or(1);
        self.certify_index(index, &value.to_be_bytes(), extra)
    }

    /// TPM2_NV_Certify of an index's contents.
    fn certify_index(&self, index: NvIndex, contents: &[u8], extra: &Digest) -> Signed {
        let name = NvMap::new(self.alg()).unwrap().spec(index).tpm_name(true);
        let attested = [sized(name.as_bytes()), vec![0, 0], sized(contents)].concat();
        self.sign(self.attest(0x8014, extra.as_bytes(), &attested))
    }

    pub fn set_counter(&mut self, index: NvIndex, value: u64) {
        self.counters.insert(index.handle(), value);
    }
}

/// The endorsement certificate's serial number.
const SERIAL: u64 = 4711;

/// A simulator's root and an endorsement certificate under it, both DER, and who issued it.
fn certify(ek: &SigningKey) -> (Vec<u8>, Vec<u8>, rcgen::Issuer<'static, rcgen::KeyPair>) {
    use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
    let root_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name
        .push(rcgen::DnType::CommonName, "Simulator root");
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, root_key);
    let ek = KeyPair::try_from(ek.to_pkcs8().expose()).unwrap();
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.distinguished_name
        .push(rcgen::DnType::CommonName, "Simulated TPM");
    leaf.serial_number = Some(SERIAL.into());
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
    let leaf = leaf.signed_by(&ek, &issuer).unwrap();
    (root_certificate.der().to_vec(), leaf.der().to_vec(), issuer)
}
