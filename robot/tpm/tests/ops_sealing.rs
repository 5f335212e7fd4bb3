//! Sealing data of any size: round trips, the format's strictness, policies.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::{HashAlg, Secret};
use alcub3_tpm::ops::{PolicyInputs, SealOptions, Sealed};
use alcub3_tpm::{Auth, Chip, ResponseCode, TpmError};
use support::fixture;

#[test]
fn data_of_any_size_comes_back() {
    let mut f = fixture();
    let srk = f.srk.clone();
    for size in [0, 1, 127, 128, 129, 4096, 1 << 20] {
        let data: Vec<u8> = (0..size).map(|i: u32| u8::try_from(i % 253).unwrap()).collect();
        let (sealed, sent) = f.sent(|f| f.chip.seal(&srk, Auth::Empty, None, &data).unwrap());
        assert_eq!(sent.last().unwrap(), "Create", "{size}");
        let read = Sealed::from_bytes(&sealed.to_bytes()).unwrap();
        assert_eq!(read, sealed);
        f.settle();
        let unseal = |f: &mut support::Fixture| f.chip.unseal(&srk, Auth::Empty, Auth::Empty, &read).unwrap();
        let (back, sent) = f.sent(unseal);
        assert_eq!(sent, ["Load", "Unseal"], "{size}");
        assert_eq!(back.expose(), data, "{size}");
    }
    f.assert_no_leak();
}

#[test]
fn every_changed_byte_of_a_blob_is_refused_or_changes_nothing() {
    let mut f = fixture();
    let srk = f.srk.clone();
    let data = vec![5; 200];
    let bytes = f.chip.seal(&srk, Auth::Empty, None, &data).unwrap().to_bytes();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        let opened =
            Sealed::from_bytes(&changed).and_then(|s| f.chip.unseal(&srk, Auth::Empty, Auth::Empty, &s));
        assert!(opened.is_err(), "byte {at} of {}", bytes.len());
    }
    f.assert_no_leak();
}

#[test]
fn cut_followed_and_future_blobs_name_the_part() {
    let mut f = fixture();
    let srk = f.srk.clone();
    let bytes = f
        .chip
        .seal(&srk, Auth::Empty, None, &[5; 200])
        .unwrap()
        .to_bytes();
    for cut in 0..bytes.len() {
        assert!(
            matches!(
                Sealed::from_bytes(&bytes[..cut]),
                Err(TpmError::SealedData { .. })
            ),
            "{cut}"
        );
    }
    let part = |bytes: &[u8]| match Sealed::from_bytes(bytes) {
        Err(TpmError::SealedData { part }) => part,
        other => panic!("{other:?}"),
    };
    assert_eq!(part(&[&bytes[..], &[0]].concat()), "the end: bytes follow");
    let mut future = bytes.clone();
    future[4] = 2;
    assert_eq!(part(&future), "the version");
    let mut kind = bytes;
    kind[5] = 7;
    assert_eq!(part(&kind), "the kind");
}

#[test]
fn an_authorisation_value_is_asked_for() {
    let mut f = fixture();
    let srk = f.srk.clone();
    let password = Secret::from_slice(b"open");
    let options = SealOptions {
        user_auth: Some(&password),
        no_da: true,
        ..SealOptions::default()
    };
    let sealed = f.chip.seal_with(&srk, Auth::Empty, &options, b"data").unwrap();
    let refused = f
        .chip
        .unseal(&srk, Auth::Empty, Auth::Empty, &sealed)
        .unwrap_err();
    assert!(refused.is_refusal(ResponseCode::BAD_AUTH), "{refused}");
    let wrong = Secret::from_slice(b"shut");
    assert!(
        f.chip
            .unseal(&srk, Auth::Empty, Auth::Value(&wrong), &sealed)
            .is_err()
    );
    let opened = f
        .chip
        .unseal(&srk, Auth::Empty, Auth::Value(&password), &sealed)
        .unwrap();
    assert_eq!(opened.expose(), b"data");
    f.assert_no_leak();
}

#[test]
fn data_sealed_to_pcrs_opens_only_at_those_values() {
    let mut f = fixture();
    let srk = f.srk.clone();
    let select = vec![(HashAlg::Sha256, 1 << 16)];
    let pcr_digest = f.chip.pcr_digest(HashAlg::Sha256, &select).unwrap();
    let policy = Policy::new(
        HashAlg::Sha256,
        vec![Assertion::Pcr {
            bank_selection: select,
            pcr_digest,
        }],
    )
    .unwrap();
    let sealed = f
        .chip
        .seal(&srk, Auth::Empty, Some(&policy.digest()), b"boot secret")
        .unwrap();
    let open = |chip: &mut Chip| {
        chip.with_policy(&policy, &PolicyInputs::new(), |chip, session| {
            chip.unseal(&srk, Auth::Empty, Auth::Policy(session), &sealed)
        })
    };
    assert_eq!(open(&mut f.chip).unwrap().expose(), b"boot secret");
    assert!(f.chip.unseal(&srk, Auth::Empty, Auth::Empty, &sealed).is_err());
    f.chip.pcr_extend(16, &[HashAlg::Sha256.digest(&[b"x"])]).unwrap();
    assert!(open(&mut f.chip).unwrap_err().is_refusal(ResponseCode::VALUE));
    f.assert_no_leak();
}
