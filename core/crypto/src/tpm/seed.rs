//! Sharing a seed with a TPM key (Part 1, annexes B.10 and C.6): the base of credentials, salts and duplicates.

use aws_lc_rs::agreement;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepAlgorithm,
    OaepPublicEncryptingKey,
};

use super::wire::{Reader, StructureError, Writer};
use super::{ObjectKind, Public};
use crate::signature::pad_left;
use crate::{CryptoError, Curve, Entropy, HashAlg, Secret, VerifyingKey, kdfe};

/// How often an ephemeral scalar may be out of range; each draw fails with probability below 2^-32.
const DRAWS: usize = 16;
/// Longest coordinate of our curves, in bytes.
const MAX_COORDINATE: usize = 48;

/// Makes a session salt for the decryption key `key` (label "SECRET"). Returns the salt and the contents of the
/// TPM2B_ENCRYPTED_SECRET for TPM2_StartAuthSession.
///
/// For an EC key the ephemeral key is made from `entropy`. For an RSA key the salt is made from `entropy`; the padding of
/// OAEP is drawn by AWS-LC itself.
///
/// # Errors
/// [`CryptoError::NotApproved`] when `key` does not decrypt or has an unapproved nameAlg, [`CryptoError::KeyRejected`]
/// when it is not a key we share secrets with, [`CryptoError::Entropy`] when the randomness fails.
pub fn encrypt_salt(key: &Public, entropy: &mut dyn Entropy) -> Result<(Secret, Vec<u8>), CryptoError> {
    share_seed(key, b"SECRET", entropy)
}

/// Makes a secret that only the EC decryption key `key` recovers, for a message outside of the TPM's own protocols: the
/// same scheme (Part 1, C.6.4) under a label of the message's kind. Returns the secret, as long as the key's nameAlg, and
/// the encapsulated point.
///
/// # Errors
/// As [`encrypt_salt`]; [`CryptoError::KeyRejected`] when it is no EC key.
pub fn encapsulate(
    key: &Public,
    label: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(Secret, Vec<u8>), CryptoError> {
    key.ec_point().ok_or(CryptoError::KeyRejected {
        what: "key for an encapsulated secret",
    })?;
    share_seed(key, label, entropy)
}

/// The two coordinates of an encapsulated point, for TPM2_ECDH_ZGen.
///
/// # Errors
/// [`StructureError`] where it is anything but two sized coordinates.
pub fn encapsulated_point(encapsulated: &[u8]) -> Result<[Vec<u8>; 2], StructureError> {
    let mut reader = Reader::new(encapsulated);
    let x = reader.sized(MAX_COORDINATE, "x coordinate")?.to_vec();
    let y = reader.sized(MAX_COORDINATE, "y coordinate")?.to_vec();
    reader.end("encapsulated point")?;
    Ok([x, y])
}

/// The secret of [`encapsulate`], from what TPM2_ECDH_ZGen returned for the encapsulated point (its x coordinate, padded).
///
/// # Errors
/// [`CryptoError::KeyRejected`] when `key` is no EC key.
pub fn decapsulate(
    key: &Public,
    label: &[u8],
    ephemeral_x: &[u8],
    z: &Secret,
) -> Result<Secret, CryptoError> {
    let (curve, x, _) = key.ec_point().ok_or(CryptoError::KeyRejected {
        what: "key for an encapsulated secret",
    })?;
    let (alg, ours) = (key.name_alg(), pad_left(&x, curve.size(), "x coordinate")?);
    let theirs = pad_left(ephemeral_x, curve.size(), "x coordinate")?;
    Ok(kdfe(alg, z.expose(), label, &theirs, &ours, alg.bits()))
}

/// A seed as long as the key's nameAlg and its encryption to `key`. `label` is given without its NUL.
pub(super) fn share_seed(
    key: &Public,
    label: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(Secret, Vec<u8>), CryptoError> {
    let alg = key.name_alg();
    if !alg.is_approved() {
        return Err(CryptoError::NotApproved {
            what: "the key's nameAlg",
        });
    }
    if !matches!(key.kind(), ObjectKind::Storage | ObjectKind::Decrypting) {
        return Err(CryptoError::NotApproved {
            what: "a key that does not decrypt",
        });
    }
    if let Some((curve, x, y)) = key.ec_point() {
        return share_by_ecdh(alg, curve, (&x, &y), label, entropy);
    }
    let (n, e) = key.rsa().ok_or(CryptoError::KeyRejected {
        what: "key for sharing a seed",
    })?;
    share_by_oaep(alg, &VerifyingKey::from_rsa(&n, e)?, label, entropy)
}

fn share_by_ecdh(
    alg: HashAlg,
    curve: Curve,
    (x, y): (&[u8], &[u8]),
    label: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(Secret, Vec<u8>), CryptoError> {
    let x = pad_left(x, curve.size(), "x coordinate")?;
    let y = pad_left(y, curve.size(), "y coordinate")?;
    let (scalar, ours_x, ours_y) = fresh_key(curve, entropy)?;
    let ephemeral = agreement::PrivateKey::from_private_key(algorithm(curve), scalar.expose());
    let ephemeral = ephemeral.map_err(|_| CryptoError::Provider {
        operation: "making an ephemeral EC key",
    })?;
    let point = [&[0x04], x.as_slice(), &y].concat();
    let peer = agreement::UnparsedPublicKey::new(algorithm(curve), point);
    let rejected = CryptoError::KeyRejected {
        what: "EC public key",
    };
    let seed = agreement::agree(&ephemeral, peer, rejected, |z| {
        Ok(kdfe(alg, z, label, &ours_x, &x, alg.bits()))
    })?;
    let encrypted = Writer::default()
        .sized(&ours_x, "x coordinate")?
        .sized(&ours_y, "y coordinate")?;
    Ok((seed, encrypted.finish()))
}

fn share_by_oaep(
    alg: HashAlg,
    key: &VerifyingKey,
    label: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<(Secret, Vec<u8>), CryptoError> {
    let failed = || CryptoError::Provider {
        operation: "RSA-OAEP",
    };
    let mut seed = Secret::zeroed(alg.size());
    entropy.fill(seed.expose_mut())?;
    let key = PublicEncryptingKey::from_der(&key.to_spki_der()).map_err(|_| failed())?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| failed())?;
    let mut encrypted = vec![0; key.ciphertext_size()];
    // The label of OAEP includes its terminating NUL (Part 1, B.4).
    let label = [label, &[0]].concat();
    key.encrypt(oaep(alg)?, seed.expose(), &mut encrypted, Some(&label))
        .map_err(|_| failed())?;
    Ok((seed, encrypted))
}

/// A fresh scalar made of the entropy handed in, and its public point.
pub(super) fn fresh_key(
    curve: Curve,
    entropy: &mut dyn Entropy,
) -> Result<(Secret, Vec<u8>, Vec<u8>), CryptoError> {
    let failed = CryptoError::Provider {
        operation: "making an ephemeral EC key",
    };
    let mut scalar = Secret::zeroed(curve.size());
    for _ in 0..DRAWS {
        entropy.fill(scalar.expose_mut())?;
        let Ok(private) = agreement::PrivateKey::from_private_key(algorithm(curve), scalar.expose()) else {
            continue;
        };
        let public = private.compute_public_key().map_err(|_| failed.clone())?;
        let point = public
            .as_ref()
            .strip_prefix(&[0x04])
            .and_then(|point| point.split_at_checked(curve.size()));
        let (x, y) = point.ok_or(failed)?;
        let (x, y) = (x.to_vec(), y.to_vec());
        return Ok((scalar, x, y));
    }
    Err(failed)
}

fn algorithm(curve: Curve) -> &'static agreement::Algorithm {
    match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
    }
}

fn oaep(alg: HashAlg) -> Result<&'static OaepAlgorithm, CryptoError> {
    match alg {
        HashAlg::Sha1 => Err(CryptoError::NotApproved {
            what: "RSA-OAEP with SHA-1",
        }),
        HashAlg::Sha256 => Ok(&OAEP_SHA256_MGF1SHA256),
        HashAlg::Sha384 => Ok(&OAEP_SHA384_MGF1SHA384),
        HashAlg::Sha512 => Ok(&OAEP_SHA512_MGF1SHA512),
    }
}
