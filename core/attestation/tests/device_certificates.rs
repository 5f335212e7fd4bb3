//! Certificates of initial attestation keys: which machine the maker says a TPM's key is in.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_attestation::ek_certificate::device::{DeviceError, VerifiedDevice, verify_device};
use alcub3_attestation::ek_certificate::{EkError, RootKind, Roots};
use alcub3_crypto::{Curve, HashAlg, SigningKey};
use alcub3_testkit::{DeviceKind, Quirk, SimulatorCa};

/// 1 July 2026.
const NOW: u64 = 1_782_864_000;

fn spki() -> Vec<u8> {
    let key = SigningKey::generate(Curve::P256).unwrap();
    key.verifying_key().to_spki_der()
}

fn roots(kind: RootKind, ca: &SimulatorCa) -> Roots {
    let mut roots = Roots::new();
    roots.add(kind, ca.root_der()).unwrap();
    roots
}

fn judge(certificate: &[u8], sent: &[&[u8]], ca: &SimulatorCa) -> Result<VerifiedDevice, DeviceError> {
    verify_device(certificate, sent, &roots(RootKind::Production, ca), NOW)
}

#[test]
fn an_iak_certificate_says_which_device_it_is() {
    let root = SimulatorCa::new().unwrap();
    let maker = root.intermediate("maker", Quirk::None).unwrap();
    let certificate = maker
        .issue_device(&spki(), "SN-7", DeviceKind::Attestation)
        .unwrap();
    let padded = [certificate.as_slice(), &[0xff; 40]].concat();
    let found = judge(&padded, &[maker.root_der()], &root).unwrap();
    assert_eq!(found.serial(), Some("SN-7"));
    assert_eq!(found.common_name(), Some("alcub3 test device"));
    assert_eq!(found.hardware_module(), Some("2.23.133.1.2 SN-7"));
    assert_eq!(*found.digest(), HashAlg::Sha256.digest(&[&certificate]));
    assert_eq!(found.unlisted_issuers().len(), 2);
}

#[test]
fn what_no_maker_signed_or_is_for_another_purpose_is_no_iak_certificate() {
    let (maker, other) = (SimulatorCa::new().unwrap(), SimulatorCa::new().unwrap());
    let good = maker
        .issue_device(&spki(), "SN-7", DeviceKind::Attestation)
        .unwrap();
    assert!(matches!(judge(&good, &[], &other), Err(DeviceError::Chain(_))));
    let none = verify_device(&good, &[], &Roots::new(), NOW);
    assert!(matches!(none, Err(DeviceError::NoRoots)));
    // What vouches for simulators vouches for no machine.
    let simulators = roots(RootKind::Simulator, &maker);
    let judged = verify_device(&good, &[], &simulators, NOW);
    assert!(matches!(judged, Err(DeviceError::NoRoots)));
    let mut changed = good.clone();
    let at = changed.windows(4).position(|bytes| bytes == b"SN-7").unwrap();
    changed[at + 3] = b'8';
    assert!(matches!(judge(&changed, &[], &maker), Err(DeviceError::Chain(_))));
    let identity = maker.issue_device(&spki(), "SN-7", DeviceKind::Identity).unwrap();
    assert!(matches!(judge(&identity, &[], &maker), Err(DeviceError::Usage)));
    let endorsement = maker.issue(&spki()).unwrap();
    assert!(judge(&endorsement, &[], &maker).is_err());
    let nameless = maker.issue_device(&spki(), "", DeviceKind::Nameless).unwrap();
    assert!(matches!(
        judge(&nameless, &[], &maker),
        Err(DeviceError::NoDevice)
    ));
    let trailing = [good.as_slice(), b"more"].concat();
    assert!(matches!(judge(&trailing, &[], &maker), Err(DeviceError::NotDer)));
}

#[test]
fn revocation_lists_of_makers_count() {
    let maker = SimulatorCa::new().unwrap();
    let good = maker
        .issue_device(&spki(), "SN-7", DeviceKind::Attestation)
        .unwrap();
    let with = |list: &[u8]| {
        let mut roots = roots(RootKind::Production, &maker);
        roots.add_revocations(list).unwrap();
        verify_device(&good, &[], &roots, NOW)
    };
    let revoked = with(&maker.revocation_list(&[&good], (2026, 2027)).unwrap());
    assert!(
        matches!(&revoked, Err(DeviceError::Revocation(EkError::Revoked { what, .. })) if *what == "the IAK certificate"),
        "{revoked:?}"
    );
    let clear = with(&maker.revocation_list(&[], (2026, 2027)).unwrap()).unwrap();
    assert!(clear.unlisted_issuers().is_empty());
    let mut strict = roots(RootKind::Production, &maker);
    strict.require_revocation_lists();
    let judged = verify_device(&good, &[], &strict, NOW);
    assert!(matches!(
        judged,
        Err(DeviceError::Revocation(EkError::NotListed { .. }))
    ));
}
