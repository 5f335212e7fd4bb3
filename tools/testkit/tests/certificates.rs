//! The simulator's endorsement certificates have the profile's fields, and verify with another implementation.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_testkit::{
    EK_CERTIFICATE_P256, EK_CERTIFICATE_P384, EK_CERTIFICATE_RSA2048, SimulatorCa, TestkitError,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage as Usage, SubjectAltName};

/// 2.23.133.8.1 without tag and length.
const EK_USAGE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

fn spki(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
    use rcgen::PublicKeyData;
    rcgen::KeyPair::generate_for(algorithm)
        .unwrap()
        .subject_public_key_info()
}

#[test]
fn certificates_chain_to_the_simulator_root_and_name_no_vendor() {
    let ca = SimulatorCa::new().unwrap();
    for (algorithm, index, agreement) in [
        (&rcgen::PKCS_ECDSA_P256_SHA256, EK_CERTIFICATE_P256, true),
        (&rcgen::PKCS_ECDSA_P384_SHA384, EK_CERTIFICATE_P384, true),
        (&rcgen::PKCS_RSA_SHA256, EK_CERTIFICATE_RSA2048, false),
    ] {
        let spki = spki(algorithm);
        assert_eq!(SimulatorCa::nv_index(&spki).unwrap(), index);
        let der = ca.issue(&spki).unwrap();
        let certificate = Certificate::from_der(&der).unwrap();
        let tbs = certificate.tbs_certificate();
        assert_eq!(tbs.subject_public_key_info().to_der().unwrap(), spki);
        assert!(tbs.subject().is_empty());
        assert!(tbs.issuer().to_string().contains("not for production"));
        let (critical, names) = tbs.get_extension::<SubjectAltName>().unwrap().unwrap();
        assert!(critical);
        let [GeneralName::DirectoryName(name)] = names.0.as_slice() else {
            panic!("{names:?}")
        };
        let text = name.to_string();
        for part in [
            "TCG-AT-TPMMANUFACTURER=id:414C4233",
            "TCG-AT-TPMMODEL=alcub3 swtpm simulator",
            "TCG-AT-TPMVERSION=",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let (_, usage) = tbs.get_extension::<Usage>().unwrap().unwrap();
        assert_eq!(
            (usage.key_agreement(), usage.key_encipherment()),
            (agreement, !agreement)
        );
        let (_, extended) = tbs.get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
        assert_eq!(
            extended.0.iter().map(|oid| oid.as_bytes()).collect::<Vec<_>>(),
            [EK_USAGE]
        );
        verify(&der, ca.root_der()).unwrap();
        assert!(
            verify(&der, SimulatorCa::new().unwrap().root_der()).is_err(),
            "another root"
        );
    }
}

fn verify(der: &[u8], root: &[u8]) -> Result<(), webpki::Error> {
    let der = CertificateDer::from(der);
    let root = CertificateDer::from(root);
    let anchors = [anchor_from_trusted_cert(&root).unwrap()];
    let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let certificate = EndEntityCert::try_from(&der)?;
    let algorithms = webpki::ALL_VERIFICATION_ALGS;
    let usage = KeyUsage::required(EK_USAGE);
    certificate
        .verify_for_usage(algorithms, &anchors, &[], now, usage, None, None)
        .map(|_| ())
}

#[test]
fn keys_that_are_no_endorsement_keys_are_refused() {
    let ca = SimulatorCa::new().unwrap();
    let error = ca.issue(&spki(&rcgen::PKCS_ED25519)).unwrap_err();
    assert!(matches!(error, TestkitError::UnsupportedKey(_)), "{error}");
    assert!(matches!(
        ca.issue(b"not a key").unwrap_err(),
        TestkitError::Certificate(_)
    ));
    assert!(ca.root_pem().starts_with("-----BEGIN CERTIFICATE-----"));
}
