//! The heads of the audit log: counted and signed by the chip, and on their way to whoever holds them.
//!
//! Order of one: its number is written down, the chip counts it and signs the count with its hash, the signed head is written, and last
//! the checkpoint that others read. A crash anywhere leaves a count that the next start can explain; a disk that is older than the
//! count it cannot.

use crate::audit::{ANCHORED, ANCHORING, AuditFile};
use crate::provision::LinkError;
use crate::robot::Robot;
use crate::{AgentError, Result};
use alcub3_audit_log::{
    CheckpointSchedule, CountFault, Divergence, Due, NoteSigner, SignedCheckpoint, TiledNodes, TpmAnchor,
    prove_consistency, root_at,
};
use alcub3_fleet_protocol::audit::{AuditReport, ProvenHead};
use alcub3_keys::RobotKeys;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How soon after a checkpoint another one is made for whoever asks: each counts up in the chip's NV.
const REPORT_AGAIN: Duration = Duration::from_secs(10);

/// The way to whoever holds the heads of this robot's log.
pub trait AuditLink: Send {
    /// How many entries the head has that is held there; none where none is.
    ///
    /// # Errors
    /// [`LinkError`] where it cannot be reached.
    fn held(&mut self) -> std::result::Result<Option<u64>, LinkError>;

    /// Hands over an [`AuditReport`]; returns once it was taken.
    ///
    /// # Errors
    /// [`LinkError`] where it cannot be reached, or does not take it.
    fn deliver(&mut self, report: &[u8]) -> std::result::Result<(), LinkError>;
}

/// What gives the link while there is one.
pub type AuditLinkNow = Box<dyn FnMut() -> Option<Box<dyn AuditLink>> + Send>;

/// What is known of the log's heads.
#[derive(Debug, Default)]
pub(crate) struct AuditHeads {
    signer: Option<NoteSigner>,
    /// How many heads the chip has counted, where nothing failed since.
    counted: Option<u64>,
    schedule: CheckpointSchedule,
    /// When this process made the last.
    made_at: Option<Instant>,
}

impl AuditHeads {
    /// Judges the log that was found by what the chip counted; what is wrong goes on record. Commands: 1 NV_Read.
    pub(crate) fn open(keys: &RobotKeys, audit: &AuditFile) -> Result<Self> {
        let last = audit.last_checkpoint();
        let held = anchored(keys, audit);
        let counted = keys.audit_heads_counted()?;
        let number = held.as_ref().map(ProvenHead::count);
        if let Err(fault) = CountFault::judge(number, anchoring(audit), last.is_some(), counted) {
            audit.put_fault(fault.to_string())?;
        }
        if let Some(fault) = held.as_ref().and_then(|held| not_in_log(held, audit)) {
            audit.put_fault(fault.to_string())?;
        }
        let made = last.map_or(0, |(head, _)| head.checkpoint().size());
        Ok(Self {
            signer: None,
            counted: Some(counted),
            schedule: CheckpointSchedule::new(made),
            made_at: None,
        })
    }

    fn signer(&mut self, keys: &RobotKeys) -> Result<&NoteSigner> {
        let signer = match self.signer.take() {
            Some(signer) => signer,
            None => NoteSigner::of_log(&keys.record().robot, keys.audit_note_key()?),
        };
        Ok(self.signer.insert(signer))
    }
}

/// The last head that the chip counted, if it is on the disk and the chip's.
fn anchored(keys: &RobotKeys, audit: &AuditFile) -> Option<ProvenHead> {
    let report = AuditReport::from_canonical(&audit.read_file(ANCHORED)?).ok()?;
    let key = keys.record().attestation_key.verifying_key().ok()?;
    let proven = report.verify(&key, &keys.nv());
    proven
        .inspect_err(|error| tracing::error!(%error, "the last head of the audit log is not the chip's"))
        .ok()
}

/// The number of the head that was being counted last.
fn anchoring(audit: &AuditFile) -> Option<u64> {
    String::from_utf8(audit.read_file(ANCHORING)?).ok()?.parse().ok()
}

/// How the log differs from the head that the chip counted last.
fn not_in_log(held: &ProvenHead, audit: &AuditFile) -> Option<Divergence> {
    let head = held.head().checkpoint();
    let (size, _) = audit.head();
    if head.size() > size {
        return Some(Divergence::RolledBack {
            held: head.size(),
            now: size,
        });
    }
    // A head that a crash kept from being laid out is not in the tiles yet.
    let (laid_out, _) = audit.last_checkpoint()?;
    if head.size() > laid_out.checkpoint().size() {
        return None;
    }
    let nodes = TiledNodes::new(laid_out.checkpoint().size(), |path: &str| audit.read_file(path));
    let root = root_at(&nodes, head.size()).ok();
    (root.as_ref() != Some(head.root())).then_some(Divergence::Forked { size: head.size() })
}

impl Robot {
    pub(crate) fn audit_heads(&self) -> MutexGuard<'_, AuditHeads> {
        self.audit_heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a checkpoint of the audit log: lays out what was added, has the chip count and sign the head, and signs the note that
    /// witnesses read. Commands: 1 NV_Increment, 1 NV_Certify; the first time in a run also those of
    /// [`RobotKeys::audit_note_key`], and after one that failed 1 NV_Read.
    ///
    /// # Errors
    /// The chip's or the file system's. The log is as it was.
    pub fn checkpoint_audit(&self) -> Result<SignedCheckpoint> {
        self.checkpoint_with(&mut self.audit_heads())
    }

    fn checkpoint_with(&self, heads: &mut AuditHeads) -> Result<SignedCheckpoint> {
        let mut counted = heads.counted.take();
        let signer = heads.signer(&self.keys)?;
        let key = signer.verifier().to_text();
        let head = self
            .audit
            .checkpoint(signer, |head| self.count_head(head, &key, &mut counted))?;
        heads.counted = counted;
        heads.schedule.made(head.checkpoint().size());
        heads.made_at = Some(Instant::now());
        Ok(head)
    }

    fn count_head(&self, head: &SignedCheckpoint, key: &str, known: &mut Option<u64>) -> Result<()> {
        let counted = match *known {
            Some(counted) => counted,
            None => self.keys.audit_heads_counted()?,
        };
        let held = anchored(&self.keys, &self.audit).map(|held| held.count());
        // One that was counted, and not signed or not kept, is not counted again; after a fault, which is on record, it goes on from
        // what the chip says.
        let is_counted = held.is_some_and(|held| held.checked_add(1) == Some(counted));
        let number = if is_counted {
            counted
        } else {
            counted.saturating_add(1)
        };
        self.audit.put_file(ANCHORING, number.to_string().as_bytes())?;
        let binding = head.checkpoint().binding(self.keys.nv().name_alg());
        let signed = if is_counted {
            self.keys.certify_audit_head(&binding)?
        } else {
            self.keys.count_audit_head(&binding)?
        };
        let report = AuditReport {
            robot: self.robot().clone(),
            key: key.to_owned(),
            note: head.note().encode(),
            anchor: TpmAnchor {
                message: signed.message,
                signature: signed.signature,
            },
            held: 0,
            path: Vec::new(),
        };
        self.audit.put_file(ANCHORED, &report.to_canonical())?;
        *known = Some(number);
        Ok(())
    }

    /// As [`Self::audit_report`] of the log as it is now: a checkpoint is made first where entries came since the last one, and that is
    /// [`REPORT_AGAIN`] ago. Commands: as [`Self::checkpoint_audit`], or none.
    ///
    /// # Errors
    /// As both.
    pub fn audit_report_now(&self, held: Option<u64>) -> Result<AuditReport> {
        let mut heads = self.audit_heads();
        let has_new = heads.schedule.is_behind(self.audit.head().0);
        let is_due = heads.made_at.is_none_or(|at| at.elapsed() >= REPORT_AGAIN);
        if has_new && is_due {
            self.checkpoint_with(&mut heads)?;
        }
        drop(heads);
        self.audit_report(held)
    }

    /// The last checkpoint, with the proof that it goes on from a head of so many entries: what leaves the robot.
    ///
    /// # Errors
    /// [`AgentError::NoCheckpoint`] where there is none yet.
    pub fn audit_report(&self, held: Option<u64>) -> Result<AuditReport> {
        let bytes = self.audit.read_file(ANCHORED).ok_or(AgentError::NoCheckpoint)?;
        let report = AuditReport::from_canonical(&bytes)?;
        // Of the head that the chip counted, although a crash may have kept it from being the last that is laid out for others.
        let head = report.stated_head().ok_or(AgentError::NoCheckpoint)?;
        let (held, size) = (held.unwrap_or(0), head.size());
        let nodes = TiledNodes::new(size, |path: &str| self.audit.read_file(path));
        // Of a head that is longer than the log there is no proof: whoever holds it finds that the log was rolled back.
        let proof = prove_consistency(&nodes, held, size);
        let path = proof.map(|proof| proof.path).unwrap_or_default();
        Ok(AuditReport { held, path, ..report })
    }

    /// Makes and sends the checkpoint that is due at a time of a clock that only goes forward, in milliseconds. Gives when to look
    /// again.
    ///
    /// # Errors
    /// The chip's, the file system's, or the link's. It is due again soon.
    pub fn tend_audit(&self, link: Option<&mut dyn AuditLink>, now_ms: u64) -> Result<u64> {
        let mut heads = self.audit_heads();
        let (size, _) = self.audit.head();
        let due = heads.schedule.due(now_ms, size, link.is_some());
        let tended = match due {
            Due::At(next_ms) => return Ok(next_ms),
            Due::Make => self.checkpoint_with(&mut heads).map(|_| ()),
            Due::Send => Ok(()),
        };
        let sent = tended.and_then(|()| match link {
            Some(link) => self.send_report(link).map(|()| true),
            None => Ok(false),
        });
        match sent {
            Ok(true) => heads.schedule.left(now_ms),
            Ok(false) => {}
            Err(error) => {
                heads.schedule.failed(now_ms);
                return Err(error);
            }
        }
        match heads.schedule.due(now_ms, size, false) {
            Due::At(next_ms) => Ok(next_ms),
            Due::Make | Due::Send => Ok(now_ms),
        }
    }

    fn send_report(&self, link: &mut dyn AuditLink) -> Result<()> {
        let held = link.held()?;
        let report = self.audit_report(held)?;
        Ok(link.deliver(&report.to_canonical())?)
    }
}

/// Makes checkpoints and sends them, until it is dropped.
#[derive(Debug)]
pub struct AuditKeeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// The longest that the keeper sleeps, so that a link that comes back is used soon.
const LOOK: Duration = Duration::from_secs(5);

impl AuditKeeper {
    /// Starts keeping. The robot may be dropped before: it then ends.
    ///
    /// # Errors
    /// The operating system's, if it gives no thread.
    pub fn start(robot: &Arc<Robot>, link: AuditLinkNow) -> Result<Self> {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (robot, shared) = (Arc::downgrade(robot), stop.clone());
        let thread = thread::Builder::new()
            .name("audit-heads".to_owned())
            .spawn(move || keep(&shared, &robot, link))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for AuditKeeper {
    fn drop(&mut self) {
        let (stopped, woken) = &*self.stop;
        *stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        woken.notify_all();
        let ended = self.thread.take().map(JoinHandle::join);
        if ended.is_some_and(|ended| ended.is_err()) {
            tracing::error!("the keeping of the audit log's heads ended by a panic");
        }
    }
}

fn keep((stopped, woken): &(Mutex<bool>, Condvar), robot: &Weak<Robot>, mut link: AuditLinkNow) {
    let began = Instant::now();
    loop {
        let Some(robot) = robot.upgrade() else { return };
        let now_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut link = link();
        let link = link.as_mut().map(|link| &mut **link as &mut dyn AuditLink);
        let next_ms = robot.tend_audit(link, now_ms).unwrap_or_else(|error| {
            tracing::warn!(%error, "no checkpoint of the audit log left the robot; it is tried again");
            now_ms
        });
        drop(robot);
        let sleep = Duration::from_millis(next_ms.saturating_sub(now_ms)).clamp(Duration::from_secs(1), LOOK);
        let guard = stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = woken.wait_timeout_while(guard, sleep, |stopped| !*stopped);
        let (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if *guard {
            return;
        }
    }
}
