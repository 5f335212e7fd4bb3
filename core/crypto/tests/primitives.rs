//! Hashes, MACs, derivations, ciphers, secrets and suites against published vectors.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::{
    AeadKey, CryptoError, Digest, HashAlg, MacKey, Secret, Suite, aes_cfb_decrypt, aes_cfb_encrypt,
    constant_time_eq, hmac, kdfa, kdfe,
};
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

#[test]
fn hash_identifiers_round_trip_and_only_sha1_is_unapproved() {
    for alg in HashAlg::ALL {
        assert_eq!(HashAlg::from_tpm_id(alg.tpm_id()), Some(alg));
        assert_eq!(HashAlg::from_name(alg.name()), Some(alg));
        assert_eq!(alg.digest(&[]).as_bytes().len(), alg.size());
        assert_eq!(alg.bits() as usize, alg.size() * 8);
        assert_eq!(alg.is_approved(), alg != HashAlg::Sha1);
    }
    assert_eq!(HashAlg::from_tpm_id(0x0010), None);
    assert_eq!(HashAlg::from_name("SHA256"), None);
    let oids = [
        "1.3.14.3.2.26",
        "2.16.840.1.101.3.4.2.1",
        "2.16.840.1.101.3.4.2.2",
        "2.16.840.1.101.3.4.2.3",
    ];
    assert_eq!(oids.map(HashAlg::from_oid), HashAlg::ALL.map(Some));
    assert_eq!(HashAlg::from_oid("2.16.840.1.101.3.4.2.4"), None);
}

#[test]
fn sha1_and_long_messages_agree_with_fips_180_4() {
    assert_eq!(
        HashAlg::Sha1.digest(&[b"abc"]).to_hex(),
        "a9993e364706816aba3e25717850c26c9cd0d89d"
    );
    let million = vec![b'a'; 1_000_000];
    assert_eq!(
        HashAlg::Sha256.digest(&[&million]).to_hex(),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    );
}

#[test]
fn digests_know_their_algorithm() {
    let zero = Digest::zero(HashAlg::Sha256);
    assert_eq!(zero.as_bytes(), [0; 32]);
    assert_eq!(Digest::ones(HashAlg::Sha384).as_bytes(), [0xFF; 48]);
    assert!(Digest::from_slice(HashAlg::Sha256, &[0; 31]).is_none());
    assert!(Digest::from_slice(HashAlg::Sha256, &[0; 33]).is_none());
    assert_ne!(Digest::zero(HashAlg::Sha256), Digest::zero(HashAlg::Sha384));
    // PCR 16 of a fresh TPM after `tpm2_pcrextend 16:sha256=` of 32 zero bytes.
    assert_eq!(
        zero.extend(&[0; 32]).to_hex(),
        "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b"
    );
    assert!(format!("{zero:?}").starts_with("sha256:0000"));
}

/// RFC 4231, test cases 1, 3, 4 and 6 for SHA-256 (case 6's key is longer than the block).
#[test]
fn hmac_agrees_with_rfc_4231() {
    let cases: [(Vec<u8>, Vec<u8>, &str); 4] = [
        (
            vec![0x0B; 20],
            b"Hi There".to_vec(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            vec![0xAA; 20],
            vec![0xDD; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            (1..=25).collect(),
            vec![0xCD; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            vec![0xAA; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
    ];
    for (key, message, tag) in cases {
        assert_eq!(hmac(HashAlg::Sha256, &key, &[&message]).to_hex(), tag);
        let (left, right) = message.split_at(message.len() / 3);
        assert!(MacKey::new(HashAlg::Sha256, &key).verify(&[left, right], &hex(tag)));
    }
}

#[test]
fn a_mac_refuses_changed_and_truncated_tags() {
    let key = MacKey::new(HashAlg::Sha384, b"key");
    let mut tag = key.tag(&[b"message"]).as_bytes().to_vec();
    assert!(key.verify(&[b"mess", b"age"], &tag));
    assert!(!key.verify(&[b"message"], &tag[..24]));
    assert!(!key.verify(&[b"message"], &[]));
    tag[47] ^= 1;
    assert!(!key.verify(&[b"message"], &tag));
    assert!(!format!("{key:?}").contains("107"));
}

#[test]
fn comparison_needs_equal_lengths() {
    assert!(constant_time_eq(b"", b""));
    assert!(constant_time_eq(b"same", b"same"));
    assert!(!constant_time_eq(b"same", b"sama"));
    assert!(!constant_time_eq(b"same", b"sam"));
}

/// A length that is no multiple of 8 keeps the leftmost bytes and clears the surplus bits of the first (Part 1, 11.4.10.2).
/// The length in bits is part of what is hashed, so 513 bits do not begin as 512 do.
#[test]
fn kdfa_masks_surplus_bits() {
    let derived = kdfa(HashAlg::Sha256, &[7; 32], b"CFB", b"u", b"v", 513);
    assert_eq!(derived.len(), 65);
    assert_eq!(derived.expose()[0] & 0xFE, 0);
    assert_eq!(kdfa(HashAlg::Sha256, &[7; 32], b"CFB", b"u", b"v", 0).len(), 0);
}

/// KDFe hashes no length, so a shorter output is a prefix of a longer one; kdfe(521) has 66 bytes and one bit in the first.
#[test]
fn kdfe_cuts_and_masks() {
    let long = kdfe(HashAlg::Sha256, &[1; 32], b"SECRET", b"u", b"v", 528);
    let short = kdfe(HashAlg::Sha256, &[1; 32], b"SECRET", b"u", b"v", 256);
    let odd = kdfe(HashAlg::Sha256, &[1; 32], b"SECRET", b"u", b"v", 521);
    assert_eq!(short.expose(), &long.expose()[..32]);
    assert_eq!(odd.expose()[1..], long.expose()[1..]);
    assert_eq!(odd.expose()[0], long.expose()[0] & 1);
}

#[test]
fn cfb_takes_only_approved_key_lengths() {
    for len in [0, 15, 17, 24, 31, 33] {
        let refused = aes_cfb_encrypt(&vec![0; len], &[0; 16], &mut [0; 4]);
        assert_eq!(
            refused,
            Err(CryptoError::WrongLength {
                what: "AES key",
                expected: 32,
                actual: len
            })
        );
        assert!(aes_cfb_decrypt(&vec![0; len], &[0; 16], &mut [0; 4]).is_err());
    }
    assert_eq!(aes_cfb_encrypt(&[0; 16], &[0; 16], &mut []), Ok(()));
}

#[test]
fn gcm_refuses_any_change() {
    let key = AeadKey::new(&Secret::from_slice(&[1; 32])).unwrap();
    assert!(AeadKey::new(&Secret::from_slice(&[1; 16])).is_err());
    let sealed = key.seal(&[2; 12], b"aad", b"plain").unwrap();
    assert_eq!(key.open(&[2; 12], b"aad", &sealed).unwrap().expose(), b"plain");
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 0x80;
        assert!(key.open(&[2; 12], b"aad", &changed).is_err());
    }
    for len in 0..sealed.len() {
        assert!(key.open(&[2; 12], b"aad", &sealed[..len]).is_err());
    }
    assert!(key.open(&[3; 12], b"aad", &sealed).is_err());
    assert!(key.open(&[2; 12], b"", &sealed).is_err());
}

#[test]
fn secrets_do_not_print() {
    let secret = Secret::from_slice(b"hunter2");
    assert_eq!(format!("{secret:?}"), "Secret([redacted; 7 bytes])");
    let mut roomy = Vec::with_capacity(64);
    roomy.extend_from_slice(b"hunter2");
    assert_eq!(Secret::from_vec(roomy).expose(), b"hunter2");
    assert!(Secret::zeroed(0).is_empty());
}

#[test]
fn suites_round_trip_and_reserved_numbers_are_refused() {
    for suite in Suite::ALL {
        assert_eq!(Suite::from_id(suite.id()), Some(suite));
        assert_eq!(Suite::from_cose_alg(suite.cose_alg()), Some(suite));
        assert!(suite.hash().is_approved());
    }
    assert_eq!(Suite::from_id(0), None);
    assert_eq!(Suite::from_id(16), None);
    assert_eq!(Suite::from_cose_alg(-8), None);
}

proptest! {
    #[test]
    fn cfb_decrypts_what_it_encrypts(long in any::<bool>(), iv: [u8; 16], plain: Vec<u8>) {
        let key = vec![0x5A; if long { 32 } else { 16 }];
        let mut data = plain.clone();
        aes_cfb_encrypt(&key, &iv, &mut data).unwrap();
        prop_assert!(plain.len() < 8 || data != plain);
        aes_cfb_decrypt(&key, &iv, &mut data).unwrap();
        prop_assert_eq!(data, plain);
    }

    #[test]
    fn hashing_parts_is_hashing_their_concatenation(parts: Vec<Vec<u8>>) {
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        for alg in HashAlg::ALL {
            prop_assert_eq!(alg.digest(&slices), alg.digest(&[&parts.concat()]));
            prop_assert_eq!(hmac(alg, b"k", &slices), hmac(alg, b"k", &[&parts.concat()]));
        }
    }
}
