//! Wrapping an object for TPM2_Import in software (Part 1, §23.3: outer duplication wrap, no inner wrapper).

use super::seed::share_seed;
use super::wire::Writer;
use super::{Public, PublicTemplate, StructureError};
use crate::{CryptoError, Entropy, Secret, aes_cfb_encrypt, hmac, kdfa};

/// What TPM2_Import takes besides the object's public area.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// TPM2B_PRIVATE's contents: the integrity value (a TPM2B) and the encrypted sensitive area.
    pub duplicate: Vec<u8>,
    /// TPM2B_ENCRYPTED_SECRET's contents: the seed, encrypted to the new parent.
    pub encrypted_seed: Vec<u8>,
}

/// Wraps `sensitive` (a marshalled TPMT_SENSITIVE; [`sensitive`] makes one) of `object` to `new_parent`, with an outer wrapper and
/// no inner one. The object's fixedTPM, fixedParent and encryptedDuplication must be clear, or the TPM refuses it.
///
/// # Errors
/// As [`make_credential`](super::make_credential), and [`CryptoError::NotApproved`] when the object's nameAlg is not
/// approved.
pub fn wrap(
    new_parent: &Public,
    object: &Public,
    sensitive: &Secret,
    entropy: &mut dyn Entropy,
) -> Result<Duplicate, CryptoError> {
    if !object.name_alg().is_approved() {
        return Err(CryptoError::NotApproved {
            what: "the object's nameAlg",
        });
    }
    let alg = new_parent.name_alg();
    let bits = new_parent.symmetric();
    let bits = bits.ok_or(CryptoError::NotApproved {
        what: "a parent that is no storage key",
    })?;
    let name = object.name();
    let (seed, encrypted_seed) = share_seed(new_parent, b"DUPLICATE", entropy)?;
    let key = kdfa(alg, seed.expose(), b"STORAGE", name.as_bytes(), &[], bits.into());
    // Encrypted in place in a buffer that is wiped if the encryption fails half-way.
    let writer = Writer::with_capacity(2 + sensitive.len());
    let mut wrapped = Secret::from_vec(writer.sized(sensitive.expose(), "sensitive area")?.finish());
    aes_cfb_encrypt(key.expose(), &[0; 16], wrapped.expose_mut())?;
    let key = kdfa(alg, seed.expose(), b"INTEGRITY", &[], &[], alg.bits());
    let integrity = hmac(alg, key.expose(), &[wrapped.expose(), name.as_bytes()]);
    let duplicate = Writer::default()
        .sized(integrity.as_bytes(), "integrity")?
        .bytes(wrapped.expose());
    Ok(Duplicate {
        duplicate: duplicate.finish(),
        encrypted_seed,
    })
}

/// A TPMT_SENSITIVE (Part 2, §12.3.2.4): `object_type` and the private bits or data, the authorisation value, and the
/// seed value that a keyed hash object's `unique` is made from (empty for asymmetric keys).
///
/// # Errors
/// [`CryptoError::Structure`] when a part is longer than its 16-bit size can say.
pub fn sensitive(
    object_type: u16,
    auth: &Secret,
    seed_value: &Secret,
    private: &Secret,
) -> Result<Secret, CryptoError> {
    let area = Writer::with_capacity(8 + auth.len() + seed_value.len() + private.len())
        .u16(object_type)
        .sized(auth.expose(), "authValue")?
        .sized(seed_value.expose(), "seedValue")?
        .sized(private.expose(), "sensitive")?;
    Ok(Secret::from_vec(area.finish()))
}

/// The public area of an HMAC key or of sealed data made outside a TPM: `template` with its `unique` filled in as
/// H_nameAlg(seedValue ‖ data) (Part 1, §27.5.3). Pass the same `seed_value` and `data` to [`sensitive`].
///
/// # Errors
/// [`StructureError::Unknown`] when `template` is of another type, and as [`Public::from_tpmt`].
pub fn keyed_hash_object(
    template: &PublicTemplate,
    seed_value: &Secret,
    data: &Secret,
) -> Result<Public, StructureError> {
    let public = template.to_public()?;
    if public.object_type() != super::alg::KEYEDHASH {
        return Err(StructureError::Unknown {
            field: "type",
            value: public.object_type().into(),
        });
    }
    let unique = public.name_alg().digest(&[seed_value.expose(), data.expose()]);
    // A keyed hash template ends with the empty `unique`, two bytes of size.
    let head = template.as_tpmt_bytes().strip_suffix(&[0, 0]).unwrap_or_default();
    Public::from_tpmt(
        &Writer::default()
            .bytes(head)
            .sized(unique.as_bytes(), "unique")?
            .finish(),
    )
}
