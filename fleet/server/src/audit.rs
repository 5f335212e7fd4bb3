//! The authority's audit log: what it decided, on disk before anybody is told.
//!
//! What lasts is in the log before it is done, and again with what came of it; a judgement is in it before it is given out, and
//! so is what was refused and why.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use alcub3_audit_log::{Entry, EntryKind, LogFile, LogWriter, NodeHash, Outcome};
use alcub3_crypto::{Digest, Entropy, EntropyError};
use alcub3_trust_model::{BootId, RobotId, SessionId};

use crate::approval::OperatorVote;
use crate::authority::Authority;
use crate::exchanges::{self, AskedFor, ExchangeError, Purpose};
use crate::refusal::Refusal;
use crate::robots::RobotError;
use crate::store::{StateFolder, StoreError};

const FILE: &str = "audit.log";
/// The most bytes of a subject, and the most reasons of an entry.
const SUBJECT_BYTES: usize = 256;
const MAX_REASONS: usize = 32;

struct Disk(File);

impl LogFile for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(|_| ())
    }
}

/// The log of one authority, open.
pub(crate) struct AuditLog {
    log: LogWriter<Disk>,
    path: PathBuf,
    run: BootId,
    /// What an entry has to name of the file's damage, once there is a time for it.
    damage: Vec<String>,
}

impl AuditLog {
    /// Opens the log of a state folder, or begins it.
    pub(crate) fn open(folder: &StateFolder, entropy: &mut dyn Entropy) -> Result<Self, AuditLogError> {
        let path = folder.path().join(FILE);
        let mut file = folder.open_file(FILE)?;
        let failed = |source: io::Error| StoreError::Io {
            action: "read",
            path: path.clone(),
            source,
        };
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(failed)?;
        let (log, damage) = LogWriter::open(Disk(file), &content).map_err(failed)?;
        let mut run = [0; 16];
        entropy.fill(&mut run)?;
        Ok(Self {
            log,
            path,
            run: BootId::new(run),
            damage,
        })
    }

    fn append(&mut self, decision: Decision, outcome: Outcome, now_ms: u64) -> Result<(), StoreError> {
        for subject in std::mem::take(&mut self.damage) {
            self.write(
                Decision::about(EntryKind::Fault, None, subject),
                Outcome::Failed,
                now_ms,
            )?;
        }
        self.write(decision, outcome, now_ms)
    }

    fn write(&mut self, decision: Decision, outcome: Outcome, time_ms: u64) -> Result<(), StoreError> {
        let subject = decision.subject(outcome);
        let entry = Entry {
            robot: decision.robot,
            boot: self.run,
            time_ms,
            kind: decision.kind,
            subject,
            outcome,
            reasons: decision.reasons,
            steps: Vec::new(),
            object: decision.object,
            label: None,
            within_ms: None,
        };
        let appended = self.log.append(&entry);
        appended.map(|_| ()).map_err(|source| StoreError::Audit {
            path: self.path.clone(),
            source,
        })
    }
}

/// The log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// What was decided, about what.
#[derive(Clone)]
pub(crate) struct Decision {
    kind: EntryKind,
    robot: Option<RobotId>,
    subject: String,
    /// In whose names votes were given. Only a decision that was taken has proven that they are theirs.
    voters: Vec<String>,
    reasons: Vec<String>,
    object: Option<Digest>,
}

impl Decision {
    /// A decision about a robot, or none.
    pub(crate) fn about(kind: EntryKind, robot: Option<&RobotId>, subject: impl Into<String>) -> Self {
        let mut subject = subject.into();
        subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES));
        Self {
            kind,
            robot: robot.cloned(),
            subject,
            voters: Vec::new(),
            reasons: Vec::new(),
            object: None,
        }
    }

    /// A decision on a message, which names its robot where it reads.
    pub(crate) fn on<T, E>(
        kind: EntryKind,
        message: &Result<T, E>,
        named: impl FnOnce(&T) -> (&RobotId, String),
    ) -> Self {
        match message.as_ref().ok().map(named) {
            Some((robot, subject)) => Self::about(kind, Some(robot), subject),
            None => Self::about(kind, None, "a message that does not read"),
        }
    }

    /// With the persons in whose names votes were given, each once.
    pub(crate) fn voted_by<'a>(mut self, votes: impl IntoIterator<Item = &'a OperatorVote>) -> Self {
        for vote in votes {
            let name = vote.operator.to_string();
            if !self.voters.contains(&name) {
                self.voters.push(name);
            }
        }
        self
    }

    /// The subject as an entry has it.
    fn subject(&self, outcome: Outcome) -> String {
        let names = self.voters.join("+");
        let mut subject = match (self.voters.is_empty(), outcome) {
            (true, _) => self.subject.clone(),
            (false, Outcome::Done) => format!("{}, votes of {names}", self.subject),
            (false, _) => format!("{}, votes in the names of {names}", self.subject),
        };
        subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES));
        subject
    }

    /// With the digest of what it is about.
    pub(crate) const fn with_object(mut self, object: Digest) -> Self {
        self.object = Some(object);
        self
    }

    /// With reason codes.
    pub(crate) fn because<'a>(mut self, codes: impl IntoIterator<Item = &'a str>) -> Self {
        self.reasons = codes.into_iter().take(MAX_REASONS).map(str::to_owned).collect();
        self
    }
}

impl Authority {
    /// How many entries the audit log has, and the Merkle root over them (RFC 6962).
    pub fn audit_head(&self) -> (u64, NodeHash) {
        self.audit.log.head()
    }

    /// Where the audit log of a state folder is.
    pub fn audit_file(state: &Path) -> PathBuf {
        state.join(FILE)
    }

    /// Does what lasts, with an entry before it that says that it may have happened, and one after it that says what came of it.
    /// Where the first cannot be written, nothing is done. A crash in between, or a log that fails in between, leaves the first
    /// alone: what was done is in force, and an error would say that it is not.
    pub(crate) fn acting_on_record<T, E>(
        &mut self,
        decision: Decision,
        now_ms: u64,
        act: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E>
    where
        E: Refusal + From<StoreError>,
    {
        self.audit
            .append(decision.clone(), Outcome::Unconfirmed, now_ms)?;
        let acted = act(self);
        let (decision, outcome) = ended(decision, &acted);
        if let Err(error) = self.audit.append(decision, outcome, now_ms) {
            tracing::error!(%error, "what was decided is in the audit log as unconfirmed only");
        }
        acted
    }

    /// Gives a decision out once it is in the audit log. Where it cannot be put there, it is not given out. Of what lasts nothing
    /// may have been done by then: see [`Self::acting_on_record`].
    pub(crate) fn on_record<T, E>(
        &mut self,
        decision: Decision,
        now_ms: u64,
        decided: Result<T, E>,
    ) -> Result<T, E>
    where
        E: Refusal + From<StoreError>,
    {
        let (decision, outcome) = ended(decision, &decided);
        self.audit.append(decision, outcome, now_ms)?;
        decided
    }

    /// As [`Self::on_record`], for a step that decides nothing unless it refuses.
    pub(crate) fn refusal_on_record<T, E>(
        &mut self,
        decision: Decision,
        now_ms: u64,
        judged: Result<T, E>,
    ) -> Result<T, E>
    where
        E: Refusal + From<StoreError>,
    {
        if judged.is_ok() {
            return judged;
        }
        self.on_record(decision, now_ms, judged)
    }

    /// Puts a judgement on record that was given, whatever it is.
    pub(crate) fn judgement_on_record(
        &mut self,
        decision: Decision,
        is_good: bool,
        now_ms: u64,
    ) -> Result<(), StoreError> {
        let outcome = if is_good { Outcome::Done } else { Outcome::Refused };
        self.audit.append(decision, outcome, now_ms)
    }

    /// Opens an exchange with a robot that is served; a refusal is on record. A purged robot may be purged again.
    pub(crate) fn open_exchange<E>(
        &mut self,
        purpose: Purpose,
        robot: &RobotId,
        asked: Option<AskedFor>,
        now_ms: u64,
    ) -> Result<exchanges::Exchange, E>
    where
        E: Refusal + From<StoreError> + From<RobotError> + From<ExchangeError>,
    {
        let known = match purpose {
            Purpose::Purge => self.enrolment(robot),
            _ => self.active(robot),
        };
        let mut entropy = self.entropy;
        let opened = known.map_err(E::from).and_then(|_| {
            Ok(exchanges::open(
                &self.folder,
                &mut entropy,
                purpose,
                robot,
                asked,
                now_ms,
            )?)
        });
        let decision = Decision::about(purpose.kind(), Some(robot), "a new exchange");
        self.refusal_on_record(decision, now_ms, opened)
    }

    /// As [`Self::open_exchange`]; gives its identifier.
    pub(crate) fn open_session<E>(
        &mut self,
        purpose: Purpose,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<SessionId, E>
    where
        E: Refusal + From<StoreError> + From<RobotError> + From<ExchangeError>,
    {
        Ok(self.open_exchange::<E>(purpose, robot, None, now_ms)?.session)
    }
}

/// How a decision ended, as its entry says.
fn ended<T, E: Refusal>(decision: Decision, decided: &Result<T, E>) -> (Decision, Outcome) {
    match decided {
        Ok(_) => (decision, Outcome::Done),
        Err(error) => (decision.because([error.code()]), error.outcome()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::authority::AuthorityConfig;
    use crate::operators::{Operator, OperatorError};
    use alcub3_command_authority::Role;
    use alcub3_crypto::{Curve, SigningKey};
    use alcub3_trust_model::{FleetId, Integrity, Labels, Level, OperatorId};

    #[test]
    fn what_cannot_be_put_on_record_is_not_given_out() {
        let dir = tempfile::tempdir().unwrap();
        let config = AuthorityConfig::production(dir.path().join("seal.key"), FleetId::new("test").unwrap());
        let mut authority = Authority::create(&dir.path().join("state"), config).unwrap();
        let file = File::open(Authority::audit_file(authority.path())).unwrap();
        authority.audit.log = LogWriter::open(Disk(file), &[]).unwrap().0;
        let id = OperatorId::new("alice").unwrap();
        let alice = Operator {
            id: id.clone(),
            key: SigningKey::generate(Curve::P384).unwrap().verifying_key(),
            role: Role::Approver,
            labels: Labels::new(Level::Secret, Integrity::Operational),
        };
        let registered = authority.register_operator(alice, 7);
        assert!(
            matches!(registered, Err(OperatorError::Store(StoreError::Audit { .. }))),
            "{registered:?}"
        );
        assert_eq!(authority.audit_head().0, 0);
        assert!(authority.operators().get(&id).is_none());
    }

    #[test]
    fn a_subject_is_cut_between_characters_where_it_is_too_long() {
        let long = "é".repeat(200);
        let decision = Decision::about(EntryKind::Key, None, long.clone());
        assert_eq!(decision.subject.len(), SUBJECT_BYTES);
        assert!(long.starts_with(&decision.subject));
    }
}
