//! A part was replaced: the robot proves what its chip measured, and takes the enrolment that the authority issues once a
//! person has approved. The initial device key is made again with the new binding; it is the same key.

use super::{DeviceKey, DeviceKeySlot, make_initial};
use crate::record::replace_hardware;
use crate::robot::RobotKeys;
use crate::{KeysError, Result, RobotRecord};
use alcub3_attestation::certify::Signed;
use alcub3_crypto::Curve;
use alcub3_crypto::Digest;
use alcub3_crypto::tpm::Public;
use alcub3_fleet_protocol::identity_binding;
use alcub3_fleet_protocol::replacement::{ReplacementRequest, VerifiedReplacement, replacement_binding};
use alcub3_tpm::ops::{Attestation, Creation, Key};
use alcub3_tpm::{Auth, Chip, Lane};
use alcub3_trust_model::hardware::HardwareRecord;
use alcub3_trust_model::nv_map::{NvIndex, Register};
use alcub3_trust_model::{SessionId, handle_map};

/// The request whose answer is waited for.
const ASKED: &str = "replacement.cbor";

/// What was asked, and the authority's answer to it.
#[derive(Clone, Debug)]
pub struct ApprovedReplacement {
    asked: ReplacementRequest,
    answer: VerifiedReplacement,
}

impl ApprovedReplacement {
    /// What was asked.
    pub const fn asked(&self) -> &ReplacementRequest {
        &self.asked
    }

    /// The answer.
    pub const fn answer(&self) -> &VerifiedReplacement {
        &self.answer
    }
}

impl RobotKeys {
    /// Asks the authority to take replaced parts into the robot's record, in an exchange that it opened. `measured` is what the
    /// hardware register was extended for since the chip's start, the hardware found last. The request is kept until its
    /// answer is taken. Commands: 1 NV_Certify, 1 Certify.
    ///
    /// # Errors
    /// The chip's or the folder's.
    pub fn replacement_request(
        &self,
        session: SessionId,
        hardware: HardwareRecord,
        measured: Vec<Digest>,
    ) -> Result<ReplacementRequest> {
        let robot = self.record.robot.clone();
        let binding = replacement_binding(session, &robot, &hardware.binding(self.hash()));
        let register = NvIndex::Register(Register::HardwareInventory);
        let register = self.certify_index(register, binding.as_bytes().to_vec())?;
        let (signer, root) = (self.attestation_key(), self.storage_root());
        let certification = self.run(Lane::Background, move |chip| {
            chip.certify(&root, Auth::Empty, &signer, binding.as_bytes())
        })?;
        let request = ReplacementRequest {
            session,
            robot,
            enrolled: self.record.enrolled.enrolment().record().hardware_binding,
            hardware,
            measured,
            register: signed(register),
            storage_root: self.record.storage_root.clone(),
            certification: signed(certification),
        };
        self.folder.write(ASKED, &request.to_canonical())?;
        Ok(request)
    }

    /// The request whose answer is waited for.
    ///
    /// # Errors
    /// [`KeysError::NoReplacementAsked`]; the folder's.
    fn asked_replacement(&self) -> Result<ReplacementRequest> {
        let bytes = self.folder.read(ASKED)?.ok_or(KeysError::NoReplacementAsked)?;
        ReplacementRequest::from_canonical(&bytes).map_err(|source| KeysError::Record {
            name: ASKED.into(),
            source,
        })
    }

    /// Judges the authority's answer to what was asked.
    ///
    /// # Errors
    /// [`KeysError::NoReplacementAsked`]; [`KeysError::Replacement`] where the answer is not the pinned authority's, is for
    /// another request, or changes more than the hardware; the folder's.
    pub fn verify_replacement(&self, answer: &[u8]) -> Result<ApprovedReplacement> {
        let asked = self.asked_replacement()?;
        let record = &*self.record;
        let answer = VerifiedReplacement::verify(answer, &record.authority, &record.enrolled, &asked)?;
        Ok(ApprovedReplacement { asked, answer })
    }

    /// Takes an approved replacement: has the chip make the initial device key again with the new binding, and puts the
    /// enrolment with the new hardware in the place of the one before. What has the robot open holds the earlier record: open
    /// it again. A crash leaves the robot as it was, and then the answer can be taken again, or as it is to be.
    /// Commands: 1 ActivateCredential, 1 CreatePrimary, 1 FlushContext.
    ///
    /// # Errors
    /// [`KeysError::Foreign`] where the chip makes another key; the chip's and the folder's.
    pub fn take_replacement(&self, approved: &ApprovedReplacement) -> Result<()> {
        let record = &*self.record;
        let creation = self.rebound_initial(&approved.answer)?;
        let initial = DeviceKey::initial(record.identity.clone(), creation);
        self.device_keys().save(DeviceKeySlot::NextInitial, &initial)?;
        let record = RobotRecord {
            enrolled: approved.answer.enrolled().clone(),
            ..record.clone()
        };
        replace_hardware(&self.folder, &record, &approved.asked.hardware)?;
        Ok(self.folder.remove(ASKED)?)
    }

    fn rebound_initial(&self, taken: &VerifiedReplacement) -> Result<Creation> {
        let hardware = taken.enrolled().enrolment().record().hardware_binding;
        let making = Making {
            attestation_key: self.attestation_key(),
            storage_root: self.storage_root(),
            identity: self.record.identity.clone(),
            curve: self.record.curve,
            binding: identity_binding(self.hash(), &self.record.robot, &hardware),
            taken: taken.clone(),
        };
        self.run(Lane::Background, move |chip| Ok(making.run(chip)))?
    }
}

/// What making the initial device key again takes.
struct Making {
    attestation_key: Key,
    storage_root: Key,
    identity: Public,
    curve: Curve,
    binding: Digest,
    taken: VerifiedReplacement,
}

impl Making {
    fn run(&self, chip: &mut Chip) -> Result<Creation> {
        let credential = self.taken.credential();
        let secret = chip.activate_credential(
            &self.attestation_key,
            Auth::Empty,
            &self.storage_root,
            Auth::Empty,
            &credential.id_object,
            &credential.encrypted_secret,
        )?;
        let endorsement = self.taken.endorsement(&secret)?;
        let made = make_initial(chip, &endorsement, self.curve, &self.binding)?;
        if *made.object.public() == self.identity {
            Ok(made.creation)
        } else {
            Err(KeysError::Foreign {
                place: "handle",
                handle: handle_map::IDENTITY,
            })
        }
    }
}

fn signed(made: Attestation) -> Signed {
    Signed {
        message: made.message,
        signature: made.signature,
    }
}
