//! MakeCredential in software (Part 1, §24; Part 3, TPM2_MakeCredential): a secret that only the TPM holding both the
//! endorsement key and the named object can recover.

use super::seed::share_seed;
use super::wire::Writer;
use super::{Name, Public};
use crate::{CryptoError, Entropy, aes_cfb_encrypt, hmac, kdfa};

/// What TPM2_ActivateCredential takes. Both are contents, without the outer TPM2B's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// TPMS_ID_OBJECT: the integrity value (a TPM2B) and the encrypted credential.
    pub id_object: Vec<u8>,
    /// TPMU_ENCRYPTED_SECRET: the ephemeral point, or the RSA ciphertext.
    pub encrypted_secret: Vec<u8>,
}

/// Protects `secret` to the endorsement key `ek` and to the object called `object_name`.
///
/// Randomness comes from `entropy`, except OAEP's padding for an RSA key, which AWS-LC draws itself.
///
/// # Errors
/// [`CryptoError::NotApproved`] when `ek` is no storage key, [`CryptoError::WrongLength`] when the secret is longer than
/// the digest of the EK's nameAlg, [`CryptoError::KeyRejected`] when the EK's point or modulus is bad.
pub fn make_credential(
    ek: &Public,
    object_name: &Name,
    secret: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Credential, CryptoError> {
    let alg = ek.name_alg();
    if secret.len() > alg.size() {
        return Err(CryptoError::WrongLength {
            what: "credential",
            expected: alg.size(),
            actual: secret.len(),
        });
    }
    let bits = ek.symmetric().ok_or(CryptoError::NotApproved {
        what: "a key that is no storage key",
    })?;
    let (seed, encrypted_secret) = share_seed(ek, b"IDENTITY", entropy)?;
    let key = kdfa(
        alg,
        seed.expose(),
        b"STORAGE",
        object_name.as_bytes(),
        &[],
        bits.into(),
    );
    let mut identity = Writer::with_capacity(2 + secret.len())
        .sized(secret, "credential")?
        .finish();
    aes_cfb_encrypt(key.expose(), &[0; 16], &mut identity)?;
    let key = kdfa(alg, seed.expose(), b"INTEGRITY", &[], &[], alg.bits());
    let integrity = hmac(alg, key.expose(), &[&identity, object_name.as_bytes()]);
    let id_object = Writer::default()
        .sized(integrity.as_bytes(), "integrity")?
        .bytes(&identity)
        .finish();
    Ok(Credential {
        id_object,
        encrypted_secret,
    })
}
