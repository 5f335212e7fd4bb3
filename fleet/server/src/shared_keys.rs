//! Sharing a mission's secret among robots: each gets it wrapped for its own chip under its own mission's policy.
//!
//! The secret is made when it is wrapped and wiped when that is done: afterwards only chips hold it. So does whoever commands
//! with it: in a chip that this authority admitted ([`Authority::admit_chip`]).

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::Role;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::TrustAnchors;
use alcub3_fleet_protocol::commander::CommanderKey;
use alcub3_fleet_protocol::shared_key::{
    Recipient, SharedKey, SharedKeyError, SharedKeyRequest, SharedSecret, VerifiedSharedKey,
};
use alcub3_trust_model::canonical::DecodeError;
use alcub3_trust_model::{HardwareTier, Level, OperatorId, RobotId, SessionId};

use crate::approval::ApprovalVault;
use crate::audit::Decision;
use crate::authority::Authority;
use crate::chips::ChipRefusal;
use crate::exchanges::{self, ExchangeError, Purpose};
use crate::missions::MissionApprovalError;
use crate::robots::RobotError;
use crate::store::StoreError;

/// What came of sharing one secret.
#[derive(Clone, Debug)]
pub struct SharedKeys {
    /// For each robot, in the order of the requests: the message that gives it its copy.
    pub messages: Vec<(RobotId, Vec<u8>)>,
    /// The message that gives the commander the copy for their chip, where the secret is a command key.
    pub commander: Option<Vec<u8>>,
}

/// Why a secret was not shared. No robot gets it then.
#[derive(Debug, thiserror::Error)]
pub enum SharedKeyApprovalError {
    /// A message is not the one form allowed.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// An exchange is unknown, used, late or another robot's.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// A request proves nothing, or the robot would refuse what was wrapped.
    #[error("{robot}: {source}")]
    Request {
        /// Whose.
        robot: RobotId,
        /// What is wrong.
        source: SharedKeyError,
    },
    /// A mission is unknown, or its robot is not fit for its level now.
    #[error(transparent)]
    Mission(#[from] MissionApprovalError),
    /// Nobody asked.
    #[error("no robot asked for the key")]
    Nobody,
    /// The commander has no admitted chip.
    #[error(transparent)]
    Commander(#[from] ChipRefusal),
    /// An approver gives no commands.
    #[error("{0} is an approver, and approvers give no commands; share the key with an operator")]
    Approver(OperatorId),
    /// The commander's chip is of a weaker kind than a mission's level asks for.
    #[error("{level} asks for a stronger TPM than the commander's, which is {found}; admit another chip")]
    CommanderTier {
        /// The level.
        level: Level,
        /// What the chip is.
        found: HardwareTier,
    },
    /// The secret could not be made or wrapped.
    #[error(transparent)]
    Secret(#[from] SharedKeyError),
    /// A message could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The vault does not tell its keys.
    #[error("the authority's TPM does not tell its keys: {0}")]
    Vault(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for SharedKeyApprovalError {
    fn from(error: StoreError) -> Self {
        Self::Robot(error.into())
    }
}

impl Authority {
    /// Opens the exchange in which a robot may ask for a shared key. The robot's attestations name it.
    ///
    /// # Errors
    /// [`SharedKeyApprovalError`]: not enrolled, or the folder refuses.
    pub fn open_shared_key(
        &mut self,
        robot: &RobotId,
        now_ms: u64,
    ) -> Result<SessionId, SharedKeyApprovalError> {
        self.open_session(Purpose::SharedKey, robot, now_ms)
    }

    /// Makes one secret and wraps it for every robot that asked, and a command key for the chip of whoever commands with it:
    /// it stands for that person's commands alone.
    ///
    /// # Errors
    /// [`SharedKeyApprovalError`]; then nobody has the secret, which is wiped.
    pub fn share_mission_key<V: ApprovalVault>(
        &mut self,
        requests: &[Vec<u8>],
        commander: Option<&OperatorId>,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<SharedKeys, SharedKeyApprovalError> {
        let shared = self.wrap_for_all(requests, commander, vault, now_ms);
        let what = match commander {
            Some(operator) => format!("a shared key for {operator}'s commands"),
            None => "a shared key".to_owned(),
        };
        let Ok(shared) = shared else {
            // Of which robot it was refused is in the error, where it is known.
            let decision = Decision::about(EntryKind::Key, None, what);
            return self.on_record(decision, now_ms, shared);
        };
        for (robot, message) in &shared.messages {
            let decision = Decision::about(EntryKind::Key, Some(robot), what.clone())
                .with_object(HashAlg::Sha256.digest(&[message]));
            self.judgement_on_record(decision, true, now_ms)?;
        }
        Ok(shared)
    }

    fn wrap_for_all<V: ApprovalVault>(
        &self,
        requests: &[Vec<u8>],
        commander: Option<&OperatorId>,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<SharedKeys, SharedKeyApprovalError> {
        let anchors = self
            .anchors(vault)
            .map_err(|fault| SharedKeyApprovalError::Vault(Box::new(fault)))?;
        let recipients = requests
            .iter()
            .map(|request| self.recipient(request, &anchors, now_ms))
            .collect::<Result<Vec<_>, _>>()?;
        let first = recipients.first().ok_or(SharedKeyApprovalError::Nobody)?;
        let mut entropy = self.entropy;
        let secret = SharedSecret::generate(first.purpose(), first.alg(), &mut entropy)?;
        let mut messages = Vec::with_capacity(recipients.len());
        for recipient in &recipients {
            let key = secret.wrap_for(recipient, commander, &mut entropy);
            let key = key.map_err(|source| of_robot(recipient.robot(), source))?;
            messages.push((recipient.robot().clone(), self.sign_shared(&key)?));
        }
        let commander = commander
            .map(|operator| self.wrap_for_commander(&secret, operator, &recipients))
            .transpose()?;
        Ok(SharedKeys { messages, commander })
    }

    /// Wraps a secret for a commander's admitted chip, which must be fit for each mission's level.
    fn wrap_for_commander(
        &self,
        secret: &SharedSecret,
        operator: &OperatorId,
        recipients: &[Recipient],
    ) -> Result<Vec<u8>, SharedKeyApprovalError> {
        let known = self.operators.get(operator);
        if known.is_some_and(|known| known.role == Role::Approver) {
            return Err(SharedKeyApprovalError::Approver(operator.clone()));
        }
        let chip = self.chip(operator)?;
        for recipient in recipients {
            let (_, mission) = self.approved_mission(recipient.mission(), recipient.robot())?;
            let level = mission.token().labels.level;
            if !self.profile_for(level, chip.tier()).admits_tier(chip.tier()) {
                return Err(SharedKeyApprovalError::CommanderTier {
                    level,
                    found: chip.tier(),
                });
            }
        }
        let missions = recipients
            .iter()
            .map(|to| (to.robot().clone(), to.mission()))
            .collect();
        let mut entropy = self.entropy;
        let key = CommanderKey {
            operator: operator.clone(),
            missions,
            wrapped: secret.wrap_for_commander(chip.storage_key(), &mut entropy)?,
        };
        Ok(key.unsigned(self.signing().suite()).sign(self.signing())?)
    }

    fn recipient(
        &self,
        request: &[u8],
        anchors: &TrustAnchors,
        now_ms: u64,
    ) -> Result<Recipient, SharedKeyApprovalError> {
        let request = SharedKeyRequest::from_canonical(request)?;
        let (robot, session) = (&request.robot, request.session);
        exchanges::close(&self.folder, Purpose::SharedKey, robot, session, now_ms)?;
        let enrolment = self.active(robot)?;
        let (_, mission) = self.approved_mission(request.mission, robot)?;
        let profile = self.profile_for(mission.token().labels.level, enrolment.record().tier);
        self.check_standing(&enrolment, &profile, now_ms)?;
        mission
            .meets(&self.profiles())
            .map_err(MissionApprovalError::from)?;
        let pcrs = &self.config.pcrs;
        Recipient::verify(&request, mission.token(), &enrolment, anchors, pcrs, session)
            .map_err(|source| of_robot(robot, source))
    }

    /// Signs a key, and asks the robot's own questions of the message before it is given out.
    fn sign_shared(&self, key: &SharedKey) -> Result<Vec<u8>, SharedKeyApprovalError> {
        let signed = key.unsigned(self.signing().suite()).sign(self.signing())?;
        let (_, mission) = self.approved_mission(key.mission, &key.robot)?;
        VerifiedSharedKey::verify(&signed, &self.verifying_key(), mission.token(), key.session)
            .map_err(|source| of_robot(&key.robot, source))?;
        Ok(signed)
    }
}

fn of_robot(robot: &RobotId, source: SharedKeyError) -> SharedKeyApprovalError {
    SharedKeyApprovalError::Request {
        robot: robot.clone(),
        source,
    }
}
