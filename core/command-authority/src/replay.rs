//! The replay window: which sequence numbers of an issuer were already used under the robot's lease (DESIGN §7).
//!
//! Numbers are reserved ahead: before any number is accepted, a bound above it has been stored durably. After a crash
//! or with an old disk every number up to the stored bound counts as used, so nothing is ever accepted twice; and an
//! even older disk has another lease, which envelopes name.

use std::collections::BTreeMap;

use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::{LeaseId, OperatorId, domain};

/// How far behind the highest number an unused one may still come, in numbers.
pub const WINDOW: u64 = 1024;
/// How many numbers one reservation covers.
pub const RESERVE_AHEAD: u64 = 65_536;

const WORDS: usize = 16;

/// Why a sequence number was refused.
#[derive(Copy, Clone, Debug, thiserror::Error, Eq, PartialEq)]
pub enum ReplayFault {
    /// The number was used.
    #[error("the sequence number was used")]
    Used,
    /// The number is below the window.
    #[error("the sequence number is below {floor}")]
    TooOld {
        /// The lowest number that could still be accepted.
        floor: u64,
    },
    /// The number is above what was reserved durably, or the issuer has no window.
    #[error("the sequence number is above {reserved}, up to which numbers are reserved")]
    NotReserved {
        /// The highest number reserved.
        reserved: u64,
    },
}

impl ReplayFault {
    /// The code, stable across releases.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Used => "replay-used",
            Self::TooOld { .. } => "replay-too-old",
            Self::NotReserved { .. } => "replay-not-reserved",
        }
    }
}

/// The window of one issuer. Sequence numbers start at 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplayWindow {
    /// The highest number used.
    highest: u64,
    /// The highest number reserved durably.
    reserved: u64,
    /// Bit n mod 1024 says whether number n of the last 1024 was used.
    used: [u64; WORDS],
}

impl Default for ReplayWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl ReplayWindow {
    /// A window in which nothing was used and nothing is reserved.
    pub const fn new() -> Self {
        Self {
            highest: 0,
            reserved: 0,
            used: [0; WORDS],
        }
    }

    /// The window after a restart: every number up to the stored bound counts as used.
    pub const fn restored(reserved: u64) -> Self {
        Self {
            highest: reserved,
            reserved,
            used: [u64::MAX; WORDS],
        }
    }

    /// The highest number used.
    pub const fn highest(&self) -> u64 {
        self.highest
    }

    /// The bound to store durably next, once less than half of the last reservation is left.
    pub const fn wanted(&self) -> Option<u64> {
        if self.reserved - self.highest > RESERVE_AHEAD / 2 {
            return None;
        }
        Some(self.highest.saturating_add(RESERVE_AHEAD))
    }

    /// Notes that a bound was stored durably. A lower one than before changes nothing.
    pub fn confirm(&mut self, reserved: u64) {
        self.reserved = self.reserved.max(reserved);
    }

    /// Checks a number and marks it as used.
    ///
    /// # Errors
    /// [`ReplayFault`]; nothing is marked then.
    pub fn check_and_record(&mut self, sequence: u64) -> Result<(), ReplayFault> {
        if sequence > self.reserved {
            return Err(ReplayFault::NotReserved {
                reserved: self.reserved,
            });
        }
        if sequence > self.highest {
            self.advance(sequence);
        } else if sequence == 0 || self.highest - sequence >= WINDOW {
            let floor = self.highest.saturating_sub(WINDOW - 1).max(1);
            return Err(ReplayFault::TooOld { floor });
        }
        if self.is_used(sequence) {
            return Err(ReplayFault::Used);
        }
        self.set(sequence, true);
        Ok(())
    }

    /// Moves the window up, clearing the places of the numbers that enter it.
    fn advance(&mut self, highest: u64) {
        if highest - self.highest >= WINDOW {
            self.used = [0; WORDS];
        } else {
            for entering in self.highest + 1..=highest {
                self.set(entering, false);
            }
        }
        self.highest = highest;
    }

    fn set(&mut self, sequence: u64, value: bool) {
        let at = word_of(sequence);
        if let Some(word) = self.used.get_mut(at) {
            *word = if value {
                *word | bit_of(sequence)
            } else {
                *word & !bit_of(sequence)
            };
        }
    }

    fn is_used(&self, sequence: u64) -> bool {
        self.used
            .get(word_of(sequence))
            .is_none_or(|word| word & bit_of(sequence) != 0)
    }
}

fn word_of(sequence: u64) -> usize {
    usize::try_from(sequence / 64 % 16).unwrap_or(WORDS)
}

const fn bit_of(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

/// A bound to be stored durably before numbers up to it are accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reservation {
    /// The robot's lease.
    pub lease: LeaseId,
    /// The issuer.
    pub issuer: OperatorId,
    /// The highest number reserved.
    pub through: u64,
}

impl Reservation {
    const VERSION: u64 = 1;

    /// The canonical bytes, for the store.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::REPLAY_RESERVATION, Self::VERSION, 3);
        out.u64(2)
            .bytes(self.lease.as_bytes())
            .u64(3)
            .text(self.issuer.as_str())
            .u64(4)
            .u64(self.through);
        out.finish()
    }

    /// The reservation of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(domain::REPLAY_RESERVATION, bytes);
        let r = &mut reader;
        let mut fields = r.structure(domain::REPLAY_RESERVATION, Self::VERSION)?;
        fields.key(r, 2, "lease")?;
        let lease = LeaseId::new(*r.bytes_of("lease")?);
        fields.key(r, 3, "issuer")?;
        let issuer = OperatorId::new(r.text("issuer")?).map_err(|_| r.fault("issuer", Fault::Value))?;
        fields.key(r, 4, "through")?;
        let through = r.u64("through")?;
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            lease,
            issuer,
            through,
        })
    }
}

/// The windows of all issuers under the robot's lease.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplayWindows {
    lease: LeaseId,
    windows: BTreeMap<OperatorId, ReplayWindow>,
}

impl ReplayWindows {
    /// No windows yet, under the robot's lease.
    pub const fn new(lease: LeaseId) -> Self {
        Self {
            lease,
            windows: BTreeMap::new(),
        }
    }

    /// The windows after a restart, from the stored reservations; those of other leases are of no account.
    pub fn restored(lease: LeaseId, stored: &[Reservation]) -> Self {
        let mut windows = BTreeMap::<OperatorId, ReplayWindow>::new();
        for reservation in stored.iter().filter(|reservation| reservation.lease == lease) {
            let known = windows.get(&reservation.issuer).map_or(0, ReplayWindow::highest);
            let window = ReplayWindow::restored(reservation.through.max(known));
            windows.insert(reservation.issuer.clone(), window);
        }
        Self { lease, windows }
    }

    /// The robot's lease.
    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Opens a window for an issuer that has none. Nothing is accepted before a reservation is confirmed.
    pub fn open(&mut self, issuer: &OperatorId) {
        self.windows.entry(issuer.clone()).or_default();
    }

    /// The window of an issuer.
    pub fn window(&self, issuer: &OperatorId) -> Option<&ReplayWindow> {
        self.windows.get(issuer)
    }

    /// The reservations to store durably now, and then to [`confirm`](Self::confirm).
    pub fn wanted(&self) -> Vec<Reservation> {
        let each = |(issuer, window): (&OperatorId, &ReplayWindow)| {
            let through = window.wanted()?;
            Some(Reservation {
                lease: self.lease,
                issuer: issuer.clone(),
                through,
            })
        };
        self.windows.iter().filter_map(each).collect()
    }

    /// What was really used: to store in place of what was reserved ahead, once nothing more will be judged.
    pub fn used(&self) -> Vec<Reservation> {
        let each = |(issuer, window): (&OperatorId, &ReplayWindow)| Reservation {
            lease: self.lease,
            issuer: issuer.clone(),
            through: window.highest(),
        };
        self.windows.iter().map(each).collect()
    }

    /// Notes that a reservation was stored durably. One of another lease, or of an issuer without a window, changes
    /// nothing.
    pub fn confirm(&mut self, stored: &Reservation) {
        if stored.lease == self.lease
            && let Some(window) = self.windows.get_mut(&stored.issuer)
        {
            window.confirm(stored.through);
        }
    }

    /// Checks a number of an issuer and marks it as used.
    ///
    /// # Errors
    /// [`ReplayFault`]; an issuer without a window has nothing reserved.
    pub fn check_and_record(&mut self, issuer: &OperatorId, sequence: u64) -> Result<(), ReplayFault> {
        let window = self
            .windows
            .get_mut(issuer)
            .ok_or(ReplayFault::NotReserved { reserved: 0 })?;
        window.check_and_record(sequence)
    }
}
