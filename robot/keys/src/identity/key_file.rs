//! Device keys as files for other programs: `TSS2 PRIVATE KEY` ("ASN.1 Specification for TPM 2.0 Key Files", §3.1), which
//! `tpm2-openssl` and others load. The private part stays wrapped by the storage root: the file works in this chip alone.

use super::DeviceKey;
use crate::{KeysError, Result};
use alcub3_trust_model::handle_map;
use der::asn1::{ObjectIdentifier, OctetString};
use der::{Encode, Sequence};

/// id-loadablekey: TPM2_Load takes it as it is.
const LOADABLE_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.10.1.3");

/// TPMKey, without the fields for policies and imports, which ours do not have.
#[derive(Clone, Debug, Eq, PartialEq, Sequence)]
struct TpmKey {
    key_type: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    empty_auth: Option<bool>,
    /// The persistent handle of the storage root, which opens with an empty authorisation value.
    parent: u32,
    /// TPM2B_PUBLIC.
    public: OctetString,
    /// TPM2B_PRIVATE.
    private: OctetString,
}

impl DeviceKey {
    /// The PEM label of [`Self::to_key_file`].
    pub const KEY_FILE_LABEL: &'static str = "TSS2 PRIVATE KEY";

    /// A local key as a TPM 2.0 key file, in DER.
    ///
    /// # Errors
    /// [`KeysError::NotExportable`] for the initial key, which is a primary and has no private part to wrap.
    pub fn to_key_file(&self) -> Result<Vec<u8>> {
        if self.private.is_empty() {
            return Err(KeysError::NotExportable);
        }
        let size = u16::try_from(self.private.len()).map_err(|_| KeysError::NotExportable)?;
        let private = [&size.to_be_bytes(), self.private.as_slice()].concat();
        let file = TpmKey {
            key_type: LOADABLE_KEY,
            empty_auth: Some(true),
            parent: handle_map::STORAGE_ROOT,
            public: OctetString::new(self.public.to_tpm2b())?,
            private: OctetString::new(private)?,
        };
        Ok(file.to_der()?)
    }
}
