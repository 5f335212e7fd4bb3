//! The initial attestation key (IAK) that the machine's maker left in the chip, with its certificate in NV (TCG, TPM 2.0 Keys for
//! Device Identity and Attestation). It certifies the robot's attestation key: that is what shows that both are in this chip.

use super::CertificateIndices;
use crate::Result;
use alcub3_attestation::certify::Signed;
use alcub3_attestation::ek_certificate::device::is_certificate_of;
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::{Public, attribute};
use alcub3_fleet_protocol::origin::DeviceEvidence;
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::{Auth, Chip, TpmError};
use alcub3_trust_model::handle_map;

/// Most keys that are looked at: a maker leaves an IAK and an IDevID, at times one of each on two curves.
const MAX_KEYS: usize = 8;
/// Most certificates that are sent with the key's own.
const MAX_CHAIN: usize = 8;

/// The chip's initial attestation key, and its certification of the robot's attestation key. None where the chip has no
/// certificate of one, not the key, or where the key does not sign: what is missing is recorded of nobody.
///
/// Commands: none where there is no index for such certificates; else for each index as [`CertificateIndices::read`], 1
/// GetCapability, for each of the maker's keys ReadPublic (2 in a protected session), and 1 Certify.
pub(super) fn initial_attestation(
    chip: &mut Chip,
    indices: &CertificateIndices,
    attestation_key: &PersistentKey,
    binding: &Digest,
) -> Result<Option<DeviceEvidence>> {
    let certificates = indices.device_certificates(chip)?;
    if certificates.is_empty() {
        return Ok(None);
    }
    let all = chip.handles(*handle_map::DEVICE_KEYS.start())?.into_iter();
    let handles = all.filter(|handle| handle_map::DEVICE_KEYS.contains(handle));
    for handle in handles.take(MAX_KEYS) {
        let Some(key) = chip.persistent_key(handle)? else {
            continue;
        };
        let own = certificates
            .iter()
            .find(|certificate| is_certificate_of(certificate, key.public()));
        if let Some(own) = own.filter(|_| is_attestation_key(key.public())) {
            let others = certificates.iter().filter(|other| *other != own);
            let chain = others.take(MAX_CHAIN).cloned().collect();
            return certified(chip, key, (own.clone(), chain), attestation_key, binding);
        }
    }
    tracing::info!("the TPM holds device certificates, and no initial attestation key of any of them");
    Ok(None)
}

fn is_attestation_key(public: &Public) -> bool {
    let set = attribute::RESTRICTED | attribute::SIGN | attribute::FIXED_TPM | attribute::USER_WITH_AUTH;
    public.has_attributes(set) && !public.has_attributes(attribute::DECRYPT)
}

fn certified(
    chip: &mut Chip,
    key: PersistentKey,
    (certificate, chain): (Vec<u8>, Vec<Vec<u8>>),
    attestation_key: &PersistentKey,
    binding: &Digest,
) -> Result<Option<DeviceEvidence>> {
    let public = key.public().clone();
    let object = Key::from(PersistentKey::new(
        attestation_key.handle(),
        attestation_key.public().clone(),
    ));
    match chip.certify(&object, Auth::Empty, &Key::from(key), binding.as_bytes()) {
        Ok(made) => Ok(Some(DeviceEvidence {
            certificate,
            chain,
            key: public,
            certification: Signed {
                message: made.message,
                signature: made.signature,
            },
        })),
        Err(TpmError::Refused { code, .. }) => {
            tracing::warn!(%code, "the initial attestation key does not sign with an empty authorisation, and is left out");
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}
