//! The second person of a command: a signature over the whole of what the first person signed or MACed.

use alcub3_crypto::{Digest, Suite};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{OperatorId, domain};

use crate::cose::{Message, Unsigned};
use crate::policy::SecondReason;
use crate::{MAX_ENVELOPE_BYTES, Reason};

/// The longest approval, in bytes.
pub const MAX_APPROVAL_BYTES: usize = 512;

const VERSION: u64 = 1;
/// The first byte of an envelope with an approval: an array of two. A COSE message alone begins with its tag.
const PAIR: u8 = 0x82;

/// A second person's word that one command is to be carried out. It is good for that envelope alone, and as long as it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandApproval {
    /// Who approves.
    pub approver: OperatorId,
    /// The digest of the envelope as it was signed or MACed, by the hash of the approval's own suite.
    pub command: Digest,
}

impl CommandApproval {
    /// The approval of an envelope.
    pub fn of(envelope: &[u8], approver: OperatorId, suite: Suite) -> Self {
        Self {
            approver,
            command: suite.hash().digest(&[envelope]),
        }
    }

    /// The approval, ready to be signed.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::COMMAND_APPROVAL, VERSION, 2);
        out.u64(2)
            .text(self.approver.as_str())
            .u64(3)
            .digest(&self.command);
        Unsigned::new(suite, out.finish())
    }
}

/// The envelope with its signed approval, as a robot takes it.
pub fn with_approval(envelope: &[u8], approval: &[u8]) -> Vec<u8> {
    let mut out = Encoder::new();
    out.array(2).bytes(envelope).bytes(approval);
    out.finish()
}

/// What was presented to be judged: an envelope, alone or with a second person's approval.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Presented<'a> {
    pub(crate) envelope: &'a [u8],
    pub(crate) approval: Option<&'a [u8]>,
}

impl<'a> Presented<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Reason> {
        let presented = match bytes.first() {
            Some(&PAIR) => Self::parse_pair(bytes).map_err(Reason::Payload)?,
            _ => Self {
                envelope: bytes,
                approval: None,
            },
        };
        let is_long = presented
            .approval
            .is_some_and(|approval| approval.len() > MAX_APPROVAL_BYTES);
        if presented.envelope.len() > MAX_ENVELOPE_BYTES || is_long {
            return Err(Reason::TooLarge);
        }
        Ok(presented)
    }

    fn parse_pair(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::COMMAND, bytes);
        reader.array_of("envelope and approval", 2)?;
        let envelope = reader.bytes("envelope")?;
        let approval = Some(reader.bytes("approval")?);
        reader.finish()?;
        Ok(Self { envelope, approval })
    }
}

/// An approval that was read strictly. It is nobody's word yet.
#[derive(Clone, Debug)]
pub(crate) struct ApprovalRef<'a> {
    pub(crate) message: Message<'a>,
    pub(crate) approver: &'a str,
}

impl<'a> ApprovalRef<'a> {
    /// Reads an approval, which must be a signature over this envelope.
    pub(crate) fn parse(approval: &'a [u8], envelope: &[u8]) -> Result<Self, SecondReason> {
        let message =
            Message::parse(domain::COMMAND_APPROVAL, approval).map_err(|_| SecondReason::Malformed)?;
        if !message.suite().is_signature() {
            return Err(SecondReason::Malformed);
        }
        let (approver, command) = decode(message.payload()).map_err(|_| SecondReason::Malformed)?;
        if command != message.suite().hash().digest(&[envelope]) {
            return Err(SecondReason::OtherCommand);
        }
        Ok(Self { message, approver })
    }
}

fn decode(payload: &[u8]) -> Result<(&str, Digest), DecodeError> {
    let mut reader = Reader::new(domain::COMMAND_APPROVAL, payload);
    let r = &mut reader;
    let mut fields = r.structure(domain::COMMAND_APPROVAL, VERSION)?;
    fields.key(r, 2, "approver")?;
    let approver = r.text("approver")?;
    if OperatorId::new(approver).is_err() {
        return Err(r.fault("approver", Fault::Value));
    }
    fields.key(r, 3, "command")?;
    let command = r.digest("command")?;
    fields.finish(r)?;
    r.finish()?;
    Ok((approver, command))
}
