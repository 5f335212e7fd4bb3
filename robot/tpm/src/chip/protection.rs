//! The sessions that protect commands: started once, salted to a pinned key, kept, and replaced when in doubt.

use super::frame::push_sized;
use super::{Chip, SaltKey, Target};
use crate::command::CommandCode;
use crate::session::{Nonce, SessionSecrets, take_sized};
use crate::slots::Kind;
use crate::{PolicySession, Result, TpmError};
use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::{Name, Public, encrypt_salt};
use std::sync::{Arc, Mutex};
use tpm2_protocol::data::TpmCc;

const RH_NULL: u32 = 0x4000_0007;
const SESSION_HMAC: u8 = 0;
const SESSION_POLICY: u8 = 1;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
const ALG_NULL: u16 = 0x0010;

/// A salted HMAC session of this process.
#[derive(Clone, Debug)]
pub(crate) struct HmacSession {
    pub(super) handle: u32,
    pub(super) secrets: SessionSecrets,
    /// Whether the chip has answered in it: only then was the answer that started it genuine.
    pub(super) proven: bool,
}

impl Chip {
    /// Pins the key that sessions are salted to and starts the kept session and the emergency lane's.
    ///
    /// With `expected`, the Name fixed at provisioning, anything else at the handle is refused. Without it the key
    /// is taken as found: only for provisioning, where the authority then proves the chip by credential activation.
    /// Commands: 1 ReadPublic, then 2 StartAuthSession.
    ///
    /// # Errors
    /// [`TpmError::PinMismatch`] if another key is there; otherwise what the commands say.
    pub fn pin_salt_key(&mut self, handle: u32, expected: Option<&Name>) -> Result<Name> {
        let before = self.salt_key.clone();
        let pinned = self.try_pin(handle, expected);
        if pinned.is_err() {
            // An unconfirmed pin must not be the ground of any later session, nor what led to it be believed.
            self.flush_protecting_sessions();
            self.salt_key = before;
            self.forget_persistent(handle);
        }
        pinned
    }

    fn try_pin(&mut self, handle: u32, expected: Option<&Name>) -> Result<Name> {
        let public = self.read_public_area(handle)?;
        let name = public.name();
        if expected.is_some_and(|e| *e != name) {
            return Err(TpmError::PinMismatch { handle });
        }
        self.flush_protecting_sessions();
        self.salt_key = Some(SaltKey { handle, public });
        self.confirm_pin(handle, &name)?;
        Ok(name)
    }

    /// Starts the sessions and reads the key again, now protected: an answer forged before there was a session is found
    /// out here.
    fn confirm_pin(&mut self, handle: u32, name: &Name) -> Result<()> {
        self.ensure_protection()?;
        self.reserve_emergency_session()?;
        if self.read_public_area(handle)?.name() == *name {
            Ok(())
        } else {
            Err(TpmError::PinMismatch { handle })
        }
    }

    fn read_public_area(&mut self, handle: u32) -> Result<Public> {
        let code = CommandCode::of(TpmCc::ReadPublic);
        // The Name of what is there is not known yet; without a session none is needed.
        let kept = self.salt_key.as_ref().map(|key| key.public.name());
        let name = kept.unwrap_or_else(|| Name::of_handle(handle));
        let reply = self.call_raw(
            code,
            &[Target::Named(handle, &name)],
            &[],
            super::Protect::Integrity,
            &[],
        )?;
        let mut area = &reply.parameters[..];
        let malformed = TpmError::Malformed {
            command: code,
            part: "the public area",
        };
        let public = take_sized(&mut area).ok_or(malformed)?;
        Public::from_tpmt(public).map_err(|_| TpmError::Malformed {
            command: code,
            part: "the public area",
        })
    }

    /// Whether commands of the current lane are carried by a session.
    pub fn is_protected(&self) -> bool {
        self.current_session().is_some()
    }

    pub(super) fn current_session(&self) -> Option<&HmacSession> {
        if self.in_emergency() {
            self.emergency_session.as_ref()
        } else {
            self.kept_session.as_ref()
        }
    }

    pub(super) fn kept_session_mut(&mut self) -> Option<&mut HmacSession> {
        self.kept_session.as_mut()
    }

    pub(super) fn emergency_session_mut(&mut self) -> Option<&mut HmacSession> {
        self.emergency_session.as_mut()
    }

    /// Starts the lane's session if there is a salt key and no session. An emergency is never refused for lack of
    /// one: a stop without protection is better than none, and its receipt shows what the chip did.
    pub(super) fn ensure_protection(&mut self) -> Result<()> {
        if self.salt_key.is_none() || self.starting_session || self.current_session().is_some() {
            return Ok(());
        }
        let emergency = self.in_emergency();
        match self.start_hmac_session(emergency) {
            Ok(session) if emergency => self.emergency_session = Some(session),
            Ok(session) => self.kept_session = Some(session),
            Err(error) if emergency => tracing::warn!(%error, "the stop goes on without a protected session"),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Makes sure the emergency lane has its session before it is needed.
    fn reserve_emergency_session(&mut self) -> Result<()> {
        if self.emergency_session.is_none() {
            let lane = std::mem::replace(&mut self.job.lane, crate::Lane::Emergency);
            let session = self.start_hmac_session(true);
            self.job.lane = lane;
            self.emergency_session = Some(session?);
        }
        Ok(())
    }

    /// Starts a salted HMAC session (TPM 2.0 Part 3, 11.1).
    pub(super) fn start_hmac_session(&mut self, emergency: bool) -> Result<HmacSession> {
        let key = self.salt_key.clone().ok_or(TpmError::Unprotected {
            command: CommandCode::of(TpmCc::StartAuthSession),
        })?;
        let (salt, encrypted_salt) = encrypt_salt(&key.public, self.entropy())?;
        if !emergency {
            self.make_session_room(1, &[])?;
        }
        self.make_object_room(1, &[])?;
        let (hash, cipher_bits) = (self.options.session_hash, self.options.cipher_bits);
        self.starting_session = true;
        let started = self.start_auth_session(key.handle, &encrypted_salt, SESSION_HMAC, hash, cipher_bits);
        self.starting_session = false;
        let (handle, nonce_tpm, nonce_caller) = started?;
        let secrets = SessionSecrets::salted(hash, cipher_bits, &salt, nonce_tpm, nonce_caller);
        Ok(HmacSession {
            handle,
            secrets,
            proven: false,
        })
    }

    /// Starts a policy session; dropping it flushes it.
    pub(crate) fn start_policy_session(
        &mut self,
        hash: HashAlg,
        needs_auth_value: bool,
    ) -> Result<PolicySession> {
        self.run_preempting_jobs();
        self.free_dropped_slots();
        self.make_session_room(1, &[])?;
        let (handle, nonce_tpm, _) = self.start_auth_session(RH_NULL, &[], SESSION_POLICY, hash, 0)?;
        let lease = self.slots.enter(Kind::Session, handle);
        Ok(PolicySession {
            lease: Arc::new(lease),
            hash,
            nonce_tpm: Arc::new(Mutex::new(nonce_tpm)),
            needs_auth_value,
        })
    }

    fn start_auth_session(
        &mut self,
        tpm_key: u32,
        encrypted_salt: &[u8],
        session_type: u8,
        hash: HashAlg,
        cipher_bits: u16,
    ) -> Result<(u32, Nonce, Nonce)> {
        let code = CommandCode::of(TpmCc::StartAuthSession);
        let nonce_caller = self.random_nonce()?;
        let mut parameters = Vec::with_capacity(160);
        push_sized(&mut parameters, nonce_caller.as_slice());
        push_sized(&mut parameters, encrypted_salt);
        parameters.push(session_type);
        push_symmetric(&mut parameters, cipher_bits);
        parameters.extend_from_slice(&hash.tpm_id().to_be_bytes());
        let key_name = self
            .salt_key
            .as_ref()
            .filter(|k| k.handle == tpm_key)
            .map(|k| k.public.name());
        let key = key_name
            .as_ref()
            .map_or(Target::Handle(tpm_key), |name| Target::Named(tpm_key, name));
        let reply = self.exchange(
            code,
            &[key, Target::Handle(RH_NULL)],
            &[],
            super::Protect::Integrity,
            &parameters,
        )?;
        let malformed = |part| TpmError::Malformed { command: code, part };
        let mut area = &reply.parameters[..];
        let nonce_tpm = take_sized(&mut area)
            .and_then(Nonce::from_slice)
            .ok_or(malformed("nonceTPM"))?;
        let handle = reply.handle.ok_or(malformed("the session handle"))?;
        if !area.is_empty() || !matches!(handle >> 24, 0x02 | 0x03) {
            return Err(malformed("the session handle"));
        }
        Ok((handle, nonce_tpm, nonce_caller))
    }

    /// A session that the chip has never answered in and refuses: what it answered to the start was not genuine. Replaced;
    /// true if there was one.
    pub(super) fn replace_unproven_session(&mut self) -> bool {
        let unproven = self.current_session().is_some_and(|session| !session.proven);
        if unproven {
            self.distrust_sessions();
        }
        unproven
    }

    /// The chip no longer knows the lane's session, so there is nothing to flush; true if there was one.
    pub(super) fn forget_current_session(&mut self) -> bool {
        let session = if self.in_emergency() {
            &mut self.emergency_session
        } else {
            &mut self.kept_session
        };
        session.take().is_some()
    }

    /// After a response that cannot be trusted: what the chip's side of the session is now is unknown.
    pub(super) fn distrust_sessions(&mut self) {
        let session = if self.in_emergency() {
            self.emergency_session.take()
        } else {
            self.kept_session.take()
        };
        if let Some(session) = session.filter(|_| !self.in_emergency()) {
            // The chip may be unreachable; the sweep finds what this could not flush.
            let _ = self.flush_handle(session.handle);
        }
        self.needs_sweep = true;
    }

    /// Ends the protecting sessions in the chip; part of an orderly close.
    pub fn flush_protecting_sessions(&mut self) {
        for session in [self.kept_session.take(), self.emergency_session.take()]
            .into_iter()
            .flatten()
        {
            let _ = self.flush_handle(session.handle);
        }
    }

    /// The chip was reset: every session and transient object of before is gone.
    pub fn forget_volatile_state(&mut self) {
        self.kept_session = None;
        self.emergency_session = None;
        self.slots.forget_all();
        self.cache.forget_volatile();
    }

    /// The handles of the sessions that stay in the chip between commands.
    pub(super) fn reserved_session_handles(&self) -> impl Iterator<Item = u32> + '_ {
        [&self.kept_session, &self.emergency_session]
            .into_iter()
            .flatten()
            .map(|s| s.handle)
    }
}

fn push_symmetric(out: &mut Vec<u8>, cipher_bits: u16) {
    if cipher_bits == 0 {
        out.extend_from_slice(&ALG_NULL.to_be_bytes());
        return;
    }
    for field in [ALG_AES, cipher_bits, ALG_CFB] {
        out.extend_from_slice(&field.to_be_bytes());
    }
}
