//! What each known answer is the answer to.

use super::answers::{KnownAnswer, RSA_MODULUS, TestedAlgorithm};
use crate::hpke::RecipientKey;
use crate::tpm::{Public, PublicTemplate, encrypt_salt};
use crate::{
    AeadKey, CryptoError, Curve, Entropy, EntropyError, HashAlg, Secret, SignatureScheme, VerifyingKey,
    aes_cfb_decrypt, aes_cfb_encrypt, hmac, kdfa, kdfe,
};

const MESSAGE: &[u8] = b"sample";
const PARTY_U: [u8; 8] = [0xA0, 0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7];
const PARTY_V: [u8; 4] = [0xB0, 0xB1, 0xB2, 0xB3];
const CFB_IV: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const CFB_KEY_128: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const CFB_KEY_256: &str = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4";
const CFB_PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";
const GCM_KEY: &str = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const GCM_NONCE: [u8; 12] = [
    0xCA, 0xFE, 0xBA, 0xBE, 0xFA, 0xCE, 0xDB, 0xAD, 0xDE, 0xCA, 0xF8, 0x88,
];
const GCM_AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const GCM_PLAIN: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72\
                         1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const P256_POINT: (&str, &str) = (
    "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
);
const P384_POINT: (&str, &str) = (
    "ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13",
    "8015d9b72d7d57244ea8ef9ac0c621896708a59367f9dfb9f54ca84b3f1c9db1288b231c3ae0d4fe7344fd2533264720",
);

/// The private half of the P-384 key of RFC 6979, A.2.6: published, and good for nothing but this.
const P384_SCALAR: &str =
    "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d896d5724e4c70a825f872c9ea60d2edf5";

/// Whether the algorithm gives the answer.
pub(super) fn gives(answer: &KnownAnswer) -> Result<bool, CryptoError> {
    let expected = answer.expected.as_slice();
    let key: Vec<u8> = (0..32).collect();
    Ok(match answer.algorithm {
        TestedAlgorithm::Hash(alg) => {
            alg.digest(&[b"abc"]).as_bytes() == expected && alg.digest(&[b"a", b"bc"]).as_bytes() == expected
        }
        TestedAlgorithm::Hmac(alg) => {
            hmac(alg, b"Jefe", &[b"what do ya want ", b"for nothing?"]).as_bytes() == expected
        }
        TestedAlgorithm::Kdfa(alg) => {
            kdfa(alg, &key, b"STORAGE", &PARTY_U, &PARTY_V, 512).expose() == expected
        }
        TestedAlgorithm::Kdfe(alg) => {
            kdfe(alg, &key, b"IDENTITY", &PARTY_U, &PARTY_V, 384).expose() == expected
        }
        TestedAlgorithm::AesCfb(128) => cfb(&bytes(CFB_KEY_128), expected)?,
        TestedAlgorithm::AesCfb(_) => cfb(&bytes(CFB_KEY_256), expected)?,
        TestedAlgorithm::AesGcm => gcm(expected)?,
        TestedAlgorithm::Ecdsa(curve) => ecdsa(curve, expected)?,
        TestedAlgorithm::RsaPkcs1 => rsa(SignatureScheme::RsaPkcs1(HashAlg::Sha256), expected)?,
        TestedAlgorithm::RsaPss => rsa(SignatureScheme::RsaPss(HashAlg::Sha384), expected)?,
        TestedAlgorithm::SharedSeed(curve) => shared_seed(curve, expected)?,
        TestedAlgorithm::Hpke => hpke_opens(expected)?,
    })
}

fn cfb(key: &[u8], expected: &[u8]) -> Result<bool, CryptoError> {
    let plain = bytes(CFB_PLAIN);
    let mut there = plain.clone();
    aes_cfb_encrypt(key, &CFB_IV, &mut there)?;
    let mut back = there.clone();
    aes_cfb_decrypt(key, &CFB_IV, &mut back)?;
    Ok(there == expected && back == plain)
}

fn gcm(expected: &[u8]) -> Result<bool, CryptoError> {
    let key = AeadKey::new(&Secret::from_vec(bytes(GCM_KEY)))?;
    let (aad, plain) = (bytes(GCM_AAD), bytes(GCM_PLAIN));
    let sealed = key.seal(&GCM_NONCE, &aad, &plain)?;
    let opened = key.open(&GCM_NONCE, &aad, &sealed)?;
    let refused = key.open(&GCM_NONCE, &[], &sealed).is_err();
    Ok(sealed == expected && opened.expose() == plain && refused)
}

fn ecdsa(curve: Curve, signature: &[u8]) -> Result<bool, CryptoError> {
    let (x, y) = point(curve);
    let key = VerifyingKey::from_ec_point(curve, &bytes(x), &bytes(y))?;
    let digest = curve.hash().digest(&[MESSAGE]);
    let scheme = SignatureScheme::Ecdsa(curve.hash());
    Ok(key.verify(scheme, MESSAGE, signature).is_ok()
        && key.verify_digest(scheme, &digest, signature).is_ok())
}

fn rsa(scheme: SignatureScheme, signature: &[u8]) -> Result<bool, CryptoError> {
    let key = VerifyingKey::from_rsa(&bytes(RSA_MODULUS), 65537)?;
    Ok(key.verify(scheme, MESSAGE, signature).is_ok())
}

/// Shares a salt with a storage key, with an ephemeral key made of fixed bytes.
fn shared_seed(curve: Curve, expected: &[u8]) -> Result<bool, CryptoError> {
    let (x, y) = point(curve);
    let template = PublicTemplate::storage_parent(curve).into_tpmt_bytes();
    // A template ends with two empty coordinates, four bytes of size.
    let head = template.strip_suffix(&[0; 4]).unwrap_or_default();
    let size: &[u8] = if curve == Curve::P256 { &[0, 32] } else { &[0, 48] };
    let key = Public::from_tpmt(&[head, size, &bytes(x), size, &bytes(y)].concat())?;
    let (salt, _) = encrypt_salt(&key, &mut Ascending)?;
    Ok(salt.expose() == expected)
}

fn hpke_opens(sealed: &[u8]) -> Result<bool, CryptoError> {
    let key = RecipientKey::from_bytes(&bytes(P384_SCALAR))?;
    let opened = key.open(b"alcub3 self test", &[], sealed);
    Ok(opened.is_ok_and(|plain| plain.expose() == b"owner authorisation"))
}

/// Not random: 1, 2, 3 and so on, for the known answer alone.
struct Ascending;

impl Entropy for Ascending {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for (value, byte) in (1..).zip(out) {
            *byte = value;
        }
        Ok(())
    }
}

fn point(curve: Curve) -> (&'static str, &'static str) {
    match curve {
        Curve::P256 => P256_POINT,
        Curve::P384 => P384_POINT,
    }
}

/// The constants above are hexadecimal; one that is not is empty and gives no right answer.
fn bytes(hexadecimal: &str) -> Vec<u8> {
    hex::decode(hexadecimal).unwrap_or_default()
}
