//! `policy`: what each level asks for and who may command what, as the fleet's authority makes it stricter; and the check of
//! every policy file there is.

use super::{appraisal_policy, command_policy, files};
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, table};
use crate::parties::{self, AuthorityArgs, NamedFile};
use alcub3_crypto::Suite;
use alcub3_trust_model::{HardwareTier, Level, LevelProfile, LevelProfiles};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the profiles in force at the authority, as TOML to start a policy from
    Show(AuthorityArgs),
    /// Check a policy before it is used, and say what it asks: a level policy, an appraisal policy, a command policy, or a signed
    /// policy bundle or command policy
    Check(Check),
    /// Say what a command policy would have changed, before it is adopted
    Try(command_policy::Try),
    /// Have the authority sign a level policy and follow it, or a command policy that two persons approve
    Sign(Sign),
    /// Give this robot a signed policy; it is in force from the next command on
    Install(Install),
}

/// Arguments of `policy check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Check {
    /// The policy as TOML, or a signed bundle
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The public key, PEM, of the authority that a bundle must be of (`authority show --key`)
    #[arg(long, value_name = "KEY")]
    authority: Option<PathBuf>,
    /// The highest version known of what is signed: one that is not above it is refused
    #[arg(long, value_name = "VERSION", requires = "authority")]
    newest: Option<u64>,
}

/// Arguments of `policy sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Sign {
    /// The policy, as TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the signed policy goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// An approver with their private key, as NAME=FILE: for a command policy, two different persons
    #[arg(long, value_name = "NAME=FILE")]
    approve: Vec<NamedFile>,
    #[command(flatten)]
    authority: AuthorityArgs,
}

/// Arguments of `policy install`.
#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    /// The signed policy
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A policy as people write it: the levels that differ from the built-in profile, and of them the fields that differ.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    level: Vec<Row>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: Level,
    suite: Option<String>,
    max_mission_ms: Option<u64>,
    attestation_freshness_ms: Option<u64>,
    lease_ms: Option<u64>,
    persons: Option<u8>,
    allowed_resets: Option<u32>,
    min_tier: Option<HardwareTier>,
    boot_pcrs: Option<bool>,
}

/// Why a policy file is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyFileError {
    /// It is not the TOML that is expected.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// It is not text.
    #[error("it is not UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
    /// A level twice.
    #[error("{0} appears twice")]
    Twice(Level),
    /// A suite that is not known.
    #[error("{0:?} is no suite: use P-256 or P-384")]
    Suite(String),
    /// Out of its bounds.
    #[error(transparent)]
    Bounds(#[from] alcub3_trust_model::ProfileError),
}

/// Runs the command.
pub(crate) fn run(command: &PolicyCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        PolicyCommand::Show(authority) => show(authority),
        PolicyCommand::Check(arguments) => check(arguments),
        PolicyCommand::Try(arguments) => command_policy::attempt(arguments),
        PolicyCommand::Sign(arguments) => sign(arguments),
        PolicyCommand::Install(arguments) => install(arguments, context),
    }
}

fn check(arguments: &Check) -> Result<Answer, CliError> {
    let most = appraisal_policy::longest().max(command_policy::longest());
    let bytes = files::read(&arguments.file, "a policy", most)?;
    let is_signed = appraisal_policy::is_signed(&bytes);
    match &arguments.authority {
        Some(key) if command_policy::is_order(&bytes) => {
            command_policy::check_order(&bytes, key, arguments.newest)
        }
        Some(key) if is_signed => appraisal_policy::check_bundle(&bytes, key, arguments.newest),
        None if is_signed => Err(CliError::Usage {
            message: "it is signed: name the authority's public key with --authority KEY".to_owned(),
        }),
        Some(_) => Err(CliError::Usage {
            message: "it is not signed: --authority and --newest are for what is".to_owned(),
        }),
        None if command_policy::is_one(&bytes) => {
            command_policy::of_bytes(&bytes, &arguments.file).map(|policy| command_policy::explained(&policy))
        }
        None if appraisal_policy::is_one(&bytes) => {
            let policy = appraisal_policy::of_bytes(&bytes, &arguments.file)?;
            let (json, text) = appraisal_policy::explained(&policy);
            Ok(Answer::done(json, text))
        }
        None => {
            let profiles = of_bytes(bytes, &arguments.file)?;
            Ok(Answer::done(to_json(&profiles), text(&profiles)))
        }
    }
}

fn show(authority: &AuthorityArgs) -> Result<Answer, CliError> {
    let authority = authority.open_records()?;
    let profiles = authority.profiles();
    let mut json = to_json(&profiles);
    let version = authority.level_policy().map(|policy| policy.policy().version);
    if let Some(fields) = json.as_object_mut() {
        fields.insert("version".into(), json!(version));
    }
    Ok(Answer::done(json, to_toml(&profiles)))
}

fn sign(arguments: &Sign) -> Result<Answer, CliError> {
    let bytes = files::read(&arguments.file, "a policy", command_policy::longest())?;
    if command_policy::is_one(&bytes) {
        let policy = command_policy::of_bytes(&bytes, &arguments.file)?;
        return command_policy::sign(policy, &arguments.out, &arguments.approve, &arguments.authority);
    }
    if !arguments.approve.is_empty() {
        return Err(CliError::Usage {
            message: "--approve is for a command policy, which begins with kind = \"command-policy\""
                .to_owned(),
        });
    }
    let profiles = of_bytes(bytes, &arguments.file)?;
    let mut authority = arguments.authority.open_records()?;
    let signed = authority.issue_level_policy(profiles, now_ms())?;
    files::write_private(&arguments.out, &signed)?;
    let version = authority.level_policy().map(|policy| policy.policy().version);
    let json = json!({"version": version, "out": arguments.out});
    let text = format!(
        "version {} is in force at the authority; install it on each robot: {}",
        version.unwrap_or_default(),
        arguments.out.display()
    );
    Ok(Answer::done(json, text))
}

fn install(arguments: &Install, context: &Context) -> Result<Answer, CliError> {
    let signed = files::read(&arguments.file, "a signed policy", command_policy::longest())?;
    if command_policy::is_order(&signed) {
        return command_policy::install(&signed, context);
    }
    let policy = parties::with_robot(
        context,
        |robot, _| Ok(robot.take_level_policy(&signed, now_ms())?),
    )?;
    let version = policy.policy().version;
    Ok(Answer::done(
        json!({"version": version}),
        format!("version {version} is in force on this robot from the next command on"),
    ))
}

fn of_bytes(bytes: Vec<u8>, path: &Path) -> Result<LevelProfiles, CliError> {
    parse(bytes).map_err(|source| CliError::PolicyFile {
        path: path.into(),
        source: Box::new(source),
    })
}

fn parse(bytes: Vec<u8>) -> Result<LevelProfiles, PolicyFileError> {
    let document: Document = toml::from_str(&String::from_utf8(bytes)?)?;
    let mut rows = *LevelProfiles::builtin().rows();
    for (at, given) in document.level.iter().enumerate() {
        if document
            .level
            .iter()
            .skip(at + 1)
            .any(|other| other.name == given.name)
        {
            return Err(PolicyFileError::Twice(given.name));
        }
        for row in rows.iter_mut().filter(|row| row.level == given.name) {
            *row = given.over(row)?;
        }
    }
    Ok(LevelProfiles::tightened(rows)?)
}

impl Row {
    fn over(&self, builtin: &LevelProfile) -> Result<LevelProfile, PolicyFileError> {
        let suite_floor = match self.suite.as_deref() {
            None => builtin.suite_floor,
            Some("P-256") => Suite::EcdsaP256Sha256,
            Some("P-384") => Suite::EcdsaP384Sha384,
            Some(other) => return Err(PolicyFileError::Suite(other.to_owned())),
        };
        Ok(LevelProfile {
            level: builtin.level,
            suite_floor,
            max_mission_ms: self.max_mission_ms.unwrap_or(builtin.max_mission_ms),
            attestation_freshness_ms: self
                .attestation_freshness_ms
                .unwrap_or(builtin.attestation_freshness_ms),
            lease_ms: self.lease_ms.unwrap_or(builtin.lease_ms),
            persons: self.persons.unwrap_or(builtin.persons),
            allowed_resets: self.allowed_resets.unwrap_or(builtin.allowed_resets),
            min_tier: self.min_tier.unwrap_or(builtin.min_tier),
            boot_pcrs: self.boot_pcrs.unwrap_or(builtin.boot_pcrs),
        })
    }
}

fn suite(row: &LevelProfile) -> &'static str {
    if row.suite_floor == Suite::EcdsaP384Sha384 {
        "P-384"
    } else {
        "P-256"
    }
}

fn to_toml(profiles: &LevelProfiles) -> String {
    let rows = profiles.rows().iter().map(|row| {
        format!(
            "[[level]]\nname = \"{}\"\nsuite = \"{}\"\nmax_mission_ms = {}\nattestation_freshness_ms = {}\nlease_ms = {}\n\
             persons = {}\nallowed_resets = {}\nmin_tier = \"{}\"\nboot_pcrs = {}\n",
            row.level,
            suite(row),
            row.max_mission_ms,
            row.attestation_freshness_ms,
            row.lease_ms,
            row.persons,
            row.allowed_resets,
            row.min_tier.name(),
            row.boot_pcrs
        )
    });
    rows.collect::<Vec<_>>().join("\n")
}

fn to_json(profiles: &LevelProfiles) -> Value {
    let rows = profiles.rows().iter().map(|row| {
        json!({
            "name": row.level, "suite": suite(row), "max_mission_ms": row.max_mission_ms,
            "attestation_freshness_ms": row.attestation_freshness_ms, "lease_ms": row.lease_ms,
            "persons": row.persons, "allowed_resets": row.allowed_resets, "min_tier": row.min_tier,
            "boot_pcrs": row.boot_pcrs,
        })
    });
    json!({"level": rows.collect::<Vec<_>>()})
}

fn text(profiles: &LevelProfiles) -> String {
    let rows = profiles.rows().iter().map(|row| {
        [
            row.level.to_string(),
            suite(row).to_owned(),
            format!("{} s", row.max_mission_ms / 1_000),
            format!("{} s", row.lease_ms / 1_000),
            row.persons.to_string(),
            row.allowed_resets.to_string(),
            row.min_tier.name().to_owned(),
        ]
    });
    table(
        [
            "level",
            "suite",
            "longest mission",
            "lease",
            "persons",
            "resets",
            "TPM",
        ],
        rows,
    )
}
