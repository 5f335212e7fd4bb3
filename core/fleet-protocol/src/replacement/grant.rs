//! The authority's answer, and what the robot asks of it.

use alcub3_command_authority::cose::{Message as Cose, Unsigned};
use alcub3_crypto::{Secret, Suite, VerifyingKey};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::{OperatorId, RobotId, SessionId, domain};

use super::{ReplacementError, ReplacementRequest, VERSION};
use crate::enrolment::Credential;
use crate::sealed;
use crate::wire::{self, Message};
use crate::{EnrolmentRecord, VerifiedAnchors};

const MAX_MESSAGE: usize = 64 << 10;

/// What the authority gives once one person has approved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplacementGrant {
    /// The exchange.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// Who approved.
    pub approver: OperatorId,
    /// What the chip recovers the sealing secret from.
    pub credential: Credential,
    /// The endorsement hierarchy's authorisation, sealed with that secret.
    pub endorsement: Vec<u8>,
    /// The enrolment record and the trust anchors, as an enrolment's last message.
    pub enrolled: Vec<u8>,
}

impl ReplacementGrant {
    /// The grant, ready to be signed by the authority.
    pub fn unsigned(&self, suite: Suite) -> Unsigned {
        let mut out = Encoder::structure(domain::REPLACEMENT_GRANT, VERSION, 7);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).text(self.approver.as_str());
        sealed::put_credential(&mut out, 5, &self.credential);
        out.u64(7).bytes(&self.endorsement).u64(8).bytes(&self.enrolled);
        Unsigned::new(suite, out.finish())
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::REPLACEMENT_GRANT, VERSION, bytes)?;
        let grant = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            approver: wire::operator(m.at(4, "approver")?, "approver")?,
            credential: sealed::credential(&mut m, 5)?,
            endorsement: wire::bounded(m.at(7, "endorsement")?, "endorsement", sealed::MAX_SEALED)?,
            enrolled: wire::bounded(m.at(8, "enrolled")?, "enrolled", MAX_MESSAGE)?,
        };
        m.finish()?;
        Ok(grant)
    }
}

/// A grant that the pinned authority signed for this request, whose enrolment differs from the robot's own in the binding to
/// the hardware alone and is newer. Only [`Self::verify`] makes one.
#[derive(Clone, Debug)]
pub struct VerifiedReplacement {
    grant: ReplacementGrant,
    enrolled: VerifiedAnchors,
}

impl VerifiedReplacement {
    /// Verifies the authority's answer to a request; `own` is the enrolment that the robot has.
    ///
    /// # Errors
    /// [`ReplacementError`] says why it changes nothing.
    pub fn verify(
        bytes: &[u8],
        authority: &VerifyingKey,
        own: &VerifiedAnchors,
        request: &ReplacementRequest,
    ) -> Result<Self, ReplacementError> {
        let message = Cose::parse(domain::REPLACEMENT_GRANT, bytes)?;
        message.verify(authority)?;
        let grant = ReplacementGrant::decode(message.payload())?;
        if grant.robot != request.robot {
            return Err(ReplacementError::Other("robot"));
        }
        if grant.session != request.session {
            return Err(ReplacementError::Other("exchange"));
        }
        let enrolled = VerifiedAnchors::verify(&grant.enrolled, authority, &request.robot)?;
        if enrolled.session() != request.session {
            return Err(ReplacementError::Other("exchange"));
        }
        if enrolled.anchors() != own.anchors() {
            return Err(ReplacementError::Differs("trust anchors"));
        }
        let (before, after) = (own.enrolment().record(), enrolled.enrolment().record());
        only_hardware_differs(before, after)?;
        if after.hardware_binding != request.hardware.binding(after.hardware_binding.alg()) {
            return Err(ReplacementError::Differs("hardware, from what was found"));
        }
        Ok(Self { grant, enrolled })
    }

    /// The enrolment that takes the place of the one before.
    pub const fn enrolled(&self) -> &VerifiedAnchors {
        &self.enrolled
    }

    /// Who approved.
    pub const fn approver(&self) -> &OperatorId {
        &self.grant.approver
    }

    /// What TPM2_ActivateCredential takes.
    pub const fn credential(&self) -> &Credential {
        &self.grant.credential
    }

    /// The endorsement hierarchy's authorisation, with the secret that the chip recovered.
    ///
    /// # Errors
    /// Where the secret is another.
    pub fn endorsement(&self, secret: &Secret) -> Result<Secret, ReplacementError> {
        let context = sealed::context(domain::REPLACEMENT_GRANT, self.grant.session, &self.grant.robot);
        Ok(sealed::open(secret, &context, &self.grant.endorsement)?)
    }
}

fn only_hardware_differs(before: &EnrolmentRecord, after: &EnrolmentRecord) -> Result<(), ReplacementError> {
    if after == before {
        return Err(ReplacementError::AlreadyTaken);
    }
    if after.issued_at_ms <= before.issued_at_ms {
        return Err(ReplacementError::Differs("date: it is not newer"));
    }
    let unchanged = EnrolmentRecord {
        hardware_binding: after.hardware_binding,
        issued_at_ms: after.issued_at_ms,
        ..before.clone()
    };
    if unchanged == *after {
        Ok(())
    } else {
        Err(ReplacementError::Differs("keys, name, kind of TPM or ceiling"))
    }
}
