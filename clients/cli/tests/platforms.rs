//! Robots whose root of trust is no TPM, over the command line: enrolled, asked, answered, judged, listed; and judged offline.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::ear::Ear;
use alcub3_attestation::psa::{InstanceId, PROFILE};
use alcub3_command_authority::cose::Unsigned;
use alcub3_crypto::{Curve, HashAlg, SigningKey, Suite, VerifyingKey};
use alcub3_trust_model::canonical::Encoder;
use alcub3_trust_model::{BootId, HardwareTier, RobotId, RobotState};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use support::fleet::Fleet;
use support::{Run, alcub3, assert_error};

const PSA: &str = r#"{"version": 1, "clients": [-1], "lifecycles": "secured",
    "implementation": "0909090909090909090909090909090909090909090909090909090909090909",
    "components": [{"type": "PRoT", "required": true,
        "signer": "0404040404040404040404040404040404040404040404040404040404040404",
        "measurements": ["0303030303030303030303030303030303030303030303030303030303030303"]}]}"#;

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

fn vector(name: &str) -> Vec<u8> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../core/attestation/tests/dice_vectors/tcg/"
    );
    std::fs::read(format!("{folder}{name}")).unwrap()
}

/// The P-384 public key of a certificate of the vectors.
fn certified_key(name: &str) -> VerifyingKey {
    const P384: &[u8] = b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
    let certificate = vector(name);
    let at = certificate.windows(P384.len()).position(|window| window == P384);
    let at = at.unwrap();
    VerifyingKey::from_spki_der(&certificate[at..at + 120]).unwrap()
}

fn write_key(path: &Path, key: &VerifyingKey) {
    let body = STANDARD.encode(key.to_spki_der());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n");
    std::fs::write(path, pem).unwrap();
}

fn write_layers(path: &Path) {
    let digest = |text: &[u8]| HashAlg::Sha384.digest(&[text]).to_hex();
    let text = format!(
        r#"{{"version": 1, "layers": [
            {{"tcg": [
                {{"type": "464d435f494e464f", "firmware": [["sha384:{}"]], "min-svn": 7, "may-omit-mode": true}},
                {{"type": "435553545f494e464f", "firmware": [["sha384:{}"]], "min-svn": 3}}
            ]}},
            {{"tcg": [{{"vendor": "Rover Works", "model": "RW-7", "layer": 2, "index": 0, "type": "415050",
                "vendor-info": "6c6f742033", "firmware": [["sha384:{}"]], "min-svn": 5}}]}}
        ]}}"#,
        digest(b"layer 1"),
        digest(b"customer's part"),
        digest(b"application"),
    );
    std::fs::write(path, text).unwrap();
}

fn state(robot: &str) -> Vec<u8> {
    let robot = RobotId::new(robot).unwrap();
    RobotState::at_rest(robot, BootId::new([1; 16]), now_ms(), HashAlg::Sha256).to_canonical()
}

/// A token over a challenge, whose component measured so.
fn token(key: &SigningKey, challenge: &[u8], measured: u8) -> Vec<u8> {
    let instance = InstanceId::of_key(&key.verifying_key()).unwrap();
    let mut out = Encoder::new();
    out.map(7).u64(10).bytes(challenge);
    out.u64(256).bytes(&[&[1], &instance.0[..]].concat());
    out.u64(265).text(PROFILE);
    out.u64(2394).i64(-1).u64(2395).u64(0x3000);
    out.u64(2396).bytes(&[9; 32]);
    out.u64(2399).array(1).map(3).u64(1).text("PRoT");
    out.u64(2).bytes(&[measured; 32]).u64(5).bytes(&[4; 32]);
    Unsigned::new(Suite::EcdsaP256Sha256, out.finish())
        .sign(key)
        .unwrap()
}

fn unhex(text: &Value) -> Vec<u8> {
    hex::decode(text.as_str().unwrap()).unwrap()
}

/// The files of a DICE robot and of one with PSA.
fn prepare(folder: &Path) -> SigningKey {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
    for name in ["root.der", "device.der", "layer1.der", "leaf.der"] {
        write(name, &vector(name));
    }
    write_key(&folder.join("device.pub"), &certified_key("device.der"));
    write_key(&folder.join("root.pub"), &certified_key("root.der"));
    write_layers(&folder.join("layers.json"));
    write("ros2.state", &state("ros2-1"));
    write("px4.state", &state("px4-1"));
    write("psa.json", PSA.as_bytes());
    write("modes.toml", b"modes = [\"idle\"]");
    write("working.toml", b"modes = [\"mission\"]");
    let key = SigningKey::generate(Curve::P256).unwrap();
    write_key(&folder.join("iak.pub"), &key.verifying_key());
    key
}

/// Signs the statement of a file as the vectors' attestation key.
fn sign_statement(folder: &Path) {
    let key = SigningKey::from_pkcs8(&vector("leaf.p8")).unwrap();
    let statement = std::fs::read(folder.join("statement")).unwrap();
    std::fs::write(folder.join("signature"), key.sign(&statement).unwrap()).unwrap();
}

const CHAIN: &str =
    "--certificate root.der --certificate device.der --certificate layer1.der --certificate leaf.der";
const DICE: &str = "--device-key device.pub --root root.pub --layers layers.json --tier firmware";
const IAK: &str = "--attestation-key iak.pub --references psa.json --tier firmware";

#[test]
fn robots_without_a_tpm_are_enrolled_asked_answered_judged_and_listed() {
    let Some(fleet) = Fleet::start() else { return };
    // One robot with a TPM, a simulated one, and three without, at one authority.
    fleet.provisioned();
    fleet.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    fleet.yes("attest --eventlog boot.log");
    let key = prepare(fleet.path());
    let enrolled = fleet.yes(&format!(
        "authority platform enrol dice ros2-1 {DICE} --state-references modes.toml"
    ));
    assert_eq!(
        (&enrolled["root"], &enrolled["level"], &enrolled["state"]["modes"]),
        (&"dice".into(), &"CUI".into(), &serde_json::json!(["idle"]))
    );
    fleet.yes(&format!(
        "authority platform enrol psa px4-1 {IAK} --ceiling UNCLASSIFIED"
    ));
    let unrooted = fleet.yes("authority platform enrol none dji-1");
    assert_eq!(
        (&unrooted["tier"], &unrooted["level"]),
        (&"none".into(), &Value::Null)
    );
    // Nobody is rearmed of whom no stop is known.
    let refused = fleet.run("authority platform rearm px4-1 --approve alice=alice.key --approve bob=bob.key");
    assert_eq!(refused.code, 1);
    assert!(
        refused.stderr.contains("px4-1 is not known to be stopped"),
        "{}",
        refused.stderr
    );
    // The DICE robot signs what it is told to sign.
    let kind = fleet.run("--json appraise --request ros2-1 --kind emergency -o request");
    assert_error(&kind, 2, "usage");
    fleet.yes("appraise --request ros2-1 -o request");
    fleet.yes("platform challenge request --robot ros2-1 --state ros2.state --sequence 1 -o statement");
    sign_statement(fleet.path());
    let answer = format!(
        "platform answer dice request --robot ros2-1 {CHAIN} --statement statement --signature signature --state ros2.state -o answer"
    );
    fleet.yes(&answer);
    let judged = fleet.yes("appraise answer -o result");
    assert_eq!(
        (
            &judged["robot"],
            &judged["root"],
            &judged["tier"],
            &judged["level"],
            &judged["lease"]
        ),
        (
            &"ros2-1".into(),
            &"dice".into(),
            &"firmware".into(),
            &"CUI".into(),
            &true.into()
        )
    );
    let shown = fleet.yes("authority show")["public_key"].clone();
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(shown.as_str().unwrap().as_bytes()).unwrap();
    let authority = VerifyingKey::from_spki_der(&spki).unwrap();
    assert_error(&fleet.run("--json appraise answer"), 1, "exchange");
    // The vehicle takes the challenge in one of its sizes.
    fleet.yes("appraise --request px4-1 -o request");
    let challenge = fleet.yes("platform challenge request --robot px4-1 --state px4.state");
    let with_token = |bytes: Vec<u8>| {
        std::fs::write(fleet.path().join("token"), bytes).unwrap();
        fleet.yes("platform answer psa request --robot px4-1 --token token --state px4.state -o answer");
    };
    with_token(token(&key, &unhex(&challenge["sha384"]), 3));
    let judged = fleet.yes("appraise answer");
    assert_eq!(
        (&judged["level"], &judged["status"]),
        (&"UNCLASSIFIED".into(), &"affirming".into())
    );
    let result = Ear::verify(judged["result"].as_str().unwrap(), &authority, now_ms() / 1000).unwrap();
    assert_eq!(result.submods["px4-1"].tier, Some(HardwareTier::Firmware));
    // What the references do not name is told to people with what to do.
    fleet.yes("appraise --request px4-1 -o request");
    let challenge = fleet.yes("platform challenge request --robot px4-1 --state px4.state");
    with_token(token(&key, &unhex(&challenge["sha256"]), 7));
    let told = fleet.run("appraise answer");
    assert_eq!(told.code, 1, "{}", told.stderr);
    for words in [
        "px4-1: untrusted",
        "none admits it",
        "psa-component-measurement (0 PRoT): it measured 0707",
        "what to do: if the firmware was updated on purpose",
    ] {
        assert!(told.stdout.contains(words), "{words}: {}", told.stdout);
    }
    // One without a root of trust is known for what it is.
    fleet.yes("appraise --request dji-1 -o request");
    fleet.yes("platform answer none request --robot dji-1 -o answer");
    let judged = fleet.no("appraise answer");
    assert_eq!(
        (&judged["status"], &judged["lease"]),
        (&"contraindicated".into(), &false.into())
    );
    listed_and_refused(&fleet);
    begun_anew_and_released(&fleet);
}

fn listed_and_refused(fleet: &Fleet) {
    let list = fleet.yes("authority platform list");
    let rows: Vec<_> = list["robots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|robot| {
            (
                robot["robot"].as_str().unwrap(),
                robot["root"].as_str().unwrap(),
                robot["trusted_at_ms"].is_u64(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("dji-1", "none", false),
            ("px4-1", "psa", false),
            ("ros2-1", "dice", true)
        ]
    );
    let health = fleet.no("authority health");
    let states: Vec<_> = health["robots"]
        .as_array()
        .unwrap()
        .iter()
        .map(|robot| robot["state"].clone())
        .collect();
    // A simulator serves the highest level here, whose judgements hold for seconds only: however it stands, it is there.
    assert_eq!(states[1..], ["failing", "failing", "fresh"]);
    assert_eq!(health["robots"][0]["robot"], "r1");
    let shown = fleet.run("authority show").stdout;
    assert!(shown.contains("ros2-1") && shown.contains("r1"), "{shown}");
    for (words, code, word) in [
        ("authority platform enrol none ros2-1", 1, "name-taken"),
        (
            "authority platform enrol psa px4-2 --attestation-key iak.pub --references psa.json --tier firmware",
            1,
            "device-elsewhere",
        ),
        (
            "authority platform enrol psa px4-3 --attestation-key root.pub --references psa.json --tier virtual",
            1,
            "platform-refused",
        ),
        (
            "authority platform enrol psa px4-3 --attestation-key root.pub --references layers.json --tier firmware",
            70,
            "bad-value",
        ),
        ("appraise --request nobody -o request", 1, "robot-unknown"),
        ("authority platform release nobody", 1, "robot-unknown"),
    ] {
        assert_error(&fleet.run(&format!("--json {words}")), code, word);
    }
}

/// The counter of the DICE robot is lost; the vehicle is replaced by another one of its name.
fn begun_anew_and_released(fleet: &Fleet) {
    let attest = |sequence: u64| {
        fleet.yes("appraise --request ros2-1 -o request");
        fleet.yes(&format!(
            "platform challenge request --robot ros2-1 --state ros2.state --sequence {sequence} -o statement"
        ));
        sign_statement(fleet.path());
        fleet.yes(&format!(
            "platform answer dice request --robot ros2-1 {CHAIN} --statement statement --signature signature --state ros2.state \
             -o answer"
        ));
    };
    attest(1);
    fleet.no("appraise answer");
    let anew = fleet.yes(&format!(
        "authority platform enrol dice ros2-1 {DICE} --sequence-anew"
    ));
    assert_eq!(anew["generation"], 1);
    attest(1);
    assert_eq!(fleet.yes("appraise answer")["lease"], true);

    let released = fleet.yes("authority platform release px4-1");
    assert_eq!(released["released"], "px4-1");
    let anew = fleet.yes(&format!("authority platform enrol psa px4-2 {IAK}"));
    assert_eq!(anew["generation"], 0);
    let again = fleet.yes("authority platform enrol none px4-1");
    assert_eq!(again["generation"], 1);
}

fn offline(folder: &Path, words: &str) -> Run {
    let mut command = support::command();
    support::finished(
        command
            .current_dir(folder)
            .args(words.split(' '))
            .output()
            .unwrap(),
    )
}

#[test]
fn evidence_is_judged_offline_by_references_in_files() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let key = prepare(folder);
    let (nonce, other) = ("42".repeat(32), "43".repeat(32));
    let robot = RobotId::new("px4-1").unwrap();
    let state = std::fs::read(folder.join("px4.state")).unwrap();
    let nonce_bytes = alcub3_attestation::evidence::Nonce([0x42; 32]);
    let alg = HashAlg::Sha256;
    let challenge =
        alcub3_attestation::psa::challenge(alg, &nonce_bytes, &robot, &alg.digest(&[&state])).unwrap();
    std::fs::write(folder.join("token"), token(&key, challenge.as_bytes(), 3)).unwrap();
    let psa = format!("appraise psa token --state px4.state {IAK} --robot px4-1 --nonce");
    let good = offline(folder, &format!("--json {psa} {nonce}"));
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    assert_eq!(
        (&good.json()["level"], &good.json()["tier"]),
        (&"CUI".into(), &"firmware".into())
    );
    let replayed = offline(folder, &format!("{psa} {other}"));
    assert_eq!(replayed.code, 1);
    assert!(
        replayed.stdout.contains("psa-challenge: ")
            && replayed
                .stdout
                .contains("what to do: attest again with the request")
    );
    // A level above what the hardware admits.
    let secret = offline(folder, &format!("--json {psa} {nonce} --level SECRET"));
    assert_eq!(
        (secret.code, &secret.json()["findings"][0]["reason"]),
        (1, &"hardware-tier".into())
    );
    // What the state is held to.
    let held = |file: &str| offline(folder, &format!("--json {psa} {nonce} --state-references {file}"));
    assert_eq!(held("modes.toml").code, 0);
    let working = held("working.toml");
    assert_eq!(
        (working.code, &working.json()["findings"][0]["reason"]),
        (1, &"state-mode".into())
    );
    // The vectors' own evidence: its state is of 2026, which is a warning, and it is of rover-7.
    std::fs::write(folder.join("evidence"), vector("evidence.cbor")).unwrap();
    let first: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    let dice = format!("appraise dice evidence {DICE} --nonce {first} --robot");
    let good = offline(folder, &format!("--json {dice} rover-7"));
    assert_eq!(good.code, 0, "{}{}", good.stdout, good.stderr);
    assert_eq!(good.json()["root"], "dice");
    let other = offline(folder, &format!("--json {dice} rover-8"));
    assert_eq!(
        (other.code, &other.json()["findings"][0]["reason"]),
        (1, &"robot".into())
    );
    let unrooted = offline(folder, "--json appraise none --robot dji-1");
    assert_eq!((unrooted.code, &unrooted.json()["level"]), (1, &Value::Null));
    assert_error(&alcub3(["--json", "appraise", "dice"]), 2, "usage");
    let wrong = offline(folder, &format!("--json {psa} 42"));
    assert_error(&wrong, 2, "usage");
}
