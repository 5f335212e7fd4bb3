//! Giving a robot back what its lost disk held, when its chip proves itself and a person has asked for it.

use std::error::Error;

use alcub3_attestation::appraisal::LastSeen;
use alcub3_audit_log::EntryKind;
use alcub3_fleet_protocol::restore::{ProvenChip, RestoreError, RestoreRequest};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{RobotId, SessionId};

use crate::approval::ApprovalVault;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::enrolment::EnrolmentError;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::robots::{self, RobotError};
use crate::store::StoreError;

/// Why nothing was given back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreRefusal {
    /// The chip did not prove itself.
    #[error(transparent)]
    Proof(#[from] RestoreError),
    /// The request does not read.
    #[error("restore message refused: {0}")]
    Message(#[source] DecodeError),
    /// The exchange.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// The robot is not enrolled, or its records do not read.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// Its authorisations.
    #[error(transparent)]
    Custody(#[from] EnrolmentError),
    /// The approval keys could not be read.
    #[error("the authority's approval keys: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Opens an exchange in which a robot may be given back what its disk held, once. A person's act: the robot's
    /// hierarchy authorisations leave custody for its chip.
    ///
    /// # Errors
    /// [`RestoreRefusal`]: the robot is not enrolled, or the folder refuses.
    pub fn open_restore(&mut self, robot: &RobotId, now_ms: u64) -> Result<SessionId, RestoreRefusal> {
        self.open_session(Purpose::Restore, robot, now_ms)
    }

    /// Judges the request and gives back what the disk held, sealed to the chip that was enrolled.
    ///
    /// The robot's sequence of evidence begins anew, since its disk kept it; that its clock never goes back still holds.
    ///
    /// # Errors
    /// [`RestoreRefusal`] says what is not proven; the exchange counts no more, whatever was wrong.
    pub fn restore<V: ApprovalVault>(
        &mut self,
        request: &[u8],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, RestoreRefusal> {
        let request = RestoreRequest::from_canonical(request).map_err(RestoreRefusal::Message);
        let decision = Decision::on(EntryKind::Provision, &request, |asked| {
            (&asked.robot, "what its lost disk held".to_owned())
        });
        match request {
            Ok(request) => self.acting_on_record(decision, now_ms, |authority| {
                authority.give_back(request, vault, now_ms)
            }),
            Err(refusal) => self.on_record(decision, now_ms, Err(refusal)),
        }
    }

    fn give_back<V: ApprovalVault>(
        &mut self,
        request: RestoreRequest,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, RestoreRefusal> {
        let robot = request.robot.clone();
        let exchange = exchanges::close(&self.folder, Purpose::Restore, &robot, request.session, now_ms)?;
        let enrolment = self.active(&robot)?;
        let chip = ProvenChip::verify(request, &enrolment, exchange.session)?;
        let anchors = self
            .anchors(vault)
            .map_err(|fault| RestoreRefusal::Vault(Box::new(fault)))?;
        let signing = self.signing();
        let suite = signing.suite();
        let enrolled = anchors.unsigned(exchange.session, enrolment.as_bytes(), suite);
        let enrolled = enrolled.sign(signing).map_err(RestoreError::from)?;
        let hardware = robots::hardware(&self.folder, &robot)?;
        let mut entropy = self.entropy;
        let grant = chip.grant(
            &self.custody(&robot)?,
            enrolled,
            hardware.to_canonical(),
            &mut entropy,
        )?;
        let message = grant.unsigned(suite).sign(signing).map_err(RestoreError::from)?;
        self.begin_sequence_anew(&robot)?;
        Ok(message)
    }

    fn begin_sequence_anew(&mut self, robot: &RobotId) -> Result<(), RestoreRefusal> {
        let mut standing = robots::standing(&self.folder, robot)?;
        standing.last_seen = standing.last_seen.map(|seen| LastSeen { sequence: 0, ..seen });
        robots::put_standing(&self.folder, robot, &standing)?;
        Ok(self.forget_platform(robot)?)
    }
}
