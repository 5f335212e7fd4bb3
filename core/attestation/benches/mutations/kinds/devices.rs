//! Evidence of robots whose root of trust is no TPM: a DICE chain with its statement, and a PSA token with its state.

use crate::campaign::random::Random;
use crate::campaign::{Change, Judgement, Kind, Parts, twins};
use crate::dice_platform::{NOW_MS, OPEN, Platform, TCG, file};
use alcub3_attestation::appraisal::{Finding, Severity};
use alcub3_attestation::dice::{self, Evidence, LayerReference, Statement};
use alcub3_attestation::ear::Judgement as Result;
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::psa::{
    self, Accepted, Certification, ComponentReference, HashValue, InstanceId, Lifecycles, References,
    challenge,
};
use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::{Curve, Digest, HashAlg, SigningKey, Suite, VerifyingKey};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{HardwareTier, RobotId, RobotState};

/// r ‖ s of P-256.
const SIGNATURE_BYTES: usize = 64;

fn judgement(verdict: &impl Result, attested: &impl core::fmt::Debug) -> Judgement {
    if verdict.is_trusted() {
        return Judgement::Accepted(format!("{attested:?}"));
    }
    let untrusted = |finding: &&Finding| finding.severity == Severity::Untrusted;
    let first = verdict.findings().iter().find(untrusted);
    Judgement::Refused(
        first
            .map_or("nothing", |finding| finding.reason.code())
            .to_owned(),
    )
}

/// A verifier of a DICE platform.
#[derive(Clone)]
struct DiceVerifier {
    what: String,
    device: VerifyingKey,
    roots: Vec<VerifyingKey>,
    robot: RobotId,
    nonce: Nonce,
    layers: Vec<LayerReference>,
    last_sequence: u64,
    min_tier: HardwareTier,
    now_ms: u64,
}

impl DiceVerifier {
    fn but(&self, what: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        what.clone_into(&mut other.what);
        change(&mut other);
        other
    }

    fn judge(&self, evidence: &[u8]) -> Judgement {
        let policy = dice::Policy {
            device_key: &self.device,
            roots: &self.roots,
            robot: &self.robot,
            nonce: &self.nonce,
            layers: &self.layers,
            enrolled_tier: HardwareTier::Firmware,
            min_tier: self.min_tier,
            last_sequence: Some(self.last_sequence),
            max_state_age_ms: 60_000,
            state: None,
        };
        let verdict = dice::appraise(evidence, &policy, self.now_ms);
        judgement(&verdict, &verdict.attested())
    }
}

fn bit_flipped<const N: usize>(bytes: &[u8; N], bit: usize) -> [u8; N] {
    let mut bytes = *bytes;
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// The platform of the TCG's vectors.
pub fn dice_chain() -> Kind {
    let (platform, open) = (Platform::tcg(), Platform::open());
    let genuine = DiceVerifier {
        what: "the genuine verifier".to_owned(),
        device: platform.device.clone(),
        roots: platform.roots.clone(),
        robot: platform.robot.clone(),
        nonce: platform.nonce,
        layers: platform.layers.clone(),
        last_sequence: 9,
        min_tier: HardwareTier::Firmware,
        now_ms: NOW_MS,
    };
    let mut verifiers = vec![
        genuine.clone(),
        genuine.but("another device's key", |other| other.device = open.device.clone()),
        genuine.but("another maker's root", |other| {
            other.roots = vec![open.device.clone()];
        }),
        genuine.but("another robot", |other| {
            other.robot = RobotId::new("rover-8").unwrap();
        }),
        genuine.but("a later sequence", |other| other.last_sequence = 10),
        genuine.but("a chip of its own", |other| {
            other.min_tier = HardwareTier::Discrete;
        }),
        genuine.but("layers swapped", |other| other.layers.reverse()),
        genuine.but("one layer", |other| other.layers.truncate(1)),
        genuine.but("a time before the certificates", |other| {
            other.now_ms = 1_490_000_000_000;
        }),
    ];
    for bit in 0..256 {
        let nonce = Nonce(bit_flipped(&platform.nonce.0, bit));
        verifiers.push(genuine.but(&format!("a nonce with bit {bit} flipped"), |other| {
            other.nonce = nonce;
        }));
    }
    let (changing, comparing) = (platform.evidence.clone(), platform.evidence.clone());
    let spare = [TCG, OPEN];
    let certificates: Vec<Vec<u8>> = ["tcg", "open"]
        .iter()
        .zip(spare)
        .flat_map(|(folder, names)| names.map(|name| file(&format!("{folder}/{name}.der"))))
        .chain(
            ["device_measured", "leaf_debug", "leaf_no_svn", "layer1_swapped"]
                .map(|name| file(&format!("tcg/{name}.der"))),
        )
        .collect();
    let donor = open.evidence;
    Kind {
        name: "dice-chain",
        part_names: vec!["evidence"],
        genuine: vec![platform.evidence],
        others: verifiers
            .iter()
            .skip(1)
            .map(|verifier| verifier.what.clone())
            .collect(),
        fields: Box::new(move |random| dice_field(&changing, &donor, &certificates, random)),
        judge: Box::new(move |parts, verifier| verifiers[verifier].judge(&parts[0])),
        same_meaning: Box::new(move |parts| dice_same(&comparing, &parts[0])),
    }
}

/// One field of the evidence or of what it carries, nothing signed anew.
fn dice_field(genuine: &[u8], donor: &[u8], certificates: &[Vec<u8>], random: &mut Random) -> Change {
    let mut evidence = Evidence::from_canonical(genuine).unwrap();
    let other = Evidence::from_canonical(donor).unwrap();
    let (statement, state, signature);
    let what = match random.below(7) {
        0 => {
            let (at, with) = (
                random.below(evidence.chain.len()),
                random.below(certificates.len()),
            );
            evidence.chain[at] = &certificates[with];
            format!("certificate {at} is number {with}")
        }
        1 => {
            let (at, to) = (
                random.below(evidence.chain.len()),
                random.below(evidence.chain.len()),
            );
            match random.below(3) {
                0 => evidence.chain.swap(at, to),
                1 => drop(evidence.chain.remove(at)),
                _ => evidence
                    .chain
                    .insert(at, &certificates[random.below(certificates.len())]),
            }
            format!("chain of {} around {at} and {to}", evidence.chain.len())
        }
        2 => {
            let mut said = Statement::from_canonical(evidence.statement).unwrap();
            match random.below(4) {
                0 => said.nonce = Nonce(random.array()),
                1 => said.robot = RobotId::new(format!("r{}", random.next() % 100_000)).unwrap(),
                2 => said.state = Digest::from_slice(HashAlg::Sha256, &random.array::<32>()).unwrap(),
                _ => said.sequence = random.near(said.sequence),
            }
            statement = said.to_canonical();
            evidence.statement = &statement;
            format!("{said:?}")
        }
        3 => {
            let mut said = RobotState::from_canonical(evidence.state).unwrap();
            let what = super::changes::change_state(&mut said, random);
            state = said.to_canonical();
            evidence.state = &state;
            what
        }
        4 => {
            let mask = random.next() % 16;
            if mask & 1 != 0 {
                evidence.chain = other.chain;
            }
            if mask & 2 != 0 {
                evidence.statement = other.statement;
            }
            if mask & 4 != 0 {
                evidence.signature = other.signature;
            }
            if mask & 8 != 0 {
                evidence.state = other.state;
            }
            format!("parts {mask:#x} of another platform")
        }
        5 => {
            signature = twins::twin(evidence.signature);
            evidence.signature = &signature;
            "the signature's twin".to_owned()
        }
        _ => {
            signature = random.bytes(evidence.signature.len());
            evidence.signature = &signature;
            format!("signature {:02x?}", evidence.signature)
        }
    };
    Some((what, vec![evidence.to_canonical()]))
}

/// The pinned key is the same whether its own certificate is sent or not.
const ROOT: &str =
    "the root's own certificate left out or sent twice: the chain begins at the pinned key either way";

fn dice_same(genuine: &[u8], changed: &[u8]) -> Option<&'static str> {
    let genuine = Evidence::from_canonical(genuine).ok()?;
    let mut changed = Evidence::from_canonical(changed).ok()?;
    let twin = twins::twin(genuine.signature);
    if changed.signature == twin {
        changed.signature = genuine.signature;
        return (changed == genuine).then_some(twins::CLASS);
    }
    let root = genuine.chain[0];
    changed.chain.retain(|certificate| *certificate != root);
    changed.chain.insert(0, root);
    (changed == genuine).then_some(ROOT)
}

/// A verifier of a PSA robot.
#[derive(Clone)]
struct PsaVerifier {
    what: String,
    key: VerifyingKey,
    instance: InstanceId,
    robot: RobotId,
    nonce: Nonce,
    implementation: [u8; 32],
    client: i32,
    measured: u8,
    min_tier: HardwareTier,
}

impl PsaVerifier {
    fn but(&self, what: &str, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        what.clone_into(&mut other.what);
        change(&mut other);
        other
    }

    fn judge(&self, parts: &Parts) -> Judgement {
        let component = ComponentReference {
            kind: Some("PRoT".to_owned()),
            signer: HashValue::new(&[4; 32]).unwrap(),
            accepted: Accepted::Measurements(vec![HashValue::new(&[self.measured; 32]).unwrap()], None),
            required: true,
        };
        let policy = psa::Policy {
            instance: self.instance,
            attestation_key: &self.key,
            robot: &self.robot,
            nonce: &self.nonce,
            implementation: &self.implementation,
            clients: &[self.client],
            lifecycles: Lifecycles::Secured,
            references: &References::new(vec![component]).unwrap(),
            certification: &Certification::default(),
            enrolled_tier: HardwareTier::Firmware,
            min_tier: self.min_tier,
            max_state_age_ms: 60_000,
            state: None,
        };
        let verdict = psa::appraise(&parts[0], &parts[1], &policy, NOW_MS);
        judgement(&verdict, &verdict.attested())
    }
}

/// What a token says beside its challenge.
#[derive(Clone, Copy)]
struct Said {
    measured: u8,
    client: i64,
    lifecycle: u64,
}

fn token(key: &SigningKey, robot: &RobotId, nonce: &Nonce, state: &[u8], said: Said) -> Parts {
    let alg = HashAlg::Sha256;
    let bound = challenge(alg, nonce, robot, &alg.digest(&[state])).unwrap();
    let instance = InstanceId::of_key(&key.verifying_key()).unwrap();
    let mut out = Encoder::new();
    out.map(7).u64(10).bytes(bound.as_bytes());
    out.u64(256).bytes(&[&[1], &instance.0[..]].concat());
    out.u64(265).text(psa::PROFILE);
    out.u64(2394).i64(said.client).u64(2395).u64(said.lifecycle);
    out.u64(2396).bytes(&[9; 32]);
    out.u64(2399).array(1).map(3).u64(1).text("PRoT");
    out.u64(2).bytes(&[said.measured; 32]).u64(5).bytes(&[4; 32]);
    let token = Unsigned::new(Suite::EcdsaP256Sha256, out.finish()).sign(key);
    vec![token.unwrap(), state.to_vec()]
}

/// A token by a root of trust in software.
pub fn psa_token() -> Kind {
    let key = SigningKey::generate(Curve::P256).unwrap();
    let stranger = SigningKey::generate(Curve::P256).unwrap();
    let platform = Platform::tcg();
    let state = Evidence::from_canonical(&platform.evidence)
        .unwrap()
        .state
        .to_vec();
    let (robot, nonce) = (platform.robot, Nonce([0x42; 32]));
    let other_robot = RobotId::new("rover-8").unwrap();
    let said = Said {
        measured: 3,
        client: -1,
        lifecycle: 0x3000,
    };
    let other_state = RobotState {
        stopped: true,
        ..RobotState::from_canonical(&state).unwrap()
    };
    let other_state = other_state.to_canonical();
    let donors = vec![
        token(&stranger, &robot, &nonce, &state, said),
        token(&key, &robot, &Nonce([0x43; 32]), &state, said),
        token(&key, &other_robot, &nonce, &state, said),
        token(&key, &robot, &nonce, &other_state, said),
        token(&key, &robot, &nonce, &state, Said { measured: 7, ..said }),
        token(&key, &robot, &nonce, &state, Said { client: -2, ..said }),
        token(
            &key,
            &robot,
            &nonce,
            &state,
            Said {
                lifecycle: 0x4000,
                ..said
            },
        ),
    ];
    let genuine = PsaVerifier {
        what: "the genuine verifier".to_owned(),
        key: key.verifying_key(),
        instance: InstanceId::of_key(&key.verifying_key()).unwrap(),
        robot: robot.clone(),
        nonce,
        implementation: [9; 32],
        client: -1,
        measured: 3,
        min_tier: HardwareTier::Firmware,
    };
    let mut verifiers = vec![
        genuine.clone(),
        genuine.but("another device's key", |other| {
            other.key = stranger.verifying_key();
        }),
        genuine.but("another robot", |other| other.robot = other_robot.clone()),
        genuine.but("another implementation", |other| other.implementation = [8; 32]),
        genuine.but("another client", |other| other.client = -2),
        genuine.but("another component", |other| other.measured = 4),
        genuine.but("a chip of its own", |other| {
            other.min_tier = HardwareTier::Discrete;
        }),
    ];
    for bit in 0..256 {
        let nonce = Nonce(bit_flipped(&nonce.0, bit));
        verifiers.push(genuine.but(&format!("a nonce with bit {bit} flipped"), |other| {
            other.nonce = nonce;
        }));
        let instance = InstanceId(bit_flipped(&genuine.instance.0, bit));
        verifiers.push(
            genuine.but(&format!("an instance with bit {bit} flipped"), |other| {
                other.instance = instance;
            }),
        );
    }
    let parts = token(&key, &robot, &nonce, &state, said);
    let (changing, comparing) = (parts.clone(), parts.clone());
    Kind {
        name: "psa-token",
        part_names: vec!["token", "state"],
        genuine: parts,
        others: verifiers
            .iter()
            .skip(1)
            .map(|verifier| verifier.what.clone())
            .collect(),
        fields: Box::new(move |random| psa_field(&changing, &donors, random)),
        judge: Box::new(move |parts, verifier| verifiers[verifier].judge(parts)),
        same_meaning: Box::new(move |parts| psa_twin(&comparing, parts)),
    }
}

/// Parts of another token, another state, or claims under the genuine signature.
fn psa_field(genuine: &Parts, donors: &[Parts], random: &mut Random) -> Change {
    let mut parts = genuine.clone();
    let end = genuine[0].len() - SIGNATURE_BYTES;
    let what = match random.below(5) {
        0 => {
            let (at, mask) = (random.below(donors.len()), random.next() % 4);
            for part in (0..2).filter(|part| mask >> part & 1 == 1) {
                parts[part].clone_from(&donors[at][part]);
            }
            format!("parts {mask:#x} of donor {at}")
        }
        1 => {
            // Another token's claims under the genuine signature, or the other way round.
            let at = random.below(donors.len());
            let (claims, signature) = match random.yes() {
                true => (&donors[at][0], &genuine[0]),
                false => (&genuine[0], &donors[at][0]),
            };
            let (claims, signature) = (
                &claims[..claims.len() - SIGNATURE_BYTES],
                &signature[signature.len() - SIGNATURE_BYTES..],
            );
            parts[0] = [claims, signature].concat();
            format!("claims and signature of two, donor {at}")
        }
        2 => {
            let mut said = RobotState::from_canonical(&parts[1]).unwrap();
            let what = super::changes::change_state(&mut said, random);
            parts[1] = said.to_canonical();
            what
        }
        3 => {
            let (at, bytes) = (random.below(end - 32), random.array::<32>());
            parts[0][at..at + 32].copy_from_slice(&bytes);
            format!("claims at {at}: {bytes:02x?}")
        }
        _ => {
            let twin = twins::twin(&genuine[0][end..]);
            parts[0][end..].copy_from_slice(&twin);
            "the signature's twin".to_owned()
        }
    };
    Some((what, parts))
}

fn psa_twin(genuine: &Parts, parts: &Parts) -> Option<&'static str> {
    let end = genuine[0].len() - SIGNATURE_BYTES;
    let (token, state) = (&parts[0], &parts[1]);
    let same = *state == genuine[1] && token.len() == genuine[0].len() && token[..end] == genuine[0][..end];
    (same && twins::twin(&genuine[0][end..]) == token[end..]).then_some(twins::CLASS)
}
