//! Command audit: the chip's own digest over the commands it was told to record (TPM 2.0 Part 1, 31; Part 3, 18.5, 21).

use super::attesting::{Attestation, accept};
use super::keys::{Hierarchy, Key};
use super::wire::{Answer, Params};
use crate::{Auth, Chip, CommandCode, Protect, Result};
use alcub3_crypto::HashAlg;
use tpm2_protocol::data::{TpmCc, TpmuAttest};

const SET_STATUS: CommandCode = CommandCode::of(TpmCc::SetCommandCodeAuditStatus);
const GET_DIGEST: CommandCode = CommandCode::of(TpmCc::GetCommandAuditDigest);

impl Chip {
    /// Sets the hash of the command audit; the digest starts anew. Commands: 1 SetCommandCodeAuditStatus.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong value, VALUE or HASH for a hash the chip lacks.
    pub fn set_command_audit_hash(&mut self, owner: Auth<'_>, hash: HashAlg) -> Result<()> {
        // The specification permits a change of hash only while both lists are empty.
        self.set_audit_status(owner, hash.tpm_id(), &[], &[])
    }

    /// Adds commands to and removes commands from those that are audited. Commands: 1 SetCommandCodeAuditStatus.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong value.
    pub fn set_command_audit(
        &mut self,
        owner: Auth<'_>,
        set: &[CommandCode],
        clear: &[CommandCode],
    ) -> Result<()> {
        self.set_audit_status(owner, super::wire::ALG_NULL, set, clear)
    }

    fn set_audit_status(
        &mut self,
        owner: Auth<'_>,
        alg: u16,
        set: &[CommandCode],
        clear: &[CommandCode],
    ) -> Result<()> {
        let mut params = Params::new(SET_STATUS).u16(alg);
        for list in [set, clear] {
            params = params.count(list.len(), 256, "the list of commands");
            params = list.iter().fold(params, |params, code| params.u32(code.0));
        }
        let targets = [Hierarchy::Owner.target()];
        let reply = self.call_raw(
            SET_STATUS,
            &targets,
            &[owner],
            Protect::Integrity,
            &params.finish()?,
        )?;
        Answer::new(SET_STATUS, &reply).end()
    }

    /// The signed digest over the audited commands, which starts anew after it. Commands: 1 GetCommandAuditDigest.
    ///
    /// # Errors
    /// BAD_AUTH or AUTH_FAIL for a wrong endorsement authorisation.
    pub fn command_audit_digest(
        &mut self,
        endorsement: Auth<'_>,
        signer: &Key,
        qualifying: &[u8],
    ) -> Result<Attestation> {
        let params = Params::new(GET_DIGEST)
            .sized(qualifying, 66, "the qualifying data")
            .null_scheme()
            .finish()?;
        let targets = [Hierarchy::Endorsement.target(), signer.target()];
        let reply = self.call_raw(
            GET_DIGEST,
            &targets,
            &[endorsement, Auth::Empty],
            Protect::Integrity,
            &params,
        )?;
        accept(GET_DIGEST, &reply, qualifying, |attested| {
            matches!(attested, TpmuAttest::CommandAudit(_))
        })
    }
}
