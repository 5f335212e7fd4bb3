//! One command to several robots. It names each of them with its mission, its lease and the issuer's number there: a robot
//! is commanded only where it is named, and once. A broadcast names every robot that the issuer knows.

use std::collections::BTreeMap;

use alcub3_crypto::Suite;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::{LeaseId, MissionId, RobotId, domain};

use crate::cose::Unsigned;
use crate::envelope::EnvelopeRef;
use crate::{CommandEnvelope, Reason};

/// The most robots that one envelope commands.
pub const MAX_MEMBERS: usize = 128;
const MAX_NAME_BYTES: usize = 64;
const VERSION: u64 = 1;

/// A robot among those that are commanded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupMember {
    /// The robot.
    pub robot: RobotId,
    /// The mission that it is on.
    pub mission: MissionId,
    /// Its lease of this boot.
    pub lease: LeaseId,
    /// The issuer's number of this command under that lease.
    pub sequence: u64,
}

/// Robots that no group envelope can name.
#[derive(Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum GroupError {
    /// None, or too many.
    #[error("a group has 1 to {MAX_MEMBERS} robots, this one has {0}: use several envelopes")]
    Members(usize),
    /// One of them twice.
    #[error("robot {0} is named twice")]
    Twice(RobotId),
    /// A name that is none.
    #[error("group {0:?} is not valid: 1 to {MAX_NAME_BYTES} of a-z A-Z 0-9 . _ -")]
    Name(String),
}

/// What a group envelope says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupEnvelope {
    group: String,
    members: BTreeMap<RobotId, GroupMember>,
    command: CommandEnvelope,
}

impl GroupEnvelope {
    /// A command to these robots. Of `command` everything counts but its robot, mission, lease and sequence, which are each
    /// member's own.
    ///
    /// # Errors
    /// [`GroupError`].
    pub fn new(
        group: impl Into<String>,
        members: Vec<GroupMember>,
        command: CommandEnvelope,
    ) -> Result<Self, GroupError> {
        let group = group.into();
        if !is_name(&group) {
            return Err(GroupError::Name(group));
        }
        if !(1..=MAX_MEMBERS).contains(&members.len()) {
            return Err(GroupError::Members(members.len()));
        }
        let mut named = BTreeMap::new();
        for member in members {
            if let Some(twice) = named.insert(member.robot.clone(), member) {
                return Err(GroupError::Twice(twice.robot));
            }
        }
        Ok(Self {
            group,
            members: named,
            command,
        })
    }

    /// The robots, ascending by name.
    pub fn members(&self) -> impl Iterator<Item = &GroupMember> {
        self.members.values()
    }

    /// The envelope, ready to be signed (ECDSA suites) or MACed (HMAC suites).
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::GROUP_COMMAND, VERSION, 8);
        out.u64(2).text(&self.group).u64(3).array(self.members.len());
        for member in self.members() {
            out.array(4)
                .text(member.robot.as_str())
                .bytes(member.mission.as_bytes())
                .bytes(member.lease.as_bytes())
                .u64(member.sequence);
        }
        let command = &self.command;
        out.u64(4)
            .text(command.issuer.as_str())
            .u64(5)
            .u64(command.issued_at_ms)
            .u64(6)
            .u64(command.expires_at_ms);
        out.u64(7).text(command.command.as_str());
        command.labels.encode(out.u64(8));
        command.arguments.encode(out.u64(9));
        Unsigned::new(suite, out.finish())
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// A member, where it lies in the payload.
struct MemberRef<'a> {
    robot: &'a str,
    mission: MissionId,
    lease: LeaseId,
    sequence: u64,
}

impl<'a> MemberRef<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        r.array_of("member", 4)?;
        Ok(Self {
            robot: r.text("robot")?,
            mission: MissionId::new(*r.bytes_of("mission")?),
            lease: LeaseId::new(*r.bytes_of("lease")?),
            sequence: r.u64("sequence")?,
        })
    }
}

/// Whether a payload is a group envelope's.
pub(crate) fn is_group(payload: &[u8]) -> bool {
    let mut reader = Reader::new(domain::GROUP_COMMAND, payload);
    let Ok(mut fields) = Fields::open(&mut reader) else {
        return false;
    };
    fields.key(&mut reader, 0, "domain").is_ok() && reader.text("domain") == Ok(domain::GROUP_COMMAND)
}

/// Reads a group envelope as the command that it is for this robot.
pub(crate) fn for_robot<'a>(payload: &'a [u8], me: &RobotId) -> Result<EnvelopeRef<'a>, Reason> {
    decode(payload, me)
        .map_err(Reason::Payload)?
        .ok_or(Reason::WrongRobot)
}

fn decode<'a>(payload: &'a [u8], me: &RobotId) -> Result<Option<EnvelopeRef<'a>>, DecodeError> {
    let mut reader = Reader::new(domain::GROUP_COMMAND, payload);
    let r = &mut reader;
    let mut fields = r.structure(domain::GROUP_COMMAND, VERSION)?;
    fields.key(r, 2, "group")?;
    if !is_name(r.text("group")?) {
        return Err(r.fault("group", Fault::Value));
    }
    fields.key(r, 3, "members")?;
    let mine = decode_members(r, me)?;
    fields.key(r, 4, "issuer")?;
    let issuer = r.text("issuer")?;
    fields.key(r, 5, "issued_at_ms")?;
    let issued_at_ms = r.u64("issued_at_ms")?;
    fields.key(r, 6, "expires_at_ms")?;
    let expires_at_ms = r.u64("expires_at_ms")?;
    let what = EnvelopeRef::decode_what(r, &mut fields, 7)?;
    fields.finish(r)?;
    r.finish()?;
    let (command, labels, arguments) = what;
    Ok(mine.map(|mine| EnvelopeRef {
        robot: mine.robot,
        mission: mine.mission,
        lease: mine.lease,
        issuer,
        sequence: mine.sequence,
        issued_at_ms,
        expires_at_ms,
        command,
        labels,
        arguments,
    }))
}

/// Reads all members, ascending by name, and finds one.
fn decode_members<'a>(r: &mut Reader<'a>, me: &RobotId) -> Result<Option<MemberRef<'a>>, DecodeError> {
    let count = r.array("members", MAX_MEMBERS)?;
    let (mut mine, mut last) = (None, "");
    for _ in 0..count {
        let member = MemberRef::decode(r)?;
        if member.robot <= last {
            return Err(r.fault("members", Fault::Order));
        }
        last = member.robot;
        if member.robot == me.as_str() {
            mine = Some(member);
        }
    }
    Ok(mine)
}

/// What the robots of a group answered, with those that did not answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupVerdicts(BTreeMap<RobotId, MemberVerdict>);

/// What became of a group's command at one robot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MemberVerdict {
    /// It was admitted.
    Admitted,
    /// It was refused, for these codes.
    Refused(Vec<String>),
    /// Nothing was heard: it may or may not be carried out.
    Unanswered,
}

impl GroupVerdicts {
    /// No answer yet, of robots that a command went to.
    pub fn of(robots: impl IntoIterator<Item = RobotId>) -> Self {
        let unanswered = |robot| (robot, MemberVerdict::Unanswered);
        Self(robots.into_iter().map(unanswered).collect())
    }

    /// Notes a robot's answer; false for a robot that the command did not go to.
    pub fn note(&mut self, robot: &RobotId, verdict: MemberVerdict) -> bool {
        let known = self.0.get_mut(robot);
        known.map(|known| *known = verdict).is_some()
    }

    /// All robots with what became of it there, ascending by name.
    pub fn iter(&self) -> impl Iterator<Item = (&RobotId, &MemberVerdict)> {
        self.0.iter()
    }

    /// Whether every robot admitted it.
    pub fn is_unanimous(&self) -> bool {
        self.0.values().all(|verdict| *verdict == MemberVerdict::Admitted)
    }
}
