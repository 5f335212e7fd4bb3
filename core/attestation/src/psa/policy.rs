use super::claims::{HashValue, InstanceId, LifecycleState, is_certification_reference};
use super::component::Version;
use crate::appraisal::StateReferences;
use crate::evidence::Nonce;
use alcub3_crypto::VerifyingKey;
use alcub3_trust_model::{HardwareTier, RobotId};
use serde::{Deserialize, Serialize};

/// What a verifier holds a robot with a PSA root of trust to. Parse keys and reference values once.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// The enrolled instance.
    pub instance: InstanceId,
    /// Its attestation key, pinned at enrolment. No key in a token is ever used.
    pub attestation_key: &'a VerifyingKey,
    /// The robot.
    pub robot: &'a RobotId,
    /// The nonce of this request. The caller never accepts one twice.
    pub nonce: &'a Nonce,
    /// The enrolled implementation of the root of trust.
    pub implementation: &'a [u8; 32],
    /// The callers whose tokens count: the agent's own security domain. Any other could pass off its challenge as the agent's.
    pub clients: &'a [i32],
    /// Which lifecycle states are admitted.
    pub lifecycles: Lifecycles,
    /// What may have been loaded.
    pub references: &'a References,
    /// What certification is asked for.
    pub certification: &'a Certification,
    /// The kind of root of trust that was enrolled.
    pub enrolled_tier: HardwareTier,
    /// The lowest kind admitted. In production above [`HardwareTier::Simulator`].
    pub min_tier: HardwareTier,
    /// How far the state's time may be from the verifier's, in milliseconds, before it is worth a warning.
    pub max_state_age_ms: u64,
    /// What else the state is held to; which mode may follow which is not, since that takes a register.
    pub state: Option<&'a StateReferences>,
}

/// The admitted lifecycle states. There is no way to admit any of those in which a report cannot be trusted (RFC 9783 §4.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifecycles {
    /// [`LifecycleState::Secured`].
    #[default]
    Secured,
    /// Also [`LifecycleState::NonPsaRotDebug`], with a warning: whoever debugs can change what was measured.
    SecuredOrNonPsaRotDebug,
}

impl Lifecycles {
    pub(super) const fn admits(self, state: LifecycleState) -> bool {
        match state {
            LifecycleState::Secured => true,
            LifecycleState::NonPsaRotDebug => matches!(self, Self::SecuredOrNonPsaRotDebug),
            _ => false,
        }
    }
}

/// What one kind of component may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentReference {
    /// The measurement type; `None` for components that do not say theirs.
    pub kind: Option<String>,
    /// Who must have signed it.
    pub signer: HashValue,
    /// What of the signer's is accepted.
    pub accepted: Accepted,
    /// Whether it must have been loaded.
    pub required: bool,
}

/// What of a signer's components is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// These measurements, and none below the version, where there is one.
    Measurements(Vec<HashValue>, Option<Version>),
    /// Whatever the signer signed from this version on.
    SignedFrom(Version),
}

/// Why reference values were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// No component.
    #[error("there is no reference value: nothing could be judged good")]
    Empty,
    /// Nothing of a component is accepted.
    #[error("reference {0} accepts no measurement")]
    NoMeasurement(usize),
    /// The reference of an endorsement is not one.
    #[error("endorsement {0} is not of thirteen digits, a dash and five digits")]
    Certification(usize),
}

/// The reference values of a robot's components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct References(Vec<ComponentReference>);

impl References {
    /// The reference values.
    ///
    /// # Errors
    /// None at all, or one that accepts nothing.
    pub fn new(references: Vec<ComponentReference>) -> Result<Self, ReferenceError> {
        if references.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let accepts_nothing = |reference: &ComponentReference| matches!(&reference.accepted, Accepted::Measurements(values, _) if values.is_empty());
        match references.iter().position(accepts_nothing) {
            Some(at) => Err(ReferenceError::NoMeasurement(at)),
            None => Ok(Self(references)),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ComponentReference> {
        self.0.iter()
    }
}

/// How far a root of trust was evaluated by PSA Certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificationLevel {
    /// A questionnaire.
    One,
    /// A laboratory, against attacks by software.
    Two,
    /// A laboratory, against attacks on the hardware as well.
    Three,
}

/// One certificate, as the verifier's owner took it from PSA's list. A token only points to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    /// The certification reference: an EAN-13, a dash, five digits.
    pub reference: String,
    /// The implementation that was certified.
    pub implementation: [u8; 32],
    /// How far.
    pub level: CertificationLevel,
}

/// What certification is asked for, and what is known of certificates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Certification {
    pub(super) minimum: Option<CertificationLevel>,
    pub(super) endorsements: Vec<Endorsement>,
}

impl Certification {
    /// At least this level, by one of these certificates; `None` asks for nothing.
    ///
    /// # Errors
    /// A reference of another form, which no token could name.
    pub fn new(
        minimum: Option<CertificationLevel>,
        endorsements: Vec<Endorsement>,
    ) -> Result<Self, ReferenceError> {
        let wrong = |endorsement: &Endorsement| !is_certification_reference(&endorsement.reference);
        match endorsements.iter().position(wrong) {
            Some(at) => Err(ReferenceError::Certification(at)),
            None => Ok(Self {
                minimum,
                endorsements,
            }),
        }
    }

    /// Whether the implementation is certified as far as is asked. A token that names a certificate is judged by that one; one
    /// that names none, by those of its implementation (RFC 9783 §4.2.3).
    pub(super) fn is_met(&self, implementation: &[u8; 32], named: Option<&str>) -> bool {
        let Some(minimum) = self.minimum else { return true };
        self.endorsements.iter().any(|endorsement| {
            endorsement.implementation == *implementation
                && named.is_none_or(|named| named == endorsement.reference)
                && endorsement.level >= minimum
        })
    }
}
