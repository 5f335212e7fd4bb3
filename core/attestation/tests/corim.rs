//! CoRIMs made by other hands (corim_vectors/make.py), and ours taken apart by them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod software_robot;

use alcub3_attestation::appraisal::{ReferenceReport, ReferenceValues, RuntimeReferences};
use alcub3_attestation::corim::{Corim, CorimError, Naming, Reading, inexpressible, read, write};
use alcub3_attestation::ima::ImaLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_crypto::{Curve, HashAlg, SigningKey, VerifyingKey};
use coset::TaggedCborSerializable;
use serde_json::{Value, json};
use software_robot::{BANK, Robot};
use std::path::Path;
use std::process::Command;

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.chunks(2).map(byte).collect()
}

struct Vector {
    name: String,
    document: Vec<u8>,
    key: Option<VerifyingKey>,
    says: Value,
}

fn vectors() -> (i64, Vec<Vector>) {
    let text = include_str!("corim_vectors/vectors.json");
    let file: Value = serde_json::from_str(text).unwrap();
    let key = |point: &Value| {
        let point = unhex(point);
        let size = point.len() / 2;
        let curve = if size == 32 { Curve::P256 } else { Curve::P384 };
        VerifyingKey::from_ec_point(curve, &point[1..=size], &point[size + 1..]).unwrap()
    };
    let vector = |vector: &Value| Vector {
        name: vector["name"].as_str().unwrap().to_owned(),
        document: unhex(&vector["document"]),
        key: vector.get("key").filter(|key| !key.is_null()).map(key),
        says: vector["says"].clone(),
    };
    let vectors = file["vectors"].as_array().unwrap().iter().map(vector).collect();
    (file["now_s"].as_i64().unwrap(), vectors)
}

fn read_with(
    document: &[u8],
    key: Option<&VerifyingKey>,
    bank: Option<HashAlg>,
    now_s: i64,
) -> Result<Corim, CorimError> {
    read(
        document,
        &Reading {
            signer: key,
            bank,
            now_s,
        },
    )
}

/// An error with its sources, as people see it.
fn in_words(error: &CorimError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

#[test]
fn documents_of_others_say_what_they_say_and_each_bad_one_is_refused_with_why() {
    let (now_s, vectors) = vectors();
    let mut good = 0;
    for Vector {
        name,
        document,
        key,
        says,
    } in vectors
    {
        let result = read_with(&document, key.as_ref(), None, now_s);
        if let Some(why) = says["refused"].as_str() {
            let error = in_words(&result.expect_err(&name));
            assert!(error.contains(why), "{name}: {error}");
            continue;
        }
        good += 1;
        let corim = result.unwrap_or_else(|error| panic!("{name}: {}", in_words(&error)));
        assert_eq!(
            corim.environment.vendor.as_deref(),
            says["vendor"].as_str(),
            "{name}"
        );
        assert_eq!(corim.signer.as_deref(), says["signer"].as_str(), "{name}");
        let report = ReferenceReport::of(&corim.references);
        assert_eq!(report.bank, says["bank"], "{name}");
        let pcrs: serde_json::Map<String, Value> = report
            .pcrs
            .iter()
            .map(|rule| (rule.pcr.to_string(), json!(rule.digests)))
            .collect();
        assert_eq!(Value::Object(pcrs), says["pcrs"], "{name}");
        let files = corim
            .references
            .runtime()
            .map_or(Value::Null, |runtime| json!(runtime.files()));
        assert_eq!(files, says["files"], "{name}");
    }
    assert!(good > 10);
}

#[test]
fn no_changed_byte_of_a_signed_document_is_taken() {
    let (now_s, vectors) = vectors();
    for name in ["signed on P-256", "signed with claims"] {
        let Vector { document, key, .. } = vectors.iter().find(|vector| vector.name == name).unwrap();
        read_with(document, key.as_ref(), None, now_s).unwrap();
        for at in 0..document.len() {
            let mut changed = document.clone();
            changed[at] ^= 1;
            assert!(
                read_with(&changed, key.as_ref(), None, now_s).is_err(),
                "{name}: byte {at}"
            );
            assert!(
                read_with(&document[..at], key.as_ref(), None, now_s).is_err(),
                "{name}: cut at {at}"
            );
        }
    }
}

/// Of two issuers or two ends, which one is meant is not for a reader to choose.
#[test]
fn claims_of_an_envelope_that_come_twice_are_refused_by_name() {
    use coset::cbor::value::Value as Cbor;
    let (now_s, vectors) = vectors();
    let plain = vectors
        .into_iter()
        .find(|vector| vector.name == "unsigned")
        .unwrap();
    let key = SigningKey::generate(Curve::P256).unwrap();
    let signed = |claims: &[(Cbor, Cbor)]| {
        let protected = coset::HeaderBuilder::new()
            .algorithm(coset::iana::Algorithm::ES256)
            .content_type("application/rim+cbor".to_owned())
            .value(15, Cbor::Map(claims.to_vec()));
        coset::CoseSign1Builder::new()
            .protected(protected.build())
            .payload(plain.document.clone())
            .create_signature(&[], |message| key.sign(message).unwrap())
            .build()
            .to_tagged_vec()
            .unwrap()
    };
    let read = |claims: &[(Cbor, Cbor)]| {
        read_with(&signed(claims), Some(&key.verifying_key()), None, now_s).map_err(|error| in_words(&error))
    };
    let (name, ends) = (
        |text: &str| (1.into(), text.into()),
        |at: i64| (4.into(), at.into()),
    );
    let good = [name("one"), ends(now_s + 9)];
    assert_eq!(read(&good).unwrap().signer.as_deref(), Some("one"));
    let over = now_s - 9;
    for (claims, why) in [
        (vec![name("one"), name("two")], "1 comes twice"),
        (vec![name("one"), ends(now_s + 9), ends(over)], "4 comes twice"),
        (
            vec![name("one"), ends(now_s + 9), ends(now_s + 9)],
            "4 comes twice",
        ),
        (
            vec![name("one"), ("x".into(), 1.into()), ("x".into(), 2.into())],
            "\"x\" comes twice",
        ),
        (
            vec![name("one"), (Cbor::Bytes(vec![1]), 1.into())],
            "no number or text",
        ),
    ] {
        let refused = read(&claims).unwrap_err();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn a_bank_is_taken_where_there_are_several_and_must_have_every_value() {
    let (now_s, vectors) = vectors();
    let of = |name: &str| {
        vectors
            .iter()
            .find(|vector| vector.name == name)
            .unwrap()
            .document
            .clone()
    };
    for bank in [HashAlg::Sha256, HashAlg::Sha384] {
        let corim = read_with(&of("of two banks"), None, Some(bank), now_s).unwrap();
        assert_eq!(
            (corim.references.bank(), corim.references.rule(9).is_some()),
            (bank, true)
        );
    }
    let error = read_with(&of("unsigned"), None, Some(HashAlg::Sha384), now_s).unwrap_err();
    assert!(
        in_words(&error).contains("without a digest of the bank"),
        "{error}"
    );
}

/// Made by the crate `corim` 0.1.4 (draft-ietf-rats-corim-10) with its builder: PCRs 0 and 4 in SHA-384 and one file.
const OF_ANOTHER_IMPLEMENTATION: &str = "d901f5a200686d792d636f72696d0181d901fa58d8a201a1006c6d792d636f6d69642d74616704a1008182a100a2016441434d45026657696467657483a2000001a1028182075830aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2000401a1028182075830aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2006f2f7573722f62696e2f64726976657201a1028182015820aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

#[test]
fn a_document_of_another_implementation_is_read() {
    let document = unhex(&json!(OF_ANOTHER_IMPLEMENTATION));
    let corim = read_with(&document, None, None, 0).unwrap();
    let report = ReferenceReport::of(&corim.references);
    assert_eq!(
        (corim.id.as_str(), corim.environment.vendor.as_deref()),
        ("my-corim", Some("ACME"))
    );
    assert_eq!((report.bank, report.files), ("sha384", Some(1)));
    let digests: Vec<(u8, Vec<String>)> = report
        .pcrs
        .into_iter()
        .map(|rule| (rule.pcr, rule.digests))
        .collect();
    assert_eq!(digests, [(0, vec!["aa".repeat(48)]), (4, vec!["aa".repeat(48)])]);
}

const NAMING: Naming<'static> = Naming {
    id: "rw-7/2.4.0",
    vendor: "Rover Works",
    model: "RW-7",
};

/// References with nothing in them that a CoRIM cannot say: two values of one PCR, and files.
fn plain() -> ReferenceValues {
    let mut list = ListBuilder::new();
    list.file("/usr/bin/driver", &BANK.digest(&[b"driver"]));
    list.file("/usr/bin/driver", &HashAlg::Sha384.digest(&[b"driver"]));
    list.file("/usr/bin/driver", &BANK.digest(&[b"driver, updated"]));
    list.file("/sbin/init", &BANK.digest(&[b"init"]));
    let runtime = RuntimeReferences::golden(&ImaLog::parse(list.bytes()).unwrap()).unwrap();
    let references = Robot::new().references().with_runtime(runtime);
    let mut document: Value = serde_json::from_str(&references.to_json()).unwrap();
    let values = document["pcrs"]["4"]["values"].as_array_mut().unwrap();
    values.push(json!(BANK.digest(&[b"updated"]).to_hex()));
    ReferenceValues::from_json(&document.to_string()).unwrap()
}

#[test]
fn what_is_written_reads_back_with_its_fingerprint() {
    let references = plain();
    assert_eq!(inexpressible(&references), Vec::<String>::new());
    let document = write(&references, &NAMING, false).unwrap();
    let corim = read_with(&document, None, None, 0).unwrap();
    assert_eq!(corim.references, references);
    assert_eq!(corim.references.fingerprint(), references.fingerprint());
    assert_eq!(
        (corim.id.as_str(), corim.environment.model.as_deref()),
        (NAMING.id, Some(NAMING.model))
    );
    assert_eq!((corim.signer, corim.ignored.len()), (None, 0));
    for at in 0..document.len() {
        assert!(read_with(&document[..at], None, None, 0).is_err());
    }
}

#[test]
fn what_a_corim_cannot_say_is_refused_or_left_out_knowingly() {
    let references = plain();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut document: Value = serde_json::from_str(&references.to_json()).unwrap();
        change(&mut document);
        ReferenceValues::from_json(&document.to_string()).unwrap()
    };
    let file = json!([format!("verity:sha256:{}", "ab".repeat(32))]);
    let empty = json!({"files": {}});
    for (changed, named, left) in [
        (
            with(&|of| of["pcrs"]["1"] = json!({"any": true})),
            "PCR 1's rule, any",
            false,
        ),
        (
            with(&|of| of["pcrs"]["1"] = json!({"events": []})),
            "PCR 1's rule, events",
            false,
        ),
        (
            with(&|of| of["claims"] = json!(["secure-boot"])),
            "the claims secure-boot",
            true,
        ),
        (
            with(&|of| of["runtime"]["exclude"] = json!(["/tmp/*"])),
            "not judged",
            true,
        ),
        (
            with(&|of| of["runtime"]["violations"] = json!("note")),
            "violations",
            true,
        ),
        (
            with(&|of| of["runtime"]["files"]["/x"] = file.clone()),
            "fs-verity",
            true,
        ),
        (with(&|of| of["runtime"] = empty.clone()), "no file at all", false),
        (
            with(&|of| of["state"] = json!({"modes": ["idle"]})),
            "state",
            true,
        ),
    ] {
        let error = write(&changed, &NAMING, false).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
        let document = write(&changed, &NAMING, true).unwrap();
        let corim = read_with(&document, None, None, 0).unwrap();
        assert_ne!(corim.references.fingerprint(), changed.fingerprint(), "{named}");
        assert_eq!(corim.references == references, left, "{named}");
    }
    let nothing = ReferenceValues::from_json(r#"{"version":1,"bank":"sha256","pcrs":{}}"#).unwrap();
    assert!(write(&nothing, &NAMING, true).is_err());
}

/// cbor2 takes apart what we wrote, and finds it deterministic.
#[test]
fn what_is_written_is_read_by_other_hands() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !here.join("../../target/validators/requirements.txt").is_file() {
        println!("skipped: there is no target/validators (scripts/validators.sh)");
        return;
    }
    let references = plain();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rover.corim");
    std::fs::write(&path, write(&references, &NAMING, false).unwrap()).unwrap();
    let answer = Command::new(here.join("../../target/validators/bin/python"))
        .arg(here.join("tests/corim_vectors/make.py"))
        .arg("check")
        .arg(&path)
        .output()
        .unwrap();
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
    let said: Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(
        (&said["id"], &said["tag"]),
        (&json!(NAMING.id), &json!(NAMING.id))
    );
    assert_eq!(said["class"], json!([NAMING.vendor, NAMING.model]));
    for rule in ReferenceReport::of(&references).pcrs {
        let values: Vec<Value> = rule.digests.iter().map(|digest| json!([1, digest])).collect();
        assert_eq!(said["pcrs"][rule.pcr.to_string()], json!(values));
    }
    let digest = |alg: HashAlg, content: &[u8]| alg.digest(&[content]).to_hex();
    let mut driver: Vec<Value> = said["files"]["/usr/bin/driver"].as_array().unwrap().clone();
    let mut expected = vec![
        json!([1, digest(BANK, b"driver")]),
        json!([1, digest(BANK, b"driver, updated")]),
        json!([7, digest(HashAlg::Sha384, b"driver")]),
    ];
    driver.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(driver, expected);
}
