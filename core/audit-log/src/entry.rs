//! An entry of the audit log, in its canonical form.

use alcub3_crypto::Digest;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{BootId, Labels, Level, RobotId, domain};

/// What an entry is about.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub enum EntryKind {
    /// The agent started.
    Start,
    /// The robot was provisioned or enrolled, or got back what its lost disk held.
    Provision,
    /// Evidence was given or a lease received.
    Attest,
    /// A mission was started, or handed over to other commanders.
    MissionStart,
    /// A mission ended, or its end was moved.
    MissionEnd,
    /// A command was judged.
    Command,
    /// An emergency stop.
    Stop,
    /// A rearm after a stop.
    Rearm,
    /// The order that a robot be purged, or the judgement of its receipt.
    Purge,
    /// A key was made, certified, rotated, shared or destroyed.
    Key,
    /// Data was sealed or unsealed.
    Seal,
    /// The configuration was changed: parts, persons, their chips, policies, reference values.
    Configuration,
    /// Something was wrong with the TPM, a store or a clock.
    Fault,
    /// The head of a robot's audit log was taken by its authority, or refused.
    Audit,
}

impl EntryKind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Start,
        Self::Provision,
        Self::Attest,
        Self::MissionStart,
        Self::MissionEnd,
        Self::Command,
        Self::Stop,
        Self::Rearm,
        Self::Purge,
        Self::Key,
        Self::Seal,
        Self::Configuration,
        Self::Fault,
        Self::Audit,
    ];

    /// The name, which is also what the encoding holds.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Provision => "provision",
            Self::Attest => "attest",
            Self::MissionStart => "mission-start",
            Self::MissionEnd => "mission-end",
            Self::Command => "command",
            Self::Stop => "stop",
            Self::Rearm => "rearm",
            Self::Purge => "purge",
            Self::Key => "key",
            Self::Seal => "seal",
            Self::Configuration => "configuration",
            Self::Fault => "fault",
            Self::Audit => "audit",
        }
    }

    /// The kind of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How it ended.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was refused; the reasons say why.
    Refused,
    /// It was tried and did not work.
    Failed,
    /// It may or may not have happened: no answer proves it.
    Unconfirmed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Failed, Self::Unconfirmed];

    /// The number on the wire.
    pub const fn id(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Failed => 2,
            Self::Unconfirmed => 3,
        }
    }

    /// The outcome of a number on the wire.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.id() == id)
    }

    /// The name for people and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Unconfirmed => "unconfirmed",
        }
    }
}

/// One step of what happened and when it was reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// The step's name, such as `gate-closed`.
    pub name: String,
    /// When it was reached, in microseconds after the entry's time.
    pub after_us: u64,
}

/// An entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Which robot it is about: in a robot's log that robot. In an authority's, none where it is about no robot, or about a
    /// message that names none.
    pub robot: Option<RobotId>,
    /// Which run of the robot's agent, or of the authority, wrote it.
    pub boot: BootId,
    /// When it began, UTC in milliseconds since 1970.
    pub time_ms: u64,
    /// What it is about.
    pub kind: EntryKind,
    /// Who or what it concerns: an issuer, a mission, a key, a stop.
    pub subject: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Reason codes, in the order in which they were found.
    pub reasons: Vec<String>,
    /// The steps and their times.
    pub steps: Vec<Step>,
    /// The digest of the object that the entry is about: an envelope, a receipt, evidence.
    pub object: Option<Digest>,
    /// Who may read it. None in what was written before entries had labels, and where nobody said: see [`Self::is_readable_by`].
    pub label: Option<Labels>,
    /// Where what it says took effect before the entry was on the disk: how far behind the disk may be, in milliseconds. None
    /// where the entry came first.
    pub within_ms: Option<u32>,
}

/// An entry that no canonical form exists for.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
#[error("audit entry: {field} has {found} bytes or elements, at most {most} are allowed")]
pub struct EntryError {
    /// The field.
    pub field: &'static str,
    /// Its length.
    pub found: usize,
    /// The longest allowed.
    pub most: usize,
}

const VERSION: u64 = 1;
const MAX_SUBJECT_BYTES: usize = 256;
const MAX_WORD_BYTES: usize = 64;
const MAX_LIST: usize = 32;

impl Entry {
    /// The canonical bytes: what is hashed into the tree.
    ///
    /// # Errors
    /// [`EntryError`] where a field is longer than a reader accepts.
    pub fn to_canonical(&self) -> Result<Vec<u8>, EntryError> {
        self.check()?;
        let mut out = Encoder::structure(
            domain::AUDIT_ENTRY,
            VERSION,
            7 + [
                self.robot.is_some(),
                self.object.is_some(),
                self.label.is_some(),
                self.within_ms.is_some(),
            ]
            .into_iter()
            .map(usize::from)
            .sum::<usize>(),
        );
        if let Some(robot) = &self.robot {
            out.u64(2).text(robot.as_str());
        }
        out.u64(3).bytes(self.boot.as_bytes()).u64(4).u64(self.time_ms);
        out.u64(5)
            .text(self.kind.name())
            .u64(6)
            .text(&self.subject)
            .u64(7)
            .u64(self.outcome.id().into());
        out.u64(8).array(self.reasons.len());
        for reason in &self.reasons {
            out.text(reason);
        }
        out.u64(9).array(self.steps.len());
        for step in &self.steps {
            out.array(2).text(&step.name).u64(step.after_us);
        }
        if let Some(object) = &self.object {
            out.u64(10).digest(object);
        }
        if let Some(label) = &self.label {
            label.encode(out.u64(11));
        }
        if let Some(within_ms) = self.within_ms {
            out.u64(12).u64(within_ms.into());
        }
        Ok(out.finish())
    }

    /// Whether a reader cleared for these labels may read it. Of an entry without a label nobody said what is in it: it is for
    /// readers of the highest level only.
    pub fn is_readable_by(&self, reader: &Labels) -> bool {
        match &self.label {
            Some(label) => reader.can_read(label),
            None => reader.level == Level::TopSecret,
        }
    }

    fn check(&self) -> Result<(), EntryError> {
        within("subject", self.subject.len(), MAX_SUBJECT_BYTES)?;
        within("reasons", self.reasons.len(), MAX_LIST)?;
        within("steps", self.steps.len(), MAX_LIST)?;
        self.reasons
            .iter()
            .try_for_each(|reason| within("reason", reason.len(), MAX_WORD_BYTES))?;
        self.steps
            .iter()
            .try_for_each(|step| within("step", step.name.len(), MAX_WORD_BYTES))
    }

    /// The entry of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::AUDIT_ENTRY, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::AUDIT_ENTRY, VERSION)?;
        let robot = if fields.optional(r, 2, "robot")? {
            Some(RobotId::new(r.text("robot")?).map_err(|_| r.fault("robot", Fault::Value))?)
        } else {
            None
        };
        fields.key(r, 3, "boot")?;
        let boot = BootId::new(*r.bytes_of("boot")?);
        fields.key(r, 4, "time_ms")?;
        let time_ms = r.u64("time_ms")?;
        fields.key(r, 5, "kind")?;
        let kind = EntryKind::from_name(r.text("kind")?).ok_or_else(|| r.fault("kind", Fault::Value))?;
        fields.key(r, 6, "subject")?;
        let subject = word(r, "subject", MAX_SUBJECT_BYTES)?;
        fields.key(r, 7, "outcome")?;
        let outcome = r.id_of("outcome", Outcome::from_id)?;
        fields.key(r, 8, "reasons")?;
        let reasons = list(r, "reasons", |r| word(r, "reasons", MAX_WORD_BYTES))?;
        fields.key(r, 9, "steps")?;
        let steps = list(r, "steps", decode_step)?;
        let object = if fields.optional(r, 10, "object")? {
            Some(r.digest("object")?)
        } else {
            None
        };
        let labelled = fields.optional(r, 11, "label")?;
        let label = labelled.then(|| Labels::decode(r)).transpose()?;
        let bounded = fields.optional(r, 12, "within_ms")?;
        let within_ms = bounded.then(|| r.u32("within_ms")).transpose()?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            boot,
            time_ms,
            kind,
            subject,
            outcome,
            reasons,
            steps,
            object,
            label,
            within_ms,
        })
    }
}

fn within(field: &'static str, found: usize, most: usize) -> Result<(), EntryError> {
    if found <= most {
        Ok(())
    } else {
        Err(EntryError { field, found, most })
    }
}

fn word(r: &mut Reader<'_>, field: &'static str, most: usize) -> Result<String, DecodeError> {
    let text = r.text(field)?;
    if text.len() > most {
        Err(r.fault(field, Fault::TooLong))
    } else {
        Ok(text.to_owned())
    }
}

fn list<T>(
    r: &mut Reader<'_>,
    field: &'static str,
    mut each: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let count = r.array(field, MAX_LIST)?;
    (0..count).map(|_| each(r)).collect()
}

fn decode_step(r: &mut Reader<'_>) -> Result<Step, DecodeError> {
    r.array_of("steps", 2)?;
    let name = word(r, "steps", MAX_WORD_BYTES)?;
    Ok(Step {
        name,
        after_us: r.u64("steps")?,
    })
}
