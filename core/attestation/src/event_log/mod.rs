//! TCG PC Client event logs: parsing, replay, a report, and a builder.
//!
//! Both formats of the TCG PC Client Platform Firmware Profile (§10.2) are read: the legacy log of SHA-1
//! events, and the crypto-agile log whose first event is the `Spec ID Event03` header. Parsing is exact: every
//! event carries each announced algorithm once, nothing follows the last event, and whatever deviates is an
//! error that names the event and its offset.

pub mod agent;
pub mod boot_facts;
pub mod builder;
pub(crate) mod describe;
mod error;
mod event_type;
mod header;
mod replay;
mod report;

pub use error::{EventLogError, Position};
pub use event_type::EventType;
pub use header::AlgorithmSize;
pub use replay::{Replay, ReplayedBank};
pub use report::{EventSummary, ReplayReport};

use crate::cursor::{Cursor, Short};
use alcub3_crypto::{Digest, HashAlg};

/// Longest log accepted, in bytes. Firmware reserves 64 KiB to 1 MiB.
pub const MAX_LOG_BYTES: usize = 16 * 1024 * 1024;

/// Number of PCRs a PC Client TPM has.
pub const PCR_COUNT: usize = 24;

/// Which of the two formats a log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `TCG_PCR_EVENT`: SHA-1 only.
    Legacy,
    /// `TCG_PCR_EVENT2`: the algorithms its header announces.
    CryptoAgile,
}

impl Format {
    /// `sha1` or `crypto-agile`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Legacy => "sha1",
            Self::CryptoAgile => "crypto-agile",
        }
    }
}

/// A parsed event log that borrows its bytes.
#[derive(Debug, Clone)]
pub struct EventLog<'a> {
    format: Format,
    algorithms: Vec<AlgorithmSize>,
    events: Vec<Event<'a>>,
}

/// One event of a log.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Where in the log it is.
    pub position: Position,
    /// PCR it was extended into, 0 to 23.
    pub pcr: u8,
    /// Its type.
    pub event_type: EventType,
    /// Its data, which a digest may or may not cover (depends on the type).
    pub data: &'a [u8],
    digests: Digests<'a>,
}

/// At most [`header::MAX_ALGORITHMS`] digests, each tagged with its TCG algorithm identifier.
#[derive(Debug, Clone, Copy)]
struct Digests<'a> {
    tagged: [(u16, &'a [u8]); header::MAX_ALGORITHMS],
    count: usize,
}

impl<'a> Digests<'a> {
    const NONE: Self = Self {
        tagged: [(0, &[]); header::MAX_ALGORITHMS],
        count: 0,
    };

    fn as_slice(&self) -> &[(u16, &'a [u8])] {
        self.tagged.get(..self.count).unwrap_or_default()
    }

    fn contains(&self, algorithm: u16) -> bool {
        self.as_slice().iter().any(|(id, _)| *id == algorithm)
    }

    /// The header's parser bounds the count, so that there is always room.
    fn push(&mut self, algorithm: u16, digest: &'a [u8]) {
        if let Some(slot) = self.tagged.get_mut(self.count) {
            *slot = (algorithm, digest);
            self.count += 1;
        }
    }
}

impl<'a> EventLog<'a> {
    /// Parses a whole log.
    ///
    /// # Errors
    /// Anything that is not exactly a log, see [`EventLogError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EventLogError> {
        if bytes.is_empty() {
            return Err(EventLogError::Empty);
        }
        if bytes.len() > MAX_LOG_BYTES {
            return Err(EventLogError::TooLong {
                length: bytes.len(),
                limit: MAX_LOG_BYTES,
            });
        }
        Parser {
            cursor: Cursor::new(bytes),
            events: Vec::new(),
        }
        .run()
    }

    /// The log's format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The algorithms each event carries a digest of, in the header's order.
    #[must_use]
    pub fn algorithms(&self) -> &[AlgorithmSize] {
        &self.algorithms
    }

    /// The banks that can be replayed, in the header's order.
    pub fn banks(&self) -> impl Iterator<Item = HashAlg> + '_ {
        self.algorithms
            .iter()
            .filter_map(|announced| HashAlg::from_tpm_id(announced.algorithm))
    }

    /// The events in order; of a crypto-agile log the first is the header.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// The PCR values a TPM has after these events, see [`Replay`].
    ///
    /// # Errors
    /// When PCR 0's initial value is stated wrongly or too late.
    pub fn replay(&self) -> Result<Replay, EventLogError> {
        Replay::of(self)
    }

    /// One bank's PCR values alone; `None` when the log lacks the bank.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn replay_bank(&self, alg: HashAlg) -> Result<Option<ReplayedBank>, EventLogError> {
        let startup_locality = self.startup_locality()?;
        let listed = self.banks().any(|bank| bank == alg);
        Ok(listed.then(|| ReplayedBank::of(alg, startup_locality, self)))
    }

    /// Locality of TPM2_Startup as the log states it: PCR 0's initial value.
    ///
    /// # Errors
    /// As [`Self::replay`].
    pub fn startup_locality(&self) -> Result<u8, EventLogError> {
        replay::startup_locality(self)
    }
}

impl<'a> Event<'a> {
    /// The digest for one bank, if the log has that bank.
    #[must_use]
    pub fn digest(&self, alg: HashAlg) -> Option<Digest> {
        let (_, bytes) = self.digests().iter().find(|(id, _)| *id == alg.tpm_id())?;
        Digest::from_slice(alg, bytes)
    }

    /// All digests with their TCG algorithm identifiers, those of unknown algorithms included.
    #[must_use]
    pub fn digests(&self) -> &[(u16, &'a [u8])] {
        self.digests.as_slice()
    }

    /// Whether a TPM extends this event into its PCR: all but `EV_NO_ACTION`.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.event_type != EventType::NO_ACTION
    }
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    events: Vec<Event<'a>>,
}

impl<'a> Parser<'a> {
    fn run(mut self) -> Result<EventLog<'a>, EventLogError> {
        let first = self.legacy_event()?;
        let announced = header::parse(&first)?;
        self.events.push(first);
        let format = if announced.is_some() {
            Format::CryptoAgile
        } else {
            Format::Legacy
        };
        while !self.cursor.is_empty() {
            let event = match &announced {
                Some(algorithms) => self.agile_event(algorithms)?,
                None => self.legacy_event()?,
            };
            self.events.push(event);
        }
        let algorithms = announced.unwrap_or_else(|| vec![AlgorithmSize::of(HashAlg::Sha1)]);
        Ok(EventLog {
            format,
            algorithms,
            events: self.events,
        })
    }

    fn position(&self) -> Position {
        Position {
            event: self.events.len(),
            offset: self.cursor.offset(),
        }
    }

    fn refuse_filler(&self, at: Position) -> Result<(), EventLogError> {
        let rest = self.cursor.rest();
        let Some(&value) = rest.first() else { return Ok(()) };
        if matches!(value, 0x00 | 0xff) && rest.iter().all(|byte| *byte == value) {
            return Err(EventLogError::Filler { at, value });
        }
        Ok(())
    }

    fn prefix(&mut self, at: Position) -> Result<(u8, EventType), EventLogError> {
        self.refuse_filler(at)?;
        let pcr = self.cursor.u32_le().map_err(truncated(at, "PCR index"))?;
        let event_type = self.cursor.u32_le().map_err(truncated(at, "event type"))?;
        let index = u8::try_from(pcr)
            .ok()
            .filter(|index| usize::from(*index) < PCR_COUNT);
        Ok((
            index.ok_or(EventLogError::Pcr { at, pcr })?,
            EventType(event_type),
        ))
    }

    fn data(&mut self, at: Position) -> Result<&'a [u8], EventLogError> {
        let size = self.cursor.u32_le().map_err(truncated(at, "event size"))?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.cursor.take(size).map_err(truncated(at, "event data"))
    }

    fn legacy_event(&mut self) -> Result<Event<'a>, EventLogError> {
        let position = self.position();
        let (pcr, event_type) = self.prefix(position)?;
        let sha1 = self
            .cursor
            .take(HashAlg::Sha1.size())
            .map_err(truncated(position, "SHA-1 digest"))?;
        let mut digests = Digests::NONE;
        digests.push(HashAlg::Sha1.tpm_id(), sha1);
        let data = self.data(position)?;
        Ok(Event {
            position,
            pcr,
            event_type,
            data,
            digests,
        })
    }

    fn agile_event(&mut self, announced: &[AlgorithmSize]) -> Result<Event<'a>, EventLogError> {
        let position = self.position();
        let (pcr, event_type) = self.prefix(position)?;
        let digests = self.digests(position, announced)?;
        let data = self.data(position)?;
        Ok(Event {
            position,
            pcr,
            event_type,
            data,
            digests,
        })
    }

    /// Each announced algorithm once, in any order.
    fn digests(&mut self, at: Position, announced: &[AlgorithmSize]) -> Result<Digests<'a>, EventLogError> {
        let found = self.cursor.u32_le().map_err(truncated(at, "digest count"))?;
        if usize::try_from(found) != Ok(announced.len()) {
            return Err(EventLogError::DigestCount {
                at,
                found,
                announced: announced.len(),
            });
        }
        let mut digests = Digests::NONE;
        for _ in announced {
            let algorithm = self.cursor.u16_le().map_err(truncated(at, "digest algorithm"))?;
            let size = announced.iter().find(|known| known.algorithm == algorithm);
            let size = size.filter(|_| !digests.contains(algorithm));
            let size = size.ok_or(EventLogError::DigestAlgorithm { at, algorithm })?.size;
            digests.push(
                algorithm,
                self.cursor
                    .take(usize::from(size))
                    .map_err(truncated(at, "digest"))?,
            );
        }
        Ok(digests)
    }
}

fn truncated(at: Position, field: &'static str) -> impl FnOnce(Short) -> EventLogError {
    move |Short { needed, left }| EventLogError::Truncated {
        at,
        field,
        needed,
        left,
    }
}
