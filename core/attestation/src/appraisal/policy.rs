use super::asked::Asked;
use super::boot::BootRecord;
use super::reference::ReferenceValues;
use super::registers::RegisterRecord;
use super::runtime::RuntimeRecord;
use super::verdict::{Attested, Verdict};
use crate::attest::ClockInfo;
use crate::evidence::Nonce;
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::nv_map::NvMap;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{HardwareTier, RobotId, StopId};

/// What a verifier holds a robot to. Everything is a reference: parse keys and reference values once.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// The robot's enrolled attestation key.
    pub attestation_key: &'a VerifyingKey,
    /// The robot.
    pub robot: &'a RobotId,
    /// The nonce of this request. The caller never accepts one twice.
    pub nonce: &'a Nonce,
    /// What it was asked to prove.
    pub asked: Asked<'a>,
    /// What its boot PCRs may hold; their bank is the bank that is judged.
    pub references: &'a ReferenceValues,
    /// Which PCRs are the agent's.
    pub pcrs: PcrMap,
    /// How its NV indices are defined.
    pub nv: NvMap,
    /// The kind of TPM that its endorsement certificate showed at enrolment.
    pub enrolled_tier: HardwareTier,
    /// The lowest kind of TPM admitted. In production above [`HardwareTier::Simulator`].
    pub min_tier: HardwareTier,
    /// The stops of the whole robot that two persons have rearmed: the accepted lockdown baseline.
    pub rearmed_stops: &'a [StopId],
    /// The last evidence that was judged of this robot.
    pub last_seen: Option<LastSeen>,
    /// The last boot that was judged good, so that its log need not be sent again.
    pub known_boot: Option<&'a BootRecord>,
    /// How far the running system's list was judged good, so that only what was added need be sent.
    pub known_runtime: Option<&'a RuntimeRecord>,
    /// What its registers were certified to hold, so that only those that changed need be.
    pub known_registers: Option<&'a RegisterRecord>,
    /// How far the state's time may be from the verifier's, in milliseconds, before it is worth a warning.
    pub max_state_age_ms: u64,
}

/// What to remember of a robot's last evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSeen {
    /// Its sequence number.
    pub sequence: u64,
    /// The TPM's clock at its quote.
    pub clock: ClockInfo,
}

impl LastSeen {
    /// What is to be remembered after a verdict. Evidence that goes back, in its number or in its TPM's clock, is untrusted, and must
    /// not lower what the next is compared with: a TPM that was set back is as untrusted when it is asked again. Untrusted evidence
    /// that the TPM signed is remembered as well.
    #[must_use]
    pub fn after(before: Option<Self>, verdict: &Verdict) -> Option<Self> {
        let seen = verdict.attested().map(Attested::last_seen);
        let (Some(last), Some(seen)) = (before, seen) else {
            return seen.or(before);
        };
        if seen.sequence <= last.sequence {
            return Some(last);
        }
        let went_back = reading(seen.clock) < reading(last.clock);
        Some(Self {
            sequence: seen.sequence,
            clock: if went_back { last.clock } else { seen.clock },
        })
    }
}

/// What of a clock never goes back: its boots, and within one its time.
const fn reading(clock: ClockInfo) -> (u32, u32, u64) {
    (clock.reset_count, clock.restart_count, clock.clock_ms)
}
