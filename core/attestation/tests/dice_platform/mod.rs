//! Two DICE platforms made by other tools (`dice_vectors/make.py` says which), and evidence of them that tests vary.
#![allow(dead_code, unreachable_pub)]

use alcub3_attestation::appraisal::Reason;
use alcub3_attestation::dice::{
    Evidence, LayerReference, OpenProfileReference, Policy, Statement, TcbReference, Verdict, appraise,
};
use alcub3_attestation::evidence::Nonce;
use alcub3_crypto::{Digest, HashAlg, SigningKey, VerifyingKey};
use alcub3_trust_model::{HardwareTier, RobotId, RobotState};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

pub const NOW_MS: u64 = 1_790_000_000_000;
pub const TCG: [&str; 4] = ["root", "device", "layer1", "leaf"];
pub const OPEN: [&str; 4] = ["uds", "cdi1", "cdi2", "leaf"];

pub fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/dice_vectors/");
    std::fs::read(format!("{folder}{name}")).unwrap()
}

/// One platform as a verifier has enrolled it, and what it sends.
pub struct Platform {
    folder: &'static str,
    pub roots: Vec<VerifyingKey>,
    pub device: VerifyingKey,
    pub robot: RobotId,
    pub nonce: Nonce,
    pub layers: Vec<LayerReference>,
    /// What it sent, as the other tools wrote it.
    pub evidence: Vec<u8>,
}

fn of(alg: HashAlg, text: &[u8]) -> Digest {
    alg.digest(&[text])
}

fn reference(kind: &[u8], firmware: &[u8], min_svn: u64) -> TcbReference {
    TcbReference {
        kind: Some(kind.to_vec()),
        firmware: vec![vec![of(HashAlg::Sha384, firmware)]],
        min_svn: Some(min_svn),
        ..TcbReference::default()
    }
}

/// The application's layer.
pub fn application() -> TcbReference {
    TcbReference {
        vendor: Some("Rover Works".to_owned()),
        model: Some("RW-7".to_owned()),
        layer: Some(2),
        index: Some(0),
        vendor_info: Some(b"lot 3".to_vec()),
        versions: vec!["2.4.0".to_owned(), "2.4.1".to_owned()],
        ..reference(b"APP", b"application", 5)
    }
}

/// The layer below it: its loader, and what the customer configured.
pub fn loader() -> Vec<TcbReference> {
    vec![
        TcbReference {
            may_omit_mode: true,
            ..reference(b"FMC_INFO", b"layer 1", 7)
        },
        reference(b"CUST_INFO", b"customer's part", 3),
    ]
}

impl Platform {
    pub fn tcg() -> Self {
        let layers = vec![
            LayerReference::Tcg(loader()),
            LayerReference::Tcg(vec![application()]),
        ];
        let roots = vec![key_of("tcg/root.der")];
        Self::new("tcg", roots, key_of("tcg/device.der"), layers)
    }

    pub fn open() -> Self {
        let sha512 = |text: &[u8]| of(HashAlg::Sha512, text);
        let inline = [&[0x80][..], &[0; 63]].concat();
        let described = open_configuration();
        let layer = |code: &[u8], configuration: &[u8], profile: Option<&str>| {
            LayerReference::OpenProfile(OpenProfileReference {
                code: vec![sha512(code)],
                configurations: vec![of(HashAlg::Sha256, configuration)],
                authorities: vec![sha512(b"vendor's key")],
                profile: profile.map(str::to_owned),
            })
        };
        let layers = vec![
            layer(b"boot loader", &inline, None),
            layer(b"system", &described, Some("rover.1")),
        ];
        Self::new("open", Vec::new(), key_of("open/uds.der"), layers)
    }

    fn new(
        folder: &'static str,
        roots: Vec<VerifyingKey>,
        device: VerifyingKey,
        layers: Vec<LayerReference>,
    ) -> Self {
        Self {
            folder,
            roots,
            device,
            robot: RobotId::new("rover-7").unwrap(),
            nonce: Nonce(std::array::from_fn(|at| u8::try_from(at).unwrap())),
            layers,
            evidence: file(&format!("{folder}/evidence.cbor")),
        }
    }

    pub fn policy(&self) -> Policy<'_> {
        Policy {
            device_key: &self.device,
            roots: &self.roots,
            robot: &self.robot,
            nonce: &self.nonce,
            layers: &self.layers,
            enrolled_tier: HardwareTier::Firmware,
            min_tier: HardwareTier::Firmware,
            last_sequence: Some(9),
            max_state_age_ms: 60_000,
            state: None,
        }
    }

    pub fn judge(&self) -> Verdict {
        appraise(&self.evidence, &self.policy(), NOW_MS)
    }

    pub fn judge_bytes(&self, bytes: &[u8]) -> Verdict {
        appraise(bytes, &self.policy(), NOW_MS)
    }

    /// The verdict with certificates of these names as its chain.
    pub fn judge_chain(&self, names: &[&str]) -> Verdict {
        let chain: Vec<Vec<u8>> = names
            .iter()
            .map(|name| file(&format!("{}/{name}.der", self.folder)))
            .collect();
        self.judge_ders(&chain)
    }

    pub fn judge_ders(&self, chain: &[Vec<u8>]) -> Verdict {
        let sent = Evidence::from_canonical(&self.evidence).unwrap();
        let changed = Evidence {
            chain: chain.iter().map(Vec::as_slice).collect(),
            ..sent
        };
        self.judge_bytes(&changed.to_canonical())
    }

    /// The verdict over another state and statement, signed by its attestation key.
    pub fn judge_statement(
        &self,
        change: impl FnOnce(&mut RobotState),
        restate: impl FnOnce(&mut Statement),
    ) -> Verdict {
        let sent = Evidence::from_canonical(&self.evidence).unwrap();
        let mut state = RobotState::from_canonical(sent.state).unwrap();
        change(&mut state);
        let state = state.to_canonical();
        let mut statement = Statement::from_canonical(sent.statement).unwrap();
        statement.state = HashAlg::Sha256.digest(&[&state]);
        restate(&mut statement);
        let statement = statement.to_canonical();
        let key = SigningKey::from_pkcs8(&file(&format!("{}/leaf.p8", self.folder))).unwrap();
        let changed = Evidence {
            statement: &statement,
            signature: &key.sign(&statement).unwrap(),
            state: &state,
            ..sent
        };
        self.judge_bytes(&changed.to_canonical())
    }
}

/// The configuration descriptor of the second layer: {-70002: "system", -70003: 12} in CBOR.
fn open_configuration() -> Vec<u8> {
    let text = b"system";
    let mut bytes = vec![0xa2, 0x3a, 0x00, 0x01, 0x11, 0x71, 0x66];
    bytes.extend_from_slice(text);
    bytes.extend_from_slice(&[0x3a, 0x00, 0x01, 0x11, 0x72, 0x0c]);
    bytes
}

/// The public key of a certificate among the vectors.
pub fn key_of(name: &str) -> VerifyingKey {
    let certificate = Certificate::from_der(&file(name)).unwrap();
    let spki = certificate
        .tbs_certificate()
        .subject_public_key_info()
        .to_der()
        .unwrap();
    VerifyingKey::from_spki_der(&spki).unwrap()
}

/// Nothing is proven, for this reason alone; gives the certificate that it names.
pub fn unproven(verdict: &Verdict, reason: Reason) -> Option<usize> {
    let [finding] = verdict.findings() else {
        panic!("one finding: {:?}", verdict.findings());
    };
    assert_eq!(finding.reason, reason, "{finding:?}");
    assert!(!verdict.is_trusted() && verdict.attested().is_none());
    finding.layer
}

/// The chain holds, and the robot is untrusted for exactly these reasons at that certificate.
pub fn untrusted(verdict: &Verdict, at: Option<usize>, reasons: &[Reason]) {
    let found: Vec<_> = verdict
        .findings()
        .iter()
        .map(|finding| (finding.layer, finding.reason))
        .collect();
    let expected: Vec<_> = reasons.iter().map(|reason| (at, *reason)).collect();
    assert_eq!(found, expected, "{:?}", verdict.findings());
    assert!(!verdict.is_trusted() && verdict.attested().is_some());
}
