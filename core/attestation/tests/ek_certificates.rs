//! Real endorsement certificates and vendor roots, with their quirks.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

mod tpm_tools;

use alcub3_attestation::ek_certificate::{EkError, RootError, RootKind, Roots, verify};
use alcub3_crypto::tpm::PublicTemplate;
use alcub3_crypto::{Curve, HashAlg, VerifyingKey};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::path::PathBuf;

const IN_2024: u64 = 1_704_067_200;
const IN_2017: u64 = 1_483_228_800;
const IN_2030: u64 = 1_893_456_000;
/// Length of the certificate in `st-rsa-ek-ff-padded.der`; filler follows.
const ST_RSA_BYTES: usize = 1169;

fn root_files() -> Option<Vec<PathBuf>> {
    let folder = tpm_tools::data()?.join("ek-roots");
    Some(
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect(),
    )
}

fn vendor_roots(kind: RootKind) -> Option<Roots> {
    let mut roots = Roots::new();
    for path in root_files()? {
        let added = roots.add(kind, &std::fs::read(&path).unwrap());
        assert!(added.unwrap() > 0, "{path:?}");
    }
    Some(roots)
}

fn certificate(name: &str) -> Option<Vec<u8>> {
    Some(std::fs::read(tpm_tools::data()?.join("ek-certs").join(name)).unwrap())
}

#[test]
fn every_vendor_root_file_can_be_read() {
    let Some(files) = root_files() else { return };
    let mut certificates = 0;
    for path in &files {
        let bytes = std::fs::read(path).unwrap();
        certificates += Roots::new()
            .add(RootKind::Production, &bytes)
            .unwrap_or_else(|e| panic!("{path:?}: {e:?}"));
    }
    println!("{certificates} certificates in {} files", files.len());
    assert!(files.len() >= 51 && certificates >= files.len());
    let unordered = certificate("nuvoton-root-unordered-set.der").unwrap();
    assert_eq!(Roots::new().add(RootKind::Production, &unordered).unwrap(), 1);
}

#[test]
fn real_certificates_verify_and_say_what_the_tpm_is() {
    let Some(roots) = vendor_roots(RootKind::Production) else {
        return;
    };
    for name in ["st-rsa-ek-ff-padded.der", "st-ecc-ek.der"] {
        let ek = verify(&certificate(name).unwrap(), &[], &roots, IN_2024).unwrap();
        assert_eq!(ek.manufacturer(), Some("id:53544D20"), "{name}");
        assert_eq!(
            (ek.model(), ek.version()),
            (Some("ST33HTPHAHB4"), Some("id:00490004"))
        );
        assert!(!ek.is_simulator());
        let key = VerifyingKey::from_spki_der(ek.spki_der()).unwrap();
        let public = PublicTemplate::external(&key, HashAlg::Sha256)
            .to_public()
            .unwrap();
        assert!(ek.certifies(&public), "{name}");
    }
    let rsa = verify(
        &certificate("st-rsa-ek-ff-padded.der").unwrap(),
        &[],
        &roots,
        IN_2024,
    )
    .unwrap();
    let ecc = verify(&certificate("st-ecc-ek.der").unwrap(), &[], &roots, IN_2024).unwrap();
    for (ek, other) in [(&rsa, &ecc), (&ecc, &rsa)] {
        let key = VerifyingKey::from_spki_der(other.spki_der()).unwrap();
        let public = PublicTemplate::external(&key, HashAlg::Sha256)
            .to_public()
            .unwrap();
        assert!(!ek.certifies(&public));
    }
}

#[test]
fn roots_of_simulators_make_a_simulator() {
    let Some(roots) = vendor_roots(RootKind::Simulator) else {
        return;
    };
    let ek = verify(&certificate("st-ecc-ek.der").unwrap(), &[], &roots, IN_2024).unwrap();
    assert!(ek.is_simulator());
    // A certificate that chains to both is a production one.
    let mut both = vendor_roots(RootKind::Production).unwrap();
    for path in root_files().unwrap() {
        both.add(RootKind::Simulator, &std::fs::read(path).unwrap())
            .unwrap();
    }
    assert!(
        !verify(&certificate("st-ecc-ek.der").unwrap(), &[], &both, IN_2024)
            .unwrap()
            .is_simulator()
    );
}

#[test]
fn certificates_end() {
    let Some(roots) = vendor_roots(RootKind::Production) else {
        return;
    };
    let certificate = certificate("st-ecc-ek.der").unwrap();
    for time in [IN_2017, IN_2030] {
        assert!(matches!(
            verify(&certificate, &[], &roots, time),
            Err(EkError::Chain(_))
        ));
    }
}

#[test]
fn without_its_root_a_certificate_is_refused() {
    let Some(files) = root_files() else { return };
    let certificate = certificate("st-ecc-ek.der").unwrap();
    assert!(matches!(
        verify(&certificate, &[], &Roots::new(), IN_2024),
        Err(EkError::NoRoots)
    ));
    let mut others = Roots::new();
    for path in files
        .iter()
        .filter(|path| !path.to_string_lossy().contains("STM"))
    {
        others
            .add(RootKind::Production, &std::fs::read(path).unwrap())
            .unwrap();
    }
    assert!(matches!(
        verify(&certificate, &[], &others, IN_2024),
        Err(EkError::Chain(_))
    ));
}

/// ST's intermediates carry critical certificate policies, which webpki alone refuses.
#[test]
fn intermediates_that_came_along_complete_the_chain() {
    let Some(folder) = tpm_tools::data() else { return };
    let file = |name: &str| std::fs::read(folder.join("ek-roots").join(name)).unwrap();
    let der = |name: &str| CertificateDer::from_pem_slice(&file(name)).unwrap();
    for (leaf, root, chain) in [
        ("st-ecc-ek.der", "STM_ECC_01RT.pem", &["STM_ECC_01I.pem"][..]),
        ("st-rsa-ek-ff-padded.der", "STM_RSA_RT.pem", &["STM_RSA_05I.pem"]),
        (
            "st-rsa-ek-ff-padded.der",
            "GS_TPM_RT.pem",
            &["STM_RSA_05I.pem", "STM_RSA_RT.pem"],
        ),
    ] {
        let mut roots = Roots::new();
        roots.add(RootKind::Production, &file(root)).unwrap();
        let certificate = certificate(leaf).unwrap();
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|name| der(name)).collect();
        let refs: Vec<&[u8]> = chain.iter().map(|der| der.as_ref()).collect();
        verify(&certificate, &refs, &roots, IN_2024).unwrap();
        for left_out in 0..refs.len() {
            let mut short = refs.clone();
            short.remove(left_out);
            assert!(
                verify(&certificate, &short, &roots, IN_2024).is_err(),
                "{root} without {left_out}"
            );
        }
        assert!(verify(&certificate, &refs, &roots, IN_2017).is_err());
        for at in 0..refs[0].len() {
            let mut changed = refs[0].to_vec();
            changed[at] ^= 1;
            let mut chain = refs.clone();
            chain[0] = &changed;
            assert!(
                verify(&certificate, &chain, &roots, IN_2024).is_err(),
                "{root}: byte {at} of {leaf}'s issuer"
            );
        }
    }
}

#[test]
fn no_changed_byte_is_accepted() {
    let Some(roots) = vendor_roots(RootKind::Production) else {
        return;
    };
    let padded = certificate("st-rsa-ek-ff-padded.der").unwrap();
    for at in 0..padded.len() {
        let mut changed = padded.clone();
        changed[at] ^= 0x01;
        assert!(verify(&changed, &[], &roots, IN_2024).is_err(), "byte {at}");
    }
    let mut zeros = padded.clone();
    zeros[ST_RSA_BYTES..].fill(0);
    assert!(verify(&zeros, &[], &roots, IN_2024).is_ok());
    assert!(verify(&padded[..ST_RSA_BYTES], &[], &roots, IN_2024).is_ok());
    assert!(matches!(
        verify(&padded[..ST_RSA_BYTES - 1], &[], &roots, IN_2024),
        Err(EkError::NotDer)
    ));
}

#[test]
fn root_files_that_are_none_are_refused() {
    let mut roots = Roots::new();
    assert!(matches!(
        roots.add(RootKind::Production, b""),
        Err(RootError::Empty)
    ));
    assert!(matches!(
        roots.add(RootKind::Production, b"hello"),
        Err(RootError::Empty)
    ));
    let cut = b"-----BEGIN CERTIFICATE-----\nMIIB\n";
    assert!(matches!(
        roots.add(RootKind::Production, cut),
        Err(RootError::Pem(_))
    ));
    let not_one = [0x30, 0x03, 0x02, 0x01, 0x01];
    assert!(matches!(
        roots.add(RootKind::Production, &not_one),
        Err(RootError::Anchor { number: 1, .. })
    ));
    let key = alcub3_crypto::SigningKey::generate(Curve::P256).unwrap();
    let spki = key.verifying_key().to_spki_der();
    assert!(roots.add(RootKind::Production, &spki).is_err());
}
