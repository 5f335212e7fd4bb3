//! The last checkpoint of each robot's audit log: whether the next goes on from it.
//!
//! A log that was rolled back, cut or forked since is refused and on record; so is a head that the robot's chip did not count. What is
//! taken is on record as well, so that the authority's own log is witness to the robots'.

use alcub3_audit_log::{Checkpoint, EntryKind};
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::audit::{AuditReport, AuditReportError, ProvenHead};
use alcub3_trust_model::RobotId;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "audit-heads";
const DOMAIN: &str = "alcub3/authority-audit-head/v1";
const VERSION: u64 = 1;
const ALG: HashAlg = HashAlg::Sha256;

/// Why a checkpoint is not taken.
#[derive(Debug, thiserror::Error)]
pub enum AuditHeadRefusal {
    /// It proves nothing, or that the log does not go on from what is held.
    #[error(
        "robot {robot}: {source}; keep its disk as it is and look at both copies with `alcub3 audit verify`"
    )]
    Report {
        /// The robot it says it is of.
        robot: RobotId,
        /// What is wrong.
        source: AuditReportError,
    },
    /// The message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is held of a robot's log.
#[derive(Clone, Debug)]
pub struct HeldHead {
    /// The report it came in.
    pub report: AuditReport,
    /// When it was taken, UTC in milliseconds since 1970.
    pub taken_at_ms: u64,
    /// The attestation key that vouched for it, by the SHA-256 of its SPKI.
    key: Digest,
}

impl HeldHead {
    fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 3);
        out.u64(2).bytes(&self.report.to_canonical());
        out.u64(3).u64(self.taken_at_ms).u64(4).digest(&self.key);
        out.finish()
    }

    fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "report")?;
        let report = AuditReport::from_canonical(r.bytes("report")?)?;
        fields.key(r, 3, "taken_at_ms")?;
        let taken_at_ms = r.u64("taken_at_ms")?;
        fields.key(r, 4, "key")?;
        let key = r.digest("key")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            report,
            taken_at_ms,
            key,
        })
    }
}

fn find(folder: &StateFolder, robot: &RobotId) -> Result<Option<HeldHead>, RobotError> {
    let Some(bytes) = folder.get(COLLECTION, robot.as_str())? else {
        return Ok(None);
    };
    let held = HeldHead::from_canonical(&bytes).map_err(|source| RobotError::AuditHead {
        robot: robot.clone(),
        source,
    })?;
    Ok(Some(held))
}

impl Authority {
    /// What is held of a robot's audit log: a robot proves its next checkpoint against it.
    ///
    /// # Errors
    /// [`RobotError`] where the robot is unknown or the record cannot be read.
    pub fn audit_head_of(&self, robot: &RobotId) -> Result<Option<HeldHead>, RobotError> {
        self.active(robot)?;
        find(&self.folder, robot)
    }

    /// Takes the checkpoint of a robot's audit log, if it goes on from the one that is held; gives its head. Where it does not, the one
    /// held stays, and the refusal is on record with its reason code.
    ///
    /// # Errors
    /// [`AuditHeadRefusal`].
    pub fn take_audit_report(&mut self, message: &[u8], now_ms: u64) -> Result<Checkpoint, AuditHeadRefusal> {
        let object = ALG.digest(&[message]);
        let report = AuditReport::from_canonical(message);
        let decision = Decision::on(EntryKind::Audit, &report, |report| {
            (&report.robot, "a checkpoint of its audit log".to_owned())
        });
        let judged = report
            .map_err(AuditHeadRefusal::from)
            .and_then(|report| self.judge_report(report));
        let (held, head, is_new) = match judged {
            Ok(judged) => judged,
            Err(refusal) => return self.on_record(decision.with_object(object), now_ms, Err(refusal)),
        };
        let robot = held.report.robot.clone();
        let held = HeldHead {
            taken_at_ms: now_ms,
            ..held
        };
        if is_new {
            let subject = format!(
                "audit log of {} entries, head {}",
                head.head().checkpoint().size(),
                head.count()
            );
            let decision = Decision::about(EntryKind::Audit, Some(&robot), subject).with_object(object);
            self.on_record::<(), AuditHeadRefusal>(decision, now_ms, Ok(()))?;
        }
        self.folder
            .put(COLLECTION, robot.as_str(), &held.to_canonical())?;
        Ok(head.head().checkpoint().clone())
    }

    /// The record to keep of a report, its head, and whether that is another than the one held.
    fn judge_report(&self, report: AuditReport) -> Result<(HeldHead, ProvenHead, bool), AuditHeadRefusal> {
        let enrolment = self.active(&report.robot)?;
        let (key, nv) = (enrolment.attestation_key(), enrolment.nv_map());
        let refused = |source| AuditHeadRefusal::Report {
            robot: report.robot.clone(),
            source,
        };
        let head = report.verify(key, nv).map_err(refused)?;
        let key_digest = ALG.digest(&[&key.to_spki_der()]);
        // A robot that was enrolled anew, with another key, begins another log.
        let held = find(&self.folder, &report.robot)?.filter(|held| held.key == key_digest);
        let mut is_new = true;
        if let Some(held) = &held {
            let before = held.report.verify(key, nv).map_err(refused)?;
            let proof = report.proof(head.head().checkpoint());
            head.follows(&before, &proof).map_err(refused)?;
            is_new = before.head().checkpoint() != head.head().checkpoint();
        }
        let held = HeldHead {
            report,
            taken_at_ms: 0,
            key: key_digest,
        };
        Ok((held, head, is_new))
    }
}
