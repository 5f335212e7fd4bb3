//! `alcub3 ek verify` with certificates as vendors ship them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::{Curve, SigningKey};
use alcub3_testkit::{DeviceKind, SimulatorCa};
use std::path::{Path, PathBuf};
use support::{Run, alcub3, assert_error, data};

fn verify(certificate: &Path, flag: &str, roots: &Path) -> Run {
    alcub3([
        "--json".as_ref(),
        "ek".as_ref(),
        "verify".as_ref(),
        certificate.as_os_str(),
        flag.as_ref(),
        roots.as_os_str(),
    ])
}

#[test]
fn vendors_certificates_hold_against_vendors_roots_and_nothing_else_does() {
    let Some(data) = data() else { return };
    let roots = data.join("ek-roots");
    for name in ["st-rsa-ek-ff-padded.der", "st-ecc-ek.der"] {
        let certificate = data.join("ek-certs").join(name);
        let run = verify(&certificate, "--roots", &roots);
        assert_eq!(run.code, 0, "{name}: {}", run.stdout);
        let json = run.json();
        assert_eq!(
            (&json["valid"], &json["simulator"]),
            (&true.into(), &false.into())
        );
        assert_eq!(json["manufacturer"], "id:53544D20");
        let mut changed = std::fs::read(&certificate).unwrap();
        changed[200] ^= 1;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changed.der");
        std::fs::write(&path, changed).unwrap();
        assert_eq!(
            verify(&path, "--roots", &roots).code,
            1,
            "{name} with one bit changed"
        );
        let empty = folder.path().join("roots");
        std::fs::create_dir(&empty).unwrap();
        assert_eq!(
            verify(&certificate, "--roots", &empty).code,
            1,
            "{name} without roots"
        );
    }
}

fn simulated(folder: &Path) -> (PathBuf, PathBuf) {
    let ca = SimulatorCa::new().unwrap();
    let key = SigningKey::generate(Curve::P384).unwrap().verifying_key();
    let (certificate, roots) = (folder.join("ek.der"), folder.join("roots"));
    std::fs::write(&certificate, ca.issue(&key.to_spki_der()).unwrap()).unwrap();
    std::fs::create_dir(&roots).unwrap();
    std::fs::write(roots.join("ca.pem"), ca.root_pem()).unwrap();
    (certificate, roots)
}

#[test]
fn a_simulators_certificate_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, roots) = simulated(folder.path());
    let run = verify(&certificate, "--simulator-roots", &roots);
    assert_eq!(run.code, 0, "{}", run.stdout);
    assert_eq!(run.json()["simulator"], true);
    if let Some(data) = data() {
        let run = verify(&certificate, "--roots", &data.join("ek-roots"));
        assert_eq!((run.code, &run.json()["valid"]), (1, &false.into()));
    }
}

#[test]
fn revocation_lists_are_enforced_and_their_absence_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for name in ["roots", "none", "current", "revoking", "broken"] {
        std::fs::create_dir(at(name)).unwrap();
    }
    let ca = SimulatorCa::new().unwrap();
    let key = SigningKey::generate(Curve::P384).unwrap().verifying_key();
    let leaf = ca.issue(&key.to_spki_der()).unwrap();
    std::fs::write(at("ek.der"), &leaf).unwrap();
    std::fs::write(at("roots/ca.pem"), ca.root_pem()).unwrap();
    std::fs::write(
        at("current/a.crl"),
        ca.revocation_list(&[], (2024, 2099)).unwrap(),
    )
    .unwrap();
    std::fs::write(
        at("revoking/a.crl"),
        ca.revocation_list(&[&leaf], (2024, 2099)).unwrap(),
    )
    .unwrap();
    std::fs::write(at("broken/a.crl"), "no list").unwrap();
    let run = |lists: &str, more: &[&str]| {
        let (certificate, roots, lists) = (at("ek.der"), at("roots"), at(lists));
        let mut words = vec![
            "--json",
            "ek",
            "verify",
            certificate.to_str().unwrap(),
            "--simulator-roots",
        ];
        words.extend([roots.to_str().unwrap(), "--crls", lists.to_str().unwrap()]);
        words.extend(more);
        alcub3(words)
    };
    let unchecked = run("none", &[]);
    assert_eq!(unchecked.code, 0, "{}", unchecked.stdout);
    assert_eq!(
        unchecked.json()["revocation_unchecked"].as_array().unwrap().len(),
        1
    );
    let refused = run("none", &["--require-crls"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.json()["reason"]
            .as_str()
            .unwrap()
            .contains("revocation lists are required")
    );
    let checked = run("current", &["--require-crls"]);
    assert_eq!(
        (checked.code, &checked.json()["crls"]),
        (0, &1.into()),
        "{}",
        checked.stdout
    );
    assert!(
        checked.json()["revocation_unchecked"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let revoked = run("revoking", &[]);
    assert_eq!(revoked.code, 1);
    assert!(
        revoked.json()["reason"].as_str().unwrap().contains("is revoked"),
        "{}",
        revoked.stdout
    );
    assert_error(&run("broken", &[]), 70, "bad-value");
}

/// What makes a platform certificate hold is tested in the library; here it is what the command does with files.
#[test]
fn a_platform_certificate_is_judged_only_beside_an_endorsement_certificate_that_holds() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, roots) = simulated(folder.path());
    let (platform, empty) = (folder.path().join("platform.der"), folder.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    // No attribute certificate.
    std::fs::copy(&certificate, &platform).unwrap();
    let run = |tpm_roots: &Path| {
        alcub3([
            "--json".as_ref(),
            "ek".as_ref(),
            "platform".as_ref(),
            platform.as_os_str(),
            certificate.as_os_str(),
            "--simulator-roots".as_ref(),
            tpm_roots.as_os_str(),
            "--platform-roots".as_ref(),
            roots.as_os_str(),
        ])
    };
    let refused = run(&roots);
    assert_eq!((refused.code, &refused.json()["valid"]), (1, &false.into()));
    assert!(
        refused.json()["reason"]
            .as_str()
            .unwrap()
            .contains("platform certificate")
    );
    let refused = run(&empty);
    assert_eq!(refused.code, 1);
    assert!(
        refused.json()["reason"].as_str().unwrap().contains("no roots"),
        "{}",
        refused.stdout
    );
}

#[test]
fn an_iak_certificate_is_judged_by_the_makers_roots_and_says_which_device() {
    let folder = tempfile::tempdir().unwrap();
    let maker = SimulatorCa::new().unwrap();
    let spki = SigningKey::generate(Curve::P256)
        .unwrap()
        .verifying_key()
        .to_spki_der();
    let roots = folder.path().join("makers");
    std::fs::create_dir(&roots).unwrap();
    std::fs::write(roots.join("maker.pem"), maker.root_pem()).unwrap();
    let run = |kind| {
        let path = folder.path().join("device.der");
        std::fs::write(&path, maker.issue_device(&spki, "SN-7", kind).unwrap()).unwrap();
        alcub3([
            "--json".as_ref(),
            "ek".as_ref(),
            "device".as_ref(),
            path.as_os_str(),
            "--roots".as_ref(),
            roots.as_os_str(),
        ])
    };
    let good = run(DeviceKind::Attestation);
    assert_eq!(good.code, 0, "{}", good.stdout);
    assert_eq!(good.json()["serial"], "SN-7");
    assert_eq!(good.json()["revocation_unchecked"].as_array().unwrap().len(), 1);
    let identity = run(DeviceKind::Identity);
    assert_eq!((identity.code, &identity.json()["valid"]), (1, &false.into()));
}

#[test]
fn unusable_roots_are_named_and_absent_files_are_failures() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, roots) = simulated(folder.path());
    std::fs::write(roots.join("readme.txt"), "no certificate").unwrap();
    let json = verify(&certificate, "--simulator-roots", &roots).json();
    assert_eq!(json["roots"], 1);
    assert!(
        json["roots_skipped"][0].as_str().unwrap().contains("readme.txt"),
        "{json}"
    );
    let absent = folder.path().join("absent");
    assert_error(
        &verify(&absent, "--simulator-roots", &roots),
        70,
        "unreadable-file",
    );
    assert_error(&verify(&certificate, "--roots", &absent), 70, "unreadable-file");
    assert_error(&alcub3(["--json", "ek", "verify", "cert.der"]), 2, "usage");
}

#[test]
fn the_weakest_link_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, roots) = simulated(folder.path());
    let run = verify(&certificate, "--simulator-roots", &roots);
    let link = run.json()["weakest_link"].clone();
    assert_eq!(
        (&link["bits"], &link["claim"]),
        (&128.into(), &"endorsement-chain-128".into())
    );
    assert_eq!(link["algorithm"], "P-256 with SHA-256");
    assert!(link["issuer"].as_str().is_some_and(|issuer| !issuer.is_empty()));
}
