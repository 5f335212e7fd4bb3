//! HPKE: what is sealed opens only for its recipient, purpose and context.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::CryptoError;
use alcub3_crypto::hpke::{self, RecipientKey};
use rustls::crypto::aws_lc_rs::hpke::DH_KEM_P384_HKDF_SHA384_AES_256;
use rustls::crypto::hpke::{EncapsulatedSecret, Hpke, HpkePrivateKey};

#[test]
fn opens_only_for_recipient_purpose_and_context() {
    let recipient = RecipientKey::generate().unwrap();
    let sealed = hpke::seal(recipient.public(), b"info", b"aad", b"owner auth").unwrap();
    assert_eq!(
        recipient.open(b"info", b"aad", &sealed).unwrap().expose(),
        b"owner auth"
    );
    let failed = CryptoError::AuthenticationFailed { what: "HPKE message" };
    assert_eq!(recipient.open(b"other", b"aad", &sealed).unwrap_err(), failed);
    assert_eq!(recipient.open(b"info", b"", &sealed).unwrap_err(), failed);
    let stranger = RecipientKey::generate().unwrap();
    assert_eq!(stranger.open(b"info", b"aad", &sealed).unwrap_err(), failed);
    for at in [0, 1, 96, 97, sealed.len() - 1] {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(
            recipient.open(b"info", b"aad", &changed).unwrap_err(),
            failed,
            "byte {at}"
        );
    }
    for len in 0..sealed.len() {
        assert!(recipient.open(b"info", b"aad", &sealed[..len]).is_err());
    }
}

#[test]
fn keys_round_trip_and_bad_ones_are_rejected() {
    let key = RecipientKey::generate().unwrap();
    let again = RecipientKey::from_bytes(key.to_bytes().expose()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(key.public().len(), hpke::ENCAPSULATED_LEN);
    assert!(!format!("{key:?}").contains(&hex::encode(&key.to_bytes().expose()[..8])));
    for bad in [vec![], vec![0; 48], vec![0xFF; 48], vec![1; 47], vec![1; 49]] {
        assert!(RecipientKey::from_bytes(&bad).is_err());
    }
    for bad in [vec![], vec![4; 97], key.public()[..96].to_vec()] {
        assert_eq!(
            hpke::seal(&bad, b"", b"", b"x"),
            Err(CryptoError::KeyRejected {
                what: "HPKE public key"
            })
        );
    }
}

/// The wire form is the encapsulated key and then the ciphertext, so that any RFC 9180 implementation opens it.
#[test]
fn the_suite_is_p384_sha384_aes_256() {
    let key = RecipientKey::generate().unwrap();
    let sealed = hpke::seal(key.public(), b"info", b"aad", b"plain").unwrap();
    let (encapsulated, ciphertext) = sealed.split_at(97);
    let private = HpkePrivateKey::from(key.to_bytes().expose().to_vec());
    let encapsulated = EncapsulatedSecret(encapsulated.to_vec());
    let plain = DH_KEM_P384_HKDF_SHA384_AES_256.open(&encapsulated, b"info", b"aad", ciphertext, &private);
    assert_eq!(plain.unwrap(), b"plain");
}
