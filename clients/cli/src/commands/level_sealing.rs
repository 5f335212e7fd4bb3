//! `seal --level` and `unseal`: data of a level, which opens on this robot alone and only while the level is armed.

use super::files;
use crate::args::Context;
use crate::clock::now_ms;
use crate::error::CliError;
use crate::output::Answer;
use crate::parties;
use alcub3_agent::Robot;
use alcub3_crypto::Secret;
use alcub3_keys::KeysError;
use alcub3_tpm::ops::Sealed;
use alcub3_trust_model::Level;
use alcub3_trust_model::canonical::{DecodeError, Encoder, Reader};
use serde_json::json;
use std::path::PathBuf;

/// The most data sealed from the command line.
const LIMIT: u64 = 64 * 1024 * 1024;
const DOMAIN: &str = "alcub3/level-sealed-file/v1";
const VERSION: u64 = 1;

/// Arguments of `seal`.
#[derive(Debug, clap::Args)]
pub(crate) struct Seal {
    /// The data, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The level under whose key it is sealed; the robot must be armed for it
    #[arg(long, value_name = "LEVEL")]
    level: Level,
    /// Where the sealed data goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Arguments of `unseal`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unseal {
    /// The sealed data
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Refuse data of another level
    #[arg(long, value_name = "LEVEL")]
    level: Option<Level>,
    /// Where the data goes; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Seals a file under a level.
pub(crate) fn seal(arguments: &Seal, context: &Context) -> Result<Answer, CliError> {
    let data = Secret::from_vec(files::read(&arguments.file, "data to seal", LIMIT)?);
    let (level, bytes) = (arguments.level, data.len());
    let sealed = parties::with_robot(context, |robot, _| {
        armed(robot, level)?;
        Ok(robot.seal(level, data, now_ms())?)
    })?;
    files::write_private(&arguments.out, &to_file(level, &sealed))?;
    let json = json!({"sealed": arguments.out, "bytes": bytes, "level": level});
    let text = format!("{bytes} bytes sealed under {level}: {}", arguments.out.display());
    Ok(Answer::done(json, text))
}

/// Recovers a file that was sealed under a level.
pub(crate) fn unseal(arguments: &Unseal, context: &Context) -> Result<Answer, CliError> {
    let file = files::read(&arguments.file, "sealed data", 2 * LIMIT)?;
    let bad = |source| CliError::SealedFile {
        path: arguments.file.clone(),
        source,
    };
    let (level, sealed) = from_file(&file).map_err(bad)?;
    if let Some(wanted) = arguments.level.filter(|wanted| *wanted != level) {
        let reason = format!("the data is of {level}, not of {wanted}");
        let json = json!({"unsealed": false, "code": "level", "reason": reason});
        return Ok(Answer::verdict(false, json, reason));
    }
    let sealed = Sealed::from_bytes(sealed).map_err(CliError::Tpm)?;
    let data = parties::with_robot(context, |robot, _| {
        armed(robot, level)?;
        Ok(robot.unseal(level, sealed, now_ms())?)
    })?;
    if let Some(out) = &arguments.out {
        files::write_private(out, data.expose())?;
        let json = json!({"unsealed": out, "bytes": data.len(), "level": level});
        return Ok(Answer::done(
            json,
            format!("{} bytes of {level} unsealed: {}", data.len(), out.display()),
        ));
    }
    let json = json!({"bytes": data.len(), "level": level, "hex": hex::encode(data.expose())});
    Ok(Answer::bytes(json, data.expose().to_vec()))
}

/// Says what the chip would refuse without saying why.
fn armed(robot: &Robot, level: Level) -> Result<(), CliError> {
    robot.keys().parent(level)?;
    if robot.is_stopped() || robot.is_level_stopped(level) {
        return Err(KeysError::Stopped.into());
    }
    Ok(())
}

fn to_file(level: Level, sealed: &Sealed) -> Vec<u8> {
    let mut out = Encoder::structure(DOMAIN, VERSION, 2);
    out.u64(2).u64(level.id().into()).u64(3).bytes(&sealed.to_bytes());
    out.finish()
}

fn from_file(bytes: &[u8]) -> Result<(Level, &[u8]), DecodeError> {
    let mut reader = Reader::new(DOMAIN, bytes);
    let r = &mut reader;
    let mut fields = r.structure(DOMAIN, VERSION)?;
    fields.key(r, 2, "level")?;
    let level = r.id_of("level", Level::from_id)?;
    fields.key(r, 3, "sealed")?;
    let sealed = r.bytes("sealed")?;
    fields.finish(r)?;
    r.finish()?;
    Ok((level, sealed))
}
