//! Credential activation (TPM 2.0 Part 3, 12.5): proof that two keys are in one chip.

use super::keys::Key;
use super::wire::{Answer, Params};
use crate::{Auth, Chip, CommandCode, Protect, Result};
use alcub3_crypto::Secret;
use tpm2_protocol::data::TpmCc;

const ACTIVATE: CommandCode = CommandCode::of(TpmCc::ActivateCredential);

impl Chip {
    /// Recovers the secret of a credential made for the key `key` (an endorsement key) and the object `activate` (an
    /// attestation key); it crosses the bus encrypted. `id_object` and `encrypted_secret` are contents without their
    /// outer size. Commands: 1 ActivateCredential.
    ///
    /// # Errors
    /// INTEGRITY or VALUE where the credential is for other keys.
    pub fn activate_credential(
        &mut self,
        activate: &Key,
        activate_auth: Auth<'_>,
        key: &Key,
        key_auth: Auth<'_>,
        id_object: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Secret> {
        let params = Params::new(ACTIVATE)
            .sized(id_object, 132, "the credential")
            .sized(encrypted_secret, 512, "the encrypted secret")
            .finish()?;
        let targets = [activate.target(), key.target()];
        let reply = self.call_raw(
            ACTIVATE,
            &targets,
            &[activate_auth, key_auth],
            Protect::Out,
            &params,
        )?;
        let mut answer = Answer::new(ACTIVATE, &reply);
        let secret = Secret::from_slice(answer.sized("the secret")?);
        answer.end()?;
        Ok(secret)
    }
}
