//! Judging a queue: each link as what it was then.

use super::as_of::{AsOf, bounds};
use super::chain::{Chain, ChainError};
use crate::appraisal::{Finding, LastSeen, Policy, Reason, ReferenceValues, RuleInForce, Verdict, appraise};
use crate::attest::ClockInfo;
use alcub3_crypto::Digest;
use alcub3_trust_model::StopId;
use thiserror::Error;

/// What the authority keeps of a signed answer: it stands before the first link of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchored {
    /// Its digest, by [`super::anchor`].
    pub anchor: Digest,
    /// When it was given, UTC in milliseconds since 1970.
    pub given_at_ms: u64,
    /// The evidence that it answers.
    pub last_seen: LastSeen,
    /// A time before which that evidence was not quoted, UTC in milliseconds since 1970.
    pub quoted_after_ms: u64,
    /// The stops that two persons had rearmed by then.
    pub rearmed: Vec<StopId>,
}

/// Why a queue is not judged beyond a link.
#[derive(Debug, Error)]
pub enum Broken {
    /// It does not follow the one before.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Its quote does not hold.
    #[error("the quote of link {index} does not hold, so that neither it nor what follows proves anything: {}", codes(.findings))]
    Quote {
        /// Which.
        index: u64,
        /// What was found.
        findings: Vec<Finding>,
    },
}

impl Broken {
    /// The reason code, stable across releases.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Chain(ChainError::Malformed { .. } | ChainError::TooLong { .. }) => "offline-malformed",
            Self::Chain(ChainError::Expanded { .. }) => "offline-expanded",
            Self::Chain(ChainError::Index { .. } | ChainError::Previous { .. }) => "offline-chain",
            Self::Quote { findings, .. } => {
                let first = findings.first();
                first.map_or(Reason::Signature.code(), |finding| finding.reason.code())
            }
        }
    }

    /// The link at which it ends.
    #[must_use]
    pub const fn index(&self) -> u64 {
        match self {
            Self::Chain(ChainError::Index { expected, .. }) => *expected,
            Self::Chain(
                ChainError::Malformed { index, .. }
                | ChainError::Previous { index }
                | ChainError::Expanded { index }
                | ChainError::TooLong { index },
            )
            | Self::Quote { index, .. } => *index,
        }
    }
}

fn codes(findings: &[Finding]) -> String {
    let codes: Vec<_> = findings.iter().map(|finding| finding.reason.code()).collect();
    codes.join(", ")
}

/// One link as it was judged. It is no verdict of now: nothing is issued on it.
#[derive(Debug, Clone)]
pub struct JudgedLink {
    /// Its number in the queue, from 0.
    pub index: u64,
    /// Its digest.
    pub digest: Digest,
    /// Its evidence's sequence number.
    pub sequence: u64,
    /// When it was made.
    pub as_of: AsOf,
    verdict: Verdict,
}

impl JudgedLink {
    /// Whether the robot was as it should be, then.
    #[must_use]
    pub fn was_good(&self) -> bool {
        self.verdict.is_trusted()
    }

    /// Everything found, in the order of the checks.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        self.verdict.findings()
    }

    /// The TPM's clock at its quote.
    #[must_use]
    pub fn clock(&self) -> Option<ClockInfo> {
        self.verdict.attested().map(|attested| attested.quote.clock())
    }

    /// Stops of the whole robot that its log names.
    #[must_use]
    pub fn stops(&self) -> &[StopId] {
        self.verdict
            .attested()
            .map_or(&[], |attested| attested.stops.as_slice())
    }
}

/// What was found of a queue.
#[derive(Debug)]
pub struct JudgedQueue {
    /// The links up to the first that proves nothing.
    pub links: Vec<JudgedLink>,
    /// Why it was judged no further, where it was not.
    pub broken: Option<Broken>,
    /// The digest of the newest link that was judged, or the anchor.
    pub head: Digest,
    /// The newest evidence that was judged, or what the anchor answers.
    pub last_seen: LastSeen,
}

/// Judges a queue that was received at a time, UTC in milliseconds since 1970: each link by its place in the chain, by its quote, its
/// logs and its state, against the references of the policy, and in sequence and clock behind the one before. Where the fleet has an
/// appraisal policy, its rule for the robot holds for each link as of the link's own time, as it holds for live evidence.
///
/// Of the policy, what belongs to one exchange (nonce, last evidence, what is known of the platform, rearmed stops) is replaced by
/// what the chain gives.
#[must_use]
pub fn judge<'l>(
    links: impl IntoIterator<Item = &'l [u8]>,
    anchored: &Anchored,
    (policy, rule): (&Policy<'_>, Option<&RuleInForce>),
    received_ms: u64,
) -> JudgedQueue {
    let mut chain = Chain::behind(anchored.anchor);
    let mut queue = JudgedQueue {
        links: Vec::new(),
        broken: None,
        head: anchored.anchor,
        last_seen: anchored.last_seen,
    };
    let mut clocks = Vec::new();
    for link in links {
        match judge_link(link, &mut chain, anchored, queue.last_seen, policy, received_ms) {
            Ok((judged, clock, last_seen)) => {
                clocks.push((clock, judged.as_of.claimed_ms));
                queue.links.push(judged);
                queue.head = chain.head();
                queue.last_seen = last_seen;
            }
            Err(broken) => {
                queue.broken = Some(broken);
                break;
            }
        }
    }
    let before = (anchored.last_seen.clock, anchored.quoted_after_ms);
    let times = bounds(before, &clocks, anchored.given_at_ms, received_ms);
    let place = |(link, as_of): (JudgedLink, AsOf)| {
        let placed = link.placed(as_of, policy.max_state_age_ms);
        match rule {
            Some(rule) => placed.held_to(rule, policy.references),
            None => placed,
        }
    };
    queue.links = queue.links.into_iter().zip(times).map(place).collect();
    queue
}

fn judge_link(
    link: &[u8],
    chain: &mut Chain,
    anchored: &Anchored,
    last_seen: LastSeen,
    policy: &Policy<'_>,
    received_ms: u64,
) -> Result<(JudgedLink, ClockInfo, LastSeen), Broken> {
    let (index, nonce) = (chain.length(), chain.next_nonce());
    let evidence = chain.follow(link)?;
    let then = Policy {
        nonce: &nonce,
        rearmed_stops: &anchored.rearmed,
        last_seen: Some(last_seen),
        known_boot: None,
        known_runtime: None,
        // The state's time is judged once the link has its place in time.
        max_state_age_ms: u64::MAX,
        ..policy.clone()
    };
    let verdict = appraise(evidence, &then, received_ms);
    let Some(attested) = verdict.attested() else {
        return Err(Broken::Quote {
            index,
            findings: verdict.findings().to_vec(),
        });
    };
    let clock = attested.quote.clock();
    let last_seen = LastSeen::after(Some(last_seen), &verdict).unwrap_or(last_seen);
    let as_of = AsOf {
        earliest_ms: anchored.given_at_ms,
        latest_ms: received_ms,
        claimed_ms: attested.state.as_ref().map(|state| state.time_ms),
    };
    let judged = JudgedLink {
        index,
        digest: chain.head(),
        sequence: attested.sequence,
        as_of,
        verdict,
    };
    Ok((judged, clock, last_seen))
}

impl JudgedLink {
    fn held_to(mut self, rule: &RuleInForce, references: &ReferenceValues) -> Self {
        self.verdict = self.verdict.held_to_as_of(rule, references, self.as_of.at_ms());
        self
    }

    /// With its place in time; a state whose time is too far outside it is worth a warning, as of live evidence.
    fn placed(mut self, as_of: AsOf, max_state_age_ms: u64) -> Self {
        self.as_of = as_of;
        if as_of.is_contradictory() {
            let detail = format!(
                "the TPM's clock says that it is not before {}, and it is not after {}",
                as_of.earliest_ms, as_of.latest_ms
            );
            self.verdict = self.verdict.with(Finding::new(Reason::OfflineClock, detail));
        }
        let apart_ms = as_of
            .claimed_ms
            .map_or(0, |claimed| claimed.abs_diff(as_of.at_ms()));
        if apart_ms > max_state_age_ms {
            let detail = format!("{apart_ms} ms from when it can have been; check the robot's clock");
            self.verdict = self.verdict.with(Finding::new(Reason::StateAge, detail));
        }
        self
    }
}
