//! The fleet's command policy as its authority issues it: two persons approve what it says before it is signed.

use std::error::Error;

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_command_authority::policy::{
    CommandPolicy, CommandPolicyOrder, PolicyOrderError, PolicyStatement, VerifiedCommandPolicy,
};
use alcub3_crypto::HashAlg;

use crate::approval::{ApprovalError, ApprovalPurpose, ApprovalVault, Ballot, OperatorVote, sign_ballot};
use crate::audit::Decision;
use crate::authority::Authority;
use crate::store::StoreError;

const PLACE: (&str, &str) = ("command-policy", "current");

/// A command policy that waits for its two votes.
#[derive(Debug)]
pub struct CommandPolicyProposal {
    statement: PolicyStatement,
    ballot: Ballot,
}

impl CommandPolicyProposal {
    /// What each person signs.
    pub const fn ballot(&self) -> &Ballot {
        &self.ballot
    }

    /// What they approve.
    pub const fn statement(&self) -> &PolicyStatement {
        &self.statement
    }
}

/// A command policy was not issued.
#[derive(Debug, thiserror::Error)]
pub enum CommandPolicyIssueError {
    /// It would be refused by robots, or the one in force does not read.
    #[error(transparent)]
    Policy(#[from] PolicyOrderError),
    /// The votes or the vault.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// The vault did not begin, or does not tell its keys.
    #[error("the authority's TPM did not begin the approval: {0}")]
    Vault(#[source] Box<dyn Error + Send + Sync>),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// The command policy that was issued last.
    ///
    /// # Errors
    /// [`CommandPolicyIssueError`] where it does not read.
    pub fn command_policy(&self) -> Result<Option<PolicyStatement>, CommandPolicyIssueError> {
        let kept = self.folder.get(PLACE.0, PLACE.1)?;
        let read = |bytes: Vec<u8>| CommandPolicyOrder::read(&bytes, &self.verifying_key());
        Ok(kept.map(read).transpose()?.map(|(_, statement)| statement))
    }

    /// Begins the vote on a policy as the next version.
    ///
    /// # Errors
    /// [`CommandPolicyIssueError`].
    pub fn propose_command_policy<V: ApprovalVault>(
        &mut self,
        policy: CommandPolicy,
        vault: &mut V,
        now_ms: u64,
    ) -> Result<CommandPolicyProposal, CommandPolicyIssueError> {
        let before = self.command_policy()?.map_or(0, |statement| statement.version);
        let statement = PolicyStatement {
            version: before.saturating_add(1),
            issued_at_ms: now_ms,
            policy,
        };
        let failed = |fault: V::Fault| CommandPolicyIssueError::Vault(Box::new(fault));
        let purpose = ApprovalPurpose::Rearm;
        let alg = vault.approval_public(purpose).map_err(failed)?.name_alg();
        let digest = alg.digest(&[&statement.approved_message(alg)]);
        // The key of a rearm, which always takes two persons; the reference in the message keeps them apart.
        let ballot = vault.begin(purpose, &digest).map_err(failed)?;
        Ok(CommandPolicyProposal { statement, ballot })
    }

    /// Counts both persons' votes, has the authority's TPM sign, and keeps and gives the signed policy for the robots.
    ///
    /// # Errors
    /// [`CommandPolicyIssueError`]; the policy of before then stays, and the proposal counts no more.
    pub fn approve_command_policy<V: ApprovalVault>(
        &mut self,
        proposal: CommandPolicyProposal,
        votes: &[OperatorVote],
        vault: &mut V,
        now_ms: u64,
    ) -> Result<Vec<u8>, CommandPolicyIssueError> {
        let subject = format!("command policy {}", proposal.statement.version);
        let decision = Decision::about(EntryKind::Configuration, None, subject).voted_by(votes);
        let signed = match self.sign_command_policy(proposal, votes, vault) {
            Ok(signed) => signed,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let decision = decision.with_object(HashAlg::Sha256.digest(&[&signed]));
        self.acting_on_record(decision, now_ms, |authority| {
            authority.folder.put(PLACE.0, PLACE.1, &signed)?;
            Ok(signed)
        })
    }

    fn sign_command_policy<V: ApprovalVault>(
        &self,
        proposal: CommandPolicyProposal,
        votes: &[OperatorVote],
        vault: &mut V,
    ) -> Result<Vec<u8>, CommandPolicyIssueError> {
        let CommandPolicyProposal { statement, ballot } = proposal;
        let (signature, mut approvers) = sign_ballot(&self.operators, vault, &ballot, votes)?;
        approvers.sort();
        let order = CommandPolicyOrder {
            statement: statement.to_canonical(),
            approval: signature.to_tpmt(),
            approvers,
        };
        let signed = order.unsigned(self.signing().suite()).sign(self.signing())?;
        // The robots' own questions, before it is given out.
        let anchors = self
            .anchors(vault)
            .map_err(|fault| CommandPolicyIssueError::Vault(Box::new(fault)))?;
        let newest = self.command_policy()?.map_or(0, |statement| statement.version);
        VerifiedCommandPolicy::after(newest, &signed, &anchors.authority, &anchors.rearm)?;
        Ok(signed)
    }
}
