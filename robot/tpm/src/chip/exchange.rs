//! One command over the wire: handles resolved, sessions attached, response verified, retries within the deadline.

use super::frame::{
    Attached, Keeps, ResponseParts, encode, encrypt_first_parameter, first_parameter, names_of,
    response_code, returns_handle,
};
use super::{Auth, Chip, HmacSession, Protect, Reply, Target};
use crate::command::{CommandCode, CommandShape};
use crate::error::ResponseCode;
use crate::session::{Nonce, SessionSecrets, SessionUse, attribute, read_auth_response, trimmed};
use crate::slots::SlotId;
use crate::transport::TransportKind;
use crate::{Lane, PolicySession, Result, TpmError};
use alcub3_crypto::Secret;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

const FIRST_BACKOFF: Duration = Duration::from_millis(2);
const LONGEST_BACKOFF: Duration = Duration::from_millis(250);

impl Chip {
    /// Sends one command with everything it needs and returns its verified answer.
    pub(super) fn exchange(
        &mut self,
        code: CommandCode,
        targets: &[Target<'_>],
        auths: &[Auth<'_>],
        protect: Protect,
        parameters: &[u8],
    ) -> Result<Reply> {
        let mut shape = code.shape();
        shape.sessions &= protect != Protect::Bare;
        let mut rebuilt = false;
        loop {
            match self.exchange_once(&shape, targets, auths, protect, parameters) {
                Err(TpmError::Refused { code: rc, .. }) if !rebuilt && self.recover_from(rc, auths) => {
                    rebuilt = true;
                }
                other => {
                    // After an answer that is not the chip's, or none, the session's nonces are no longer known.
                    if matches!(
                        other,
                        Err(TpmError::Forged { .. }
                            | TpmError::Malformed { .. }
                            | TpmError::Transport { .. })
                    ) {
                        self.distrust_sessions();
                    }
                    return other;
                }
            }
        }
    }

    /// Mends what a refusal shows to be missing on the chip's side; true if the command is worth sending again.
    fn recover_from(&mut self, rc: ResponseCode, auths: &[Auth<'_>]) -> bool {
        match rc.base() {
            // A wrong authorisation value must not be tried twice; an empty one cannot be wrong.
            ResponseCode::AUTH_FAIL | ResponseCode::BAD_AUTH if !auths.iter().any(Auth::proves_a_value) => {
                self.replace_unproven_session()
            }
            // The kept session did not survive a reset of the chip.
            base if (ResponseCode::REFERENCE_S0.0..=ResponseCode::REFERENCE_S0.0 + 6).contains(&base.0) => {
                self.forget_current_session()
            }
            ResponseCode::OBJECT_MEMORY | ResponseCode::OBJECT_HANDLES => {
                self.evict_one_object().unwrap_or(false)
            }
            ResponseCode::SESSION_MEMORY | ResponseCode::SESSION_HANDLES => {
                self.evict_one_session().unwrap_or(false)
            }
            ResponseCode::CONTEXT_GAP => self.refresh_oldest_session().unwrap_or(false),
            _ => false,
        }
    }

    fn exchange_once(
        &mut self,
        shape: &CommandShape,
        targets: &[Target<'_>],
        auths: &[Auth<'_>],
        protect: Protect,
        parameters: &[u8],
    ) -> Result<Reply> {
        if shape.sessions {
            self.ensure_protection()?;
        }
        let further = self.start_further_sessions(shape, auths)?;
        let reply = self.exchange_in(shape, targets, auths, protect, parameters, &further);
        if reply.is_err() {
            // A command that succeeds ends them.
            for session in &further {
                self.needs_sweep |= self.flush_handle(session.handle).is_err();
            }
        }
        reply
    }

    fn exchange_in(
        &mut self,
        shape: &CommandShape,
        targets: &[Target<'_>],
        auths: &[Auth<'_>],
        protect: Protect,
        parameters: &[u8],
        further: &[HmacSession],
    ) -> Result<Reply> {
        self.make_room(shape, targets, auths)?;
        let handles = self.resolve(targets)?;
        let mut sessions = self.attach(shape, auths, protect, further)?;
        let mut parameters = Zeroizing::new(parameters.to_vec());
        encrypt_first_parameter(shape.code, &sessions, &mut parameters)?;
        let names = names_of(targets, &handles);
        let command = encode(shape.code, &handles, &names, &mut sessions, &parameters)?;
        let response = self.transmit_with_retries(shape.code, &command)?;
        let returns_handle = returns_handle(shape.code);
        let reply = self.accept(shape.code, returns_handle, &sessions, &response)?;
        Ok(reply)
    }

    fn resolve(&mut self, targets: &[Target<'_>]) -> Result<Vec<u32>> {
        targets
            .iter()
            .map(|target| match target {
                Target::Handle(handle) | Target::Named(handle, _) => Ok(*handle),
                Target::Object(object) => self.loaded_handle(object.lease.id),
                Target::Session(session) => self.loaded_handle(session.lease.id),
            })
            .collect()
    }

    /// Which authorised handle the protecting session authorises: the first with a value to prove, else the first that a
    /// value could authorise.
    fn protectors_place(&self, shape: &CommandShape, auths: &[Auth<'_>]) -> Option<usize> {
        if !shape.sessions || self.current_session().is_none() {
            return None;
        }
        let by_value = |auth: &Auth<'_>| !matches!(auth, Auth::Policy(_) | Auth::PolicyWithValue(..));
        let mut places = auths.iter().take(shape.auth_handles);
        let valued = places.clone().position(|auth| by_value(auth) && has_value(auth));
        valued.or_else(|| places.position(by_value))
    }

    /// Starts a session for each value that the protecting one does not prove. Before anything of the command is built:
    /// starting a session is a command too, and rolls the protecting session's nonces.
    fn start_further_sessions(
        &mut self,
        shape: &CommandShape,
        auths: &[Auth<'_>],
    ) -> Result<Vec<HmacSession>> {
        let place = self.protectors_place(shape, auths);
        let authorising = auths.iter().take(shape.auth_handles).enumerate();
        let further = authorising
            .filter(|(at, auth)| Some(*at) != place && has_value(auth))
            .count();
        if further > 0 && self.current_session().is_none() {
            return Err(TpmError::Unprotected { command: shape.code });
        }
        let mut started = Vec::with_capacity(further);
        for _ in 0..further {
            started.push(self.start_hmac_session(false)?);
        }
        Ok(started)
    }

    /// Chooses the sessions of a command: one for each authorised handle, and always one that protects the whole.
    fn attach<'a>(
        &mut self,
        shape: &CommandShape,
        auths: &[Auth<'a>],
        protect: Protect,
        further: &[HmacSession],
    ) -> Result<Vec<Attached<'a>>> {
        let mut attached = Vec::with_capacity(3);
        let (place, mut further) = (self.protectors_place(shape, auths), further.iter());
        for (at, auth) in auths.iter().take(shape.auth_handles).enumerate() {
            attached.push(match auth {
                Auth::Policy(session) => self.attach_policy(session, &[])?,
                Auth::PolicyWithValue(session, value) => {
                    self.attach_policy(session, trimmed(value.expose()))?
                }
                Auth::Empty | Auth::Value(_) | Auth::Changing { .. } if Some(at) == place => {
                    self.attach_protector(auth_bytes(auth), protect_attributes(protect))?
                }
                // An empty value needs no secrecy, the protecting session covers the command.
                _ if !has_value(auth) => Attached::EmptyPassword,
                _ => {
                    let session = further
                        .next()
                        .ok_or(TpmError::Unprotected { command: shape.code })?;
                    self.attach_once(session, auth_bytes(auth))?
                }
            });
        }
        if shape.sessions && place.is_none() && self.current_session().is_some() {
            let attributes = match protect_attributes(protect) {
                0 => attribute::AUDIT,
                both => both,
            };
            attached.push(self.attach_protector((&[], &[]), attributes)?);
        }
        Ok(attached)
    }

    fn attach_policy<'a>(&mut self, session: &'a PolicySession, value: &'a [u8]) -> Result<Attached<'a>> {
        let nonce_tpm = *session
            .nonce_tpm
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(Attached::Hmac {
            handle: self.loaded_handle(session.lease.id)?,
            secrets: SessionSecrets {
                hash: session.hash,
                cipher_bits: 0,
                key: Secret::from_slice(&[]),
                nonce_tpm,
            },
            usage: SessionUse {
                nonce_caller: self.random_nonce()?,
                attributes: attribute::CONTINUE,
                auth_value: value,
            },
            answer_value: value,
            keeps: Keeps::Policy(session),
        })
    }

    fn attach_protector<'a>(
        &mut self,
        (value, answer_value): (&'a [u8], &'a [u8]),
        attributes: u8,
    ) -> Result<Attached<'a>> {
        let nonce_caller = self.random_nonce()?;
        let keeps = if self.in_emergency() {
            Keeps::Emergency
        } else {
            Keeps::Kept
        };
        let session = self.current_session().ok_or(TpmError::OwnerGone)?;
        Ok(Attached::Hmac {
            handle: session.handle,
            secrets: session.secrets.clone(),
            usage: SessionUse {
                nonce_caller,
                attributes: attributes | attribute::CONTINUE,
                auth_value: value,
            },
            answer_value,
            keeps,
        })
    }

    /// Authorises a further handle in a session that this command ends.
    fn attach_once<'a>(
        &mut self,
        session: &HmacSession,
        (value, answer_value): (&'a [u8], &'a [u8]),
    ) -> Result<Attached<'a>> {
        Ok(Attached::Hmac {
            handle: session.handle,
            secrets: session.secrets.clone(),
            usage: SessionUse {
                nonce_caller: self.random_nonce()?,
                attributes: 0,
                auth_value: value,
            },
            answer_value,
            keeps: Keeps::Once,
        })
    }

    fn transmit_with_retries(&mut self, code: CommandCode, command: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let mut backoff = FIRST_BACKOFF;
        let mut started = false;
        // Without a deadline of its own an operation is not kept waiting longer than for one command.
        let give_up = self
            .job
            .deadline
            .unwrap_or_else(|| Instant::now() + self.options.command_timeout);
        loop {
            let response = self.transmit(code, command)?;
            let rc = response_code(code, &response)?;
            if rc == ResponseCode::INITIALIZE && !started && self.start_up(code)? {
                started = true;
                continue;
            }
            let preempted = rc == ResponseCode::CANCELED && !self.withdrawn();
            if !rc.is_transient() && !preempted {
                return if rc == ResponseCode::SUCCESS {
                    Ok(response)
                } else {
                    Err(TpmError::Refused {
                        command: code,
                        code: rc,
                    })
                };
            }
            let put_off = !preempted && !self.job.waits;
            if put_off || Instant::now() + backoff >= give_up {
                return Err(TpmError::Refused {
                    command: code,
                    code: rc,
                });
            }
            // A cancelled command goes again at once, behind the emergency that transmit looks for; anything else waits.
            if !preempted {
                std::thread::sleep(backoff);
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
            }
        }
    }

    fn withdrawn(&self) -> bool {
        self.job
            .cancelled
            .as_ref()
            .is_some_and(|c| c.load(std::sync::atomic::Ordering::Acquire))
    }

    /// On a bare chip that nobody has started since power came, does what firmware would; false where it is not ours to do.
    fn start_up(&mut self, code: CommandCode) -> Result<bool> {
        const STARTUP_CLEAR: [u8; 12] = [0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x44, 0, 0];
        if self.channel.kind() == TransportKind::DeviceResourceManager || code.0 == 0x144 {
            return Ok(false);
        }
        let startup = CommandCode(0x144);
        let response = self.transmit(startup, &STARTUP_CLEAR)?;
        Ok(matches!(
            response_code(startup, &response)?,
            ResponseCode::SUCCESS
        ))
    }

    /// Sends bytes on the channel of the current lane; an emergency that waits goes first.
    pub(super) fn transmit(&mut self, code: CommandCode, command: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        if self.job.lane != Lane::Emergency {
            self.run_emergencies();
        }
        let latest = Instant::now() + self.options.command_timeout;
        let deadline = match self.job.deadline {
            Some(deadline) if deadline <= Instant::now() => {
                return Err(TpmError::DeadlineExceeded { command: code });
            }
            Some(deadline) => deadline.min(latest),
            None => latest,
        };
        let emergency = self.job.lane == Lane::Emergency;
        let channel = match (&mut self.emergency_channel, emergency) {
            (Some(channel), true) => channel,
            _ => &mut self.channel,
        };
        let mut response = Zeroizing::new(Vec::new());
        channel
            .transmit(command, &mut response, deadline)
            .map_err(|source| TpmError::Transport {
                command: code,
                source,
            })?;
        Ok(response)
    }

    /// Runs only what waits on the emergency lane: it needs no slot and no session of the command under way.
    fn run_emergencies(&mut self) {
        let Some(preempt) = self.preempt.clone() else {
            return;
        };
        while let Some(job) = preempt.next_emergency() {
            job(self);
        }
    }

    /// Verifies a successful response's sessions, takes their new nonces and decrypts what is encrypted.
    fn accept(
        &mut self,
        code: CommandCode,
        returns_handle: bool,
        sessions: &[Attached<'_>],
        response: &[u8],
    ) -> Result<Reply> {
        let parts = ResponseParts::split(code, returns_handle, !sessions.is_empty(), response)?;
        let mut area = parts.sessions;
        let mut decrypt: Option<(&SessionSecrets, SessionUse<'_>, Nonce)> = None;
        for session in sessions {
            let (nonce, attributes, hmac) = read_auth_response(code, &mut area)?;
            let Attached::Hmac {
                secrets,
                usage,
                keeps,
                answer_value,
                ..
            } = session
            else {
                if !hmac.is_empty() || !nonce.as_slice().is_empty() {
                    return Err(TpmError::Malformed {
                        command: code,
                        part: "the password session",
                    });
                }
                continue;
            };
            let answer = SessionUse {
                auth_value: answer_value,
                ..*usage
            };
            self.verify_session(code, secrets, &answer, *keeps, &parts, (nonce, attributes, hmac))?;
            if usage.attributes & attribute::ENCRYPT != 0 {
                decrypt = Some((secrets, answer, nonce));
            }
        }
        if !area.is_empty() {
            return Err(TpmError::Malformed {
                command: code,
                part: "the end of the session area",
            });
        }
        let mut parameters = Zeroizing::new(parts.parameters.to_vec());
        if let Some((secrets, usage, nonce)) = decrypt {
            secrets.decrypt_parameter(&usage, &nonce, first_parameter(code, &mut parameters)?)?;
        }
        Ok(Reply {
            handle: parts.handle,
            parameters,
        })
    }

    fn verify_session(
        &mut self,
        code: CommandCode,
        secrets: &SessionSecrets,
        usage: &SessionUse<'_>,
        keeps: Keeps<'_>,
        parts: &ResponseParts<'_>,
        (nonce, attributes, hmac): (Nonce, u8, &[u8]),
    ) -> Result<()> {
        let keyless = secrets.key.is_empty() && usage.auth_value.is_empty();
        let rp_hash = secrets
            .hash
            .digest(&[&[0; 4], &code.0.to_be_bytes(), parts.parameters]);
        let genuine = if keyless {
            hmac.is_empty()
        } else {
            secrets.verify_response(&rp_hash, &nonce, attributes, usage, hmac)
        };
        let asked = attribute::ENCRYPT | attribute::DECRYPT;
        if !genuine || (attributes ^ usage.attributes) & asked != 0 {
            return Err(TpmError::Forged { command: code });
        }
        match keeps {
            Keeps::Kept => set_nonce(self.kept_session_mut(), nonce),
            Keeps::Emergency => set_nonce(self.emergency_session_mut(), nonce),
            Keeps::Policy(session) => {
                *session
                    .nonce_tpm
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = nonce;
            }
            Keeps::Once => {}
        }
        Ok(())
    }

    /// Slots this command must not have evicted from under it.
    pub(super) fn pinned(targets: &[Target<'_>], auths: &[Auth<'_>]) -> Vec<SlotId> {
        let named = targets.iter().filter_map(|target| match target {
            Target::Object(object) => Some(object.lease.id),
            Target::Session(session) => Some(session.lease.id),
            _ => None,
        });
        let authorising = auths.iter().filter_map(|auth| match auth {
            Auth::Policy(session) | Auth::PolicyWithValue(session, _) => Some(session.lease.id),
            _ => None,
        });
        named.chain(authorising).collect()
    }
}

fn set_nonce(session: Option<&mut HmacSession>, nonce: Nonce) {
    if let Some(session) = session {
        session.secrets.nonce_tpm = nonce;
        session.proven = true;
    }
}

/// The value that keys the command's HMAC and the one that keys the response's.
fn auth_bytes<'a>(auth: &Auth<'a>) -> (&'a [u8], &'a [u8]) {
    match auth {
        Auth::Value(secret) => (trimmed(secret.expose()), trimmed(secret.expose())),
        Auth::Changing { from, to } => (trimmed(from.expose()), trimmed(to.expose())),
        _ => (&[], &[]),
    }
}

/// Whether there is a value to prove, before or after the command.
fn has_value(auth: &Auth<'_>) -> bool {
    let (value, answer_value) = auth_bytes(auth);
    !value.is_empty() || !answer_value.is_empty()
}

fn protect_attributes(protect: Protect) -> u8 {
    let decrypt = if protect.decrypt_in() {
        attribute::DECRYPT
    } else {
        0
    };
    let encrypt = if protect.encrypt_out() {
        attribute::ENCRYPT
    } else {
        0
    };
    decrypt | encrypt
}
