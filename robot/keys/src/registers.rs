//! Robot registers: NV indices that only extend and that a TPM Reset or Restart empties (DESIGN §4).

use crate::provisioning::nv_public;
use crate::robot::RobotKeys;
use crate::{KeysError, Result};
use alcub3_crypto::Digest;
use alcub3_tpm::Lane;
use alcub3_trust_model::nv_map::{NvIndex, Register};

impl RobotKeys {
    /// What a register holds; none where nothing was extended since the last reset. Commands: 1 NV_Read where it was
    /// written; at its first use 1 NV_ReadPublic more, 2 where it was not.
    ///
    /// # Errors
    /// The chip's.
    pub fn register(&self, register: Register) -> Result<Option<Digest>> {
        let expected = nv_public(&self.nv.spec(NvIndex::Register(register)));
        let (handle, alg) = (expected.index, self.hash());
        let value = self.run(Lane::Background, move |chip| {
            if chip.nv_expect(&expected)?.is_written() {
                chip.nv_read(handle).map(Some)
            } else {
                Ok(None)
            }
        })?;
        let Some(value) = value else { return Ok(None) };
        let value = Digest::from_slice(alg, &value).ok_or(KeysError::Foreign {
            place: "NV index",
            handle,
        })?;
        Ok(Some(value))
    }

    /// Extends a register for a measured digest. Commands: 1 NV_Extend.
    ///
    /// # Errors
    /// The chip's.
    pub fn extend_register(&self, register: Register, measured: &Digest) -> Result<()> {
        let handle = NvIndex::Register(register).handle();
        let data = register.event_data(measured);
        self.run(Lane::Background, move |chip| {
            chip.nv_extend(handle, data.as_bytes())
        })
    }
}
