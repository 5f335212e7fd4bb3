//! Who takes part in the tour: a robot, its authority, the persons.

use super::boot::{self, BootedLog};
use crate::authority_vault::AuthorityVault;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::local_authority::{LocalAuthority, Person};
use crate::{simulator, tpm_access};
use alcub3_agent::{LogSource, PlatformLogs, ProvisionRequest, Robot};
use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_command_authority::Role;
use alcub3_crypto::{Curve, SigningKey};
use alcub3_keys::StateFolder;
use alcub3_server::{Appraised, Authority, AuthorityConfig, Operator, SIMULATOR_ROOTS};
use alcub3_tpm::transport::{Counted, Counts, SwtpmOptions, SwtpmTransport};
use alcub3_tpm::{Tpm, TpmOptions};
use alcub3_trust_model::hardware::Inventory;
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{FleetId, Integrity, Labels, Level, OperatorId, RobotId};
use std::path::Path;
use std::sync::Arc;

/// A throwaway software TPM whose commands are counted.
pub(super) fn throwaway_tpm() -> Result<(Tpm, Counts), CliError> {
    let swtpm =
        SwtpmTransport::start(&SwtpmOptions::throwaway()).map_err(|source| CliError::Tpm(source.into()))?;
    let counted = Counted::new(swtpm);
    let counts = counted.counts();
    Ok((
        Tpm::start(Box::new(counted), TpmOptions::default()).map_err(CliError::Tpm)?,
        counts,
    ))
}

/// The persons of the tour.
pub(super) struct Persons {
    /// The two approvers.
    pub(super) approvers: [Person; 2],
    /// Who commands the robot.
    pub(super) operator: Person,
}

impl Persons {
    /// New persons with new keys.
    pub(super) fn new() -> Result<Self, CliError> {
        Ok(Self {
            approvers: [person("alice", Curve::P384)?, person("bob", Curve::P384)?],
            operator: person("carol", Curve::P384)?,
        })
    }
}

/// A person with a new key.
pub(super) fn person(name: &str, curve: Curve) -> Result<Person, CliError> {
    let id = OperatorId::new(name).map_err(CliError::Id)?;
    Ok(Person {
        id,
        key: SigningKey::generate(curve).map_err(CliError::Crypto)?,
    })
}

/// Makes an authority that admits simulators, with its approval keys in `tpm`.
pub(super) fn authority(folder: &Path, tpm: Tpm, persons: &Persons) -> Result<LocalAuthority, CliError> {
    let [first, second] = &persons.approvers;
    let vault = AuthorityVault::create(tpm, &first.key.verifying_key(), &second.key.verifying_key())?;
    let config = AuthorityConfig {
        seal_file: folder.join("custody.key"),
        curve: Curve::P384,
        ceiling: Level::TopSecret,
        admit_simulators: true,
        require_revocation_lists: false,
        pcrs: PcrMap::DEFAULT,
        fleet: FleetId::new("demonstration").map_err(CliError::Id)?,
    };
    let mut authority = Authority::create(&folder.join("authority"), config)?;
    authority.pin_vault(&vault.names())?;
    let people = [
        (first, Role::Approver),
        (second, Role::Approver),
        (&persons.operator, Role::Operator),
    ];
    for (person, role) in people {
        let known = Operator {
            id: person.id.clone(),
            key: person.key.verifying_key(),
            role,
            labels: Labels::new(Level::TopSecret, Integrity::MissionCritical),
        };
        authority.register_operator(known, now_ms())?;
    }
    Ok(LocalAuthority { authority, vault })
}

/// A robot that booted with a log.
pub(super) struct DemoRobot {
    /// The robot at work.
    pub(super) robot: Robot,
    /// Its boot log.
    pub(super) logs: PlatformLogs,
}

/// What a robot of the tour is to be.
pub(super) struct Plan<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its boot log.
    pub(super) log: &'a BootedLog,
    /// The curve of its keys.
    pub(super) curve: Curve,
    /// The levels it serves.
    pub(super) levels: Vec<Level>,
}

impl Plan<'_> {
    /// Writes a simulator's certificate into the TPM and lets the authority know its root.
    pub(super) fn certify(&self, tpm: &Tpm, authority: &LocalAuthority) -> Result<(), CliError> {
        let root = simulator::certify(tpm, self.curve)?;
        let path = authority
            .authority
            .path()
            .join(SIMULATOR_ROOTS)
            .join(format!("{}.pem", self.name));
        crate::commands::files::write_private(&path, root.as_bytes())
    }

    /// Boots the TPM with the log.
    pub(super) fn boot(&self, tpm: &Tpm) -> Result<usize, CliError> {
        boot::boot(tpm, &self.log.parsed()?)
    }

    /// Provisions and enrols the robot, and gives the authority its reference values.
    pub(super) fn provision(
        &self,
        tpm: &Tpm,
        folder: &Path,
        authority: &mut LocalAuthority,
    ) -> Result<DemoRobot, CliError> {
        let id = RobotId::new(self.name).map_err(CliError::Id)?;
        let state = Arc::new(StateFolder::open(folder)?);
        let request = ProvisionRequest {
            robot: id.clone(),
            curve: self.curve,
            levels: self.levels.clone(),
            inventory: Inventory::new(),
            certificate_chain: Vec::new(),
            platform: None,
            authority: authority.authority.verifying_key(),
        };
        authority.provision(tpm, &state, &request)?;
        let references = ReferenceValues::golden(&self.log.parsed()?, self.curve.hash());
        authority
            .authority
            .set_reference(&id, &references.map_err(CliError::Golden)?, now_ms())?;
        let robot = Robot::open(tpm.clone(), state, Vec::new())?;
        Ok(DemoRobot {
            robot,
            logs: PlatformLogs::uefi(LogSource::Bytes(self.log.bytes.clone())),
        })
    }
}

impl DemoRobot {
    /// Asks for evidence and judges it.
    pub(super) fn attest(&self, authority: &mut LocalAuthority) -> Result<Appraised, CliError> {
        authority.attest(&self.robot, &self.logs)
    }
}

/// Opens a throwaway TPM for another robot of the tour, of which the commands are not counted.
pub(super) fn uncounted_tpm() -> Result<Tpm, CliError> {
    tpm_access::start(&alcub3_tpm::TpmSpec::Swtpm(None))
}
