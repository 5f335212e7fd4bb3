//! Command envelopes: one command, by one issuer, on one mission, under one lease, once.

use alcub3_crypto::Suite;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Fields, Reader};
use alcub3_trust_model::{Labels, LeaseId, MissionId, OperatorId, RobotId, domain};

use crate::arguments::ArgumentsRef;
use crate::cose::Unsigned;
use crate::role::is_command_name;
use crate::{Arguments, CommandName, Reason, group};

/// The longest envelope, in bytes.
pub const MAX_ENVELOPE_BYTES: usize = 16 * 1024;
/// The longest an envelope may stay valid, in milliseconds.
pub const MAX_VALIDITY_MS: u64 = 60_000;

const VERSION: u64 = 1;

/// What a command envelope says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandEnvelope {
    /// The robot.
    pub robot: RobotId,
    /// The mission.
    pub mission: MissionId,
    /// The robot's lease: the command is for this boot only.
    pub lease: LeaseId,
    /// Who commands.
    pub issuer: OperatorId,
    /// The issuer's number of this command under this lease, from 1 upward.
    pub sequence: u64,
    /// When it was made, UTC in milliseconds since 1970.
    pub issued_at_ms: u64,
    /// When it is late, UTC in milliseconds since 1970; at most [`MAX_VALIDITY_MS`] after it was made.
    pub expires_at_ms: u64,
    /// The command.
    pub command: CommandName,
    /// The command's labels.
    pub labels: Labels,
    /// Its arguments.
    pub arguments: Arguments,
}

impl CommandEnvelope {
    /// The envelope, ready to be signed (ECDSA suites) or MACed (HMAC suites).
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::COMMAND, VERSION, 10);
        out.u64(2)
            .text(self.robot.as_str())
            .u64(3)
            .bytes(self.mission.as_bytes());
        out.u64(4)
            .bytes(self.lease.as_bytes())
            .u64(5)
            .text(self.issuer.as_str());
        out.u64(6)
            .u64(self.sequence)
            .u64(7)
            .u64(self.issued_at_ms)
            .u64(8)
            .u64(self.expires_at_ms);
        out.u64(9).text(self.command.as_str());
        self.labels.encode(out.u64(10));
        self.arguments.encode(out.u64(11));
        Unsigned::new(suite, out.finish())
    }
}

/// A payload that was read strictly where it lies. It is nobody's word yet.
#[derive(Clone, Debug)]
pub(crate) struct EnvelopeRef<'a> {
    pub(crate) robot: &'a str,
    pub(crate) mission: MissionId,
    pub(crate) lease: LeaseId,
    pub(crate) issuer: &'a str,
    pub(crate) sequence: u64,
    pub(crate) issued_at_ms: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) command: &'a str,
    pub(crate) labels: Labels,
    pub(crate) arguments: ArgumentsRef<'a>,
}

impl<'a> EnvelopeRef<'a> {
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::COMMAND, payload);
        let r = &mut reader;
        let mut fields = r.structure(domain::COMMAND, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = r.text("robot")?;
        fields.key(r, 3, "mission")?;
        let mission = MissionId::new(*r.bytes_of("mission")?);
        fields.key(r, 4, "lease")?;
        let lease = LeaseId::new(*r.bytes_of("lease")?);
        fields.key(r, 5, "issuer")?;
        let issuer = r.text("issuer")?;
        fields.key(r, 6, "sequence")?;
        let sequence = r.u64("sequence")?;
        fields.key(r, 7, "issued_at_ms")?;
        let issued_at_ms = r.u64("issued_at_ms")?;
        fields.key(r, 8, "expires_at_ms")?;
        let expires_at_ms = r.u64("expires_at_ms")?;
        let (command, labels, arguments) = Self::decode_what(r, &mut fields, 9)?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            mission,
            lease,
            issuer,
            sequence,
            issued_at_ms,
            expires_at_ms,
            command,
            labels,
            arguments,
        })
    }

    /// What is commanded: three fields, of which the first has this key.
    pub(crate) fn decode_what(
        r: &mut Reader<'a>,
        fields: &mut Fields,
        first: u64,
    ) -> Result<(&'a str, Labels, ArgumentsRef<'a>), DecodeError> {
        fields.key(r, first, "command")?;
        let command = r.text("command")?;
        if !is_command_name(command) {
            return Err(r.fault("command", Fault::Value));
        }
        fields.key(r, first + 1, "labels")?;
        let labels = Labels::decode(r)?;
        fields.key(r, first + 2, "arguments")?;
        let arguments = ArgumentsRef::decode(r)?;
        Ok((command, labels, arguments))
    }

    /// A payload as the command that it is for this robot, whether it names that robot alone or among others.
    pub(crate) fn for_robot(payload: &'a [u8], me: &RobotId) -> Result<Self, Reason> {
        if group::is_group(payload) {
            return group::for_robot(payload, me);
        }
        Self::decode(payload).map_err(Reason::Payload)
    }
}
