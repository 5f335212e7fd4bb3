//! What the attacker does: for every response of the recorded life, every kind of attack at every kind of place.

use alcub3_testkit::{Attack, Passed};
use std::time::Duration;

/// Short enough not to be a failure, long enough to be seen.
const DELAY: Duration = Duration::from_millis(25);

const RETRY: u32 = 0x922;
const REFERENCE_S0: u32 = 0x918;
const HANDLE_1: u32 = 0x18b;

/// A kind of attack, for the counts.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Kind {
    Flip,
    Truncate,
    Extend,
    Replay,
    Delay,
    Drop,
    FakeSuccess,
    FakeError,
    FlipCommand,
}

impl Kind {
    pub fn of(attack: &Attack) -> Self {
        match attack {
            Attack::FlipBit(_) => Self::Flip,
            Attack::FlipCommandBit(_) => Self::FlipCommand,
            Attack::Truncate(_) => Self::Truncate,
            Attack::Extend(_) => Self::Extend,
            Attack::ReplayEarlier => Self::Replay,
            Attack::Delay(_) => Self::Delay,
            Attack::DropResponse | Attack::DropCommand => Self::Drop,
            Attack::FakeSuccess(_) | Attack::Answer(_) => Self::FakeSuccess,
            Attack::ErrorCode(_) => Self::FakeError,
        }
    }
}

/// One attack on one exchange of the life, counted from 0.
#[derive(Clone, Debug)]
pub struct Case {
    pub ordinal: u64,
    pub attack: Attack,
}

/// Every case for a recorded life.
pub fn cases(recorded: &[Passed]) -> Vec<Case> {
    let of_one = |(ordinal, passed): (usize, &Passed)| {
        let ordinal = u64::try_from(ordinal).unwrap();
        attacks(passed)
            .into_iter()
            .map(move |attack| Case { ordinal, attack })
    };
    recorded.iter().enumerate().flat_map(of_one).collect()
}

fn attacks(passed: &Passed) -> Vec<Attack> {
    let response = passed.genuine.clone().unwrap();
    let areas = Areas::of(&passed.command, &response);
    let mut attacks: Vec<Attack> = areas.bits().into_iter().map(Attack::FlipBit).collect();
    attacks.extend([0, 9, 10, response.len() / 2, response.len() - 1].map(Attack::Truncate));
    attacks.extend([
        Attack::Extend(vec![0]),
        Attack::ReplayEarlier,
        Attack::Delay(DELAY),
        Attack::DropResponse,
        Attack::DropCommand,
        Attack::FakeSuccess(Vec::new()),
        Attack::FakeSuccess(response[areas.parameters.clone()].to_vec()),
        // The genuine answer of another run, and the same without its sessions.
        Attack::Answer(response.clone()),
        Attack::Answer(areas.without_sessions(&response)),
        Attack::ErrorCode(RETRY),
        Attack::ErrorCode(REFERENCE_S0),
        Attack::ErrorCode(HANDLE_1),
        Attack::FlipCommandBit(8 * passed.command.len() - 1),
    ]);
    attacks.dedup();
    attacks
}

/// The parts of a response (TPM 2.0 Part 1, 18).
struct Areas {
    handle: std::ops::Range<usize>,
    parameters: std::ops::Range<usize>,
    sessions: std::ops::Range<usize>,
}

/// Commands whose response has a handle.
const RETURNS_HANDLE: [u32; 5] = [0x131, 0x157, 0x167, 0x161, 0x176];

impl Areas {
    fn of(command: &[u8], response: &[u8]) -> Self {
        let code = u32_at(command, 6);
        let start = if RETURNS_HANDLE.contains(&code) && response.len() > 10 {
            14
        } else {
            10
        };
        let (parameters, sessions) = if response[..2] == [0x80, 0x02] {
            let size = usize::try_from(u32_at(response, start)).unwrap();
            let end = start + 4 + size;
            (start + 4..end, end..response.len())
        } else {
            (start..response.len(), response.len()..response.len())
        };
        Self {
            handle: 10..start,
            parameters,
            sessions,
        }
    }

    /// Bits in the tag, the size, the code, the handle, the parameters (first, middle, last byte), and of the sessions
    /// the first nonce, the attributes of the last one and its HMAC.
    fn bits(&self) -> Vec<usize> {
        let mut bits = vec![15, 47, 79];
        if !self.handle.is_empty() {
            bits.push(8 * self.handle.end - 1);
        }
        let Self {
            parameters, sessions, ..
        } = self;
        if !parameters.is_empty() {
            bits.push(8 * parameters.start + 7);
            bits.push(8 * (parameters.start + parameters.len() / 2));
            bits.push(8 * parameters.end - 1);
        }
        if !sessions.is_empty() {
            bits.push(8 * parameters.start - 1);
            bits.push(8 * (sessions.start + 4));
            // The last session is the protecting one: attributes, size and HMAC of 32 bytes end the response.
            bits.push(8 * sessions.end.saturating_sub(35));
            bits.push(8 * sessions.end - 1);
        }
        bits.sort_unstable();
        bits.dedup();
        bits
    }

    fn without_sessions(&self, response: &[u8]) -> Vec<u8> {
        let body = [&response[self.handle.clone()], &response[self.parameters.clone()]].concat();
        let size = u32::try_from(10 + body.len()).unwrap().to_be_bytes();
        [&[0x80, 0x01], &size[..], &response[6..10], &body].concat()
    }
}

pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
