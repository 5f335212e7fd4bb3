//! The robot's managed keys: every verdict over them is an audit entry before it is acknowledged.

use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, Secret};
use alcub3_keys::{KeyPlan, KeysError, Swept};
use alcub3_security_hal::{Clock, SystemClock};
use alcub3_trust_model::KeyId;
use alcub3_trust_model::managed_key::{Due, Encrypted, KeyRecord, Transition};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

impl Robot {
    /// Makes a managed key. Commands and errors: as `RobotKeys::create_managed_key`.
    ///
    /// # Errors
    /// As there, and the audit log's.
    pub fn create_key(&self, plan: &KeyPlan, now_utc_ms: u64) -> Result<KeyRecord> {
        let made = self.keys.create_managed_key(plan, now_utc_ms);
        let subject = made
            .as_ref()
            .map_or_else(|_| plan.label.to_string(), |key| key.id.to_string());
        self.audited(("create", subject), now_utc_ms, made)
    }

    /// All managed keys, the destroyed ones included. A refusal, as of a store that was edited or rolled back, is an audit
    /// entry; a list that was read is none. Commands: none once the store is open.
    ///
    /// # Errors
    /// As `RobotKeys::managed_keys`, and the audit log's.
    pub fn list_keys(&self, now_utc_ms: u64) -> Result<Vec<KeyRecord>> {
        let listed = self.keys.managed_keys();
        self.audited_if_refused(("list", "key-store".to_owned()), now_utc_ms, listed)
    }

    /// One managed key. Audit and commands: as [`Self::list_keys`].
    ///
    /// # Errors
    /// As `RobotKeys::managed_key`, and the audit log's.
    pub fn show_key(&self, id: KeyId, now_utc_ms: u64) -> Result<KeyRecord> {
        let shown = self.keys.managed_key(id);
        self.audited_if_refused(("show", id.to_string()), now_utc_ms, shown)
    }

    /// Makes a key's successor; the old one only processes what it protected, until its overlap ends.
    ///
    /// # Errors
    /// As `RobotKeys::rotate_managed_key`, and the audit log's.
    pub fn rotate_key(&self, id: KeyId, now_utc_ms: u64) -> Result<KeyRecord> {
        let done = self.keys.rotate_managed_key(id, now_utc_ms);
        self.audited(("rotate", id.to_string()), now_utc_ms, done)
    }

    /// Takes a key through a transition of its lifecycle.
    ///
    /// # Errors
    /// As `RobotKeys::change_managed_key`, and the audit log's.
    pub fn change_key(&self, id: KeyId, transition: Transition, now_utc_ms: u64) -> Result<KeyRecord> {
        let done = self.keys.change_managed_key(id, transition);
        self.audited((transition.name(), id.to_string()), now_utc_ms, done)
    }

    /// Signs a digest.
    ///
    /// # Errors
    /// As `RobotKeys::sign_with_managed_key`, and the audit log's.
    pub fn sign_with_key(&self, id: KeyId, digest: Digest, now_utc_ms: u64) -> Result<Signature> {
        let done = self.keys.sign_with_managed_key(id, digest);
        self.audited(("sign", id.to_string()), now_utc_ms, done)
    }

    /// Makes a tag over a message.
    ///
    /// # Errors
    /// As `RobotKeys::tag_with_managed_key`, and the audit log's.
    pub fn tag_with_key(&self, id: KeyId, message: &[u8], now_utc_ms: u64) -> Result<Vec<u8>> {
        let done = self.keys.tag_with_managed_key(id, message);
        self.audited(("tag", id.to_string()), now_utc_ms, done)
    }

    /// Whether a tag is the key's over a message.
    ///
    /// # Errors
    /// As `RobotKeys::check_managed_key_tag`, and the audit log's.
    pub fn check_key_tag(&self, id: KeyId, message: &[u8], tag: &[u8], now_utc_ms: u64) -> Result<bool> {
        let done = self.keys.check_managed_key_tag(id, message, tag);
        self.audited(("check-tag", id.to_string()), now_utc_ms, done)
    }

    /// Encrypts data for a key.
    ///
    /// # Errors
    /// As `RobotKeys::encrypt_with_managed_key`, and the audit log's.
    pub fn encrypt_with_key(&self, id: KeyId, plain: &[u8], now_utc_ms: u64) -> Result<Encrypted> {
        let done = self.keys.encrypt_with_managed_key(id, plain);
        self.audited(("encrypt", id.to_string()), now_utc_ms, done)
    }

    /// Decrypts what was encrypted for one of this robot's keys.
    ///
    /// # Errors
    /// As `RobotKeys::decrypt_with_managed_key`, and the audit log's.
    pub fn decrypt_with_key(&self, message: &Encrypted, now_utc_ms: u64) -> Result<Secret> {
        let done = self.keys.decrypt_with_managed_key(message);
        self.audited(("decrypt", message.key.to_string()), now_utc_ms, done)
    }

    /// Gives all managed keys up, where the store is refused or by choice: none of them works again.
    ///
    /// # Errors
    /// As `RobotKeys::start_store_over`, and the audit log's.
    pub fn start_keys_over(&self, now_utc_ms: u64) -> Result<()> {
        let done = self.keys.start_store_over();
        self.audited(("start-over", "key-store".to_owned()), now_utc_ms, done)
    }

    /// Does what is due: begins, rotations and ends of keys. Each is an audit entry.
    ///
    /// # Errors
    /// As `RobotKeys::sweep_managed_keys`, and the audit log's.
    pub fn sweep_keys(&self, utc_ms: Option<u64>) -> Result<Vec<Swept>> {
        let swept = self.keys.sweep_managed_keys(utc_ms)?;
        for one in &swept {
            let done = one.outcome.as_ref().map(|_| ());
            self.audit_key((due_name(one.due), one.id.to_string()), utc_ms.unwrap_or(0), done)?;
        }
        Ok(swept)
    }

    /// At the start: ends that a crash or a stop cut short are recorded, then what is due is done. A store that is refused
    /// is said and keeps nothing else from starting, least of all a stop.
    pub(crate) fn take_up_keys(&self, utc_ms: Option<u64>) -> Result<()> {
        let taken_up = self
            .keys
            .bury_dead_keys()
            .map_err(AgentError::from)
            .and_then(|dead| {
                for key in dead {
                    self.audit_key(("found-dead", key.id.to_string()), utc_ms.unwrap_or(0), Ok(()))?;
                }
                self.sweep_keys(utc_ms).map(|_| ())
            });
        match taken_up {
            Err(AgentError::Keys(error)) => {
                tracing::error!(%error, "the robot starts without its managed keys");
                self.audit_store_fault(&error, utc_ms.unwrap_or(0))
            }
            other => other,
        }
    }

    fn audit_store_fault(&self, error: &KeysError, now_utc_ms: u64) -> Result<()> {
        let subject = "key-store".to_owned();
        let outcome = outcome_of(error);
        let mut entry = self.audit.entry(EntryKind::Fault, subject, now_utc_ms, outcome);
        entry.reasons = reasons_of(error);
        self.audit.append(&entry).map(|_| ())
    }

    fn audited_if_refused<T>(
        &self,
        what: (&str, String),
        now_utc_ms: u64,
        read: std::result::Result<T, KeysError>,
    ) -> Result<T> {
        if let Err(error) = &read
            && error.refusal().is_some()
        {
            self.audit_key(what, now_utc_ms, Err(error))?;
        }
        Ok(read?)
    }

    pub(crate) fn audited<T>(
        &self,
        what: (&str, String),
        now_utc_ms: u64,
        done: std::result::Result<T, KeysError>,
    ) -> Result<T> {
        self.audited_as(EntryKind::Key, what, now_utc_ms, done)
    }

    /// Gives the result out once it is in the audit log.
    pub(crate) fn audited_as<T>(
        &self,
        kind: EntryKind,
        what: (&str, String),
        now_utc_ms: u64,
        done: std::result::Result<T, KeysError>,
    ) -> Result<T> {
        self.audit_verdict(kind, what, now_utc_ms, done.as_ref().map(|_| ()))?;
        Ok(done?)
    }

    fn audit_key(
        &self,
        what: (&str, String),
        now_utc_ms: u64,
        done: std::result::Result<(), &KeysError>,
    ) -> Result<()> {
        self.audit_verdict(EntryKind::Key, what, now_utc_ms, done)
    }

    fn audit_verdict(
        &self,
        kind: EntryKind,
        (operation, subject): (&str, String),
        now_utc_ms: u64,
        done: std::result::Result<(), &KeysError>,
    ) -> Result<()> {
        let subject = format!("{operation} {subject}");
        let outcome = done.map_or_else(outcome_of, |()| Outcome::Done);
        let mut entry = self.audit.entry(kind, subject, now_utc_ms, outcome);
        entry.reasons = done.err().map(reasons_of).unwrap_or_default();
        self.audit.append(&entry).map(|_| ())
    }
}

fn outcome_of(error: &KeysError) -> Outcome {
    if error.refusal().is_some() {
        Outcome::Refused
    } else {
        Outcome::Failed
    }
}

fn reasons_of(error: &KeysError) -> Vec<String> {
    vec![error.refusal().unwrap_or("failed").to_owned()]
}

const fn due_name(due: Due) -> &'static str {
    match due {
        Due::Activate => "activate",
        Due::Rotate => "rotate",
        Due::Expire => "expire",
        Due::Destroy => "destroy",
    }
}

/// Sweeps a robot's keys again and again, until it is dropped. What is due is judged by the TPM's clock: the period only
/// says how late it may be done.
#[derive(Debug)]
pub struct KeySweeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl KeySweeper {
    /// Starts sweeping. The robot may be dropped before: the sweeper then ends.
    ///
    /// # Errors
    /// The operating system's, if it gives no thread.
    pub fn start(robot: &Arc<Robot>, every: Duration) -> Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (robot, shared) = (Arc::downgrade(robot), stop.clone());
        let thread = thread::Builder::new()
            .name("key-sweeper".to_owned())
            .spawn(move || sweep_until(&shared, &robot, every))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for KeySweeper {
    fn drop(&mut self) {
        let (stopped, woken) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        woken.notify_all();
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            tracing::error!("the key sweeper ended by a panic");
        }
    }
}

fn sweep_until((stopped, woken): &(Mutex<bool>, Condvar), robot: &Weak<Robot>, every: Duration) {
    let clock = SystemClock::new();
    let mut guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    while !*guard {
        let waited = woken.wait_timeout(guard, every);
        let timed_out;
        (guard, timed_out) = waited.unwrap_or_else(PoisonError::into_inner);
        if *guard || !timed_out.timed_out() {
            continue;
        }
        drop(guard);
        let Some(robot) = robot.upgrade() else { return };
        if let Err(error) = robot.sweep_keys(clock.utc_ms()) {
            tracing::warn!(%error, "the keys could not be swept; it is tried again");
        }
        guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
    }
}
