//! `key`: the robot's managed keys, each for one purpose, from their making to their end.

mod backup;
mod recover;

pub(super) use backup::read_destination;

use super::files;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::{Answer, pairs, table};
use crate::parties;
use alcub3_agent::{AgentError, Robot};
use alcub3_crypto::tpm::Signature;
use alcub3_keys::{KeyPlan, KeysError, Swept};
use alcub3_trust_model::managed_key::{
    Due, Encrypted, KeyKind, KeyPurpose, KeyRecord, Transition, purpose_profile,
};
use alcub3_trust_model::{KeyId, KeyLabel, Level};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::str::FromStr;

/// Longest file that is signed or encrypted, in bytes.
const MAX_FILE: u64 = 32 << 20;
/// Longest signature or tag, in bytes.
const MAX_SIGNATURE: u64 = 1024;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyGroup {
    #[command(flatten)]
    Managed(KeyCommand),
    /// Keys that can be brought back on another TPM: make, list, duplicate, and the holders of shares
    #[command(subcommand)]
    Backup(backup::BackupCommand),
    /// Bring a lost robot's keys back
    #[command(subcommand)]
    Recover(recover::RecoverCommand),
}

/// The commands on managed keys.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum KeyCommand {
    /// All managed keys
    List(List),
    /// Make a key for a purpose
    Create(Create),
    /// One key
    Show(Named),
    /// Make a key's successor; the old one only processes what it protected, until its overlap ends
    Rotate(Named),
    /// Begin a pending key's use now
    Activate(Named),
    /// Put a key aside
    Suspend(Named),
    /// Take a suspended key up again
    Resume(Named),
    /// Withdraw a key for good: the chip does not use it again
    Revoke(Named),
    /// Destroy a key: the chip does not use it again and its blob is removed
    Destroy(Named),
    /// Do what is due by the TPM's clock: begin, rotate, expire and destroy keys
    Sweep,
    /// Sign a file, or make a tag over it
    Sign(Write),
    /// Check a signature or a tag over a file
    Verify(Verify),
    /// Encrypt a file
    Encrypt(Write),
    /// Decrypt a file that was encrypted for one of this robot's keys
    Decrypt(Decrypt),
    /// Give all managed keys up and begin with an empty store: the way out of a store that is refused
    StartOver(StartOver),
}

/// Arguments of `key list`.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Also those that are revoked or destroyed
    #[arg(long)]
    all: bool,
}

/// A key by its identifier or its label.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// The key: its identifier, or its label where one key with it protects
    #[arg(value_name = "KEY")]
    key: KeyName,
}

/// Arguments of `key create`.
#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// What it is called [default: its purpose]
    #[arg(long, value_name = "LABEL")]
    label: Option<KeyLabel>,
    /// identity, sensor-signing, command-validation, data-encryption, communication or recovery
    #[arg(long)]
    purpose: KeyPurpose,
    /// Its level
    #[arg(long)]
    level: Level,
    /// When its use begins, in seconds from now on the TPM's clock
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=31_536_000))]
    activate_in_s: u64,
}

/// Arguments of `key sign` and `key encrypt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Write {
    #[command(flatten)]
    key: Named,
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the result goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `key verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    key: Named,
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The signature or tag
    #[arg(value_name = "SIGNATURE")]
    signature: PathBuf,
}

/// Arguments of `key decrypt`.
#[derive(Debug, clap::Args)]
pub(crate) struct Decrypt {
    /// The encrypted file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the plain text goes, for its owner alone
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `key start-over`.
#[derive(Debug, clap::Args)]
pub(crate) struct StartOver {
    /// Yes: no managed key works again, and what was encrypted with one stays encrypted
    #[arg(long, required = true)]
    give_up_all_keys: bool,
}

/// What people call a key by.
#[derive(Clone, Debug)]
enum KeyName {
    Id(KeyId),
    Label(KeyLabel),
}

impl FromStr for KeyName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let id = text.parse().map(Self::Id);
        id.or_else(|_| KeyLabel::new(text).map(Self::Label))
            .map_err(|error| error.to_string())
    }
}

impl Named {
    /// The key: by its identifier, or the one of this label that protects.
    fn find(&self, robot: &Robot) -> Result<KeyId, CliError> {
        let label = match &self.key {
            KeyName::Id(id) => return Ok(*id),
            KeyName::Label(label) => label,
        };
        let keys = robot.list_keys(now_ms())?;
        let found = keys
            .iter()
            .find(|key| key.label == *label && key.state.lives() && key.protects);
        // A name that nothing has is looked for as an identifier that nothing has.
        let unknown = KeysError::NoSuchManagedKey {
            id: KeyId::new([0; 16]),
        };
        Ok(found.map(|key| key.id).ok_or(unknown)?)
    }
}

/// Runs the command.
pub(crate) fn run(command: &KeyGroup, context: &Context) -> Result<Answer, CliError> {
    match command {
        KeyGroup::Managed(command) => managed(command, context),
        KeyGroup::Backup(command) => backup::run(command, context),
        KeyGroup::Recover(command) => recover::run(command, context),
    }
}

fn managed(command: &KeyCommand, context: &Context) -> Result<Answer, CliError> {
    parties::with_robot(context, |robot, _| match do_it(command, robot, context) {
        Err(error) => refused(error, context),
        done => done,
    })
}

/// A verdict is an answer; only a failure is an error.
fn refused(error: CliError, context: &Context) -> Result<Answer, CliError> {
    let (CliError::Keys(of_keys) | CliError::Agent(AgentError::Keys(of_keys))) = &error else {
        return Err(error);
    };
    let Some(code) = of_keys.refusal() else {
        return Err(error);
    };
    let text = format!("{}: {of_keys} ({code})", context.style().bad("refused"));
    let json = json!({"refused": true, "reasons": [code], "message": of_keys.to_string()});
    Ok(Answer::verdict(false, json, text))
}

fn do_it(command: &KeyCommand, robot: &Robot, context: &Context) -> Result<Answer, CliError> {
    let change = |named: &Named, transition| -> Result<Answer, CliError> {
        let changed = robot.change_key(named.find(robot)?, transition, now_ms())?;
        Ok(show(&changed))
    };
    match command {
        KeyCommand::List(arguments) => list(robot, arguments),
        KeyCommand::Create(arguments) => Ok(show(&robot.create_key(&plan(arguments)?, now_ms())?)),
        KeyCommand::Show(named) => Ok(show(&robot.show_key(named.find(robot)?, now_ms())?)),
        KeyCommand::Rotate(named) => Ok(show(&robot.rotate_key(named.find(robot)?, now_ms())?)),
        KeyCommand::Activate(named) => change(named, Transition::Activate),
        KeyCommand::Suspend(named) => change(named, Transition::Suspend),
        KeyCommand::Resume(named) => change(named, Transition::Resume),
        KeyCommand::Revoke(named) => change(named, Transition::Revoke),
        KeyCommand::Destroy(named) => change(named, Transition::Destroy),
        KeyCommand::Sweep => sweep(robot),
        KeyCommand::Sign(arguments) => sign(robot, arguments),
        KeyCommand::Verify(arguments) => verify(robot, arguments, context),
        KeyCommand::Encrypt(arguments) => encrypt(robot, arguments),
        KeyCommand::Decrypt(arguments) => decrypt(robot, arguments),
        KeyCommand::StartOver(_) => {
            robot.start_keys_over(now_ms())?;
            Ok(Answer::done(
                json!({"started_over": true}),
                "all managed keys are given up; the key store is empty",
            ))
        }
    }
}

fn plan(arguments: &Create) -> Result<KeyPlan, CliError> {
    let label = match &arguments.label {
        Some(label) => label.clone(),
        None => KeyLabel::new(arguments.purpose.name()).map_err(CliError::Id)?,
    };
    Ok(KeyPlan {
        label,
        purpose: arguments.purpose,
        level: arguments.level,
        activates_in_ms: arguments.activate_in_s.saturating_mul(1_000),
    })
}

fn to_json(key: &KeyRecord) -> Value {
    let profile = purpose_profile(key.purpose);
    json!({
        "key": key.id, "label": key.label, "purpose": key.purpose.name(), "level": key.level,
        "state": key.state.name(), "protects": key.protects, "survives_stop": profile.survives_stop,
        "made_ms": key.made.utc_ms, "activates_clock_ms": key.activates_clock_ms,
        "protects_until_ms": key.protects_until.utc_ms, "processes_until_ms": key.processes_until.utc_ms,
        "end_clock_ms": key.end_clock_ms, "anchor": key.anchor.number(), "successor": key.successor,
        "ended": key.ended.map(alcub3_trust_model::managed_key::EndCause::name),
        "name": key.public.name().to_hex(),
    })
}

/// How long until a moment of the wall clock.
fn left(until_ms: u64) -> String {
    match until_ms.checked_sub(now_ms()) {
        Some(left_ms) if left_ms >= 86_400_000 => format!("{} days", left_ms / 86_400_000),
        Some(left_ms) => format!("{} s", left_ms / 1_000),
        None => "over".to_owned(),
    }
}

fn list(robot: &Robot, arguments: &List) -> Result<Answer, CliError> {
    let mut keys = robot.list_keys(now_ms())?;
    keys.retain(|key| arguments.all || key.state.lives());
    keys.sort_by_key(|key| key.made.utc_ms);
    let rows = keys.iter().map(|key| {
        [
            key.id.to_string(),
            key.label.to_string(),
            key.purpose.to_string(),
            key.level.to_string(),
            key.state.to_string(),
            left(key.processes_until.utc_ms),
        ]
    });
    let text = if keys.is_empty() {
        "there is no managed key".to_owned()
    } else {
        table(["key", "label", "purpose", "level", "state", "ends in"], rows)
    };
    let keys: Vec<Value> = keys.iter().map(to_json).collect();
    Ok(Answer::done(json!({"keys": keys}), text))
}

fn show(key: &KeyRecord) -> Answer {
    let profile = purpose_profile(key.purpose);
    let mut rows = vec![
        ("key", key.id.to_string()),
        ("label", key.label.to_string()),
        ("purpose", key.purpose.to_string()),
        ("level", key.level.to_string()),
        ("state", key.state.to_string()),
    ];
    if key.state.lives() {
        let protects = if key.protects {
            left(key.protects_until.utc_ms)
        } else {
            "over".to_owned()
        };
        rows.push(("protects for", protects));
        rows.push(("processes for", left(key.processes_until.utc_ms)));
        let stop = if profile.survives_stop { "survives" } else { "dies" };
        rows.push(("on a stop", stop.to_owned()));
    }
    if let Some(successor) = key.successor {
        rows.push(("successor", successor.to_string()));
    }
    if let Some(ended) = key.ended {
        rows.push(("ended", ended.name().to_owned()));
    }
    Answer::done(to_json(key), pairs(rows))
}

const fn due_name(due: Due) -> &'static str {
    match due {
        Due::Activate => "activated",
        Due::Rotate => "rotated",
        Due::Expire => "expired",
        Due::Destroy => "destroyed",
    }
}

fn sweep(robot: &Robot) -> Result<Answer, CliError> {
    let swept = robot.sweep_keys(Some(now_ms()))?;
    let failed = |one: &Swept| {
        one.outcome
            .as_ref()
            .err()
            .map(|error| error.refusal().unwrap_or("failed"))
    };
    let json: Vec<Value> = swept
        .iter()
        .map(|one| {
            let successor = one.outcome.as_ref().ok().copied().flatten();
            json!({"key": one.id, "due": due_name(one.due), "successor": successor, "reason": failed(one)})
        })
        .collect();
    let rows = swept.iter().map(|one| {
        [
            one.id.to_string(),
            due_name(one.due).to_owned(),
            failed(one).unwrap_or("done").to_owned(),
        ]
    });
    let text = if swept.is_empty() {
        "nothing is due".to_owned()
    } else {
        table(["key", "due", "outcome"], rows)
    };
    let all_done = swept.iter().all(|one| one.outcome.is_ok());
    Ok(Answer::verdict(all_done, json!({"swept": json}), text))
}

fn sign(robot: &Robot, arguments: &Write) -> Result<Answer, CliError> {
    let message = files::read(&arguments.file, "a file to sign", MAX_FILE)?;
    let id = arguments.key.find(robot)?;
    let kind = purpose_profile(robot.show_key(id, now_ms())?.purpose).kind;
    let (what, bytes) = if kind == KeyKind::Keyed {
        ("tag", robot.tag_with_key(id, &message, now_ms())?)
    } else {
        let digest = robot.keys().hash().digest(&[&message]);
        ("signature", robot.sign_with_key(id, digest, now_ms())?.to_tpmt())
    };
    files::write_private(&arguments.out, &bytes)?;
    Ok(written(id, what, arguments))
}

fn written(id: KeyId, what: &str, arguments: &Write) -> Answer {
    Answer::done(
        json!({"key": id, "out": arguments.out, "made": what}),
        format!("{what} by {id}: {}", arguments.out.display()),
    )
}

fn verify(robot: &Robot, arguments: &Verify, context: &Context) -> Result<Answer, CliError> {
    let message = files::read(&arguments.file, "a signed file", MAX_FILE)?;
    let signature = files::read(&arguments.signature, "a signature", MAX_SIGNATURE)?;
    let id = arguments.key.find(robot)?;
    let record = robot.show_key(id, now_ms())?;
    let genuine = if purpose_profile(record.purpose).kind == KeyKind::Signing {
        is_signed(&record, &message, &signature)?
    } else {
        robot.check_key_tag(id, &message, &signature, now_ms())?
    };
    let word = if genuine {
        context.style().good("genuine")
    } else {
        context.style().bad("not genuine")
    };
    let json = json!({"key": id, "genuine": genuine, "state": record.state.name()});
    Ok(Answer::verdict(genuine, json, format!("{word}, by {id}")))
}

/// With the public key alone: a signature stays what it is after its key has ended.
fn is_signed(record: &KeyRecord, message: &[u8], signature: &[u8]) -> Result<bool, CliError> {
    let public = record.public.verifying_key().map_err(CliError::Crypto)?;
    let signature = Signature::from_tpmt_signature(signature);
    Ok(signature.is_ok_and(|signature| signature.verify(&public, message).is_ok()))
}

fn encrypt(robot: &Robot, arguments: &Write) -> Result<Answer, CliError> {
    let plain = files::read(&arguments.file, "a file to encrypt", MAX_FILE)?;
    let id = arguments.key.find(robot)?;
    let message = robot.encrypt_with_key(id, &plain, now_ms())?;
    files::write_private(&arguments.out, &message.to_canonical())?;
    Ok(written(id, "ciphertext", arguments))
}

fn decrypt(robot: &Robot, arguments: &Decrypt) -> Result<Answer, CliError> {
    let bytes = files::read(&arguments.file, "an encrypted file", MAX_FILE.saturating_mul(2))?;
    let message = Encrypted::from_canonical(&bytes).map_err(|source| CliError::Message { source })?;
    let plain = robot.decrypt_with_key(&message, now_ms())?;
    files::write_private(&arguments.out, plain.expose())?;
    Ok(Answer::done(
        json!({"key": message.key, "out": arguments.out}),
        format!("decrypted with {}: {}", message.key, arguments.out.display()),
    ))
}
