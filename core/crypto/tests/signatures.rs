//! Verification of every scheme against vectors made elsewhere, key parsing, and software signing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::{CryptoError, Curve, HashAlg, SignatureScheme, SigningKey, Suite, VerifyingKey};
use proptest::prelude::*;

const HASHES: [HashAlg; 3] = [HashAlg::Sha256, HashAlg::Sha384, HashAlg::Sha512];
const P256: (&str, &str) = (
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
);
const P384: (&str, &str) = (
    "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13",
    "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
);
/// RFC 6979, A.2.5: message "sample" with SHA-256, SHA-384, SHA-512.
const P256_SIGNATURES: [&str; 3] = [
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    "0eafea039b20e9b42309fb1d89e213057cbf973dc0cfc8f129edddc800ef77194861f0491e6998b9455193e34e7b0d284ddd7149a74b95b9261f13abde940954",
    "8496a60b5e9b47c825488827e0495b0e3fa109ec4568fd3f8d1097678eb97f002362ab1adbe2b8adf9cb9edab740ea6049c028114f2460f96554f61fae3302fe",
];
/// RFC 6979, A.2.6: the same.
const P384_SIGNATURES: [&str; 3] = [
    "21b13d1e013c7fa1392d03c5f99af8b30c570c6f98d4ea8e354b63a21d3daa33bde1e888e63355d92fa2b3c36d8fb2cdf3aa443fb107745bf4bd77cb3891674632068a10ca67e3d45db2266fa7d1feebefdc63eccd1ac42ec0cb8668a4fa0ab0",
    "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe4699ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
    "ed0959d5880ab2d869ae7f6c2915c6d60f96507f9cb3e047c0046861da4a799cfe30f35cc900056d7c99cd7882433709512c8cceee3890a84058ce1e22dbc2198f42323ce8aca9135329f03c068e5112dc7cc3ef3446defceb01a45c2667fdd5",
];

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text.trim()).unwrap()
}

fn key(curve: Curve) -> VerifyingKey {
    let (x, y) = if curve == Curve::P256 { P256 } else { P384 };
    VerifyingKey::from_ec_point(curve, &hex(x), &hex(y)).unwrap()
}

fn rsa_key() -> VerifyingKey {
    VerifyingKey::from_spki_der(&hex(include_str!("vectors/rsa2048-spki.hex"))).unwrap()
}

fn rsa_vectors() -> Vec<(SignatureScheme, Vec<u8>)> {
    let lines = include_str!("vectors/rsa2048-signatures.txt").lines();
    lines
        .map(|line| {
            let [padding, hash, signature] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}")
            };
            let hash = HashAlg::from_name(hash).unwrap();
            let scheme = match padding {
                "Pkcs1" => SignatureScheme::RsaPkcs1(hash),
                _ => SignatureScheme::RsaPss(hash),
            };
            (scheme, hex(signature))
        })
        .collect()
}

/// Accepts the signature over the message and its digest, and nothing else.
fn accepts_exactly(key: &VerifyingKey, scheme: SignatureScheme, signature: &[u8]) {
    let digest = scheme.hash().digest(&[b"sample"]);
    assert_eq!(key.verify(scheme, b"sample", signature), Ok(()), "{scheme:?}");
    assert_eq!(
        key.verify_digest(scheme, &digest, signature),
        Ok(()),
        "{scheme:?}"
    );
    assert_eq!(
        key.verify(scheme, b"Sample", signature),
        Err(CryptoError::BadSignature)
    );
    let other = scheme.hash().digest(&[b"Sample"]);
    assert_eq!(
        key.verify_digest(scheme, &other, signature),
        Err(CryptoError::BadSignature)
    );
    for at in [0, signature.len() / 2, signature.len() - 1] {
        let mut changed = signature.to_vec();
        changed[at] ^= 1;
        assert!(key.verify(scheme, b"sample", &changed).is_err());
    }
    assert!(key.verify(scheme, b"sample", &signature[1..]).is_err());
    assert!(
        key.verify(scheme, b"sample", &[signature, &[0]].concat())
            .is_err()
    );
    assert!(key.verify(scheme, b"sample", &vec![0; signature.len()]).is_err());
}

#[test]
fn every_mixture_of_curve_and_hash_verifies() {
    for (at, hash) in HASHES.into_iter().enumerate() {
        accepts_exactly(
            &key(Curve::P256),
            SignatureScheme::Ecdsa(hash),
            &hex(P256_SIGNATURES[at]),
        );
        accepts_exactly(
            &key(Curve::P384),
            SignatureScheme::Ecdsa(hash),
            &hex(P384_SIGNATURES[at]),
        );
    }
}

#[test]
fn rsa_verifies_in_both_paddings() {
    let vectors = rsa_vectors();
    assert_eq!(vectors.len(), 6);
    for (scheme, signature) in vectors {
        accepts_exactly(&rsa_key(), scheme, &signature);
    }
}

#[test]
fn a_scheme_of_another_key_or_with_sha1_is_not_approved() {
    let refused = |key: VerifyingKey, scheme, len| {
        let result = key.verify(scheme, b"sample", &vec![1; len]);
        assert!(
            matches!(result, Err(CryptoError::NotApproved { .. })),
            "{scheme:?}: {result:?}"
        );
    };
    refused(key(Curve::P256), SignatureScheme::Ecdsa(HashAlg::Sha1), 64);
    refused(key(Curve::P256), SignatureScheme::RsaPss(HashAlg::Sha256), 64);
    refused(rsa_key(), SignatureScheme::Ecdsa(HashAlg::Sha256), 256);
    refused(rsa_key(), SignatureScheme::RsaPkcs1(HashAlg::Sha1), 256);
    refused(rsa_key(), SignatureScheme::RsaPss(HashAlg::Sha1), 256);
}

/// ECDSA-Sig-Value in DER of r ‖ s, written without the code under test.
fn ecdsa_sig_value(fixed: &[u8]) -> Vec<u8> {
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let sign: &[u8] = if number[zeros] >= 0x80 { &[0] } else { &[] };
        let value = [sign, &number[zeros..]].concat();
        [&[2, u8::try_from(value.len()).unwrap()], value.as_slice()].concat()
    };
    let both = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(both.len()).unwrap()], both.as_slice()].concat()
}

#[test]
fn certificates_of_others_join_any_approved_hash_to_a_key() {
    let oids = [
        ["1.2.840.10045.4.3.2", "1.2.840.113549.1.1.11"],
        ["1.2.840.10045.4.3.3", "1.2.840.113549.1.1.12"],
        ["1.2.840.10045.4.3.4", "1.2.840.113549.1.1.13"],
    ];
    for (curve, signatures) in [(Curve::P256, P256_SIGNATURES), (Curve::P384, P384_SIGNATURES)] {
        for ((hash, signature), [oid, _]) in HASHES.into_iter().zip(signatures).zip(oids) {
            let scheme = SignatureScheme::from_x509(oid).unwrap();
            assert_eq!(scheme, SignatureScheme::Ecdsa(hash));
            let (fixed, key) = (hex(signature), key(curve));
            let der = ecdsa_sig_value(&fixed);
            key.verify_x509_as(scheme, b"sample", &der).unwrap();
            assert!(key.verify_x509_as(scheme, b"sample", &fixed).is_err());
            assert!(key.verify_x509_as(scheme, b"samples", &der).is_err());
            let longer = [&der[..], &[0]].concat();
            assert_eq!(
                key.verify_x509_as(scheme, b"sample", &longer),
                Err(CryptoError::BadSignature)
            );
            let native = key.verify_x509(b"sample", &der).is_ok();
            assert_eq!(native, hash == curve.hash());
        }
    }
    for (hash, [_, oid]) in HASHES.into_iter().zip(oids) {
        let scheme = SignatureScheme::from_x509(oid).unwrap();
        assert_eq!(scheme, SignatureScheme::RsaPkcs1(hash));
        assert!(matches!(
            key(Curve::P256).verify_x509_as(scheme, b"sample", &[0; 64]),
            Err(CryptoError::NotApproved { .. })
        ));
    }
    // ECDSA and RSA with SHA-1, RSASSA-PSS, Ed25519.
    for oid in [
        "1.2.840.10045.4.1",
        "1.2.840.113549.1.1.5",
        "1.2.840.113549.1.1.10",
        "1.3.101.112",
    ] {
        assert_eq!(SignatureScheme::from_x509(oid), None);
    }
}

#[test]
fn a_digest_of_another_algorithm_is_refused() {
    let digest = HashAlg::Sha384.digest(&[b"sample"]);
    let result = key(Curve::P256).verify_digest(
        SignatureScheme::Ecdsa(HashAlg::Sha256),
        &digest,
        &hex(P256_SIGNATURES[1]),
    );
    assert!(matches!(result, Err(CryptoError::NotApproved { .. })));
}

#[test]
fn points_off_the_curve_and_of_wrong_length_are_rejected() {
    let (x, y) = (hex(P256.0), hex(P256.1));
    let mut off = y.clone();
    off[31] ^= 1;
    assert_eq!(
        VerifyingKey::from_ec_point(Curve::P256, &x, &off),
        Err(CryptoError::KeyRejected {
            what: "EC public key"
        })
    );
    assert!(VerifyingKey::from_ec_point(Curve::P256, &[0; 32], &[0; 32]).is_err());
    assert!(VerifyingKey::from_ec_point(Curve::P384, &x, &y).is_err());
    assert!(VerifyingKey::from_ec_point(Curve::P256, &[&[0], x.as_slice()].concat(), &y).is_err());
}

#[test]
fn rsa_keys_outside_the_permitted_sizes_are_rejected() {
    let n = rsa_key().rsa().unwrap().0.to_vec();
    assert!(VerifyingKey::from_rsa(&n, 65537).is_ok());
    assert!(
        VerifyingKey::from_rsa(&[&[0, 0], n.as_slice()].concat(), 65537).is_ok(),
        "leading zeros are no bits"
    );
    for exponent in [0, 1, 3, 17, 65536, 65538] {
        assert!(VerifyingKey::from_rsa(&n, exponent).is_err(), "{exponent}");
    }
    assert!(VerifyingKey::from_rsa(&n[1..], 65537).is_err(), "2040 bits");
    let mut even = n.clone();
    even[255] &= 0xFE;
    assert!(VerifyingKey::from_rsa(&even, 65537).is_err());
    assert!(
        VerifyingKey::from_rsa(&[n.as_slice(), &n, &[1]].concat(), 65537).is_err(),
        "4104 bits"
    );
    assert!(VerifyingKey::from_rsa(&[], 65537).is_err());
}

#[test]
fn spki_round_trips_and_only_the_one_encoding_is_taken() {
    for key in [key(Curve::P256), key(Curve::P384), rsa_key()] {
        let der = key.to_spki_der();
        assert_eq!(VerifyingKey::from_spki_der(&der).unwrap(), key);
        assert!(VerifyingKey::from_spki_der(&[der.as_slice(), &[0]].concat()).is_err());
        for len in 0..der.len() {
            assert!(
                VerifyingKey::from_spki_der(&der[..len]).is_err(),
                "{len} of {}",
                der.len()
            );
        }
    }
    assert_eq!(
        hex::encode(rsa_key().to_spki_der()),
        include_str!("vectors/rsa2048-spki.hex").trim()
    );
}

#[test]
fn software_keys_sign_what_their_public_half_verifies() {
    for (curve, suite) in [
        (Curve::P256, Suite::EcdsaP256Sha256),
        (Curve::P384, Suite::EcdsaP384Sha384),
    ] {
        let signing = SigningKey::generate(curve).unwrap();
        assert_eq!(signing.suite(), suite);
        let signature = signing.sign(b"message").unwrap();
        assert_eq!(signature.len(), 2 * curve.size());
        let again = SigningKey::from_pkcs8(signing.to_pkcs8().expose()).unwrap();
        assert_eq!(again.verifying_key(), signing.verifying_key());
        let public = VerifyingKey::from_spki_der(&again.verifying_key().to_spki_der()).unwrap();
        assert_eq!(
            public.verify(public.native_scheme(), b"message", &signature),
            Ok(())
        );
        let other = SigningKey::generate(curve).unwrap().verifying_key();
        assert_eq!(
            other.verify(other.native_scheme(), b"message", &signature),
            Err(CryptoError::BadSignature)
        );
        assert!(!format!("{signing:?}").contains(&hex::encode(&signing.to_pkcs8().expose()[40..56])));
    }
    assert!(SigningKey::from_pkcs8(b"").is_err());
    assert!(SigningKey::from_pkcs8(&[0x30; 64]).is_err());
}

proptest! {
    #[test]
    fn spki_parsing_never_panics(bytes: Vec<u8>) {
        let _ = VerifyingKey::from_spki_der(&bytes);
        let _ = SigningKey::from_pkcs8(&bytes);
    }

    /// What is accepted encodes back to what was given: no second encoding of a key gets in.
    #[test]
    fn a_changed_spki_is_refused_or_another_key(at in 0usize..294, bit in 0u8..8) {
        let mut der = hex(include_str!("vectors/rsa2048-spki.hex"));
        der[at] ^= 1 << bit;
        if let Ok(other) = VerifyingKey::from_spki_der(&der) {
            prop_assert_eq!(other.to_spki_der(), der);
            prop_assert_ne!(other, rsa_key());
        }
    }
}
