//! What is kept of each approved replacement: who approved what, and the enrolment that it led to. The record is written
//! first, and from then on the replacement is approved: what a crash kept from being put in place is put there at the next
//! start.

use alcub3_crypto::VerifyingKey;
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::replacement::Replacement;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Fault, Reader};
use alcub3_trust_model::hardware::{Difference, HardwareRecord, compare};
use alcub3_trust_model::{OperatorId, RobotId, SessionId};

use crate::robots::{self, RobotError};
use crate::store::StateFolder;

const COLLECTION: &str = "replacements";
const DOMAIN: &str = "alcub3/authority-replacement/v1";
const VERSION: u64 = 1;
/// The most other robots that one change names.
const MAX_ELSEWHERE: usize = 4096;

/// A replacement that one person approved.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApprovedReplacement {
    /// The robot.
    pub robot: RobotId,
    /// The exchange.
    pub session: SessionId,
    /// The hardware until then.
    pub before: HardwareRecord,
    /// The hardware from then on.
    pub after: HardwareRecord,
    /// The other robots whose records named a part that came in.
    pub elsewhere: Vec<RobotId>,
    /// Who approved.
    pub approver: OperatorId,
    /// The approver's signature over [`Replacement::message`].
    pub signature: Vec<u8>,
    /// When, UTC in milliseconds since 1970.
    pub approved_at_ms: u64,
    /// The signed enrolment record that it led to.
    pub enrolment: Vec<u8>,
}

impl ApprovedReplacement {
    /// The parts that were replaced.
    pub fn differences(&self) -> Vec<Difference> {
        compare(&self.before, &self.after).differences
    }

    /// The change as the approver signed it, with the hash of the robot's curve.
    pub fn change(&self, alg: alcub3_crypto::HashAlg) -> Replacement {
        Replacement {
            session: self.session,
            robot: self.robot.clone(),
            before: self.before.binding(alg),
            after: self.after.binding(alg),
            elsewhere: self.elsewhere.clone(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::structure(DOMAIN, VERSION, 9);
        out.u64(2).text(self.robot.as_str());
        out.u64(3).bytes(self.session.as_bytes());
        out.u64(4).bytes(&self.before.to_canonical());
        out.u64(5).bytes(&self.after.to_canonical());
        out.u64(6).array(self.elsewhere.len());
        for robot in &self.elsewhere {
            out.text(robot.as_str());
        }
        out.u64(7).text(self.approver.as_str());
        out.u64(8).bytes(&self.signature).u64(9).u64(self.approved_at_ms);
        out.u64(10).bytes(&self.enrolment);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(DOMAIN, bytes);
        let r = &mut reader;
        let mut fields = r.structure(DOMAIN, VERSION)?;
        fields.key(r, 2, "robot")?;
        let robot = robot(r, "robot")?;
        fields.key(r, 3, "session")?;
        let session = SessionId::new(*r.bytes_of("session")?);
        fields.key(r, 4, "before")?;
        let before = HardwareRecord::from_canonical(r.bytes("before")?)?;
        fields.key(r, 5, "after")?;
        let after = HardwareRecord::from_canonical(r.bytes("after")?)?;
        fields.key(r, 6, "elsewhere")?;
        let count = r.array("elsewhere", MAX_ELSEWHERE)?;
        let elsewhere = (0..count)
            .map(|_| self::robot(r, "elsewhere"))
            .collect::<Result<_, _>>()?;
        fields.key(r, 7, "approver")?;
        let approver = r.text("approver")?;
        let approver = OperatorId::new(approver).map_err(|_| r.fault("approver", Fault::Value))?;
        fields.key(r, 8, "signature")?;
        let signature = r.bytes("signature")?.to_vec();
        fields.key(r, 9, "approved_at_ms")?;
        let approved_at_ms = r.u64("approved_at_ms")?;
        fields.key(r, 10, "enrolment")?;
        let enrolment = r.bytes("enrolment")?.to_vec();
        fields.finish(r)?;
        r.finish()?;
        Ok(Self {
            robot,
            session,
            before,
            after,
            elsewhere,
            approver,
            signature,
            approved_at_ms,
            enrolment,
        })
    }

    /// Keeps the record: from here on the replacement is approved.
    pub(super) fn keep(&self, folder: &StateFolder) -> Result<(), RobotError> {
        Ok(folder.put(COLLECTION, &key(&self.robot, self.session), &self.encode())?)
    }

    /// Puts the hardware and the enrolment that were approved in the place of those before. Doing so again changes nothing.
    pub(super) fn put_in_place(&self, folder: &StateFolder) -> Result<(), RobotError> {
        robots::put_hardware(folder, &self.robot, &self.after)?;
        Ok(robots::put_enrolment(folder, &self.robot, &self.enrolment)?)
    }

    /// Whether the robot's enrolment is still the one that this replacement was approved over.
    fn is_unfinished(&self, folder: &StateFolder, authority: &VerifyingKey) -> Result<bool, RobotError> {
        let now = robots::enrolment(folder, authority, &self.robot)?;
        let new = VerifiedEnrolment::verify(&self.enrolment, authority);
        let new = new.map_err(|source| RobotError::Enrolment {
            robot: self.robot.clone(),
            source,
        })?;
        let (now, new) = (now.record(), new.record());
        let expected = now.with_hardware(new.hardware_binding, new.issued_at_ms);
        Ok(now.hardware_binding == self.before.binding(now.hardware_binding.alg()) && expected == *new)
    }
}

fn robot(r: &mut Reader<'_>, field: &'static str) -> Result<RobotId, DecodeError> {
    let text = r.text(field)?;
    RobotId::new(text).map_err(|_| r.fault(field, Fault::Value))
}

fn load(folder: &StateFolder, key: String) -> Result<Option<ApprovedReplacement>, RobotError> {
    let Some(bytes) = folder.get(COLLECTION, &key)? else {
        return Ok(None);
    };
    let record = ApprovedReplacement::decode(&bytes);
    record
        .map(Some)
        .map_err(|source| RobotError::Replacement { session: key, source })
}

/// The name of a record: the robot's, so that no other robot's damaged one is read for it.
fn key(robot: &RobotId, session: SessionId) -> String {
    format!("{robot}.{session}")
}

/// The replacements that were approved for a robot, oldest first.
pub(super) fn of_robot(
    folder: &StateFolder,
    robot: &RobotId,
) -> Result<Vec<ApprovedReplacement>, RobotError> {
    let mut approved = Vec::new();
    for key in folder.keys(COLLECTION)? {
        let is_of_robot = key.rsplit_once('.').is_some_and(|(of, _)| of == robot.as_str());
        if is_of_robot {
            approved.extend(load(folder, key)?);
        }
    }
    approved.sort_by_key(|replacement| replacement.approved_at_ms);
    Ok(approved)
}

/// Puts in place what was approved and a crash kept from being put there. Records that do not read are named to whoever asks
/// for their robot; they keep no other robot from being served.
pub(crate) fn finish(folder: &StateFolder, authority: &VerifyingKey) -> Result<(), RobotError> {
    for key in folder.keys(COLLECTION)? {
        let Ok(Some(approved)) = load(folder, key) else {
            continue;
        };
        if approved.is_unfinished(folder, authority).unwrap_or(false) {
            approved.put_in_place(folder)?;
        }
    }
    Ok(())
}
