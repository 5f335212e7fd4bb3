//! Provisioning against an authority: the keys' steps and the enrolment's messages, one after the other.

use crate::audit::AuditFile;
use crate::run::random_id;
use crate::{AgentError, Result};
use alcub3_attestation::certify::Signed;
use alcub3_audit_log::{EntryKind, Outcome};
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_fleet_protocol::HierarchyAuthorisations;
use alcub3_fleet_protocol::enrolment::{EnrolRequest, Robot as Enrolment};
use alcub3_fleet_protocol::origin::{OriginEvidence, PlatformEvidence};
use alcub3_keys::{Custody, Prepared, Provisioning, ProvisioningPlan, RobotRecord, StateFolder};
use alcub3_security_hal::{Clock, SystemClock};
use alcub3_tpm::{Lane, Tpm};
use alcub3_trust_model::hardware::Inventory;
use alcub3_trust_model::{BootId, Level, RobotId};
use std::time::Duration;

/// Most certificates above the endorsement certificate that a request carries.
const MAX_CHAIN: usize = 8;

/// How the authority's answers reach the robot. The caller carries the messages; they protect themselves.
pub trait AuthorityLink {
    /// Hands over the first message of an enrolment and brings the challenge.
    ///
    /// # Errors
    /// That the authority is out of reach, or its refusal.
    fn enrol(&mut self, request: &[u8]) -> std::result::Result<Vec<u8>, LinkError>;

    /// Hands over the answer to the challenge and brings the enrolment.
    ///
    /// # Errors
    /// As [`Self::enrol`].
    fn respond(&mut self, response: &[u8]) -> std::result::Result<Vec<u8>, LinkError>;
}

/// Why the authority did not answer as hoped.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct LinkError(pub Box<dyn std::error::Error + Send + Sync>);

/// What a robot is to become.
#[derive(Clone, Debug)]
pub struct ProvisionRequest {
    /// Its name.
    pub robot: RobotId,
    /// The curve of its keys.
    pub curve: Curve,
    /// The levels it is to serve.
    pub levels: Vec<Level>,
    /// Its parts: see [`crate::inventory`] for those of the machine.
    pub inventory: Inventory,
    /// Certificates between the chip's and the vendor's root, where the chip does not hold them; they go before those that it
    /// holds.
    pub certificate_chain: Vec<Vec<u8>>,
    /// The machine's platform certificate, where its maker gave one.
    pub platform: Option<PlatformEvidence>,
    /// The authority's key, which the robot was given on a way it trusts.
    pub authority: VerifyingKey,
}

/// Provisions a robot, or goes on with a provisioning that was cut short.
///
/// The chip's authorisations are in the authority's custody when this returns, and nowhere on the robot. The attempt is in the
/// audit log of the folder before it begins, and then what came of it, a refusal with its reason code.
///
/// # Errors
/// The first step that fails. Calling again with the same request goes on from there.
pub fn provision(
    tpm: &Tpm,
    folder: &StateFolder,
    request: &ProvisionRequest,
    link: &mut dyn AuthorityLink,
) -> Result<RobotRecord> {
    let audit = AuditFile::open(folder.path(), request.robot.clone(), BootId::new(random_id()?))?;
    let levels: Vec<String> = request.levels.iter().map(ToString::to_string).collect();
    let now_utc_ms = SystemClock::new().utc_ms().unwrap_or_default();
    let kind = EntryKind::Provision;
    let mut entry = audit.entry(kind, levels.join(", "), now_utc_ms, Outcome::Unconfirmed);
    audit.append(&entry)?;
    let done = try_provision(tpm, folder, request, link);
    let refused = done.as_ref().err().and_then(AgentError::reason_code);
    entry.outcome = match (&done, refused) {
        (Ok(_), _) => Outcome::Done,
        (Err(_), Some(_)) => Outcome::Refused,
        (Err(_), None) => Outcome::Failed,
    };
    entry.reasons = refused.map(str::to_owned).into_iter().collect();
    // What the chip is now, it is: an error of the log would say that it is not.
    if let Err(error) = audit.append(&entry) {
        tracing::error!(%error, "what came of provisioning is in the audit log as unconfirmed only");
    }
    done
}

fn try_provision(
    tpm: &Tpm,
    folder: &StateFolder,
    request: &ProvisionRequest,
    link: &mut dyn AuthorityLink,
) -> Result<RobotRecord> {
    let plan = ProvisioningPlan {
        robot: request.robot.clone(),
        curve: request.curve,
        levels: request.levels.clone(),
        inventory: request.inventory.clone(),
    };
    let mut provisioning = Provisioning::begin(tpm, folder, &plan)?;
    let prepared = provisioning.prepare()?;
    let message = enrol_request(tpm, request, &plan, prepared)?;
    let (machine, first) = Enrolment::begin(message, request.authority.clone());
    let (machine, credential) = machine.challenged(&link.enrol(&first)?)?;
    let (secret, custody) = provisioning.activate(&credential)?;
    let Custody {
        owner,
        endorsement,
        lockout,
    } = custody;
    let custody = HierarchyAuthorisations {
        owner,
        endorsement,
        lockout,
    };
    let (machine, answer) = machine.respond(&secret, &custody)?;
    let enrolled = machine.enrolled(&link.respond(&answer)?)?;
    Ok(provisioning.finish(request.authority.clone(), enrolled)?)
}

fn enrol_request(
    tpm: &Tpm,
    request: &ProvisionRequest,
    plan: &ProvisioningPlan,
    prepared: Prepared,
) -> Result<EnrolRequest> {
    let given = request.certificate_chain.iter();
    let chain = given.chain(&prepared.certificate_chain).take(MAX_CHAIN).cloned();
    let info = tpm.run(Lane::Background, Duration::from_secs(30), |chip| chip.chip_info())?;
    Ok(EnrolRequest {
        robot: plan.robot.clone(),
        endorsement_key: prepared.endorsement_key,
        endorsement_certificate: prepared.endorsement_certificate,
        certificate_chain: chain.collect(),
        attestation_key: prepared.attestation_key,
        storage_root: prepared.storage_root,
        identity: prepared.identity,
        identity_creation: prepared.identity_creation.data,
        identity_certification: Signed {
            message: prepared.identity_certification.message,
            signature: prepared.identity_certification.signature,
        },
        hardware: prepared.hardware,
        chip: format!(
            "{} {} firmware {:x}",
            info.manufacturer, info.vendor, info.firmware
        ),
        origin: OriginEvidence {
            device: prepared.device,
            platform: request.platform.clone(),
        },
    })
}
