//! Replaying policies on the chip (TPM 2.0 Part 3, 23). Digests are computed in software; every policy command carries
//! the protecting session, so that a faked success is found out when it happens and not when the key is used.

use super::keys::Hierarchy;
use super::policy_inputs::{Approval, PolicyInputs};
use super::wire::{Answer, Params};
use crate::chip::Reply;
use crate::{Auth, Chip, CommandCode, PolicySession, Protect, ResponseCode, Result, Target, TpmError};
use alcub3_crypto::tpm::Name;
use alcub3_crypto::tpm::policy::{Assertion, NvOperation, Policy, PolicyDigest, policy_authorize_message};
use alcub3_crypto::{Digest, Secret};
use tpm2_protocol::data::TpmCc;

const AUTHORIZE: CommandCode = CommandCode::of(TpmCc::PolicyAuthorize);
const AUTHORIZE_NV: CommandCode = CommandCode::of(TpmCc::PolicyAuthorizeNv);
const NV: CommandCode = CommandCode::of(TpmCc::PolicyNv);
const SIGNED: CommandCode = CommandCode::of(TpmCc::PolicySigned);
const SECRET: CommandCode = CommandCode::of(TpmCc::PolicySecret);
const GET_DIGEST: CommandCode = CommandCode::of(TpmCc::PolicyGetDigest);
const ST_AUTH_SECRET: u16 = 0x8023;
const ST_AUTH_SIGNED: u16 = 0x8025;
/// How often a policy session is built anew because a counting PCR (usually IMA's) was extended meanwhile.
const PCR_CHANGED_ATTEMPTS: usize = 5;

impl Chip {
    /// Starts a policy session and replays a policy's assertions in it. Commands: 1 StartAuthSession, 1 per assertion;
    /// the first time for each PolicyAuthorize approval 1 LoadExternal, 1 VerifySignature and 1 FlushContext more; 1
    /// FlushContext when the session is dropped.
    ///
    /// # Errors
    /// [`TpmError::PolicyInput`] where an input is missing; POLICY where a comparison does not hold, VALUE where PCRs
    /// have other values, SIGNATURE or TICKET where an approval is not genuine, EXPIRED.
    pub fn policy_session(&mut self, policy: &Policy, inputs: &PolicyInputs) -> Result<PolicySession> {
        let session = self.begin_policy(policy)?;
        self.complete_policy(&session, policy, inputs)?;
        Ok(session)
    }

    /// Starts a policy session without replaying anything: the first step where a signer must see
    /// [`PolicySession::nonce_tpm`] before it signs. Commands: 1 StartAuthSession.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn begin_policy(&mut self, policy: &Policy) -> Result<PolicySession> {
        let value = |assertion: &Assertion| matches!(assertion, Assertion::AuthValue | Assertion::Password);
        self.start_policy_session(policy.alg(), policy.assertions().iter().any(value))
    }

    /// The second step after [`Self::begin_policy`]. Commands: as [`Self::policy_session`] without StartAuthSession.
    ///
    /// # Errors
    /// As [`Self::policy_session`].
    pub fn complete_policy(
        &mut self,
        session: &PolicySession,
        policy: &Policy,
        inputs: &PolicyInputs,
    ) -> Result<()> {
        let mut running = PolicyDigest::new(policy.alg());
        for assertion in policy.assertions() {
            self.replay(session, assertion, &running.digest(), inputs)?;
            running.apply(assertion).map_err(|_| TpmError::PolicyInput {
                what: "assertions of one hash algorithm",
            })?;
        }
        Ok(())
    }

    /// Builds a policy session and uses it; builds it again where a counting PCR was extended between the two, as IMA
    /// does all the time. After a stop the policy's own PCRs have changed, so that the rebuilding is refused.
    ///
    /// # Errors
    /// As [`Self::policy_session`], and those of `operation`.
    pub fn with_policy<T>(
        &mut self,
        policy: &Policy,
        inputs: &PolicyInputs,
        mut operation: impl FnMut(&mut Self, &PolicySession) -> Result<T>,
    ) -> Result<T> {
        let mut attempts = PCR_CHANGED_ATTEMPTS;
        loop {
            attempts -= 1;
            let result = self
                .policy_session(policy, inputs)
                .and_then(|session| operation(self, &session));
            match result {
                Err(error) if error.is_refusal(ResponseCode::PCR_CHANGED) && attempts > 0 => {}
                other => return other,
            }
        }
    }

    /// The chip's own digest of a policy session, for comparison. Commands: 1 PolicyGetDigest.
    ///
    /// # Errors
    /// What the chip refuses.
    pub fn policy_get_digest(&mut self, session: &PolicySession) -> Result<Digest> {
        let reply = self.call_raw(
            GET_DIGEST,
            &[Target::Session(session)],
            &[],
            Protect::Integrity,
            &[],
        )?;
        let mut answer = Answer::new(GET_DIGEST, &reply);
        let digest = answer.digest(session.hash(), "the policy digest")?;
        answer.end()?;
        Ok(digest)
    }

    /// One policy command. `before` is the digest so far.
    fn replay(
        &mut self,
        session: &PolicySession,
        assertion: &Assertion,
        before: &Digest,
        inputs: &PolicyInputs,
    ) -> Result<()> {
        match assertion {
            Assertion::Nv {
                index_name,
                operand,
                offset,
                operation,
            } => {
                let params = comparison(NV, operand, *offset, *operation)?;
                self.policy_on_nv(NV, session, index_name, inputs, &params)
            }
            Assertion::AuthorizeNv { index_name } => {
                self.policy_on_nv(AUTHORIZE_NV, session, index_name, inputs, &[])
            }
            Assertion::Signed {
                signer_name,
                policy_ref,
            } => self.policy_signed(session, signer_name, policy_ref, inputs),
            Assertion::Secret {
                object_name,
                policy_ref,
            } => self.policy_secret(session, object_name, policy_ref, inputs),
            Assertion::Authorize { key_name, policy_ref } => {
                self.policy_authorize(session, before, inputs.find_approval(key_name, policy_ref)?)
            }
            Assertion::Or(branches) if !branches.contains(before) => Err(TpmError::PolicyInput {
                what: "a path whose digest is among the branches of PolicyOR",
            }),
            simple => self.policy_simple(session, simple),
        }
    }

    /// A policy command whose only handle is the session.
    fn policy_simple(&mut self, session: &PolicySession, assertion: &Assertion) -> Result<()> {
        let Some((code, params)) = simple_command(assertion) else {
            return Err(TpmError::PolicyInput {
                what: "a handle besides the session",
            });
        };
        let params = params.finish()?;
        let reply = self.call_raw(
            code,
            &[Target::Session(session)],
            &[],
            Protect::Integrity,
            &params,
        )?;
        Answer::new(code, &reply).end()
    }

    /// PolicyNV or PolicyAuthorizeNV: by the index's own authorisation.
    fn policy_on_nv(
        &mut self,
        code: CommandCode,
        session: &PolicySession,
        wanted: &Name,
        inputs: &PolicyInputs,
        params: &[u8],
    ) -> Result<()> {
        let (index, auth) = self.find_index(wanted, inputs)?;
        let reply = self.with_nv_name(index, |chip, name| {
            if name != wanted {
                return Err(NO_INDEX);
            }
            let index = Target::Named(index, name);
            let auth = if auth.is_empty() {
                Auth::Empty
            } else {
                Auth::Value(&auth)
            };
            chip.call_raw(
                code,
                &[index, index, Target::Session(session)],
                &[auth],
                Protect::Integrity,
                params,
            )
        })?;
        Answer::new(code, &reply).end()
    }

    /// The handle of the index with this Name: among the inputs, else among those known.
    fn find_index(&mut self, wanted: &Name, inputs: &PolicyInputs) -> Result<(u32, Secret)> {
        for (index, auth) in inputs.nv_indices() {
            if self.nv_read_public(*index)?.name() == *wanted {
                return Ok((*index, auth.clone()));
            }
        }
        let known = self
            .cache
            .nv
            .values()
            .find(|public| public.name() == *wanted)
            .map(|public| public.index);
        known
            .map(|index| (index, Secret::from_slice(&[])))
            .ok_or(NO_INDEX)
    }

    fn policy_signed(
        &mut self,
        session: &PolicySession,
        signer: &Name,
        policy_ref: &[u8],
        inputs: &PolicyInputs,
    ) -> Result<()> {
        let approval = inputs.find_signed(signer, policy_ref)?;
        let key = self.load_external(approval.key.as_tpmt_bytes(), Hierarchy::Null)?;
        let params = Params::new(SIGNED)
            .sized(&approval.nonce_tpm, 64, "the nonce")
            .sized(&approval.cp_hash, 64, "the cpHash")
            .sized(policy_ref, 64, "the policy reference")
            .raw(&approval.expiration_s.to_be_bytes(), "the expiration")
            .raw(&approval.signature.to_tpmt(), "the signature")
            .finish()?;
        let targets = [Target::Object(&key), Target::Session(session)];
        let reply = self.call_raw(SIGNED, &targets, &[], Protect::Integrity, &params)?;
        approved(SIGNED, &reply, ST_AUTH_SIGNED)
    }

    fn policy_secret(
        &mut self,
        session: &PolicySession,
        entity: &Name,
        policy_ref: &[u8],
        inputs: &PolicyInputs,
    ) -> Result<()> {
        let proof = inputs.find_secret(entity, policy_ref)?;
        let params = Params::new(SECRET)
            .u16(0)
            .u16(0)
            .sized(policy_ref, 64, "the policy reference")
            .u32(0)
            .finish()?;
        let auth = if proof.value().is_empty() {
            Auth::Empty
        } else {
            Auth::Value(proof.value())
        };
        let targets = [proof.target(), Target::Session(session)];
        let reply = self.call_raw(SECRET, &targets, &[auth], Protect::Integrity, &params)?;
        approved(SECRET, &reply, ST_AUTH_SECRET)
    }

    /// PolicyAuthorize with a ticket of this chip, which is kept: the signature is checked once.
    fn policy_authorize(
        &mut self,
        session: &PolicySession,
        before: &Digest,
        approval: &Approval,
    ) -> Result<()> {
        let hash = approval.key.name_alg();
        let signed = hash.digest(&[&policy_authorize_message(before, &approval.policy_ref)]);
        let key = (approval.key.name(), signed.as_bytes().to_vec());
        if let Some(ticket) = self.cache.ticket(&key).cloned() {
            match self.policy_authorize_with(session, before, approval, &ticket) {
                // The owner hierarchy was cleared meanwhile.
                Err(error) if error.is_refusal(ResponseCode::TICKET) => self.cache.forget_ticket(&key),
                other => return other,
            }
        }
        let verifier = self
            .load_external(approval.key.as_tpmt_bytes(), Hierarchy::Owner)?
            .into();
        let ticket = self.verify_signature(&verifier, &signed, &approval.signature)?.0;
        drop(verifier);
        self.policy_authorize_with(session, before, approval, &ticket)?;
        self.cache.keep_ticket(key, ticket);
        Ok(())
    }

    fn policy_authorize_with(
        &mut self,
        session: &PolicySession,
        before: &Digest,
        approval: &Approval,
        ticket: &[u8],
    ) -> Result<()> {
        let params = Params::new(AUTHORIZE)
            .sized(before.as_bytes(), 64, "the approved policy")
            .sized(&approval.policy_ref, 64, "the policy reference")
            .sized(approval.key.name().as_bytes(), 68, "the key's Name")
            .raw(ticket, "the ticket")
            .finish()?;
        let reply = self.call_raw(
            AUTHORIZE,
            &[Target::Session(session)],
            &[],
            Protect::Integrity,
            &params,
        )?;
        Answer::new(AUTHORIZE, &reply).end()
    }
}

const NO_INDEX: TpmError = TpmError::PolicyInput {
    what: "the handle of an NV index with the Name it demands",
};

/// The answer of PolicySigned and PolicySecret: a timeout and a ticket, neither of which is kept.
fn approved(command: CommandCode, reply: &Reply, tag: u16) -> Result<()> {
    let mut answer = Answer::new(command, reply);
    answer.sized("the timeout")?;
    answer.ticket(tag, "the ticket")?;
    answer.end()
}

fn comparison(
    code: CommandCode,
    operand: &[u8],
    offset: u16,
    operation: NvOperation,
) -> Result<zeroize::Zeroizing<Vec<u8>>> {
    comparison_params(code, operand, offset, operation).finish()
}

fn comparison_params(code: CommandCode, operand: &[u8], offset: u16, operation: NvOperation) -> Params {
    Params::new(code)
        .sized(operand, 64, "the operand")
        .u16(offset)
        .u16(operation.tpm_id())
}

/// The command of an assertion that needs nothing but itself. Password is replayed as AuthValue: the digest is the
/// same, and the value is proven instead of sent.
fn simple_command(assertion: &Assertion) -> Option<(CommandCode, Params)> {
    let start = |cc: TpmCc| Params::new(CommandCode::of(cc));
    let (cc, params) = match assertion {
        Assertion::Pcr {
            bank_selection,
            pcr_digest,
        } => {
            let digest = start(TpmCc::PolicyPcr).sized(pcr_digest.as_bytes(), 64, "the PCR digest");
            (TpmCc::PolicyPcr, digest.pcr_selection(bank_selection))
        }
        Assertion::CounterTimer {
            operand,
            offset,
            operation,
        } => {
            let code = CommandCode::of(TpmCc::PolicyCounterTimer);
            (
                TpmCc::PolicyCounterTimer,
                comparison_params(code, operand, *offset, *operation),
            )
        }
        Assertion::Or(branches) => {
            let list = start(TpmCc::PolicyOr).count(branches.len(), 8, "the number of branches");
            let push = |params: Params, branch: &Digest| params.sized(branch.as_bytes(), 64, "a branch");
            (TpmCc::PolicyOr, branches.iter().fold(list, push))
        }
        Assertion::CommandCode(code) => (
            TpmCc::PolicyCommandCode,
            start(TpmCc::PolicyCommandCode).u32(*code),
        ),
        Assertion::CpHash(digest) => digest_command(TpmCc::PolicyCpHash, digest),
        Assertion::NameHash(digest) => digest_command(TpmCc::PolicyNameHash, digest),
        Assertion::Template(digest) => digest_command(TpmCc::PolicyTemplate, digest),
        Assertion::DuplicationSelect {
            object_name,
            new_parent_name,
            include_object,
        } => {
            let params = start(TpmCc::PolicyDuplicationSelect)
                .sized(object_name.as_bytes(), 68, "the object's Name")
                .sized(new_parent_name.as_bytes(), 68, "the new parent's Name")
                .u8(u8::from(*include_object));
            (TpmCc::PolicyDuplicationSelect, params)
        }
        Assertion::Locality(locality) => (TpmCc::PolicyLocality, start(TpmCc::PolicyLocality).u8(*locality)),
        Assertion::NvWritten(written) => (
            TpmCc::PolicyNvWritten,
            start(TpmCc::PolicyNvWritten).u8(u8::from(*written)),
        ),
        Assertion::AuthValue | Assertion::Password => (TpmCc::PolicyAuthValue, start(TpmCc::PolicyAuthValue)),
        Assertion::Nv { .. }
        | Assertion::AuthorizeNv { .. }
        | Assertion::Signed { .. }
        | Assertion::Secret { .. }
        | Assertion::Authorize { .. } => return None,
    };
    Some((CommandCode::of(cc), params))
}

fn digest_command(cc: TpmCc, digest: &Digest) -> (TpmCc, Params) {
    (
        cc,
        Params::new(CommandCode::of(cc)).sized(digest.as_bytes(), 64, "the digest"),
    )
}
