//! `provision`: from a blank chip to an enrolled robot.

use super::reference;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs};
use crate::parties::{AuthorityArgs, MACHINE};
use crate::{simulator, tpm_access};
use alcub3_agent::{AgentError, LogSource, PlatformLogs, ProvisionRequest};
use alcub3_crypto::Curve;
use alcub3_fleet_protocol::origin::PlatformEvidence;
use alcub3_keys::{KeysError, StateFolder};
use alcub3_server::{Authority, RobotError, SIMULATOR_ROOTS};
use alcub3_tpm::TpmSpec;
use alcub3_trust_model::hardware::{Inventory, Part};
use alcub3_trust_model::{Level, RobotId};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Longest platform certificate, in bytes.
const PLATFORM_LIMIT: u64 = 256 * 1024;

/// Arguments of `provision`.
#[derive(Debug, clap::Args)]
pub(crate) struct Provision {
    /// The robot's name in the fleet
    #[arg(value_name = "ROBOT")]
    robot: RobotId,
    /// The curve of its keys: p384, or p256 for chips without P-384 (no level from CONFIDENTIAL up)
    #[arg(long, default_value = "p384", value_parser = super::authority::curve)]
    curve: Curve,
    /// A level it is to serve; all that the curve allows where none is named
    #[arg(long, value_name = "LEVEL")]
    level: Vec<Level>,
    /// A part that the machine does not know, as CLASS:SLOT=SERIAL: motor-controller:left=MC-1, sensor:lidar=L-7
    #[arg(long, value_name = "CLASS:SLOT=SERIAL", value_parser = super::parts::part)]
    part: Vec<Part>,
    /// The folder below which the machine shows its parts [default: / for a device, none for a simulator]
    #[arg(long, value_name = "DIR", env = MACHINE)]
    machine: Option<PathBuf>,
    /// The event log of this start, as its reference [default: the machine's own, where it has one]
    #[arg(long, value_name = "FILE")]
    eventlog: Option<PathBuf>,
    /// Give this simulator an endorsement certificate of a new simulator CA; a real chip is refused
    #[arg(long)]
    simulator_ca: bool,
    /// The machine's platform certificate, DER: it must be of this TPM and chain to a root of `authority roots --devices`
    #[arg(long, value_name = "FILE")]
    platform_certificate: Option<PathBuf>,
    /// A certificate between the platform certificate and such a root, DER or PEM
    #[arg(long, value_name = "FILE", requires = "platform_certificate")]
    platform_issuer: Vec<PathBuf>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

fn platform(arguments: &Provision) -> Result<Option<PlatformEvidence>, CliError> {
    let Some(path) = &arguments.platform_certificate else {
        return Ok(None);
    };
    Ok(Some(PlatformEvidence {
        certificate: super::files::read(path, "a platform certificate", PLATFORM_LIMIT)?,
        chain: super::ek::read_certificates(&arguments.platform_issuer)?,
    }))
}

/// The parts of the machine and those that were declared. A simulator's machine is not the robot, unless it is named.
fn inventory(arguments: &Provision, context: &Context) -> Result<Inventory, CliError> {
    let is_device = matches!(context.tpm_spec(), TpmSpec::Device(_));
    let system = is_device.then(|| PathBuf::from("/"));
    let machine = match arguments.machine.clone().or(system) {
        Some(root) => alcub3_agent::inventory::of_machine(&root)?,
        None => Inventory::new(),
    };
    machine
        .with_all(arguments.part.iter().cloned())
        .map_err(CliError::Hardware)
}

/// Provisions the robot against the authority of this machine. A run that was cut short is taken up by the next.
pub(crate) fn run(arguments: &Provision, context: &Context) -> Result<Answer, CliError> {
    let log = arguments
        .eventlog
        .clone()
        .map_or(LogSource::Platform, LogSource::File);
    // Judged first: a log that is of no use must not leave an enrolled robot without references.
    let reference = PlatformLogs::uefi(log)
        .read_uefi()?
        .map(|log| {
            let path = arguments.eventlog.as_deref();
            let path = path.unwrap_or(Path::new("the machine's event log"));
            reference::golden(&log, path, arguments.curve.hash())
        })
        .transpose()?;
    let mut authority = arguments.authority.open()?;
    let folder = StateFolder::open(&context.state_dir()?)?;
    let tpm = tpm_access::start(context.tpm_spec())?;
    if arguments.simulator_ca {
        let root = simulator::certify(&tpm, arguments.curve)?;
        let path = authority
            .authority
            .path()
            .join(SIMULATOR_ROOTS)
            .join(format!("{}.pem", arguments.robot));
        super::files::write_private(&path, root.as_bytes())?;
    }
    let request = ProvisionRequest {
        robot: arguments.robot.clone(),
        curve: arguments.curve,
        levels: levels(arguments),
        inventory: inventory(arguments, context)?,
        certificate_chain: Vec::new(),
        platform: platform(arguments)?,
        authority: authority.authority.verifying_key(),
    };
    let provisioned = authority.provision(&tpm, &folder, &request);
    // A robot that was provisioned by a run that came no further still gets the references that it lacks.
    let sets_reference =
        provisioned.is_ok() || lacks_reference(&authority.authority, &provisioned, arguments);
    if let Some(values) = reference.as_ref().filter(|_| sets_reference) {
        authority
            .authority
            .set_reference(&arguments.robot, values, now_ms())?;
    }
    let record = provisioned?;
    let enrolment = authority.authority.enrolment(&arguments.robot)?;
    let tier = enrolment.record().tier.name();
    let basis = enrolment.record().endorsement;
    let origin = &enrolment.record().origin;
    let levels: Vec<String> = record
        .parents
        .iter()
        .map(|parent| parent.level.to_string())
        .collect();
    let json = json!({
        "robot": record.robot, "tpm": tier, "endorsement": basis.name(),
        "origin": super::origin::json(origin), "levels": levels, "simulator_ca": arguments.simulator_ca,
        "reference_set": reference.is_some(),
        "endorsement_key": record.endorsement_key.name().to_hex(),
        "attestation_key": record.attestation_key.name().to_hex(),
        "identity": record.identity.name().to_hex(),
    });
    let style = context.style();
    let mut text = format!(
        "{}\n",
        style.good(&format!("{} is provisioned and enrolled", record.robot))
    );
    text.push_str(&pairs([
        ("TPM", tier.to_owned()),
        ("vouched for by", basis.name().to_owned()),
        ("device", super::origin::device(origin)),
        ("platform", super::origin::platform(origin)),
        ("levels", levels.join(", ")),
        ("endorsement key", record.endorsement_key.name().to_hex()),
        ("attestation key", record.attestation_key.name().to_hex()),
        ("identity", record.identity.name().to_hex()),
    ]));
    if arguments.simulator_ca {
        text.push_str(&format!(
            "{}\n",
            style.warn("its endorsement certificate is a simulator CA's, and says so")
        ));
    }
    if reference.is_none() {
        text.push_str("no event log here: set its reference values with `alcub3 authority reference`\n");
    }
    text.push_str("it is stopped until two persons arm it: `alcub3 estop reset`\n");
    Ok(Answer::done(json, text))
}

/// Whether the robot of this name was provisioned before, in this folder, and the authority has no references of it.
fn lacks_reference<T>(
    authority: &Authority,
    provisioned: &Result<T, CliError>,
    arguments: &Provision,
) -> bool {
    let Err(CliError::Agent(AgentError::Keys(KeysError::AlreadyProvisioned { robot }))) = provisioned else {
        return false;
    };
    robot == arguments.robot.as_str()
        && matches!(
            authority.reference(&arguments.robot),
            Err(RobotError::NoReference(_))
        )
}

fn levels(arguments: &Provision) -> Vec<Level> {
    if !arguments.level.is_empty() {
        return arguments.level.clone();
    }
    let suite = alcub3_crypto::Suite::of_curve(arguments.curve);
    Level::ALL
        .into_iter()
        .filter(|level| alcub3_trust_model::profile(*level).admits_suite(suite))
        .collect()
}
