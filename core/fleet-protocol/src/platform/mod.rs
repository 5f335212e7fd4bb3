//! Robots whose root of trust is no TPM: a DICE chain, an Arm PSA attestation token, or nothing at all.
//!
//! The authority's word on such a robot is a [`PlatformEnrolment`]: its kind of root of trust, the keys and references that it
//! is held to, its tier and its ceiling. All of that is what was found at enrolment; no message has a field for it, so that
//! nobody declares it of himself. A [`PlatformRequest`] asks for evidence, a [`PlatformAnswer`] brings it, and
//! [`PlatformEnrolment::appraise`] judges it by the appraiser of the enrolled kind, into a [`PlatformVerdict`] that one form of
//! result states.

mod generation;
mod judge;
mod messages;
mod record;
mod root;

pub use judge::{Expected, OtherRoot, PlatformVerdict};
pub use messages::{PlatformAnswer, PlatformRequest, RootEvidence};
pub use record::{PlatformEnrolment, PlatformError, VerifiedPlatform};
pub use root::{DiceRoot, PsaRoot, RootKind, RootOfTrust};
