//! The checks of one appraisal, in their order.

use super::boot::{self, BootRecord};
use super::policy::Policy;
use super::reason::{Finding, Reason};
use super::reference::Rule;
use super::runtime;
use super::state::StateRule;
use super::verdict::{Attested, Records};
use crate::attest::ClockInfo;
use crate::evidence::{Evidence, qualifying_data};
use crate::pcr::PcrValues;
use crate::quote::{QuoteError, VerifiedQuote, verify_quote};
use alcub3_crypto::tpm::Signature;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_trust_model::pcr_map::BOOT;
use alcub3_trust_model::{HardwareTier, RobotState};
use std::borrow::Cow;

/// A quote that holds, and the qualifying data that it was made with: certifications beside it carry the same.
pub(super) struct Quoted {
    pub(super) quote: VerifiedQuote,
    pub(super) binding: Digest,
}

/// One appraisal while it goes on.
pub(super) struct Check<'p> {
    pub(super) policy: &'p Policy<'p>,
    pub(super) now_ms: u64,
    pub(super) findings: Vec<Finding>,
}

impl<'p> Check<'p> {
    pub(super) const fn new(policy: &'p Policy<'p>, now_ms: u64) -> Self {
        Self {
            policy,
            now_ms,
            findings: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, bytes: &[u8]) -> Option<(Attested, Records)> {
        let decoded = Evidence::from_canonical(bytes);
        let mut evidence = decoded
            .map_err(|error| self.find(Reason::Malformed, error.to_string()))
            .ok()?;
        let quoted = self.quote(&mut evidence)?;
        let quote = &quoted.quote;
        let state = self.state(evidence.state);
        let tier = self.tier(evidence.tier);
        self.freshness(evidence.sequence, quote.clock());
        self.quoted(quote);
        let boot = self.boot(evidence.uefi_log, quote);
        let stops = self.agent_log(evidence.agent_log, quote, boot.as_deref());
        let stops = self.stops(stops, state.as_ref());
        let epoch = self.content(&evidence, &quoted, state.as_ref());
        let registers = self.registers(&evidence.registers, (&quoted, evidence.sequence), state.as_ref());
        let runtime = runtime::judge(
            evidence.runtime_log.as_ref(),
            self.policy.known_runtime,
            quote,
            self.policy.references,
            &mut self.findings,
        );
        let (mission, sequence) = (evidence.mission, evidence.sequence);
        let boot = match boot {
            Some(Cow::Owned(record)) => Some(record),
            _ => None,
        };
        Some((
            Attested {
                quote: quoted.quote,
                state,
                mission,
                sequence,
                tier,
                stops,
                epoch,
            },
            Records {
                boot,
                runtime,
                registers,
            },
        ))
    }

    pub(super) fn find(&mut self, reason: Reason, detail: impl Into<String>) {
        self.findings.push(Finding::new(reason, detail));
    }

    pub(super) fn bank(&self) -> HashAlg {
        self.policy.references.bank()
    }

    fn quote(&mut self, evidence: &mut Evidence<'_>) -> Option<Quoted> {
        let signature = Signature::from_tpmt_signature(evidence.signature);
        let signature = signature
            .map_err(|error| self.find(Reason::Signature, error.to_string()))
            .ok()?;
        let alg = signature.scheme.hash();
        let state = alg.digest(&[evidence.state]);
        let expected = qualifying_data(
            alg,
            self.policy.nonce,
            &state,
            &evidence.mission,
            evidence.sequence,
        );
        let Some(binding) = expected else {
            let detail = format!(
                "the mission digest is not of the signature's hash, {}",
                alg.name()
            );
            self.find(Reason::Binding, detail);
            return None;
        };
        let key = self.policy.attestation_key;
        let pcrs = core::mem::replace(&mut evidence.pcrs, PcrValues::EMPTY);
        let quote = verify_quote(key, &signature, evidence.quote, binding.as_bytes(), pcrs);
        let quote = quote
            .map_err(|error| self.find(reason_of(&error), error.to_string()))
            .ok()?;
        Some(Quoted { quote, binding })
    }

    fn state(&mut self, bytes: &[u8]) -> Option<RobotState> {
        let rule = StateRule {
            robot: self.policy.robot,
            now_ms: self.now_ms,
            max_age_ms: self.policy.max_state_age_ms,
            references: self.policy.references.state(),
            kind: self.policy.asked.kind(),
        };
        rule.judge(bytes, &mut self.findings)
    }

    fn tier(&mut self, claimed: HardwareTier) -> HardwareTier {
        let enrolled = self.policy.enrolled_tier;
        if claimed > enrolled {
            self.find(
                Reason::TierClaim,
                format!("found {claimed} claimed, expected {enrolled} as enrolled or less"),
            );
        }
        let tier = claimed.min(enrolled);
        if tier == HardwareTier::Simulator {
            self.find(
                Reason::Simulator,
                "a simulated TPM protects nothing from the machine it runs on",
            );
        }
        if tier == HardwareTier::Firmware {
            self.find(
                Reason::SharedSilicon,
                "its keys fall with the processor: ask for a discrete chip in the level's policy where that is not enough",
            );
        }
        if tier < self.policy.min_tier {
            self.find(
                Reason::Tier,
                format!("found {tier}, expected {} or better", self.policy.min_tier),
            );
        }
        tier
    }

    /// A reset alone makes nobody untrusted, nor does an unsafe clock; going back does.
    fn freshness(&mut self, sequence: u64, clock: ClockInfo) {
        if !clock.safe {
            self.find(
                Reason::ClockUnsafe,
                "expected for up to an hour after a power cut",
            );
        }
        let Some(last) = self.policy.last_seen else { return };
        if sequence <= last.sequence {
            self.find(
                Reason::Sequence,
                format!("found {sequence}, expected above {}", last.sequence),
            );
        }
        let boots = (clock.reset_count, clock.restart_count);
        let last_boots = (last.clock.reset_count, last.clock.restart_count);
        if clock.reset_count < last.clock.reset_count {
            let (found, last) = (clock.reset_count, last.clock.reset_count);
            let detail = format!("found {found} resets, expected {last} or more");
            self.find(Reason::ResetCount, detail);
        } else if boots < last_boots || (boots == last_boots && clock.clock_ms < last.clock.clock_ms) {
            let (found, last) = (clock.clock_ms, last.clock.clock_ms);
            let detail = format!("found {found} ms, expected {last} ms or more in one boot");
            self.find(Reason::ClockBack, detail);
        } else if boots != last_boots {
            let resets = clock.reset_count - last.clock.reset_count;
            self.find(Reason::Restarted, format!("{resets} resets since"));
        }
    }

    fn quoted(&mut self, quote: &VerifiedQuote) {
        let ours = [self.policy.pcrs.lockdown(), self.policy.pcrs.retire()];
        for pcr in BOOT.chain(ours) {
            if quote.pcrs().value(self.bank(), pcr).is_none() {
                self.findings.push(Finding::pcr_not_quoted(pcr, self.bank()));
            }
        }
    }

    /// The log is whatever its sender makes of it: were it believed in the agent's PCRs, a stop in the agent's log could be moved
    /// into the boot's. A boot leaves them alone, or leads them to a value that the references name.
    fn agents_alone(&mut self, boot: &BootRecord) {
        for pcr in [self.policy.pcrs.lockdown(), self.policy.pcrs.retire()] {
            let extended = boot
                .value(pcr)
                .filter(|value| **value != Digest::zero(value.alg()));
            let accepted = |value: &Digest| match self.policy.references.rule(pcr) {
                Some(Rule::Values(values)) => values.contains(value),
                _ => false,
            };
            if let Some(value) = extended.filter(|value| !accepted(value)) {
                let detail = format!(
                    "found the UEFI log to lead PCR {pcr} to {value:?}, expected it to leave that alone or to lead to a value among the \
                     references"
                );
                self.findings
                    .push(Finding::new(Reason::AgentPcr, detail).at_pcr(pcr));
            }
        }
    }

    fn boot(&mut self, log: Option<&[u8]>, quote: &VerifiedQuote) -> Option<Cow<'p, BootRecord>> {
        let references = self.policy.references;
        if let Some(log) = log {
            let record = boot::judge(log, quote.pcrs(), references, &mut self.findings)?;
            self.agents_alone(&record);
            return Some(Cow::Owned(record));
        }
        let known = self
            .policy
            .known_boot
            .filter(|known| known.explains(quote.pcrs(), references));
        if let Some(known) = known {
            self.agents_alone(known);
        }
        if known.is_none() {
            self.find(Reason::BootLogMissing, "send the whole binary_bios_measurements");
        }
        known.map(Cow::Borrowed)
    }
}

const fn reason_of(error: &QuoteError) -> Reason {
    match error {
        QuoteError::Signature(_) | QuoteError::Message(_) => Reason::Signature,
        QuoteError::NotAQuote => Reason::NotAQuote,
        QuoteError::ExtraData => Reason::Binding,
        QuoteError::Selection { .. } | QuoteError::PcrDigest => Reason::PcrValues,
    }
}
