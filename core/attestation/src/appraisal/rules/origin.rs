//! What a rule asks of a robot's origin: that its enrolment record states it, proven when the robot was enrolled.
//!
//! Evidence says nothing of it. Whoever holds a rule against a verdict says what the record states; of whom nothing is said, as of
//! every robot whose root of trust is no TPM, nothing counts as stated.

use super::RuleInForce;
use crate::appraisal::{Finding, Reason};
use serde::{Deserialize, Serialize};

/// What an enrolment record can state of a robot's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OriginKind {
    /// The device that the certificate of the TPM's initial attestation key names.
    Iak,
    /// The machine that a platform certificate of this TPM names.
    PlatformCertificate,
}

impl OriginKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Iak => "iak",
            Self::PlatformCertificate => "platform-certificate",
        }
    }
}

impl RuleInForce {
    /// The rule over a robot whose enrolment record states this of its origin. It asks for no less.
    #[must_use]
    pub fn over_origin(mut self, stated: impl IntoIterator<Item = OriginKind>) -> Self {
        self.stated = stated.into_iter().collect();
        self
    }

    /// What is asked for and not stated.
    pub(super) fn origin(&self) -> impl Iterator<Item = Finding> {
        self.asks.origin.difference(&self.stated).map(|asked| {
            let detail = format!(
                "found an enrolment record that does not state {}, expected by {}; enrol the robot with it (docs/enrolment.md)",
                asked.as_str(),
                self.asker()
            );
            Finding::new(Reason::PolicyOrigin, detail)
        })
    }
}
