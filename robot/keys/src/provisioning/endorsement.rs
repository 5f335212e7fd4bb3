//! What the chip's NV has of certificates, and with it which endorsement key the chip can prove.
//!
//! TCG EK Credential Profile 2.5, 2.2.1.4 and 2.2.1.5: each kind of endorsement key has an index for its certificate, and the
//! certificates above them, where the vendor ships them in the chip, lie in a range of their own.

use super::STEP_TIMEOUT;
use crate::{KeysError, Result};
use alcub3_attestation::ek_certificate::{split_chain, without_filler};
use alcub3_crypto::Curve;
use alcub3_crypto::tpm::{EkTemplate, Public};
use alcub3_tpm::ops::Hierarchy;
use alcub3_tpm::{Auth, Chip, Lane, Tpm, TpmError};
use alcub3_trust_model::handle_map;

/// Most indices of the machine's maker that are read: two certificates, and those above them.
const MAX_DEVICE_INDICES: usize = 8;

/// Most indices of the chain that are read: real chains have at most four certificates.
const MAX_CHAIN_INDICES: usize = 16;

/// The indices for endorsement certificates and for those of the machine's maker that are defined.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct CertificateIndices(Vec<u32>);

/// An endorsement key's certificate, and those above it, leaf side first as the chip holds them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    /// In DER, filler removed; empty where the chip has none for this key.
    pub(crate) certificate: Vec<u8>,
    /// In DER.
    pub(crate) chain: Vec<Vec<u8>>,
}

impl CertificateIndices {
    /// Commands: 1 GetCapability for some 250 indices.
    pub(crate) fn list(chip: &mut Chip) -> Result<Self> {
        let all = chip.handles(handle_map::EK_CERTIFICATES)?.into_iter();
        let known = |index: &u32| {
            handle_map::EK_CERTIFICATE_CHAIN.contains(index)
                || handle_map::DEVICE_CERTIFICATES.contains(index)
                || EkTemplate::ALL
                    .iter()
                    .any(|template| handle_map::ek_certificate(*template) == *index)
        };
        Ok(Self(all.filter(known).collect()))
    }

    /// The endorsement key to use: of those that the chip has a certificate for, the first that robots of this curve take; where
    /// it has none, the curve's own.
    pub(crate) fn endorsement_key(&self, curve: Curve) -> EkTemplate {
        let certified = |template: &EkTemplate| self.0.contains(&handle_map::ek_certificate(*template));
        let mut preferred = EkTemplate::preferred(curve).into_iter();
        preferred.find(certified).unwrap_or(EkTemplate::of_curve(curve))
    }

    /// Reads the certificate of an endorsement key, and the chain. Commands: for each index NV_ReadPublic (2 the first time in a
    /// protected session) and 1 NV_Read per 512 bytes.
    pub(crate) fn read(&self, chip: &mut Chip, template: EkTemplate) -> Result<Certificates> {
        let index = handle_map::ek_certificate(template);
        if !self.0.contains(&index) {
            return Ok(Certificates::default());
        }
        let held = chip.nv_read(index)?;
        // What is no certificate is the authority's to refuse, with its reason.
        let certificate = without_filler(&held).unwrap_or(&held).to_vec();
        Ok(Certificates {
            certificate,
            chain: self.chain(chip)?,
        })
    }

    /// The chain helps to find the way to a root and proves nothing: a chip whose chain cannot be read or makes no sense is shown
    /// without.
    fn chain(&self, chip: &mut Chip) -> Result<Vec<Vec<u8>>> {
        let indices = self.0.iter();
        let indices = indices.filter(|index| handle_map::EK_CERTIFICATE_CHAIN.contains(index));
        let mut held = Vec::new();
        for index in indices.take(MAX_CHAIN_INDICES) {
            match chip.nv_read(*index) {
                Ok(part) => held.extend(part),
                Err(TpmError::Refused { code, .. }) => {
                    tracing::warn!(index, %code, "this part of the endorsement certificate's chain cannot be read");
                    return Ok(Vec::new());
                }
                Err(other) => return Err(other.into()),
            }
        }
        match split_chain(&held) {
            Ok(chain) => Ok(chain.into_iter().map(<[u8]>::to_vec).collect()),
            Err(error) => {
                tracing::warn!(%error, "the endorsement certificate's chain in the chip is left out");
                Ok(Vec::new())
            }
        }
    }

    /// The certificates that the machine's maker left, each whole in one index or several in one. An index that cannot be read, or
    /// that holds something else (templates lie there as well), is left out. Commands: none where there are no such indices.
    pub(super) fn device_certificates(&self, chip: &mut Chip) -> Result<Vec<Vec<u8>>> {
        let indices = self.0.iter();
        let indices = indices.filter(|index| handle_map::DEVICE_CERTIFICATES.contains(index));
        let mut found: Vec<Vec<u8>> = Vec::new();
        for index in indices.take(MAX_DEVICE_INDICES) {
            match chip.nv_read(*index) {
                Ok(held) => match split_chain(&held) {
                    Ok(certificates) => found.extend(certificates.into_iter().map(<[u8]>::to_vec)),
                    Err(error) => tracing::info!(index, %error, "this index holds no device certificate"),
                },
                Err(TpmError::Refused { code, .. }) => {
                    tracing::warn!(index, %code, "this device certificate cannot be read");
                }
                Err(other) => return Err(other.into()),
            }
        }
        Ok(found)
    }

    /// That the chip lists the same in a protected session as it did before there was one.
    pub(crate) fn confirm(&self, chip: &mut Chip) -> Result<()> {
        if Self::list(chip)? == *self {
            Ok(())
        } else {
            Err(KeysError::CertificatesChanged)
        }
    }
}

/// What a chip shows of its endorsement.
#[derive(Clone, Debug)]
pub struct ShownEndorsement {
    /// Which endorsement key it proves itself with.
    pub kind: &'static str,
    /// That key.
    pub key: Public,
    /// Its certificate in DER, filler removed; empty where the chip has none.
    pub certificate: Vec<u8>,
    /// The certificates above it that the chip holds.
    pub chain: Vec<Vec<u8>>,
}

/// The endorsement that a chip would be provisioned with on a curve, or was. Changes nothing in the chip. Commands: 1
/// GetCapability, the endorsement key (ReadPublic, and CreatePrimary where it is not persistent), its certificates.
///
/// # Errors
/// The chip's: BAD_AUTH where it is owned and has no endorsement key of ours.
pub fn show_endorsement(tpm: &Tpm, curve: Curve) -> Result<ShownEndorsement> {
    tpm.run(Lane::Background, STEP_TIMEOUT, move |chip| Ok(shown(chip, curve)))?
}

fn shown(chip: &mut Chip, curve: Curve) -> Result<ShownEndorsement> {
    let indices = CertificateIndices::list(chip)?;
    let template = indices.endorsement_key(curve);
    let key = match chip.persistent_key(handle_map::EK)? {
        Some(found) => found.public().clone(),
        None => {
            let public = template.public();
            let empty = Auth::Empty;
            let made =
                chip.create_primary(Hierarchy::Endorsement, empty, public.as_tpmt_bytes(), None, &[])?;
            made.object.public().clone()
        }
    };
    // A chip that is provisioned keeps to its key, whatever curve is asked for.
    let template = EkTemplate::of(&key).unwrap_or(template);
    let Certificates { certificate, chain } = indices.read(chip, template)?;
    Ok(ShownEndorsement {
        kind: template.name(),
        key,
        certificate,
        chain,
    })
}
