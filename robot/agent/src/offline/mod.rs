//! Evidence that the robot makes by itself while no verifier is in reach, and keeps until the authority has judged it.
//!
//! The first link is anchored in the last answer of the authority: a lease, or the answer to a queue. What is kept is bounded: a full
//! queue takes no more, and says so, so that what is there stays whole.

mod gatherer;
mod kept;

pub use gatherer::{OfflineGatherer, SurroundingsNow};

use crate::Result;
use crate::platform_logs::PlatformLogs;
use crate::robot::Robot;
use crate::{Asked, Surroundings};
use alcub3_attestation::offline::{Chain, ChainError, MAX_LINKS, MAX_QUEUE_BYTES, anchor, digest};
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::Digest;
use alcub3_fleet_protocol::offline::{OfflineAnswer, OfflineAnswerError, OfflineQueue};
use kept::Kept;
use std::sync::{MutexGuard, PoisonError};

/// Why offline evidence is not made, sent or removed.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The robot has no answer of the authority.
    #[error(
        "there is nothing to anchor offline evidence in: the robot takes an answer of its authority first, as `alcub3 attest` does"
    )]
    NoAnchor,
    /// No more is kept.
    #[error(
        "{links} links of offline evidence with {bytes} bytes are kept, and no more fit: none is made until the authority has \
         judged these"
    )]
    Full {
        /// How many.
        links: usize,
        /// How long they are together.
        bytes: usize,
    },
    /// The evidence is no link.
    #[error("offline evidence: {0}")]
    Chain(#[from] ChainError),
    /// There is none.
    #[error("no offline evidence is kept: there is nothing to send")]
    Nothing,
    /// The answer.
    #[error(transparent)]
    Answer(#[from] OfflineAnswerError),
    /// The answer is to other links than those that are kept.
    #[error(
        "the answer is to other offline evidence than what is kept: send what is kept, and take the answer to it"
    )]
    OtherQueue,
}

impl OfflineError {
    /// The reason code, stable across releases.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NoAnchor => "offline-no-anchor",
            Self::Full { .. } => "offline-full",
            Self::Chain(_) => "offline-chain",
            Self::Nothing => "offline-nothing",
            Self::Answer(_) => "offline-answer",
            Self::OtherQueue => "offline-other-queue",
        }
    }
}

/// What is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OfflineStatus {
    /// How many links.
    pub links: usize,
    /// How many bytes they have.
    pub bytes: usize,
    /// Whether no more is taken.
    pub is_full: bool,
    /// Whether there is an answer of the authority to begin behind.
    pub is_anchored: bool,
}

/// What became of the queue that an answer is to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TakenAnswer {
    /// How many links the authority has judged.
    pub judged: u64,
    /// How many behind them prove nothing, and are removed as well.
    pub unproven: usize,
    /// How many are kept still: made since they were sent, to be sent with the others again.
    pub kept: usize,
}

impl Robot {
    /// Makes evidence behind what is kept, and keeps it. Commands: as [`Robot::evidence`].
    ///
    /// # Errors
    /// [`OfflineError`]: no answer of the authority to begin behind, or a full queue; the chip's, the logs', the folder's.
    pub fn gather_offline(
        &self,
        surroundings: &Surroundings,
        logs: &PlatformLogs,
        now_utc_ms: u64,
    ) -> Result<OfflineStatus> {
        let _one = self.offline();
        let made = self.next_link(surroundings, logs, now_utc_ms);
        let subject = "offline evidence".to_owned();
        let (index, link) = self.refusals_audited(EntryKind::Attest, subject, now_utc_ms, made)?;
        let subject = format!("offline evidence, link {index}");
        let mut entry = self
            .audit
            .entry(EntryKind::Attest, subject, now_utc_ms, Outcome::Done);
        entry.object = Some(digest(&link));
        self.on_record(entry, |_| Kept::put(&self.folder, index, &link))?;
        self.status()
    }

    fn next_link(
        &self,
        surroundings: &Surroundings,
        logs: &PlatformLogs,
        now_utc_ms: u64,
    ) -> Result<(u64, Vec<u8>)> {
        let kept = self.kept(now_utc_ms)?;
        if kept.links.len() >= MAX_LINKS {
            return Err(kept.full().into());
        }
        let chain = match kept.chain.clone() {
            Some(chain) => chain,
            None => Chain::behind(Kept::anchor(&self.folder)?.ok_or(OfflineError::NoAnchor)?),
        };
        let asked = Asked::all(chain.next_nonce());
        let evidence = self.evidence(&asked, surroundings, logs, now_utc_ms)?;
        let link = match chain.with(evidence) {
            Ok((link, _)) => link,
            Err(ChainError::Expanded { .. }) => return Err(kept.full().into()),
            Err(error) => return Err(OfflineError::from(error).into()),
        };
        if kept.bytes().saturating_add(link.len()) > MAX_QUEUE_BYTES {
            return Err(kept.full().into());
        }
        Ok((chain.length(), link))
    }

    /// What is kept. What a crash left of a link is dropped, and on record.
    ///
    /// # Errors
    /// The folder's.
    pub fn offline_status(&self) -> Result<OfflineStatus> {
        let _one = self.offline();
        self.status()
    }

    fn status(&self) -> Result<OfflineStatus> {
        let kept = self.kept(0)?;
        let is_anchored = kept.chain.is_some() || Kept::anchor(&self.folder)?.is_some();
        Ok(OfflineStatus {
            links: kept.links.len(),
            bytes: kept.bytes(),
            is_full: kept.links.len() >= MAX_LINKS || kept.bytes() >= MAX_QUEUE_BYTES,
            is_anchored,
        })
    }

    /// The message to the authority: all that is kept. It is kept until the answer is taken.
    ///
    /// # Errors
    /// [`OfflineError::Nothing`]; the folder's.
    pub fn offline_queue(&self, now_utc_ms: u64) -> Result<Vec<u8>> {
        let _one = self.offline();
        let kept = self.kept(now_utc_ms)?;
        let anchor = kept.anchor.ok_or(OfflineError::Nothing)?;
        let queue = OfflineQueue {
            robot: self.robot().clone(),
            anchor,
            links: kept.links,
        };
        Ok(queue.to_canonical())
    }

    /// Takes the authority's answer: once it has judged all that is kept, or found where that ends to prove anything, what is kept
    /// is removed, and the next link begins behind the answer. Else all stays, to be sent again.
    ///
    /// # Errors
    /// [`OfflineError`]: not the authority's, or to other links than are kept.
    pub fn take_offline_answer(&self, answer: &[u8], now_utc_ms: u64) -> Result<TakenAnswer> {
        let _one = self.offline();
        let taken = self.judge_answer(answer, now_utc_ms);
        let subject = "the answer to offline evidence".to_owned();
        let taken = self.refusals_audited(EntryKind::Attest, subject, now_utc_ms, taken)?;
        if taken.kept > 0 {
            return Ok(taken);
        }
        let mut subject = format!("offline evidence, {} links judged", taken.judged);
        if taken.unproven > 0 {
            subject.push_str(&format!(", {} behind them prove nothing", taken.unproven));
        }
        self.removing(subject, now_utc_ms, Some(anchor(answer)))?;
        Ok(taken)
    }

    /// Removes what is kept without its being judged, as where the authority does not know any more what it began behind: the
    /// numbers of its evidence stay missing.
    ///
    /// # Errors
    /// The folder's.
    pub fn drop_offline(&self, now_utc_ms: u64) -> Result<usize> {
        let _one = self.offline();
        let links = self.kept(now_utc_ms)?.links.len();
        let subject = format!("offline evidence, {links} links dropped unjudged");
        self.removing(subject, now_utc_ms, None)?;
        Ok(links)
    }

    fn removing(&self, subject: String, now_utc_ms: u64, behind: Option<Digest>) -> Result<()> {
        let entry = self
            .audit
            .entry(EntryKind::Attest, subject, now_utc_ms, Outcome::Done);
        self.on_record(entry, |_| {
            // The other way round, a crash would leave the old anchor, which the authority has judged from.
            if let Some(behind) = behind {
                Kept::put_anchor(&self.folder, &behind)?;
            }
            Kept::remove_all(&self.folder)
        })
    }

    fn judge_answer(&self, answer: &[u8], now_utc_ms: u64) -> Result<TakenAnswer> {
        let authority = &self.keys.anchors().authority;
        let answer = OfflineAnswer::verify(answer, authority, self.robot()).map_err(OfflineError::from)?;
        let kept = self.kept(now_utc_ms)?;
        let judged = usize::try_from(answer.judged).unwrap_or(usize::MAX);
        let (ours, behind) = kept
            .links
            .split_at_checked(judged)
            .ok_or(OfflineError::OtherQueue)?;
        let head = ours.last().map(|link| digest(link)).or(kept.anchor);
        if kept.anchor != Some(answer.anchor) || head != Some(answer.head) {
            return Err(OfflineError::OtherQueue.into());
        }
        // A link that was changed on its way is not the one that is kept.
        let ends_here = answer.broken.is_some() && answer.broken == behind.first().map(|link| digest(link));
        Ok(TakenAnswer {
            judged: answer.judged,
            unproven: if ends_here { behind.len() } else { 0 },
            kept: if ends_here { 0 } else { behind.len() },
        })
    }

    /// Notes a signed answer of the authority: a queue that begins after it begins behind it.
    pub(crate) fn anchor_offline(&self, answer: &[u8]) -> Result<()> {
        let _one = self.offline();
        Kept::put_anchor(&self.folder, &anchor(answer))
    }

    /// What is kept and whole; what is not is removed, with an entry in the audit log.
    fn kept(&self, now_utc_ms: u64) -> Result<Kept> {
        let (kept, damaged) = Kept::load(&self.folder)?;
        if damaged.is_empty() {
            return Ok(kept);
        }
        let subject = format!(
            "offline evidence: {} links behind {} are damaged and dropped",
            damaged.len(),
            kept.links.len()
        );
        tracing::error!(%subject, "the authority will find their numbers missing");
        let entry = self
            .audit
            .entry(EntryKind::Fault, subject, now_utc_ms, Outcome::Failed);
        self.audit.append(&entry)?;
        Kept::remove(&self.folder, &damaged)?;
        Ok(kept)
    }

    fn offline(&self) -> MutexGuard<'_, ()> {
        self.offline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
