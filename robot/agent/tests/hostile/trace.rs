//! What a listener on the bus can say of a recorded life.

use super::cases::u32_at;
use alcub3_tpm::CommandCode;
use alcub3_tpm::transport::{Exchange, Outcome};
use std::collections::BTreeSet;

pub const START_AUTH_SESSION: u32 = 0x176;
const READ_PUBLIC: u32 = 0x173;
const NV_READ_PUBLIC: u32 = 0x169;
/// Startup, ContextLoad, ContextSave, FlushContext: no session is permitted (TPM 2.0 Part 3).
const NO_SESSIONS: [u32; 4] = [0x144, 0x161, 0x162, 0x165];
const SESSION_HMAC: u8 = 0;

/// One command as the bus saw it.
pub struct Seen<'a> {
    pub code: u32,
    command: &'a [u8],
    response: &'a [u8],
}

impl<'a> Seen<'a> {
    pub fn all(exchanges: &'a [Exchange]) -> Vec<Self> {
        let seen = |exchange: &'a Exchange| match &exchange.outcome {
            Outcome::Response(response) => Self {
                code: u32_at(&exchange.command, 6),
                command: &exchange.command,
                response,
            },
            other => panic!("a life without an attacker: {other:?}"),
        };
        exchanges.iter().map(seen).collect()
    }

    fn succeeded(&self) -> bool {
        u32_at(self.response, 6) == 0
    }

    /// Handles of the sessions of the command.
    fn sessions(&self) -> Vec<u32> {
        if self.command[..2] != [0x80, 0x02] {
            return Vec::new();
        }
        let area = 10 + 4 * CommandCode(self.code).shape().handles.len();
        let end = area + 4 + usize::try_from(u32_at(self.command, area)).unwrap();
        let (mut at, mut handles) = (area + 4, Vec::new());
        let sized = |at: usize| 2 + usize::from(u16::from_be_bytes([self.command[at], self.command[at + 1]]));
        while at < end {
            handles.push(u32_at(self.command, at));
            at += 4 + sized(at + 4) + 1;
            at += sized(at);
        }
        assert_eq!(at, end);
        handles
    }

    /// StartAuthSession of an HMAC session salted to a key: no session can carry the first, its proof is the next HMAC.
    fn starts_protection(&self) -> bool {
        if self.code != START_AUTH_SESSION || u32_at(self.command, 10) >> 24 != 0x81 {
            return false;
        }
        // Handles tpmKey and bind, the session area if any, nonceCaller, encryptedSalt, sessionType.
        let mut at = 18;
        if self.command[..2] == [0x80, 0x02] {
            at += 4 + usize::try_from(u32_at(self.command, at)).unwrap();
        }
        for _ in 0..2 {
            at += 2 + usize::from(u16::from_be_bytes([self.command[at], self.command[at + 1]]));
        }
        self.command[at] == SESSION_HMAC
    }

    /// Asks for the public area at a handle whose Name is not known yet.
    fn asks_for_a_name(&self) -> bool {
        matches!(self.code, READ_PUBLIC | NV_READ_PUBLIC)
    }
}

/// What is sent before there is a session, and what without one after: none of it may decide anything.
#[derive(Debug, Default)]
pub struct Unprotected {
    pub before_the_pin: BTreeSet<u32>,
    pub permitted: usize,
    pub carried: usize,
    pub faults: Vec<String>,
}

/// Looks for commands that permit a session and carry none of the protecting ones.
pub fn unprotected(seen: &[Seen<'_>]) -> Unprotected {
    let mut found = Unprotected::default();
    let mut protecting = BTreeSet::new();
    for (at, one) in seen.iter().enumerate() {
        if one.starts_protection() && one.succeeded() {
            protecting.insert(u32_at(one.response, 10));
        } else if protecting.is_empty() {
            found.before_the_pin.insert(one.code);
        } else if !NO_SESSIONS.contains(&one.code) {
            found.permitted += 1;
            if one.sessions().iter().any(|handle| protecting.contains(handle)) {
                found.carried += 1;
            } else if !(one.asks_for_a_name() && is_confirmed(one, seen.get(at + 1), &protecting)) {
                found.faults.push(format!("#{at} {}", CommandCode(one.code)));
            }
        }
    }
    found
}

/// A Name that was learnt without a session must be confirmed by the very next command; an answer that nothing is there
/// decides nothing: what is then made there is made in a session, and refused where something is.
fn is_confirmed(asked: &Seen<'_>, next: Option<&Seen<'_>>, protecting: &BTreeSet<u32>) -> bool {
    !asked.succeeded()
        || next.is_some_and(|next| {
            next.code == asked.code
                && u32_at(next.command, 10) == u32_at(asked.command, 10)
                && next.sessions().iter().any(|handle| protecting.contains(handle))
        })
}

/// Whether 16 bytes in a row of a secret crossed the bus.
pub fn leaked(exchanges: &[Exchange], secret: &[u8]) -> bool {
    assert!(secret.len() >= 16, "too short to tell from chance");
    let heard: Vec<&[u8]> = exchanges.iter().flat_map(both).collect();
    let pieces: BTreeSet<&[u8]> = secret.windows(16).collect();
    heard
        .iter()
        .any(|bytes| bytes.windows(16).any(|window| pieces.contains(window)))
}

fn both(exchange: &Exchange) -> Vec<&[u8]> {
    let mut heard = vec![exchange.command.as_slice()];
    if let Outcome::Response(response) = &exchange.outcome {
        heard.push(response);
    }
    heard
}
