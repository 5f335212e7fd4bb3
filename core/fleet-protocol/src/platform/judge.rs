//! The judgement of an answer by what was enrolled.

use alcub3_attestation::appraisal::{Reason, RuleInForce};
use alcub3_attestation::ear::Judgement;
use alcub3_attestation::evidence::Nonce;
use alcub3_attestation::{dice, psa, unrooted};
use alcub3_crypto::{Suite, VerifyingKey};
use alcub3_trust_model::{HardwareTier, RobotState};

use super::messages::RootEvidence;
use super::record::PlatformEnrolment;
use super::root::{DiceRoot, PsaRoot, RootKind, RootOfTrust};

/// What a verifier expects of one answer.
#[derive(Clone, Debug)]
pub struct Expected<'a> {
    /// The nonce of the request. The caller never accepts one twice.
    pub nonce: &'a Nonce,
    /// The lowest kind of root of trust admitted.
    pub min_tier: HardwareTier,
    /// The sequence number of the last evidence that was judged of this robot, where its kind has one.
    pub last_sequence: Option<u64>,
    /// How far the state's time may be from the verifier's, in milliseconds, before it is worth a warning.
    pub max_state_age_ms: u64,
}

/// The evidence is of another kind of root of trust than was enrolled: no appraiser of the enrolled kind could judge it.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the evidence is of the kind {sent}, and the robot was enrolled with {enrolled}: send evidence of that kind, or have the robot \
     enrolled anew if it is another machine"
)]
pub struct OtherRoot {
    /// What was enrolled.
    pub enrolled: RootKind,
    /// What was sent.
    pub sent: RootKind,
}

/// The judgement of an answer. Only an appraisal makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PlatformVerdict {
    /// Of nothing.
    Unrooted(unrooted::Verdict),
    /// Of a DICE chain.
    Dice(Box<dice::Verdict>),
    /// Of a PSA token.
    Psa(Box<psa::Verdict>),
}

impl PlatformVerdict {
    /// The verdict held to a rule of the fleet's appraisal policy as well, as one of a TPM's evidence is: never better than it was.
    /// `enrolment` is what it was judged by.
    #[must_use]
    pub fn held_to(self, rule: &RuleInForce, enrolment: &PlatformEnrolment) -> Self {
        let state = enrolment.state();
        match self {
            Self::Unrooted(verdict) => Self::Unrooted(verdict.held_to(rule)),
            Self::Dice(verdict) => Self::Dice(Box::new(verdict.held_to(rule, state))),
            Self::Psa(verdict) => Self::Psa(Box::new(verdict.held_to(rule, state))),
        }
    }
}

impl PlatformVerdict {
    /// The verdict of a verifier that remembers a stop of the robot, which its own signed state said at `since_ms` (UTC) and nobody
    /// rearmed. Where nothing is proven there is nothing to add.
    #[must_use]
    pub fn with_stop_in_force(self, since_ms: u64) -> Self {
        match self {
            Self::Unrooted(verdict) => Self::Unrooted(verdict),
            Self::Dice(verdict) => Self::Dice(Box::new(verdict.with_stop_in_force(since_ms))),
            Self::Psa(verdict) => Self::Psa(Box::new(verdict.with_stop_in_force(since_ms))),
        }
    }
}

impl PlatformEnrolment {
    /// Judges evidence at `now_ms` (UTC) by the appraiser of the enrolled kind. A robot that shows nothing although it was
    /// enrolled with a root of trust withholds it, and is judged as that.
    ///
    /// # Errors
    /// [`OtherRoot`] where evidence came that is of another kind than was enrolled.
    pub fn appraise(
        &self,
        evidence: &RootEvidence,
        expected: &Expected<'_>,
        now_ms: u64,
    ) -> Result<PlatformVerdict, OtherRoot> {
        match (self.root(), evidence) {
            (_, RootEvidence::None) => {
                let policy = unrooted::Policy {
                    enrolled_tier: self.tier(),
                    min_tier: expected.min_tier,
                };
                Ok(PlatformVerdict::Unrooted(unrooted::appraise(&policy, now_ms)))
            }
            (RootOfTrust::Dice(root), RootEvidence::Dice(evidence)) => {
                let verdict = dice::appraise(evidence, &self.dice_policy(root, expected), now_ms);
                Ok(PlatformVerdict::Dice(Box::new(verdict)))
            }
            (RootOfTrust::Psa(root), RootEvidence::Psa { token, state }) => {
                let verdict = psa::appraise(token, state, &self.psa_policy(root, expected), now_ms);
                Ok(PlatformVerdict::Psa(Box::new(verdict)))
            }
            (root, evidence) => Err(OtherRoot {
                enrolled: root.kind(),
                sent: evidence.kind(),
            }),
        }
    }

    fn dice_policy<'a>(&'a self, root: &'a DiceRoot, expected: &Expected<'a>) -> dice::Policy<'a> {
        dice::Policy {
            device_key: &root.device_key,
            roots: &root.roots,
            robot: self.robot(),
            nonce: expected.nonce,
            layers: root.references.layers(),
            enrolled_tier: self.tier(),
            min_tier: expected.min_tier,
            last_sequence: expected.last_sequence,
            max_state_age_ms: expected.max_state_age_ms,
            state: self.state(),
        }
    }

    fn psa_policy<'a>(&'a self, root: &'a PsaRoot, expected: &Expected<'a>) -> psa::Policy<'a> {
        let references = &root.references;
        psa::Policy {
            instance: root.instance,
            attestation_key: &root.attestation_key,
            robot: self.robot(),
            nonce: expected.nonce,
            implementation: &references.implementation,
            clients: &references.clients,
            lifecycles: references.lifecycles,
            references: &references.components,
            certification: &references.certification,
            enrolled_tier: self.tier(),
            min_tier: expected.min_tier,
            max_state_age_ms: expected.max_state_age_ms,
            state: self.state(),
        }
    }
}

impl PlatformVerdict {
    /// The kind of root of trust whose evidence was judged.
    pub const fn kind(&self) -> RootKind {
        match self {
            Self::Unrooted(_) => RootKind::None,
            Self::Dice(_) => RootKind::Dice,
            Self::Psa(_) => RootKind::Psa,
        }
    }

    /// The judgement that a result states.
    pub fn judgement(&self) -> &dyn Judgement {
        match self {
            Self::Unrooted(verdict) => verdict,
            Self::Dice(verdict) => verdict.as_ref(),
            Self::Psa(verdict) => verdict.as_ref(),
        }
    }

    /// Whether a reason is among the findings.
    pub fn has(&self, reason: Reason) -> bool {
        self.judgement()
            .findings()
            .iter()
            .any(|finding| finding.reason == reason)
    }

    /// The robot's state, where it was proven.
    pub fn state(&self) -> Option<&RobotState> {
        match self {
            Self::Unrooted(_) => None,
            Self::Dice(verdict) => verdict.attested()?.state.as_ref(),
            Self::Psa(verdict) => verdict.attested()?.state.as_ref(),
        }
    }

    /// The keys besides the enrolled one that the evidence hangs on: those that a DICE device made of itself.
    pub fn device_keys(&self) -> &[VerifyingKey] {
        match self {
            Self::Dice(verdict) => verdict.attested().map_or(&[], |attested| &attested.keys),
            Self::Unrooted(_) | Self::Psa(_) => &[],
        }
    }

    /// The weakest suite of the enrolled key's and those of [`Self::device_keys`]: what a level's floor is held against. None
    /// where one of them is of no suite.
    pub fn weakest_suite(&self, enrolled: Suite) -> Option<Suite> {
        let weaker = |weakest: Suite, key: &VerifyingKey| {
            let suite = Suite::of_curve(key.curve()?);
            Some(if suite.hash().size() < weakest.hash().size() {
                suite
            } else {
                weakest
            })
        };
        self.device_keys().iter().try_fold(enrolled, weaker)
    }
}
