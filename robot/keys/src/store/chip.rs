//! What the store asks of the chip.

use super::error::StoreError;
use super::seal::Seal;
use crate::Result;
use crate::provisioning::nv_public;
use crate::robot::OPERATION_TIMEOUT;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Public, attribute};
use alcub3_crypto::{HashAlg, Secret};
use alcub3_tpm::ops::Key;
use alcub3_tpm::{Auth, Chip, Lane, ResponseCode, Tpm, TpmError};
use alcub3_trust_model::domain;
use alcub3_trust_model::managed_key::StoreHeader;
use alcub3_trust_model::nv_map::{KeyAnchor, NvIndex, NvMap};

/// A robot's chip as its store sees it.
#[derive(Clone, Debug)]
pub(crate) struct StoreChip {
    pub(crate) tpm: Tpm,
    pub(crate) nv: NvMap,
    pub(crate) storage_root: Key,
}

impl StoreChip {
    fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Chip) -> std::result::Result<T, TpmError> + Send + 'static,
    ) -> Result<T> {
        Ok(self.tpm.run(Lane::Command, OPERATION_TIMEOUT, operation)?)
    }

    fn alg(&self) -> HashAlg {
        self.nv.name_alg()
    }

    /// Makes a store's own key. Commands: 1 Create.
    pub(super) fn make_key(&self) -> Result<(Public, Vec<u8>)> {
        let attributes = attribute::FIXED_TPM
            | attribute::FIXED_PARENT
            | attribute::SENSITIVE_DATA_ORIGIN
            | attribute::USER_WITH_AUTH
            | attribute::NO_DA;
        let template = PublicTemplate::hmac_key(self.alg(), attributes, None);
        let parent = self.storage_root.clone();
        self.run(move |chip| {
            let empty = Secret::from_slice(&[]);
            let made = chip.create(&parent, Auth::Empty, template.as_tpmt_bytes(), &empty, None, &[])?;
            Ok((made.public, made.private))
        })
    }

    /// Derives the MAC key of a store. Commands: 1 Load, 1 HMAC, a flush.
    pub(super) fn derive(&self, public: &Public, private: &[u8]) -> Result<Seal> {
        let (parent, public, private) = (self.storage_root.clone(), public.clone(), private.to_vec());
        let derived = self.run(move |chip| {
            let key = Key::from(chip.load(&parent, Auth::Empty, &private, &public)?);
            chip.hmac(&key, Auth::Empty, domain::STORE_KEY.as_bytes())
        });
        match derived {
            Ok(derived) => Ok(Seal::new(self.alg(), &derived)),
            Err(crate::KeysError::Tpm(error)) if is_foreign(&error) => {
                Err(StoreError::edited("its own key").into())
            }
            Err(error) => Err(error),
        }
    }

    /// As [`Self::derive`], for a header that was read.
    pub(super) fn derive_for(&self, header: &StoreHeader) -> Result<Seal> {
        self.derive(&header.public, &header.private)
    }

    /// What the chip has counted. Commands: 1 NV_Read, and 1 NV_ReadPublic the first time.
    pub(super) fn counted(&self) -> Result<u64> {
        let spec = self.nv.spec(NvIndex::StoreAnchor);
        self.run(move |chip| {
            chip.nv_expect(&nv_public(&spec))?;
            chip.nv_counter(spec.handle)
        })
    }

    /// Counts one generation. Commands: 1 NV_Increment.
    pub(super) fn count(&self) -> Result<()> {
        let handle = self.nv.spec(NvIndex::StoreAnchor).handle;
        self.run(move |chip| chip.nv_increment(handle))
    }
}

impl StoreChip {
    /// Moves every key anchor: no managed key of before works again. Commands: 12 NV_Extend.
    pub(super) fn move_key_anchors(&self) -> Result<()> {
        let nv = self.nv;
        self.run(move |chip| {
            KeyAnchor::all().try_for_each(|anchor| {
                let handle = nv.spec(NvIndex::KeyAnchor(anchor)).handle;
                chip.nv_extend(handle, domain::KEY_ANCHOR.as_bytes())
            })
        })
    }
}

/// Refusals of a key that this chip's storage root did not wrap, or that was changed since.
fn is_foreign(error: &TpmError) -> bool {
    const TYPE: ResponseCode = ResponseCode(0x08a);
    const SCHEME: ResponseCode = ResponseCode(0x092);
    const BINDING: ResponseCode = ResponseCode(0x0a5);
    let codes = [
        ResponseCode::INTEGRITY,
        ResponseCode::SIZE,
        ResponseCode::VALUE,
        ResponseCode::ATTRIBUTES,
        ResponseCode::HASH,
        TYPE,
        SCHEME,
        BINDING,
    ];
    codes.into_iter().any(|code| error.is_refusal(code))
}
