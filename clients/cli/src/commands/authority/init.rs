//! `authority init`.

use crate::args::Context;
use crate::authority_vault::AuthorityVault;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties::{AuthorityArgs, NamedFile};
use crate::{key_file, tpm_access};
use alcub3_command_authority::Role;
use alcub3_crypto::{Curve, VerifyingKey};
use alcub3_server::{Authority, AuthorityConfig, Operator};
use alcub3_trust_model::pcr_map::PcrMap;
use alcub3_trust_model::{FleetId, Integrity, Labels, Level, OperatorId};
use serde_json::json;
use std::path::PathBuf;

/// Arguments of `authority init`.
#[derive(Debug, clap::Args)]
pub(crate) struct Init {
    #[command(flatten)]
    authority: AuthorityArgs,
    /// An approver and their public key, as NAME=FILE; exactly two
    #[arg(long, value_name = "NAME=FILE", required = true)]
    approver: Vec<NamedFile>,
    /// Where the key that seals the robots' authorisations goes; apart from the folder [default: beside it]
    #[arg(long, value_name = "FILE")]
    custody_key: Option<PathBuf>,
    /// The fleet's name, which its robots' certificates carry (the trust domain of their SPIFFE identifiers)
    #[arg(long, value_name = "NAME", default_value = "fleet")]
    fleet: FleetId,
    /// The highest level any robot is admitted to
    #[arg(long, value_name = "LEVEL", default_value = "TOP_SECRET")]
    ceiling: Level,
    /// Admit simulated TPMs: for tests and development; every result says so
    #[arg(long)]
    admit_simulators: bool,
    /// Refuse chips of whose certificate's issuers some revocation list is missing (see `authority crls`)
    #[arg(long)]
    require_crls: bool,
}

/// Makes the approval keys first: where the TPM refuses, no folder is left behind.
pub(crate) fn run(arguments: &Init, context: &Context) -> Result<Answer, CliError> {
    let [first, second] = approvers(&arguments.approver)?;
    let folder = std::path::absolute(arguments.authority.folder()?).map_err(CliError::Folder)?;
    let seal_file = match &arguments.custody_key {
        Some(path) => std::path::absolute(path).map_err(CliError::Folder)?,
        None => folder.with_extension("custody-key"),
    };
    let tpm = tpm_access::start(arguments.authority.tpm())?;
    let vault = AuthorityVault::create(tpm, &first.1, &second.1)?;
    let config = AuthorityConfig {
        seal_file: seal_file.clone(),
        curve: Curve::P384,
        ceiling: arguments.ceiling,
        admit_simulators: arguments.admit_simulators,
        require_revocation_lists: arguments.require_crls,
        pcrs: PcrMap::DEFAULT,
        fleet: arguments.fleet.clone(),
    };
    if let Err(error) = found(&folder, config, [first, second], &vault) {
        vault.remove();
        return Err(error);
    }
    let json = json!({
        "authority": folder, "custody_key": seal_file, "admit_simulators": arguments.admit_simulators,
        "ceiling": arguments.ceiling, "require_crls": arguments.require_crls,
    });
    let style = context.style();
    let mut text = format!("{}: {}\n", style.good("the authority is made"), folder.display());
    text.push_str(&format!(
        "custody key: {} (keep it apart from the folder and its backups)\n",
        seal_file.display()
    ));
    if arguments.admit_simulators {
        text.push_str(&format!(
            "{}\n",
            style.warn("simulated TPMs are admitted: for tests and development only")
        ));
    }
    Ok(Answer::done(json, text))
}

type Approver = (OperatorId, VerifyingKey);

fn approvers(files: &[NamedFile]) -> Result<[Approver; 2], CliError> {
    let [first, second] = files else {
        return Err(CliError::Approvers { given: files.len() });
    };
    let read = |file: &NamedFile| Ok::<_, CliError>((file.id.clone(), key_file::read_public(&file.path)?));
    let (first, second) = (read(first)?, read(second)?);
    if first.0 == second.0 || first.1.to_spki_der() == second.1.to_spki_der() {
        return Err(CliError::SameApprover);
    }
    Ok([first, second])
}

fn found(
    folder: &std::path::Path,
    config: AuthorityConfig,
    approvers: [Approver; 2],
    vault: &AuthorityVault,
) -> Result<(), CliError> {
    let mut authority = Authority::create(folder, config)?;
    authority.pin_vault(&vault.names())?;
    for (id, key) in approvers {
        let labels = Labels::new(Level::TopSecret, Integrity::SafetyCritical);
        let approver = Operator {
            id,
            key,
            role: Role::Approver,
            labels,
        };
        authority.register_operator(approver, now_ms())?;
    }
    Ok(())
}
