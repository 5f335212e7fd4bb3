//! The command policy that this robot follows.

use crate::Result;
use crate::robot::Robot;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_command_authority::policy::{CommandRules, VerifiedCommandPolicy};

impl Robot {
    /// Takes the fleet's command policy; it is in force from the next command on. Commands: as
    /// `RobotKeys::take_command_policy`.
    ///
    /// # Errors
    /// As there, and the audit log's: the policy is then the one that was in force.
    pub fn take_command_policy(&self, signed: &[u8], now_utc_ms: u64) -> Result<VerifiedCommandPolicy> {
        let done = self.keys.take_command_policy(signed);
        let subject = done.as_ref().map_or_else(
            |_| "command-policy".to_owned(),
            |policy| {
                let approvers = policy.approvers().iter().map(|approver| approver.as_str());
                let by = approvers.collect::<Vec<_>>().join(", ");
                format!("command-policy {} approved by {by}", policy.statement().version)
            },
        );
        // It is on the disk whether or not the log takes the entry, and it only ever forbids: it is followed in any case.
        if let Ok(policy) = &done {
            self.follow(policy);
        }
        self.audited_as(EntryKind::Configuration, ("install", subject), now_utc_ms, done)
    }

    /// Takes up the policy that was taken before. Where there is none that may be followed, commands are refused until one is
    /// installed; the robot still starts, for it must be stoppable and attestable.
    pub(crate) fn take_up_policy(&self, now_utc_ms: Option<u64>) -> Result<()> {
        match self.keys.command_policy() {
            Ok(None) => Ok(()),
            Ok(Some(policy)) => {
                self.follow(&policy);
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "commands are refused: the command policy is not what it was");
                self.commands.follow(CommandRules::Lost);
                let mut entry = self.audit.entry(
                    EntryKind::Fault,
                    "command-policy".to_owned(),
                    now_utc_ms.unwrap_or(0),
                    Outcome::Refused,
                );
                entry.reasons = vec![error.refusal().unwrap_or("policy-lost").to_owned()];
                self.audit.append(&entry).map(|_| ())
            }
        }
    }

    fn follow(&self, policy: &VerifiedCommandPolicy) {
        let policy = Box::new(policy.for_robot(self.robot()));
        self.commands.follow(CommandRules::Policy(policy));
    }
}
