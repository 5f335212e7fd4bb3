//! The initial device key (IDevID): made by TPM2_CreatePrimary, the same key each time while the endorsement seed lives.

use crate::Result;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Digest, Secret};
use alcub3_tpm::ops::{Attestation, CreatedPrimary, Creation, Hierarchy, Key, PersistentKey};
use alcub3_tpm::{Auth, Chip};
use alcub3_trust_model::handle_map;

/// Makes the initial device key with the binding in its creation data. Commands: 1 CreatePrimary, 1 FlushContext.
pub(crate) fn make_initial(
    chip: &mut Chip,
    endorsement: &Secret,
    curve: Curve,
    binding: &Digest,
) -> Result<CreatedPrimary> {
    Ok(chip.create_primary(
        Hierarchy::Endorsement,
        Auth::Value(endorsement),
        PublicTemplate::initial_device_id(curve).as_tpmt_bytes(),
        None,
        binding.as_bytes(),
    )?)
}

/// Makes the initial device key, or finds it made, with the binding in its creation data, and has the attestation key
/// certify that. Whatever else is at its handle makes way: the handle is ours.
///
/// Commands: 1 CreatePrimary, 1 CertifyCreation, 1 FlushContext; up to 2 EvictControl where the handle does not hold it.
pub(crate) fn initial_device_key(
    chip: &mut Chip,
    (endorsement, owner): (&Secret, &Secret),
    curve: Curve,
    attestation_key: &PersistentKey,
    binding: &Digest,
) -> Result<(PersistentKey, Creation, Attestation)> {
    let made = make_initial(chip, endorsement, curve, binding)?;
    let certification = chip.certify_creation(
        &Key::from(attestation_key.clone()),
        &Key::from(made.object.clone()),
        binding.as_bytes(),
        &made.creation,
    )?;
    let key = match chip.persistent_key(handle_map::IDENTITY)? {
        Some(found) if found.name() == made.object.name() => found,
        found => {
            if let Some(other) = found {
                chip.evict_control_remove(owner, &other)?;
            }
            chip.evict_control_make(owner, &made.object, handle_map::IDENTITY)?
        }
    };
    Ok((key, made.creation, certification))
}
