//! Exchanges that were opened and not yet ended: each counts once, for one purpose and one robot, until it expires.

use alcub3_audit_log::EntryKind;
use alcub3_crypto::{Entropy, EntropyError};
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{AttestationKind, RobotId, SessionId};

use crate::store::{StateFolder, StoreError};

const COLLECTION: &str = "exchanges";
const DOMAIN: &str = "alcub3/authority-exchange/v1";
const VERSION: u64 = 1;
/// How many exchanges one robot may have open: asking for more makes the oldest void.
const OPEN_PER_ROBOT: usize = 8;
/// How long an exchange stays open, in milliseconds.
pub const EXCHANGE_MS: u64 = 5 * 60_000;

/// What an exchange is for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Purpose {
    /// An attestation.
    Attestation,
    /// A mission.
    Mission,
    /// A rearm.
    Rearm,
    /// A purge.
    Purge,
    /// A mission's later end.
    Extension,
    /// Other commanders of a mission.
    HandOver,
    /// A shared mission key.
    SharedKey,
    /// A certificate of a device key.
    Certificate,
    /// What a lost disk held.
    Restore,
    /// Replaced parts.
    Replacement,
    /// An attestation of a robot whose root of trust is no TPM.
    Platform,
}

impl Purpose {
    /// What entries of the audit log about it are of.
    pub(crate) const fn kind(self) -> EntryKind {
        match self {
            Self::Attestation | Self::Platform => EntryKind::Attest,
            Self::Mission | Self::HandOver => EntryKind::MissionStart,
            Self::Rearm => EntryKind::Rearm,
            Self::Purge => EntryKind::Purge,
            Self::Extension => EntryKind::MissionEnd,
            Self::SharedKey | Self::Certificate => EntryKind::Key,
            Self::Restore => EntryKind::Provision,
            Self::Replacement => EntryKind::Configuration,
        }
    }

    const fn id(self) -> u8 {
        match self {
            Self::Attestation => 0,
            Self::Mission => 1,
            Self::Rearm => 2,
            Self::Purge => 3,
            Self::Extension => 4,
            Self::SharedKey => 5,
            Self::Certificate => 6,
            Self::Restore => 7,
            Self::Replacement => 8,
            Self::Platform => 9,
            Self::HandOver => 10,
        }
    }

    const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::Attestation),
            1 => Some(Self::Mission),
            2 => Some(Self::Rearm),
            3 => Some(Self::Purge),
            4 => Some(Self::Extension),
            5 => Some(Self::SharedKey),
            6 => Some(Self::Certificate),
            7 => Some(Self::Restore),
            8 => Some(Self::Replacement),
            9 => Some(Self::Platform),
            10 => Some(Self::HandOver),
            _ => None,
        }
    }
}

/// What an exchange for an attestation asks for.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct AskedFor {
    /// What is to be proven.
    pub(crate) kind: AttestationKind,
    /// Whether the robot was told that something need not be sent again.
    pub(crate) spared: bool,
}

/// An exchange as it was opened.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Exchange {
    /// Its identifier.
    pub(crate) session: SessionId,
    /// Its nonce.
    pub(crate) nonce: [u8; 32],
    /// What it asks for; for an attestation.
    pub(crate) asked: Option<AskedFor>,
}

/// Why an exchange was not opened, or does not count.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// It was never opened, or was used already.
    #[error("the exchange was not opened by this authority, or was used already: begin again")]
    UnknownOrUsed,
    /// It is another robot's, or for another purpose.
    #[error("the exchange was opened for another robot or another purpose: begin again")]
    OtherUse,
    /// The answer came late.
    #[error("the exchange expired {late_ms} ms ago: begin again")]
    Expired {
        /// By how much, in milliseconds.
        late_ms: u64,
    },
    /// A stored exchange does not read.
    #[error("a stored exchange does not read: {0}; restore the state folder from a backup")]
    Record(#[from] DecodeError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Opened {
    purpose: Purpose,
    robot: RobotId,
    nonce: [u8; 32],
    expires_ms: u64,
    asked: Option<AskedFor>,
}

impl Opened {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 4 + usize::from(self.asked.is_some()));
        out.u64(2)
            .u64(self.purpose.id().into())
            .u64(3)
            .text(self.robot.as_str());
        out.u64(4).bytes(&self.nonce).u64(5).u64(self.expires_ms);
        if let Some(asked) = &self.asked {
            asked.kind.encode(out.u64(6).array(2));
            out.bool(asked.spared);
        }
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "purpose")?;
        let purpose = r.id_of("purpose", Purpose::from_id)?;
        fields.key(r, 3, "robot")?;
        let robot = r.text("robot")?;
        let robot = RobotId::new(robot).map_err(|_| r.fault("robot", Fault::Value))?;
        fields.key(r, 4, "nonce")?;
        let nonce = *r.bytes_of("nonce")?;
        fields.key(r, 5, "expires_ms")?;
        let expires_ms = r.u64("expires_ms")?;
        let asked = match fields.optional(r, 6, "asked")? {
            true => Some(decode_asked(r)?),
            false => None,
        };
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            purpose,
            robot,
            nonce,
            expires_ms,
            asked,
        })
    }
}

fn decode_asked(r: &mut Reader<'_>) -> Result<AskedFor, DecodeError> {
    r.array_of("asked", 2)?;
    Ok(AskedFor {
        kind: AttestationKind::decode(r)?,
        spared: r.bool("asked spared")?,
    })
}

/// Opens an exchange, durably, so that it counts after a restart as well.
pub(crate) fn open(
    folder: &StateFolder,
    entropy: &mut dyn Entropy,
    purpose: Purpose,
    robot: &RobotId,
    asked: Option<AskedFor>,
    now_ms: u64,
) -> Result<Exchange, ExchangeError> {
    make_room(folder, robot, now_ms)?;
    let (mut session, mut nonce) = ([0; 16], [0; 32]);
    entropy.fill(&mut session)?;
    entropy.fill(&mut nonce)?;
    let session = SessionId::new(session);
    let opened = Opened {
        purpose,
        robot: robot.clone(),
        nonce,
        expires_ms: now_ms.saturating_add(EXCHANGE_MS),
        asked,
    };
    folder.put(COLLECTION, &session.to_string(), &opened.encode())?;
    Ok(Exchange {
        session,
        nonce,
        asked,
    })
}

/// Uses an exchange up, durably, and only then says whether it counts: whatever happens after, it never counts again.
pub(crate) fn close(
    folder: &StateFolder,
    purpose: Purpose,
    robot: &RobotId,
    session: SessionId,
    now_ms: u64,
) -> Result<Exchange, ExchangeError> {
    let key = session.to_string();
    let record = folder
        .get(COLLECTION, &key)?
        .ok_or(ExchangeError::UnknownOrUsed)?;
    folder.remove(COLLECTION, &key)?;
    judge(&record, purpose, robot, session, now_ms)
}

/// Whether an exchange would count now; it stays open.
pub(crate) fn look(
    folder: &StateFolder,
    purpose: Purpose,
    robot: &RobotId,
    session: SessionId,
    now_ms: u64,
) -> Result<Exchange, ExchangeError> {
    let record = folder.get(COLLECTION, &session.to_string())?;
    let record = record.ok_or(ExchangeError::UnknownOrUsed)?;
    judge(&record, purpose, robot, session, now_ms)
}

fn judge(
    record: &[u8],
    purpose: Purpose,
    robot: &RobotId,
    session: SessionId,
    now_ms: u64,
) -> Result<Exchange, ExchangeError> {
    let opened = Opened::decode(record)?;
    if opened.purpose != purpose || opened.robot != *robot {
        return Err(ExchangeError::OtherUse);
    }
    match now_ms.checked_sub(opened.expires_ms) {
        None => Ok(Exchange {
            session,
            nonce: opened.nonce,
            asked: opened.asked,
        }),
        Some(late_ms) => Err(ExchangeError::Expired { late_ms }),
    }
}

/// Removes what expired, the robot's oldest where it has too many open, and what does not read: it never counts, and keeps no
/// robot waiting.
fn make_room(folder: &StateFolder, robot: &RobotId, now_ms: u64) -> Result<(), ExchangeError> {
    let mut open = Vec::new();
    for key in folder.keys(COLLECTION)? {
        let opened = match folder.get(COLLECTION, &key) {
            Ok(Some(record)) => Opened::decode(&record).ok(),
            Ok(None) => continue,
            Err(StoreError::Damaged(_)) => None,
            Err(error) => return Err(error.into()),
        };
        match opened {
            Some(opened) if opened.expires_ms > now_ms => {
                if opened.robot == *robot {
                    open.push((opened.expires_ms, key));
                }
            }
            _ => folder.remove(COLLECTION, &key)?,
        }
    }
    open.sort();
    let surplus = open.len().saturating_add(1).saturating_sub(OPEN_PER_ROBOT);
    for (_, key) in open.iter().take(surplus) {
        folder.remove(COLLECTION, key)?;
    }
    Ok(())
}
