//! What robots judge each other by while this authority is out of reach.

use alcub3_audit_log::EntryKind;
use alcub3_command_authority::cose::SignError;
use alcub3_crypto::HashAlg;
use alcub3_fleet_protocol::StopStanding;
use alcub3_fleet_protocol::VerifiedEnrolment;
use alcub3_fleet_protocol::policy_bundle::{PeerPolicy, PolicyBundle, PolicyBundleError, VerifiedBundle};
use alcub3_trust_model::{BelowFloor, RobotId};

use crate::audit::Decision;
use crate::authority::Authority;
use crate::epochs;
use crate::robots::{RobotError, Standing};
use crate::store::StoreError;

/// The last bundle that was issued, for its version.
const PLACE: (&str, &str) = ("policy-bundle", "last");
/// The longest that robots judge each other without news of the authority, in milliseconds.
pub const LONGEST_BUNDLE_MS: u64 = 90 * 24 * 60 * 60 * 1000;

/// Why no bundle was issued.
#[derive(Debug, thiserror::Error)]
pub enum BundleIssueError {
    /// The lifetime.
    #[error("a policy bundle holds for at least 1 ms and at most {LONGEST_BUNDLE_MS} ms")]
    Lifetime,
    /// A robot's records.
    #[error(transparent)]
    Robot(#[from] RobotError),
    /// A robot meets the floor of no level any more.
    #[error("robot {robot}: {source}")]
    BelowFloor {
        /// Which robot.
        robot: RobotId,
        /// What is below.
        source: BelowFloor,
    },
    /// The appraisal policy in force has no class for a robot, which everybody would refuse.
    #[error(
        "robot {robot} is of no class of the appraisal policy {policy}: add it to a class, or leave it out of the bundle"
    )]
    NoClass {
        /// Which robot.
        robot: RobotId,
        /// The policy's name and version.
        policy: String,
    },
    /// What was put together is no bundle, or the last one is none of this authority's.
    #[error(transparent)]
    Bundle(#[from] PolicyBundleError),
    /// It could not be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authority {
    /// Signs what the robots named are to be judged by: their enrolments, reference values, rearmed stops, whether a stop is in
    /// force, and the floor of the highest level that each may serve. Each bundle's version is above the last one's.
    ///
    /// # Errors
    /// [`BundleIssueError`].
    pub fn issue_policy_bundle(
        &mut self,
        robots: &[RobotId],
        lifetime_ms: u64,
        now_ms: u64,
    ) -> Result<VerifiedBundle, BundleIssueError> {
        let names: Vec<&str> = robots.iter().map(RobotId::as_str).collect();
        let subject = format!("policy bundle of {}", names.join(", "));
        let decision = Decision::about(EntryKind::Configuration, None, subject);
        let bundle = match self.sign_policy_bundle(robots, lifetime_ms, now_ms) {
            Ok(bundle) => bundle,
            Err(refusal) => return self.on_record(decision, now_ms, Err(refusal)),
        };
        let decision = decision.with_object(HashAlg::Sha256.digest(&[bundle.as_bytes()]));
        self.acting_on_record(decision, now_ms, |authority| {
            authority.folder.put(PLACE.0, PLACE.1, bundle.as_bytes())?;
            Ok(bundle)
        })
    }

    fn sign_policy_bundle(
        &self,
        robots: &[RobotId],
        lifetime_ms: u64,
        now_ms: u64,
    ) -> Result<VerifiedBundle, BundleIssueError> {
        if !(1..=LONGEST_BUNDLE_MS).contains(&lifetime_ms) {
            return Err(BundleIssueError::Lifetime);
        }
        let key = self.verifying_key();
        let last = self.folder.get(PLACE.0, PLACE.1)?;
        let last = last
            .map(|bytes| VerifiedBundle::verify(&bytes, &key))
            .transpose()?;
        let peers = robots.iter().map(|robot| self.peer_policy(robot));
        let bundle = PolicyBundle {
            version: last.map_or(0, |last| last.version()).saturating_add(1),
            issued_at_ms: now_ms,
            not_after_ms: now_ms.saturating_add(lifetime_ms),
            peers: peers.collect::<Result<_, _>>()?,
        };
        let signed = bundle.unsigned(self.signing().suite()).sign(self.signing())?;
        // A robot's own questions, before it is given out.
        Ok(VerifiedBundle::verify(&signed, &key)?)
    }

    fn peer_policy(&self, robot: &RobotId) -> Result<PeerPolicy, BundleIssueError> {
        let enrolment = self.active(robot)?;
        let ceiling = self.lease_ceiling(&enrolment).map_err(|source| {
            let robot = robot.clone();
            BundleIssueError::BelowFloor { robot, source }
        })?;
        let profile = self.profile_for(ceiling, enrolment.record().tier);
        let rule = self.appraisal_rule(robot, ceiling);
        if let Some(rule) = rule.as_ref().filter(|rule| !rule.has_class()) {
            let (robot, policy) = (robot.clone(), rule.policy_id());
            return Err(BundleIssueError::NoClass { robot, policy });
        }
        let standing = self.standing(robot)?;
        Ok(PeerPolicy {
            stops: self.stop_standing(&enrolment, &standing)?,
            references: self.references_in_force(robot, ceiling)?.to_json(),
            rule,
            rearmed: standing.rearmed,
            min_tier: profile.min_tier,
            lease_ms: profile.lease_ms,
            enrolment: enrolment.as_bytes().to_vec(),
        })
    }

    /// A stop in force is named by the epoch that its TPM certified. Where none was certified, or only one that was rearmed since, it
    /// is the least that ends it: the one above the last rearm.
    fn stop_standing(
        &self,
        enrolment: &VerifiedEnrolment,
        standing: &Standing,
    ) -> Result<StopStanding, RobotError> {
        let robot = &enrolment.record().robot;
        let rearmed = epochs::rearmed(&self.folder, robot, enrolment.attestation_key())?;
        let rearmed = rearmed.map(|rearmed| rearmed.epoch);
        let certified = StopStanding::new(rearmed, standing.stopped_epoch);
        let is_stopped = standing.stops_in_force().next().is_some();
        Ok(match is_stopped && certified.in_force().is_none() {
            true => StopStanding::stopped_since(rearmed),
            false => certified,
        })
    }
}
