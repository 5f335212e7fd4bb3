//! The robot's request, and what it proves.

use alcub3_attestation::certify::Signed;
use alcub3_crypto::tpm::Public;
use alcub3_crypto::{Digest, Entropy, Secret};
use alcub3_trust_model::canonical::{DecodeError, Encoder};
use alcub3_trust_model::hardware::{
    Difference, HardwareRecord, HardwareVerdict, Sameness, Tolerance, compare, tolerance,
};
use alcub3_trust_model::nv_map::Register;
use alcub3_trust_model::{OperatorId, RobotId, SessionId, domain};

use super::{ReplacementError, ReplacementGrant, VERSION};
use crate::VerifiedEnrolment;
use crate::certified::certified_register;
use crate::sealed::{self, ProvenRoot};
use crate::wire::{self, Message};

/// The most changes of hardware between two starts of the chip.
pub const MAX_MEASURED: usize = 256;

/// The extra data of both certifications in a request: H(domain ‖ session ‖ binding of the record found ‖ robot).
pub fn replacement_binding(session: SessionId, robot: &RobotId, hardware: &Digest) -> Digest {
    hardware.alg().digest(&[
        domain::REPLACEMENT_REQUEST.as_bytes(),
        session.as_bytes(),
        hardware.as_bytes(),
        robot.as_str().as_bytes(),
    ])
}

/// A robot says which parts it found, and proves that its chip measured them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReplacementRequest {
    /// The exchange, which the authority opened.
    pub session: SessionId,
    /// The robot.
    pub robot: RobotId,
    /// The binding in the enrolment that the robot has. Nothing rests on it: it tells a robot that was given the approved
    /// enrolment from one that was not, or that has its old disk again.
    pub enrolled: Digest,
    /// The hardware found.
    pub hardware: HardwareRecord,
    /// The bindings that were measured since the chip's start, the last one that of the hardware found.
    pub measured: Vec<Digest>,
    /// TPM2_NV_Certify of the register of the hardware inventory by the attestation key, its extra data
    /// [`replacement_binding`].
    pub register: Signed,
    /// The storage root.
    pub storage_root: Public,
    /// TPM2_Certify of it by the attestation key with the same extra data.
    pub certification: Signed,
}

impl ReplacementRequest {
    /// The message.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Encoder::structure(domain::REPLACEMENT_REQUEST, VERSION, 8);
        out.u64(2).bytes(self.session.as_bytes());
        out.u64(3).text(self.robot.as_str());
        out.u64(4).digest(&self.enrolled);
        out.u64(5).bytes(&self.hardware.to_canonical());
        out.u64(6).array(self.measured.len());
        for measured in &self.measured {
            out.digest(measured);
        }
        wire::put_signed(out.u64(7), &self.register);
        wire::put_public(out.u64(8), &self.storage_root);
        wire::put_signed(out.u64(9), &self.certification);
        out.finish()
    }

    /// The message of exactly these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] names the field and what is wrong.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut m = Message::open(domain::REPLACEMENT_REQUEST, VERSION, bytes)?;
        let request = Self {
            session: wire::session(m.at(2, "session")?)?,
            robot: wire::robot(m.at(3, "robot")?)?,
            enrolled: m.at(4, "enrolled")?.digest("enrolled")?,
            hardware: HardwareRecord::from_canonical(m.at(5, "hardware")?.bytes("hardware")?)?,
            measured: wire::list(m.at(6, "measured")?, "measured", MAX_MEASURED, |r| {
                r.digest("measured")
            })?,
            register: wire::signed(m.at(7, "register")?, "register")?,
            storage_root: wire::public(m.at(8, "storage_root")?, "storage_root")?,
            certification: wire::signed(m.at(9, "certification")?, "certification")?,
        };
        m.finish()?;
        Ok(request)
    }
}

/// Hardware that an enrolled chip measured last before it certified its register in this exchange. Whether the parts are what
/// the robot's software says, no chip can know. Only [`Self::verify`] makes one.
#[derive(Clone, Debug)]
pub struct ProvenHardware {
    session: SessionId,
    robot: RobotId,
    enrolled: Digest,
    hardware: HardwareRecord,
    binding: Digest,
    root: ProvenRoot,
}

impl ProvenHardware {
    /// Checks a request made in an exchange that this authority opened.
    ///
    /// # Errors
    /// [`ReplacementError`] says what is not proven.
    pub fn verify(
        request: ReplacementRequest,
        enrolment: &VerifiedEnrolment,
        session: SessionId,
    ) -> Result<Self, ReplacementError> {
        if request.robot != enrolment.record().robot {
            return Err(ReplacementError::Other("robot"));
        }
        if request.session != session {
            return Err(ReplacementError::Other("exchange"));
        }
        let alg = enrolment.nv_map().name_alg();
        let binding = request.hardware.binding(alg);
        let extra = replacement_binding(session, &request.robot, &binding);
        let register = Register::HardwareInventory;
        let held = certified_register(enrolment, register, &request.register, &extra)?;
        if register.replay(Digest::zero(alg), &request.measured) != held {
            return Err(ReplacementError::Replay);
        }
        if request.measured.last() != Some(&binding) {
            return Err(ReplacementError::NotMeasured);
        }
        let root = ProvenRoot::verify(request.storage_root, &request.certification, enrolment, &extra)?;
        Ok(Self {
            session,
            robot: request.robot,
            enrolled: request.enrolled,
            hardware: request.hardware,
            binding,
            root,
        })
    }

    /// The exchange.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// The robot.
    pub const fn robot(&self) -> &RobotId {
        &self.robot
    }

    /// The hardware found.
    pub const fn hardware(&self) -> &HardwareRecord {
        &self.hardware
    }

    /// Its binding.
    pub const fn binding(&self) -> Digest {
        self.binding
    }

    /// Whether the robot's own enrolment names the hardware found already.
    pub fn is_enrolled_at_robot(&self) -> bool {
        self.enrolled == self.binding
    }

    /// What differs from the record until now, where one person may approve it.
    ///
    /// # Errors
    /// [`ReplacementError::AnotherRobot`], [`ReplacementError::NoDifference`].
    pub fn replaces(&self, before: &HardwareRecord) -> Result<HardwareVerdict, ReplacementError> {
        let verdict = compare(before, &self.hardware);
        match verdict.sameness {
            Sameness::NeedsOnePerson => Ok(verdict),
            Sameness::Same => Err(ReplacementError::NoDifference),
            Sameness::AnotherRobot => {
                let identity = |part: &Difference| tolerance(part.class) == Tolerance::AnotherRobot;
                let part = verdict.differences.into_iter().find(identity);
                Err(part.map_or(ReplacementError::NoDifference, |part| {
                    ReplacementError::AnotherRobot(Box::new(part))
                }))
            }
        }
    }

    /// The answer, whose authorisation only this chip opens; `enrolled` is the last message of an enrolment, made for
    /// this exchange with the record that takes the place of the one before.
    ///
    /// # Errors
    /// What cryptography refused.
    pub fn grant(
        &self,
        approver: OperatorId,
        endorsement: &Secret,
        enrolled: Vec<u8>,
        entropy: &mut dyn Entropy,
    ) -> Result<ReplacementGrant, ReplacementError> {
        let context = sealed::context(domain::REPLACEMENT_GRANT, self.session, &self.robot);
        let sealed = self.root.seal(endorsement, &context, entropy)?;
        Ok(ReplacementGrant {
            session: self.session,
            robot: self.robot.clone(),
            approver,
            credential: sealed.credential,
            endorsement: sealed.content,
            enrolled,
        })
    }
}
