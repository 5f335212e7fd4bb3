use crate::appraisal::{Severity, reasons};
use serde::Serialize;

reasons! {
    /// Not a token.
    Malformed = "psa-token-malformed", Untrusted, "the bytes are not a PSA attestation token";
    /// COSE_Mac0.
    Mac = "psa-token-mac", Untrusted, "the token is authenticated by a MAC, which is not accepted";
    /// Critical header.
    CriticalHeader = "psa-critical-header", Untrusted, "the token has a critical header that is not known";
    /// Unprotected header.
    UnprotectedHeader = "psa-unprotected-header", Untrusted, "the token has a header that its signature does not cover";
    /// Header that was ignored.
    IgnoredHeader = "psa-header-ignored", Info, "the token has a header that is not critical and was not looked at";
    /// Algorithm.
    Algorithm = "psa-algorithm", Untrusted, "the token's algorithm is not the pinned key's";
    /// Signature.
    Signature = "psa-signature", Untrusted, "the token is not signed by the instance's attestation key";
    /// A claim is missing.
    ClaimMissing = "psa-claim-missing", Untrusted, "a claim that every token must have is missing";
    /// A claim is malformed.
    ClaimMalformed = "psa-claim-malformed", Untrusted, "a claim has the wrong type, size or value";
    /// A claim comes twice.
    ClaimDuplicate = "psa-claim-duplicate", Untrusted, "a claim comes twice";
    /// A claim that is not understood.
    ClaimUnknown = "psa-claim-unknown", Info, "the token has a claim that is not understood; it was not looked at";
    /// Profile.
    Profile = "psa-profile", Untrusted, "the token is of another profile than TF-M's of RFC 9783";
    /// Challenge.
    Challenge = "psa-challenge", Untrusted, "the token does not bind this nonce, robot and state: a replay, or changed on the way";
    /// Another instance.
    Instance = "psa-instance", Untrusted, "the token is of another instance than the one enrolled";
    /// Caller.
    Client = "psa-client", Untrusted, "the token was asked for by a caller that the policy does not name";
    /// Another implementation.
    Implementation = "psa-implementation", Untrusted, "the root of trust is of another implementation than the one enrolled";
    /// Lifecycle.
    Lifecycle = "psa-lifecycle", Untrusted, "the root of trust is not in a lifecycle state that the policy admits";
    /// Debug that was admitted.
    LifecycleDebug = "psa-lifecycle-debug", Warning, "debug of all but the root of trust is on, which the policy admits";
    /// A component has no reference.
    ComponentUnknown = "psa-component-unknown", Untrusted, "a component is of a type for which there are no reference values";
    /// Signer.
    ComponentSigner = "psa-component-signer", Untrusted, "a component is signed by somebody who is not among the reference values";
    /// Measurement.
    ComponentMeasurement = "psa-component-measurement", Untrusted, "a component's measurement is not among the reference values";
    /// Version.
    ComponentVersion = "psa-component-version", Untrusted, "a component is older than the reference values ask, or does not say its version";
    /// A component is missing.
    ComponentMissing = "psa-component-missing", Untrusted, "a component that the reference values ask for was not measured";
    /// Certification.
    Certification = "psa-certification", Untrusted, "no endorsement shows the certification that the policy asks for";
    /// State does not parse.
    StateMalformed = "state-malformed", Untrusted, "the robot's state is malformed";
    /// State of another robot.
    StateRobot = "state-robot", Untrusted, "the state is of another robot";
    /// State is old.
    StateAge = "state-age", Warning, "the state's time is far from the verifier's";
    /// The robot says that it is stopped.
    Stopped = "stopped", Untrusted, "the robot is stopped";
    /// Tier too low.
    Tier = "hardware-tier", Untrusted, "the robot's root of trust is of a lower kind than the policy asks";
    /// A simulator.
    Simulator = "simulator", Info, "the evidence was made with a simulated root of trust";
}

/// One reason with where it applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The reason.
    pub reason: Reason,
    /// What it means for the verdict.
    pub severity: Severity,
    /// The claim, or the software component by its place and type, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What was found, for people.
    pub detail: String,
}

impl Finding {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            severity: reason.severity(),
            component: None,
            detail: detail.into(),
        }
    }

    pub(super) fn about(reason: Reason, component: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            component: Some(component.into()),
            ..Self::new(reason, detail)
        }
    }
}
