//! Robots whose root of trust is no TPM, as their devices would answer; and a TPM robot whose chip a vendor certified.
#![allow(dead_code, unreachable_pub)]

use alcub3_attestation::dice::{self, Statement};
use alcub3_attestation::evidence::{Evidence, Nonce};
use alcub3_attestation::psa::{self, InstanceId, PlatformReferences};
use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::{Curve, Digest, HashAlg, SigningKey, Suite, VerifyingKey};
use alcub3_fleet_protocol::attestation::EvidenceMessage;
use alcub3_fleet_protocol::platform::{
    DiceRoot, PlatformAnswer, PlatformRequest, PsaRoot, RootEvidence, RootOfTrust,
};
use alcub3_server::PlatformPlan;
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{
    BootId, HardwareTier, LeaseId, Level, OperationalMode, RobotId, RobotState, SessionId,
};

use super::robot::Robot;
use super::{NOW, World};

const BOOT: BootId = BootId::new([1; 16]);
const LEASE: LeaseId = LeaseId::new([9; 16]);

impl World {
    /// Asks a robot whose root of trust is no TPM for evidence.
    pub fn ask(&mut self, robot: &RobotId) -> PlatformRequest {
        self.authority.challenge_platform(robot, NOW).unwrap()
    }
}

/// A file of the vectors that other tools made of a DICE platform.
pub fn vector(name: &str) -> Vec<u8> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../core/attestation/tests/dice_vectors/tcg/"
    );
    std::fs::read(format!("{folder}{name}")).unwrap()
}

/// The public key of one of their certificates, found by how a SubjectPublicKeyInfo of its curve begins.
pub fn certified_key(name: &str) -> VerifyingKey {
    const P256: &[u8] =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    let certificate = vector(name);
    let find = |(head, length): (&[u8], usize)| {
        let at = certificate
            .windows(head.len())
            .position(|window| window == head)?;
        VerifyingKey::from_spki_der(&certificate[at..at + length]).ok()
    };
    [(P256, 91), (P384, 120)].into_iter().find_map(find).unwrap()
}

pub fn state(robot: &RobotId) -> RobotState {
    RobotState::at_rest(robot.clone(), BOOT, NOW, HashAlg::Sha256)
}

pub fn answer(session: SessionId, robot: &RobotId, evidence: RootEvidence) -> Vec<u8> {
    PlatformAnswer {
        session,
        robot: robot.clone(),
        boot: BOOT,
        lease: LEASE,
        evidence,
    }
    .to_canonical()
}

/// The references of the vectors' two layers, as a document.
pub fn layers_json() -> String {
    let digest = |text: &[u8]| HashAlg::Sha384.digest(&[text]).to_hex();
    let (loader, customer, application) = (
        digest(b"layer 1"),
        digest(b"customer's part"),
        digest(b"application"),
    );
    format!(
        r#"{{"version": 1, "layers": [
            {{"tcg": [
                {{"type": "464d435f494e464f", "firmware": [["sha384:{loader}"]], "min-svn": 7, "may-omit-mode": true}},
                {{"type": "435553545f494e464f", "firmware": [["sha384:{customer}"]], "min-svn": 3}}
            ]}},
            {{"tcg": [{{
                "vendor": "Rover Works", "model": "RW-7", "layer": 2, "index": 0, "type": "415050",
                "vendor-info": "6c6f742033", "firmware": [["sha384:{application}"]], "versions": ["2.4.1", "2.4.0"], "min-svn": 5
            }}]}}
        ]}}"#
    )
}

/// A robot whose DICE root of trust is that of the vectors.
pub struct DiceDevice {
    pub id: RobotId,
    /// The certificates that it sends.
    pub chain: Vec<&'static str>,
    pub sequence: u64,
    pub stopped: bool,
    pub mode: OperationalMode,
}

impl DiceDevice {
    pub fn new(name: &str) -> Self {
        Self {
            id: RobotId::new(name).unwrap(),
            chain: vec!["root", "device", "layer1", "leaf"],
            sequence: 0,
            stopped: false,
            mode: OperationalMode::Idle,
        }
    }

    pub fn root() -> DiceRoot {
        DiceRoot {
            device_key: certified_key("device.der"),
            roots: vec![certified_key("root.der")],
            references: dice::References::from_json(&layers_json()).unwrap(),
        }
    }

    pub fn plan(&self) -> PlatformPlan {
        PlatformPlan {
            robot: self.id.clone(),
            root: RootOfTrust::Dice(Box::new(Self::root())),
            tier: HardwareTier::Firmware,
            ceiling: Level::TopSecret,
            state: None,
        }
    }

    /// The evidence over a nonce.
    pub fn evidence(&mut self, nonce: Nonce) -> RootEvidence {
        self.sequence += 1;
        let mut state = state(&self.id);
        state.stopped = self.stopped;
        state.mode = self.mode;
        let state = state.to_canonical();
        let statement = Statement {
            nonce,
            robot: self.id.clone(),
            state: HashAlg::Sha256.digest(&[&state]),
            sequence: self.sequence,
        }
        .to_canonical();
        let chain: Vec<Vec<u8>> = self
            .chain
            .iter()
            .map(|name| vector(&format!("{name}.der")))
            .collect();
        let key = SigningKey::from_pkcs8(&vector("leaf.p8")).unwrap();
        let evidence = dice::Evidence {
            chain: chain.iter().map(Vec::as_slice).collect(),
            statement: &statement,
            signature: &key.sign(&statement).unwrap(),
            state: &state,
        };
        RootEvidence::Dice(evidence.to_canonical())
    }

    pub fn answer(&mut self, request: &PlatformRequest) -> Vec<u8> {
        let evidence = self.evidence(request.nonce);
        answer(request.session, &self.id, evidence)
    }
}

/// What every vehicle of one kind with a PSA root of trust is held to, as a document.
pub const PSA_REFERENCES: &str = r#"{
    "version": 1,
    "implementation": "0909090909090909090909090909090909090909090909090909090909090909",
    "clients": [-1],
    "lifecycles": "secured",
    "components": [{
        "type": "PRoT", "signer": "0404040404040404040404040404040404040404040404040404040404040404",
        "measurements": ["0303030303030303030303030303030303030303030303030303030303030303"],
        "min-version": "2.1", "required": true
    }]
}"#;

/// A robot whose PSA root of trust is in software.
pub struct PsaDevice {
    pub id: RobotId,
    pub key: SigningKey,
    /// The hash whose size its challenges have.
    pub alg: HashAlg,
    /// What its component measured.
    pub measured: [u8; 32],
    pub stopped: bool,
    pub mode: OperationalMode,
}

impl PsaDevice {
    pub fn new(name: &str) -> Self {
        Self {
            id: RobotId::new(name).unwrap(),
            key: SigningKey::generate(Curve::P384).unwrap(),
            alg: HashAlg::Sha384,
            measured: [3; 32],
            stopped: false,
            mode: OperationalMode::Idle,
        }
    }

    pub fn plan(&self) -> PlatformPlan {
        let key = self.key.verifying_key();
        let root = PsaRoot {
            instance: InstanceId::of_key(&key).unwrap(),
            attestation_key: key,
            references: PlatformReferences::from_json(PSA_REFERENCES).unwrap(),
        };
        PlatformPlan {
            robot: self.id.clone(),
            root: RootOfTrust::Psa(Box::new(root)),
            tier: HardwareTier::Firmware,
            ceiling: Level::TopSecret,
            state: None,
        }
    }

    /// A token over whatever stands for the challenge.
    pub fn token(&self, challenge: &[u8]) -> Vec<u8> {
        let instance = InstanceId::of_key(&self.key.verifying_key()).unwrap();
        let mut out = Encoder::new();
        out.map(7).u64(10).bytes(challenge);
        out.u64(256).bytes(&[&[1], &instance.0[..]].concat());
        out.u64(265).text(psa::PROFILE);
        out.u64(2394).i64(-1).u64(2395).u64(0x3000);
        out.u64(2396).bytes(&[9; 32]);
        out.u64(2399).array(1).map(4);
        out.u64(1).text("PRoT").u64(2).bytes(&self.measured);
        out.u64(4).text("2.1.0").u64(5).bytes(&[4; 32]);
        let suite = Suite::of_curve(self.key.verifying_key().curve().unwrap());
        Unsigned::new(suite, out.finish()).sign(&self.key).unwrap()
    }

    pub fn challenge(&self, nonce: &Nonce, state: &[u8]) -> Digest {
        psa::challenge(self.alg, nonce, &self.id, &self.alg.digest(&[state])).unwrap()
    }

    pub fn evidence(&self, nonce: &Nonce) -> RootEvidence {
        let mut state = state(&self.id);
        (state.stopped, state.mode) = (self.stopped, self.mode);
        let state = state.to_canonical();
        let token = self.token(self.challenge(nonce, &state).as_bytes());
        RootEvidence::Psa { token, state }
    }

    pub fn answer(&self, request: &PlatformRequest) -> Vec<u8> {
        answer(request.session, &self.id, self.evidence(&request.nonce))
    }
}

/// A robot without any root of trust.
pub fn unrooted(name: &str) -> PlatformPlan {
    PlatformPlan {
        robot: RobotId::new(name).unwrap(),
        root: RootOfTrust::None,
        tier: HardwareTier::None,
        ceiling: Level::Unclassified,
        state: None,
    }
}

/// A robot whose TPM a maker of separate chips certified ("IFX"), under a root of its own.
pub fn discrete(name: &str) -> Robot {
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
        ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SubjectPublicKeyInfo,
    };
    let mut robot = Robot::new(name);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.distinguished_name.push(DnType::CommonName, "Maker of chips");
    robot.root = root.self_signed(&key).unwrap().der().to_vec();
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.is_ca = IsCa::ExplicitNoCa;
    leaf.key_usages = vec![KeyUsagePurpose::KeyAgreement];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
    let mut chip = CustomExtension::from_oid_content(&[2, 5, 29, 17], chip_name());
    chip.set_criticality(true);
    leaf.custom_extensions = vec![chip];
    let ek = robot.ek.verifying_key().unwrap().to_spki_der();
    let ek = SubjectPublicKeyInfo::from_der(&ek).unwrap();
    let leaf = leaf.signed_by(&ek, &Issuer::new(root, key)).unwrap();
    robot.certificate = leaf.der().to_vec();
    robot
}

/// GeneralNames with one directoryName: manufacturer, model and version of a chip.
fn chip_name() -> Vec<u8> {
    let der = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let attribute = |number: u8, text: &str| {
        let oid = [0x06, 0x05, 0x67, 0x81, 0x05, 0x02, number];
        let value = der(0x0c, text.as_bytes());
        der(0x31, &der(0x30, &[&oid[..], &value].concat()))
    };
    let name = [
        attribute(1, "id:49465800"),
        attribute(2, "SLB9672"),
        attribute(3, "id:00100000"),
    ];
    der(0x30, &der(0xa4, &der(0x30, &name.concat())))
}

/// TPM evidence in which the robot says of itself that its TPM is of a tier.
pub fn claiming(message: &[u8], tier: HardwareTier) -> Vec<u8> {
    let mut message = EvidenceMessage::from_canonical(message).unwrap();
    let sent = message.evidence.clone();
    let mut evidence = Evidence::from_canonical(&sent).unwrap();
    evidence.tier = tier;
    message.evidence = evidence.to_canonical();
    message.to_canonical()
}
