//! Seeds of what a verifier reads and writes: evidence, reference values, attestation results, EK certificates.

use alcub3_attestation::appraisal::{ReferenceValues, RuntimeReferences};
use alcub3_attestation::certify::Signed;
use alcub3_attestation::dice;
use alcub3_attestation::ear::{EAR_PROFILE, Ear, PROFILE, Status, Submodule, TrustVector, VerifierId};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::evidence::{Evidence, MissionEvidence, Nonce, RegisterEvidence, RuntimeLog};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::{Curve, Digest, HashAlg, SigningKey};
use alcub3_testkit::SimulatorCa;
use alcub3_trust_model::canonical::Reader;
use alcub3_trust_model::nv_map::Register;
use alcub3_trust_model::{AttestationKind, HardwareTier};
use serde_json::json;

use super::logs::{boot_log, robot_state};
use super::{Seed, SeedResult, seed};

pub(super) fn seeds() -> SeedResult<Vec<Seed>> {
    let mut seeds = evidence()?;
    seeds.push(seed(
        "attestation_result",
        "affirming",
        serde_json::to_vec(&result())?,
    ));
    seeds.push(seed(
        "attestation_result",
        "token",
        b"eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl".to_vec(),
    ));
    seeds.extend(cwt_results()?);
    seeds.extend(certificates()?);
    seeds.extend(dice()?);
    Ok(seeds)
}

/// Evidence of two DICE platforms, made by other tools for the tests of `core/attestation`, and its certificates alone. These
/// are not of the project's own encoders, which make no certificates of DICE.
fn dice() -> SeedResult<Vec<Seed>> {
    let tcg = include_bytes!("../../../../core/attestation/tests/dice_vectors/tcg/evidence.cbor");
    let open = include_bytes!("../../../../core/attestation/tests/dice_vectors/open/evidence.cbor");
    let mut seeds = Vec::new();
    for (name, bytes) in [("tcg", &tcg[..]), ("open", &open[..])] {
        for (at, certificate) in dice::Evidence::from_canonical(bytes)?.chain.iter().enumerate() {
            let name = format!("{name}-certificate-{at}");
            seeds.push(seed("dice_evidence", name, certificate.to_vec()));
        }
        seeds.push(seed("dice_evidence", name, bytes.to_vec()));
    }
    let digest = "ab".repeat(48);
    let references = json!({"version": 1, "layers": [
        {"tcg": [{"vendor": "v", "layer": 1, "type": "464d43", "firmware": [[format!("sha384:{digest}")]], "min-svn": 5}]},
        {"open-profile": {"code": [format!("sha384:{digest}")], "configurations": [], "authorities": [], "profile": "p"}},
    ]});
    seeds.push(seed(
        "dice_evidence",
        "references.json",
        serde_json::to_vec(&references)?,
    ));
    Ok(seeds)
}

/// The claims of a good and of a bad result as a CWT has them, and a whole CWT.
fn cwt_results() -> SeedResult<Vec<Seed>> {
    let key = SigningKey::generate(Curve::P256)?;
    let (good, bad) = (
        ear(Some(HardwareTier::Discrete), Status::Affirming),
        ear(None, Status::Contraindicated),
    );
    let token = good.to_cwt(&key)?;
    Ok(vec![
        seed("attestation_result", "cwt-claims-good", claims(&token)?),
        seed(
            "attestation_result",
            "cwt-claims-bad",
            claims(&bad.to_cwt(&key)?)?,
        ),
        seed("attestation_result", "cwt", token),
    ])
}

/// The payload of a COSE_Sign1.
fn claims(token: &[u8]) -> SeedResult<Vec<u8>> {
    let mut reader = Reader::new("CWT", token);
    reader.tag("tag", 18)?;
    reader.array_of("message", 4)?;
    reader.bytes("protected header")?;
    reader.map("unprotected header", 0)?;
    Ok(reader.bytes("payload")?.to_vec())
}

fn ear(tier: Option<HardwareTier>, status: Status) -> Ear {
    let result = Submodule {
        eat_profile: PROFILE.to_owned(),
        status,
        vector: TrustVector::default(),
        policy: "urn:alcub3:policy:seed".to_owned(),
        reasons: vec!["clock-unsafe".to_owned()],
        kind: tier.map(|_| AttestationKind::Operational),
        sequence: tier.map(|_| 7),
        tier,
    };
    Ear {
        eat_profile: EAR_PROFILE.to_owned(),
        iat: 1_789_999_990,
        exp: 1_790_000_600,
        eat_nonce: Nonce([9; 32]),
        verifier: VerifierId {
            developer: "alcub3".to_owned(),
            build: "alcub3 0.1.0".to_owned(),
        },
        submods: [("robot-17".to_owned(), result)].into(),
    }
}

fn evidence() -> SeedResult<Vec<Seed>> {
    let log = boot_log(&[HashAlg::Sha256])?;
    let selection = PcrSelection::of(HashAlg::Sha256, &[0, 4, 7, 13])?;
    let values: Vec<Digest> = selection.pcrs().map(|(alg, pcr)| alg.digest(&[&[pcr]])).collect();
    let state = robot_state(&[], None)?.to_canonical();
    let short = Evidence {
        quote: &[1; 130],
        signature: &[2; 72],
        pcrs: PcrValues::new(selection, values)?,
        state: &state,
        mission: Digest::zero(HashAlg::Sha256),
        sequence: 7,
        tier: HardwareTier::Simulator,
        uefi_log: None,
        agent_log: None,
        runtime_log: None,
        registers: Vec::new(),
        mission_proof: None,
        epoch: None,
    };
    let certified = || Signed {
        message: vec![4; 140],
        signature: vec![5; 72],
    };
    let mut list = ListBuilder::new();
    list.boot_aggregate(HashAlg::Sha256, &short.pcrs)
        .file("/sbin/init", &HashAlg::Sha256.digest(&[b"init"]));
    let long = Evidence {
        uefi_log: Some(&log),
        agent_log: Some(&[3; 40]),
        runtime_log: Some(RuntimeLog {
            first: 4,
            entries: list.bytes(),
        }),
        registers: vec![RegisterEvidence {
            register: Register::OperationalMode,
            base: Digest::zero(HashAlg::Sha256),
            measured: vec![HashAlg::Sha256.digest(&[b"mode"])],
            certified: certified(),
        }],
        mission_proof: Some(MissionEvidence {
            token: &[6; 300],
            robot_epoch: certified(),
            level_epoch: certified(),
            anchor: certified(),
        }),
        epoch: Some(certified()),
        ..short.clone()
    };
    let golden = ReferenceValues::golden(&EventLog::parse(&log)?, HashAlg::Sha256)?;
    let runtime = RuntimeReferences::golden(&ImaLog::parse(list.bytes())?)?;
    Ok(vec![
        seed("evidence", "steady", short.to_canonical()),
        seed("evidence", "with-logs", long.to_canonical()),
        seed("evidence", "golden.json", golden.to_json().into_bytes()),
        seed(
            "evidence",
            "runtime.json",
            golden.with_runtime(runtime).to_json().into_bytes(),
        ),
        seed(
            "evidence",
            "exclude.json",
            br#"{"version":1,"bank":"sha256","pcrs":{},"runtime":{"files":{},"exclude":["/tmp/*","/run/x"],"violations":"note"}}"#
                .to_vec(),
        ),
        seed(
            "evidence",
            "any.json",
            br#"{"version":1,"bank":"sha384","pcrs":{"1":{"any":true}}}"#.to_vec(),
        ),
    ])
}

/// The claims of a result, in the form of the EAR draft.
fn result() -> serde_json::Value {
    json!({
        "eat_profile": EAR_PROFILE,
        "iat": 1_789_999_990,
        "exp": 1_790_000_600,
        "eat_nonce": "A".repeat(43),
        "ear_verifier_id": {"build": "alcub3 0.1.0", "developer": "alcub3"},
        "submods": {}
    })
}

/// A root, its revocation list and a certificate of it, for each kind of endorsement key.
fn certificates() -> SeedResult<Vec<Seed>> {
    let ca = SimulatorCa::new()?;
    let root = ca.root_der();
    let list = ca.revocation_list(&[], (2024, 2099))?;
    let sized = |part: &[u8]| {
        Ok::<_, std::num::TryFromIntError>([&u16::try_from(part.len())?.to_le_bytes(), part].concat())
    };
    let (root, list) = (sized(root)?, sized(&list)?);
    let mut seeds = Vec::new();
    for curve in [Curve::P256, Curve::P384] {
        let key = SigningKey::generate(curve)?.verifying_key();
        let certificate = ca.issue(&key.to_spki_der())?;
        let input = [root.as_slice(), &list, &certificate].concat();
        seeds.push(seed("ek_certificate", format!("{curve:?}"), input));
    }
    Ok(seeds)
}
