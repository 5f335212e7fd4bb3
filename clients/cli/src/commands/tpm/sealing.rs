//! `tpm seal` and `tpm unseal`.

use super::selection::Selection;
use crate::args::Context;
use crate::commands::files;
use crate::error::CliError;
use crate::output::Answer;
use crate::sealed_file::{PcrLock, SealedFile};
use crate::tpm_access;
use alcub3_crypto::tpm::PublicTemplate;
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_tpm::ops::{Hierarchy, Key, PolicyInputs, Sealed};
use alcub3_tpm::{Auth, Chip, ResponseCode, TpmError};
use alcub3_trust_model::handle_map;
use serde_json::json;
use std::path::PathBuf;

/// The most data sealed from the command line.
const LIMIT: u64 = 64 * 1024 * 1024;
/// What the chip's refusals of a wrong state of its PCRs are.
const PCR_REFUSALS: [ResponseCode; 3] = [
    ResponseCode::VALUE,
    ResponseCode::POLICY_FAIL,
    ResponseCode::PCR_CHANGED,
];

/// Arguments of `tpm seal`.
#[derive(Debug, clap::Args)]
pub(crate) struct Seal {
    /// The data, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the sealed data goes
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Unseal only while these PCRs have the values they have now, as in sha256:0,7
    #[arg(long, value_name = "SELECTION")]
    pcrs: Option<Selection>,
}

/// Arguments of `tpm unseal`.
#[derive(Debug, clap::Args)]
pub(crate) struct Unseal {
    /// The sealed data
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the data goes; without it, to standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Seals a file.
pub(crate) fn seal(arguments: &Seal, context: &Context) -> Result<Answer, CliError> {
    let data = Secret::from_vec(files::read(&arguments.file, "data to seal", LIMIT)?);
    let tpm = tpm_access::open(context.tpm_spec())?;
    let (pcrs, bytes) = (arguments.pcrs.clone(), data.len());
    let sealed = tpm_access::run(&tpm, move |chip| {
        let lock = pcrs
            .map(|Selection(banks)| PcrLock::now(chip, banks))
            .transpose()?;
        let policy = lock
            .as_ref()
            .map(PcrLock::policy)
            .transpose()?
            .map(|policy| policy.digest());
        let parent = parent(chip)?;
        let sealed = chip.seal(&parent, Auth::Empty, policy.as_ref(), data.expose())?;
        Ok(SealedFile {
            lock,
            sealed: sealed.to_bytes(),
        })
    })?;
    files::write_private(&arguments.out, &sealed.to_canonical())?;
    let pcrs = arguments.pcrs.as_ref().map(Selection::to_string);
    let bound = pcrs.as_deref().map_or_else(
        || "this chip".to_owned(),
        |pcrs| format!("this chip and {pcrs} as now"),
    );
    let json = json!({"sealed": arguments.out, "bytes": bytes, "pcrs": pcrs});
    Ok(Answer::done(
        json,
        format!("{bytes} bytes sealed to {bound}: {}", arguments.out.display()),
    ))
}

/// Recovers a file.
pub(crate) fn unseal(arguments: &Unseal, context: &Context) -> Result<Answer, CliError> {
    let file = files::read(&arguments.file, "sealed data", 2 * LIMIT)?;
    let bad = |source| CliError::SealedFile {
        path: arguments.file.clone(),
        source,
    };
    let SealedFile { lock, sealed } = SealedFile::from_canonical(&file).map_err(bad)?;
    let locked = lock.is_some();
    let sealed = Sealed::from_bytes(&sealed).map_err(CliError::Tpm)?;
    let tpm = tpm_access::open(context.tpm_spec())?;
    let opened = tpm_access::run(&tpm, move |chip| {
        let parent = parent(chip)?;
        let Some(lock) = lock else {
            return chip.unseal(&parent, Auth::Empty, Auth::Empty, &sealed);
        };
        let policy = lock.policy()?;
        chip.with_policy(&policy, &PolicyInputs::new(), |chip, session| {
            chip.unseal(&parent, Auth::Empty, Auth::Policy(session), &sealed)
        })
    });
    match opened {
        Ok(data) => give(&data, arguments.out.as_ref()),
        Err(CliError::Tpm(error)) if locked && PCR_REFUSALS.iter().any(|code| error.is_refusal(*code)) => {
            Ok(refused(&error, context))
        }
        Err(error) => Err(error),
    }
}

fn give(data: &Secret, out: Option<&PathBuf>) -> Result<Answer, CliError> {
    if let Some(out) = out {
        files::write_private(out, data.expose())?;
        let json = json!({"unsealed": out, "bytes": data.len()});
        return Ok(Answer::done(
            json,
            format!("{} bytes unsealed: {}", data.len(), out.display()),
        ));
    }
    let json = json!({"bytes": data.len(), "hex": hex::encode(data.expose())});
    Ok(Answer::bytes(json, data.expose().to_vec()))
}

fn refused(error: &TpmError, context: &Context) -> Answer {
    let reason = "the PCRs do not have the values the data was sealed to";
    let json = json!({"unsealed": false, "code": "pcrs", "reason": reason, "tpm": error.to_string()});
    Answer::verdict(
        false,
        json,
        format!("{}: {reason}\n  {error}", context.style().bad("the TPM refused")),
    )
}

/// The robot's storage root; on a chip that is not provisioned, the same kind of primary key, made anew each time.
fn parent(chip: &mut Chip) -> alcub3_tpm::Result<Key> {
    if let Some(root) = chip.persistent_key(handle_map::STORAGE_ROOT)? {
        return Ok(root.into());
    }
    let template = PublicTemplate::storage_parent(Curve::P256);
    let primary = chip.create_primary(Hierarchy::Owner, Auth::Empty, template.as_tpmt_bytes(), None, &[])?;
    Ok(primary.object.into())
}

impl PcrLock {
    fn now(chip: &mut Chip, banks: Vec<(HashAlg, u32)>) -> alcub3_tpm::Result<Self> {
        let digest = chip.pcr_digest(HashAlg::Sha256, &banks)?;
        Ok(Self { banks, digest })
    }
}
