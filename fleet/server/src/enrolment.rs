//! Enrolling robots: the certificate, the challenge, custody, the record.

use std::error::Error;

use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_attestation::ek_certificate::WeakestLink;
use alcub3_audit_log::EntryKind;
use alcub3_crypto::HashAlg;
use alcub3_crypto::tpm::{EkTemplate, Public};
use alcub3_fleet_protocol::enrolment::{
    Authority as Machine, Challenged, Endorsement, EnrolError, EnrolRequest, EnrolResponse, Received,
};
use alcub3_fleet_protocol::origin::JudgedOrigin;
use alcub3_fleet_protocol::{EnrolmentRecord, HierarchyAuthorisations};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::hardware::{HardwareReason, HardwareRecord, Part};
use alcub3_trust_model::{RobotId, domain};

use crate::approval::ApprovalVault;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::certificates::{self, CertificationError};
use crate::endorsement::{self, EndorsementError, RootsError};
use crate::epochs;
use crate::offline_anchors;
use crate::origin::{self, OriginError};
use crate::purge;
use crate::robots::{self, RobotError};
use crate::secrets::KeyError;
use crate::store::StoreError;
use crate::succession;
use crate::waiting::NoRoom;

const CUSTODY: &str = "custody";

/// Why a robot was not enrolled. Nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum EnrolmentError {
    /// The exchange itself.
    #[error(transparent)]
    Exchange(#[from] EnrolError),
    /// The endorsement certificate.
    #[error(transparent)]
    Endorsement(#[from] EndorsementError),
    /// What its maker says of it.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// The roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The answer belongs to no challenge of this authority, or came too late.
    #[error("the answer belongs to no waiting enrolment, or came too late: begin the enrolment again")]
    NotWaiting,
    /// Too many wait for their answers.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// The name belongs to a robot with another TPM.
    #[error(
        "robot {0} is enrolled with another TPM; choose another name, or have two persons release this one from it (`key recover release`)"
    )]
    NameTaken(RobotId),
    /// The name belongs to a robot without a TPM.
    #[error("robot {0} is enrolled with another root of trust than a TPM: choose another name")]
    NameOfPlatform(RobotId),
    /// A part that makes a robot what it is belongs to another robot.
    #[error(
        "{}: the {} {:?} is enrolled as part of robot {holder}; a robot has one identity: take the \
         part out, or enrol {holder} again without it; where {holder} lost its TPM, release its name and enrol under that; where it was purged, have the receipt judged",
        HardwareReason::IdentityPartElsewhere.code(), part.class.name(), part.serial
    )]
    HardwareTaken {
        /// The robot that has it.
        holder: RobotId,
        /// The part.
        part: Part,
    },
    /// The answer does not read.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// Custody could not be put away.
    #[error(transparent)]
    Custody(#[from] KeyError),
    /// There is no custody of the robot.
    #[error("the authority holds no authorisations of robot {0}")]
    NoCustody(RobotId),
    /// The certificates of before do not read.
    #[error(transparent)]
    Certificates(#[from] CertificationError),
    /// The approval keys could not be read.
    #[error("the authority's approval keys: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// An earlier record does not read.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An enrolment that waits for its answer.
#[derive(Debug)]
pub(crate) struct Pending {
    challenged: Challenged,
    /// The weakest signature that the endorsement rests on; none where a person pinned the key.
    weakest: Option<WeakestLink>,
}

impl Authority {
    /// Takes an enrolment request; checks the robot's keys and its endorsement certificate; gives the challenge.
    ///
    /// # Errors
    /// [`EnrolmentError`] says what is not as it must be.
    pub fn begin_enrolment(&mut self, request: &[u8], now_ms: u64) -> Result<Vec<u8>, EnrolmentError> {
        let received = Machine::receive(request);
        let decision = Decision::on(EntryKind::Provision, &received, |received| {
            (&received.request().robot, "enrolment".to_owned())
        });
        let challenged = received
            .map_err(Into::into)
            .and_then(|received| self.challenge_robot(received, now_ms));
        self.refusal_on_record(decision, now_ms, challenged)
    }

    fn challenge_robot(&mut self, received: Received, now_ms: u64) -> Result<Vec<u8>, EnrolmentError> {
        let (robot, name) = (
            &received.request().robot,
            received.request().endorsement_key.name(),
        );
        self.check_name(robot, name.as_bytes(), None)?;
        self.check_cleared(robot, name.as_bytes())?;
        self.check_hardware(
            robot,
            &received.request().endorsement_key,
            &received.request().hardware,
        )?;
        let (endorsement, weakest) = self.judge_endorsement(received.request(), now_ms)?;
        let origin = self.judge_origin(received.request(), now_ms)?;
        let received = received.with_origin(&origin)?;
        self.enrolments.make_room(name.as_bytes(), now_ms)?;
        let admission = self.admission();
        let mut entropy = self.entropy;
        let (challenged, message) =
            received.challenge(endorsement, admission, self.issuer(), &mut entropy)?;
        let (session, key) = (challenged.session(), name.as_bytes().to_vec());
        let pending = Pending { challenged, weakest };
        self.enrolments.insert(session, pending, key, now_ms);
        Ok(message)
    }

    /// By the certificate; by an operator's pin only where the chip shows none.
    fn judge_endorsement(
        &self,
        asked: &EnrolRequest,
        now_ms: u64,
    ) -> Result<(Endorsement, Option<WeakestLink>), EnrolmentError> {
        let (key, certificate) = (&asked.endorsement_key, asked.endorsement_certificate.as_slice());
        if certificate.is_empty() {
            let pinned = endorsement::judge_by_pin(key, &asked.robot, &self.pins())?;
            return Ok((pinned, None));
        }
        let roots = endorsement::read_roots(self.path(), self.config.require_revocation_lists)?;
        let certificates = (certificate, asked.certificate_chain.as_slice());
        let (endorsement, weakest) = endorsement::judge(key, certificates, &roots, now_ms)?;
        Ok((endorsement, Some(weakest)))
    }

    /// By the roots of those who build machines.
    fn judge_origin(&self, asked: &EnrolRequest, now_ms: u64) -> Result<JudgedOrigin, EnrolmentError> {
        let require = self.config.require_revocation_lists;
        let makers = endorsement::read_makers(self.path(), require)?;
        let vendors = endorsement::read_roots(self.path(), require)?;
        Ok(origin::judge(asked, &makers, &vendors, now_ms)?)
    }

    /// Takes the robot's answer: checks the proof, puts custody away, keeps the record, and only then gives the last
    /// message with what was recorded.
    ///
    /// # Errors
    /// [`EnrolmentError`]; the challenge counts no more, whatever was wrong.
    pub fn finish_enrolment<V: ApprovalVault>(
        &mut self,
        response: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<(EnrolmentRecord, Vec<u8>), EnrolmentError> {
        let pending = self.waiting_enrolment(response, now_ms);
        let decision = Decision::on(EntryKind::Provision, &pending, |pending| {
            (&pending.challenged.request().robot, "enrolment".to_owned())
        });
        match pending {
            Ok(Pending { challenged, weakest }) => {
                let decision = decision.because(weakest.as_ref().map(WeakestLink::code));
                self.acting_on_record(decision, now_ms, |authority| {
                    authority.enrol(challenged, response, vault, now_ms)
                })
            }
            Err(refusal) => self.on_record(decision, now_ms, Err(refusal)),
        }
    }

    fn waiting_enrolment(&mut self, response: &[u8], now_ms: u64) -> Result<Pending, EnrolmentError> {
        let session = EnrolResponse::from_canonical(response)?.session;
        let waiting = self.enrolments.take(session, now_ms);
        waiting.ok_or(EnrolmentError::NotWaiting)
    }

    fn enrol<V: ApprovalVault>(
        &mut self,
        challenged: Challenged,
        response: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<(EnrolmentRecord, Vec<u8>), EnrolmentError> {
        let anchors = self
            .anchors(vault)
            .map_err(|fault| EnrolmentError::Vault(Box::new(fault)))?;
        let proven = challenged.answered(response, self.issuer())?;
        // Since the challenge it may have been revoked, or its pin taken away.
        self.judge_endorsement(proven.request(), now_ms)?;
        let shown = proven.request().endorsement_key.clone();
        let enrolled = proven.issue(&anchors, self.issuer(), now_ms)?;
        let robot = &enrolled.record.robot;
        let endorsement_key = enrolled.record.endorsement_key.as_bytes();
        let succeeds = self.check_name(robot, endorsement_key, Some(&anchors.rearm))?;
        self.check_cleared(robot, endorsement_key)?;
        let was_purged = purge::is_purged(&self.folder, robot)?;
        for holder in self.check_hardware(robot, &shown, &enrolled.hardware)? {
            purge::used_up(&self.folder, &holder)?;
            robots::remove_hardware(&self.folder, &holder)?;
        }
        self.put_custody(robot, &enrolled.custody)?;
        robots::put_hardware(&self.folder, robot, &enrolled.hardware)?;
        certificates::supersede_all(&self.folder, robot)?;
        // After a purge the counters are new ones: nothing that was approved for the old ones may fit them.
        if succeeds || was_purged {
            epochs::succeed(&self.folder, robot)?;
        }
        robots::put_enrolment(&self.folder, robot, &enrolled.signed_record)?;
        // A new attestation key begins a new history: what was seen under the old one says nothing of this one.
        robots::put_standing(&self.folder, robot, &robots::Standing::default())?;
        offline_anchors::forget(&self.folder, robot)?;
        self.forget_platform(robot)?;
        purge::enrolled_anew(&self.folder, robot)?;
        Ok((enrolled.record, enrolled.message))
    }

    /// The hierarchy authorisations of a robot, for its maintenance.
    ///
    /// # Errors
    /// [`EnrolmentError::NoCustody`], or where they do not open.
    pub fn custody(&self, robot: &RobotId) -> Result<HierarchyAuthorisations, EnrolmentError> {
        let sealed = self.folder.get(CUSTODY, robot.as_str())?;
        let sealed = sealed.ok_or_else(|| EnrolmentError::NoCustody(robot.clone()))?;
        let secret = self.keys.unseal(&custody_label(robot), &sealed)?;
        Ok(HierarchyAuthorisations::from_secret(&secret)?)
    }

    /// The reference values that a robot is judged by.
    ///
    /// # Errors
    /// [`RobotError::NoReference`] where none were set, or what the folder refused.
    pub fn reference(&self, robot: &RobotId) -> Result<ReferenceValues, RobotError> {
        robots::reference(&self.folder, robot)
    }

    /// Takes the reference values that a robot's boots are judged by.
    ///
    /// # Errors
    /// [`RobotError`]: not enrolled, or the folder refuses.
    pub fn set_reference(
        &mut self,
        robot: &RobotId,
        values: &ReferenceValues,
        now_ms: u64,
    ) -> Result<(), RobotError> {
        let digest = HashAlg::Sha256.digest(&[values.to_json().as_bytes()]);
        let decision = Decision::about(EntryKind::Configuration, Some(robot), "reference values");
        self.acting_on_record(decision.with_object(digest), now_ms, |authority| {
            authority.enrolment(robot)?;
            authority.forget_platform(robot)?;
            Ok(robots::put_reference(&authority.folder, robot, values)?)
        })
    }

    fn put_custody(&self, robot: &RobotId, custody: &HierarchyAuthorisations) -> Result<(), EnrolmentError> {
        let mut entropy = self.entropy;
        let sealed = self
            .keys
            .seal(&custody_label(robot), &custody.to_secret(), &mut entropy)?;
        Ok(self.folder.put(CUSTODY, robot.as_str(), &sealed)?)
    }

    /// A robot has one identity: no part that makes it what it is may be another robot's, unless that one's purge is proven.
    /// Gives those whose hardware this robot takes over so.
    fn check_hardware(
        &self,
        robot: &RobotId,
        endorsement_key: &Public,
        record: &HardwareRecord,
    ) -> Result<Vec<RobotId>, EnrolmentError> {
        let mut cleared = Vec::new();
        let names = EkTemplate::names_of_key(endorsement_key);
        for (holder, part) in robots::holders_of_identity(&self.folder, robot, record, &names)? {
            if !purge::is_cleared(&self.folder, &holder)? {
                return Err(EnrolmentError::HardwareTaken { holder, part });
            }
            cleared.push(holder);
        }
        Ok(cleared)
    }

    /// A purged robot's TPM makes the same attestation and identity keys again: it comes back only once it is proven that it
    /// was cleared. A TPM that succeeds it has keys of its own.
    fn check_cleared(&self, robot: &RobotId, endorsement_key: &[u8]) -> Result<(), EnrolmentError> {
        if !purge::is_purged(&self.folder, robot)? || purge::is_cleared(&self.folder, robot)? {
            return Ok(());
        }
        let earlier = self.enrolment(robot)?;
        if earlier.record().endorsement_key.as_bytes() == endorsement_key {
            return Err(RobotError::Purged(robot.clone()).into());
        }
        Ok(())
    }

    /// A name stays with the TPM it was first given to, unless two persons released it from that one: then this one
    /// succeeds it, which is said.
    fn check_name(
        &self,
        robot: &RobotId,
        endorsement_key: &[u8],
        rearm: Option<&Public>,
    ) -> Result<bool, EnrolmentError> {
        if self.find_platform(robot)?.is_some() {
            return Err(EnrolmentError::NameOfPlatform(robot.clone()));
        }
        match self.enrolment(robot) {
            Ok(earlier) if earlier.record().endorsement_key.as_bytes() != endorsement_key => {
                let first = &earlier.record().endorsement_key;
                if succession::is_released(&self.folder, robot, first, rearm)? {
                    return Ok(true);
                }
                Err(EnrolmentError::NameTaken(robot.clone()))
            }
            Ok(_) | Err(RobotError::Unknown(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn custody_label(robot: &RobotId) -> Vec<u8> {
    [domain::CUSTODY.as_bytes(), &[0], robot.as_str().as_bytes()].concat()
}
