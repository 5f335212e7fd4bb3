//! Stops of robots whose root of trust is no TPM. No epoch in a chip counts them: what the root of trust signed once, that the robot
//! is stopped, holds here until two persons rearm it.

use alcub3_audit_log::EntryKind;
use alcub3_crypto::{Digest, HashAlg};
use alcub3_fleet_protocol::platform::VerifiedPlatform;
use alcub3_trust_model::{RobotId, domain};

use super::{PlatformRefusal, record};
use crate::approval::{ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::audit::Decision;
use crate::authority::Authority;

const SUBJECT: &str = "rearm";

/// A rearm that waits for its votes.
#[derive(Clone, Debug)]
pub struct PlatformRearm {
    robot: RobotId,
    /// The digest of the robot's record as it was voted on.
    record: Digest,
    /// When the robot last said that it is stopped, as it was voted on.
    stopped_at_ms: u64,
    ballot: Ballot,
}

impl PlatformRearm {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }
}

impl Authority {
    /// Begins the vote on rearming a robot whose root of trust is no TPM. Its own stop is released at the robot; while its state
    /// says that it is stopped it is untrusted whatever is voted.
    ///
    /// # Errors
    /// [`PlatformRefusal`]: not such a robot, not known to be stopped, or the vault.
    pub fn propose_platform_rearm<V: ApprovalVault>(
        &mut self,
        robot: &RobotId,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<PlatformRearm, PlatformRefusal> {
        let decision = Decision::about(EntryKind::Rearm, Some(robot), SUBJECT);
        let proposed = self.begin_platform_rearm(robot, vault);
        self.refusal_on_record(decision, now_ms, proposed)
    }

    fn begin_platform_rearm<V: ApprovalVault>(
        &self,
        robot: &RobotId,
        vault: &mut V,
    ) -> Result<PlatformRearm, PlatformRefusal> {
        let platform = self.platform_enrolment(robot)?;
        let stopped_at_ms = self.stop_in_force(robot)?;
        let failed = |fault: V::Fault| PlatformRefusal::Vault(Box::new(fault));
        // The key of every rearm, which always takes two persons; the domain in the message keeps this one apart.
        let key = vault.approval_public(ApprovalPurpose::Rearm).map_err(failed)?;
        let digest = key.name_alg().digest(&[&message(&platform, stopped_at_ms)]);
        let ballot = vault.begin(ApprovalPurpose::Rearm, &digest).map_err(failed)?;
        Ok(PlatformRearm {
            robot: robot.clone(),
            record: digest_of(&platform),
            stopped_at_ms,
            ballot,
        })
    }

    fn stop_in_force(&self, robot: &RobotId) -> Result<u64, PlatformRefusal> {
        let stopped_at_ms = record::standing(&self.folder, robot)?.stopped_at_ms;
        stopped_at_ms.ok_or_else(|| PlatformRefusal::NotStopped(robot.clone()))
    }

    /// Counts both persons' votes and forgets the stop that they voted on. The robot is trusted again by its next evidence.
    ///
    /// # Errors
    /// [`PlatformRefusal`]; the vote counts no more, whatever was wrong.
    pub fn approve_platform_rearm<V: ApprovalVault>(
        &mut self,
        proposal: &PlatformRearm,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<(), PlatformRefusal> {
        let decision = Decision::about(EntryKind::Rearm, Some(&proposal.robot), SUBJECT).voted_by(votes);
        self.acting_on_record(decision, now_ms, |authority| {
            authority.rearm_platform(proposal, votes, vault)
        })
    }

    fn rearm_platform<V: ApprovalVault>(
        &self,
        proposal: &PlatformRearm,
        votes: &[OperatorVote],
        vault: &mut V,
    ) -> Result<(), PlatformRefusal> {
        let robot = &proposal.robot;
        sign_ballot(&self.operators, vault, &proposal.ballot, votes)?;
        if digest_of(&self.platform_enrolment(robot)?) != proposal.record {
            return Err(PlatformRefusal::EnrolledAnew(robot.clone()));
        }
        if self.stop_in_force(robot)? != proposal.stopped_at_ms {
            return Err(PlatformRefusal::StoppedAgain(robot.clone()));
        }
        let mut standing = record::standing(&self.folder, robot)?;
        standing.stopped_at_ms = None;
        Ok(record::put_standing(&self.folder, robot, &standing)?)
    }
}

fn digest_of(platform: &VerifiedPlatform) -> Digest {
    HashAlg::Sha256.digest(&[platform.as_bytes()])
}

/// What two persons approve: that this robot, as it is enrolled, works again after this stop.
fn message(platform: &VerifiedPlatform, stopped_at_ms: u64) -> Vec<u8> {
    let robot = platform.record().robot().as_str().as_bytes();
    let record = digest_of(platform);
    let domain = domain::PLATFORM_REARM.as_bytes();
    [
        domain,
        &[0],
        robot,
        &[0],
        &stopped_at_ms.to_be_bytes(),
        record.as_bytes(),
    ]
    .concat()
}
