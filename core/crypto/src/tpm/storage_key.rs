//! A storage key made in software, to be imported by whichever TPM its holders choose: what is duplicated to it can be
//! restored there.

use super::seed::fresh_key;
use super::wire::Writer;
use super::{Public, PublicTemplate, alg, attribute, duplicate};
use crate::{CryptoError, Curve, Entropy, Secret};

/// A storage key with its private part in memory.
#[derive(Clone, Debug)]
pub struct StorageKeyPair {
    public: Public,
    sensitive: Secret,
}

impl StorageKeyPair {
    /// Makes an ECC storage key (AES-128-CFB for P-256, AES-256-CFB for P-384). Neither fixedTPM nor fixedParent; usable with
    /// an empty authorisation value, noDA.
    ///
    /// # Errors
    /// [`CryptoError::Entropy`] or [`CryptoError::Provider`].
    pub fn generate(curve: Curve, entropy: &mut dyn Entropy) -> Result<Self, CryptoError> {
        let (scalar, x, y) = fresh_key(curve, entropy)?;
        let template = Self::template(curve);
        // The template ends in two empty coordinates.
        let head = template.as_tpmt_bytes().strip_suffix(&[0; 4]).unwrap_or_default();
        let area = Writer::default()
            .bytes(head)
            .sized(&x, "x coordinate")?
            .sized(&y, "y coordinate")?;
        let public = Public::from_tpmt(&area.finish())?;
        let mut seed_value = Secret::zeroed(curve.hash().size());
        entropy.fill(seed_value.expose_mut())?;
        let none = Secret::from_slice(&[]);
        let sensitive = duplicate::sensitive(alg::ECC, &none, &seed_value, &scalar)?;
        Ok(Self { public, sensitive })
    }

    /// The public area of such keys, without their point.
    #[must_use]
    pub fn template(curve: Curve) -> PublicTemplate {
        PublicTemplate::storage_parent_with(curve, attribute::USER_WITH_AUTH | attribute::NO_DA, None)
    }

    /// A key that was kept: its public area and its TPMT_SENSITIVE. Whether they belong together, the TPM that imports it
    /// says.
    #[must_use]
    pub fn from_parts(public: Public, sensitive: Secret) -> Self {
        Self { public, sensitive }
    }

    /// The public area.
    #[must_use]
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// The TPMT_SENSITIVE (Part 2, §12.3.2.4).
    #[must_use]
    pub fn sensitive(&self) -> &Secret {
        &self.sensitive
    }

    /// Wraps the key for TPM2_Import under a storage key of a TPM.
    ///
    /// # Errors
    /// As [`duplicate::wrap`].
    pub fn wrap_to(
        &self,
        parent: &Public,
        entropy: &mut dyn Entropy,
    ) -> Result<duplicate::Duplicate, CryptoError> {
        duplicate::wrap(parent, &self.public, &self.sensitive, entropy)
    }
}
