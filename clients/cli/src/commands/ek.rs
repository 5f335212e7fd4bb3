//! `ek verify`: is this endorsement certificate a vendor's? `ek show`: which has the chip?

use super::files;
use crate::args::Context;
use crate::error::{CliError, with_sources};
use crate::output::{Answer, pairs};
use crate::style::Style;
use crate::{key_file, tpm_access};
use alcub3_attestation::ek_certificate::device::{VerifiedDevice, verify_device};
use alcub3_attestation::ek_certificate::platform::{VerifiedPlatform, verify_platform};
use alcub3_attestation::ek_certificate::{self, EkError, RootKind, Roots, VerifiedEk};
use alcub3_crypto::Curve;
use alcub3_fleet_protocol::endorsement::pin_digest;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const LIMIT: u64 = 1024 * 1024;
const LISTS_LIMIT: u64 = 16 * 1024 * 1024;

/// The commands of the group.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum EkCommand {
    /// Check one endorsement certificate against vendors' roots
    Verify(Verify),
    /// Check the certificate of an initial attestation key (IAK): which machine its maker says the TPM is in
    Device(Verify),
    /// Check a platform certificate: who built the machine around the TPM of an endorsement certificate
    Platform(Platform),
    /// The endorsement key that the chip proves itself with, its SHA-256 for `authority endorsement pin`, and its certificates
    Show(Show),
}

/// Arguments of `ek show`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The curve of the robot's keys: of several certificates that of this curve is taken first
    #[arg(long, default_value = "p384", value_parser = super::authority::curve)]
    curve: Curve,
    /// Write the certificate there, DER
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Write the public key there, PEM
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
}

/// Arguments of `ek platform`.
#[derive(Debug, clap::Args)]
pub(crate) struct Platform {
    /// The platform certificate, an attribute certificate in DER
    #[arg(value_name = "FILE")]
    platform: PathBuf,
    /// Folder with the roots of platform manufacturers; PEM or DER
    #[arg(long, value_name = "DIR")]
    platform_roots: PathBuf,
    /// A certificate between the platform certificate and such a root, DER or PEM
    #[arg(long, value_name = "FILE")]
    issuer: Vec<PathBuf>,
    /// The endorsement certificate of the TPM, and what it is judged by
    #[command(flatten)]
    endorsement: Verify,
}

/// Arguments of `ek verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// The certificate: DER as the chip's NV holds it (filler after it is fine), or PEM
    #[arg(value_name = "CERT")]
    certificate: PathBuf,
    /// Folder with the roots, and intermediates to trust, of vendors; PEM or DER
    #[arg(long, value_name = "DIR", required_unless_present = "simulator_roots")]
    roots: Option<PathBuf>,
    /// Folder with the roots of simulators; what chains to these only is said to be a simulator's
    #[arg(long, value_name = "DIR")]
    simulator_roots: Option<PathBuf>,
    /// An intermediate certificate that came with it, DER or PEM
    #[arg(long, value_name = "FILE")]
    intermediate: Vec<PathBuf>,
    /// Folder with revocation lists (CRLs), PEM or DER; an issuer without one there is said not to have been checked
    #[arg(long, value_name = "DIR")]
    crls: Option<PathBuf>,
    /// Refuse the certificate where some issuer's revocation list is missing
    #[arg(long)]
    require_crls: bool,
}

/// Runs the command.
pub(crate) fn run(command: &EkCommand, context: &Context) -> Result<Answer, CliError> {
    match command {
        EkCommand::Verify(arguments) => verify(arguments, context),
        EkCommand::Device(arguments) => device(arguments, context),
        EkCommand::Platform(arguments) => platform(arguments, context),
        EkCommand::Show(arguments) => show(arguments, context),
    }
}

fn show(arguments: &Show, context: &Context) -> Result<Answer, CliError> {
    let tpm = tpm_access::open(context.tpm_spec())?;
    let shown = alcub3_keys::show_endorsement(&tpm, arguments.curve)?;
    let key = shown.key.verifying_key().map_err(CliError::Crypto)?;
    let hash = pin_digest(&key).to_hex();
    if let Some(path) = &arguments.public {
        files::write_private(path, key_file::public_pem(&key).as_bytes())?;
    }
    let has_certificate = !shown.certificate.is_empty();
    if let Some(path) = arguments.certificate.as_ref().filter(|_| has_certificate) {
        files::write_private(path, &shown.certificate)?;
    }
    let json = json!({
        "kind": shown.kind, "name": shown.key.name().to_hex(), "sha256": hash,
        "certificate": has_certificate.then(|| hex::encode(&shown.certificate)),
        "chain": shown.chain.iter().map(hex::encode).collect::<Vec<_>>(),
    });
    let certificate = if has_certificate {
        format!(
            "{} bytes, and {} above it",
            shown.certificate.len(),
            shown.chain.len()
        )
    } else {
        "none: the authority can only be told to pin the key (`authority endorsement pin`)".to_owned()
    };
    let text = pairs([
        ("key", shown.kind.to_owned()),
        ("Name", shown.key.name().to_hex()),
        ("SHA-256", hash),
        ("certificate", certificate),
    ]);
    Ok(Answer::done(json, text))
}

/// The endorsement certificate first: what names one that does not hold says nothing.
fn platform(arguments: &Platform, context: &Context) -> Result<Answer, CliError> {
    let (ek, loaded) = judged(&arguments.endorsement)?;
    let ek = match ek {
        Ok(ek) => ek,
        Err(error) => return Ok(fails(&with_sources(&error), &loaded, context.style())),
    };
    let mut makers = Loaded::default();
    makers.add_folder(RootKind::Production, &arguments.platform_roots)?;
    makers.take_lists_of(&arguments.endorsement)?;
    let issuers = read_certificates(&arguments.issuer)?;
    let issuers: Vec<&[u8]> = issuers.iter().map(Vec::as_slice).collect();
    let certificate = files::read(&arguments.platform, "a platform certificate", LIMIT)?;
    let style = context.style();
    match verify_platform(&certificate, &ek, &issuers, &makers.roots, now_s()) {
        Ok(platform) => Ok(is_in(&platform, &makers, ek.is_simulator(), style)),
        Err(error) => {
            let reason = with_sources(&error);
            let json = json!({"valid": false, "reason": reason, "roots": makers.count});
            let text = format!(
                "{}: {reason}\n",
                style.bad("the platform certificate does not hold")
            );
            Ok(Answer::verdict(false, json, text))
        }
    }
}

fn is_in(platform: &VerifiedPlatform, makers: &Loaded, is_simulator: bool, style: Style) -> Answer {
    let of = |text: Option<&str>| text.unwrap_or("not stated").to_owned();
    let json = json!({
        "valid": true, "manufacturer": platform.manufacturer(), "model": platform.model(), "version": platform.version(),
        "serial": platform.serial(), "simulator": is_simulator, "roots": makers.count, "crls": makers.lists,
        "revocation_unchecked": platform.unlisted_issuers(),
    });
    let mut text = format!(
        "{}\n",
        style.good("the platform certificate holds, and is of this TPM")
    );
    if is_simulator {
        text.push_str(&format!("{}\n", style.warn("the TPM is a simulator")));
    }
    text.push_str(&pairs([
        ("manufacturer", of(platform.manufacturer())),
        ("model", of(platform.model())),
        ("version", of(platform.version())),
        ("serial number", of(platform.serial())),
        ("revocation", revocation(platform.unlisted_issuers())),
    ]));
    Answer::done(json, text)
}

/// A certificate is anybody's to copy: whether the key is in a TPM at hand, only an enrolment shows.
fn device(arguments: &Verify, context: &Context) -> Result<Answer, CliError> {
    let certificate = read_certificate(&arguments.certificate)?;
    let loaded = loaded(arguments)?;
    let sent = read_certificates(&arguments.intermediate)?;
    let sent: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
    let style = context.style();
    Ok(match verify_device(&certificate, &sent, &loaded.roots, now_s()) {
        Ok(device) => is_of_device(&device, &loaded, style),
        Err(error) => fails(&with_sources(&error), &loaded, style),
    })
}

fn is_of_device(device: &VerifiedDevice, loaded: &Loaded, style: Style) -> Answer {
    let of = |text: Option<&str>| text.unwrap_or("not stated").to_owned();
    let json = json!({
        "valid": true, "common_name": device.common_name(), "serial": device.serial(),
        "hardware_module": device.hardware_module(), "sha256": device.digest().to_hex(), "roots": loaded.count,
        "crls": loaded.lists, "revocation_unchecked": device.unlisted_issuers(),
    });
    let mut text = format!("{}\n", style.good("the certificate holds"));
    text.push_str(&pairs([
        ("common name", of(device.common_name())),
        ("serial number", of(device.serial())),
        ("hardware module", of(device.hardware_module())),
        ("SHA-256", device.digest().to_hex()),
        ("revocation", revocation(device.unlisted_issuers())),
    ]));
    text.push_str("whether that key is in a TPM at hand, only the enrolment of the robot shows\n");
    Answer::done(json, text)
}

fn verify(arguments: &Verify, context: &Context) -> Result<Answer, CliError> {
    let (judged, loaded) = judged(arguments)?;
    Ok(match judged {
        Ok(ek) => holds(&ek, &loaded, context.style()),
        Err(error) => fails(&with_sources(&error), &loaded, context.style()),
    })
}

fn judged(arguments: &Verify) -> Result<(Result<VerifiedEk, EkError>, Loaded), CliError> {
    let certificate = read_certificate(&arguments.certificate)?;
    let loaded = loaded(arguments)?;
    let intermediates = read_certificates(&arguments.intermediate)?;
    let intermediates: Vec<&[u8]> = intermediates.iter().map(Vec::as_slice).collect();
    let judged = ek_certificate::verify(&certificate, &intermediates, &loaded.roots, now_s());
    Ok((judged, loaded))
}

fn loaded(arguments: &Verify) -> Result<Loaded, CliError> {
    let mut loaded = Loaded::default();
    for (kind, folder) in [
        (RootKind::Production, arguments.roots.as_deref()),
        (RootKind::Simulator, arguments.simulator_roots.as_deref()),
    ] {
        if let Some(folder) = folder {
            loaded.add_folder(kind, folder)?;
        }
    }
    loaded.take_lists_of(arguments)?;
    Ok(loaded)
}

pub(super) fn read_certificates(paths: &[PathBuf]) -> Result<Vec<Vec<u8>>, CliError> {
    paths.iter().map(|path| read_certificate(path)).collect()
}

/// The roots of the folders.
#[derive(Default)]
pub(crate) struct Loaded {
    /// The roots that can be used.
    pub(crate) roots: Roots,
    /// How many there are.
    pub(crate) count: usize,
    /// Files that hold none, and why.
    skipped: Vec<String>,
    /// How many revocation lists there are.
    lists: usize,
}

impl Loaded {
    /// Adds every file of a folder. A file that cannot be used is named, and trusted by nobody.
    pub(crate) fn add_folder(&mut self, kind: RootKind, folder: &Path) -> Result<(), CliError> {
        for path in files_of(folder)? {
            match self
                .roots
                .add(kind, &files::read(&path, "a root certificate", LIMIT)?)
            {
                Ok(count) => self.count += count,
                Err(error) => {
                    let reason = with_sources(&error);
                    tracing::warn!(file = %path.display(), reason, "this root is not used");
                    self.skipped.push(format!("{}: {reason}", path.display()));
                }
            }
        }
        Ok(())
    }

    fn take_lists_of(&mut self, arguments: &Verify) -> Result<(), CliError> {
        if let Some(folder) = &arguments.crls {
            self.add_lists(folder)?;
        }
        if arguments.require_crls {
            self.roots.require_revocation_lists();
        }
        Ok(())
    }

    /// Adds every revocation list of a folder. One that cannot be read is a failure: it would revoke nothing.
    fn add_lists(&mut self, folder: &Path) -> Result<(), CliError> {
        for path in files_of(folder)? {
            let added = self
                .roots
                .add_revocations(&files::read(&path, "a revocation list", LISTS_LIMIT)?);
            self.lists += added.map_err(|error| CliError::Root {
                path: path.clone(),
                reason: with_sources(&error),
            })?;
        }
        Ok(())
    }
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let failed = |source| CliError::Read {
        path: folder.into(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// Seconds since 1970; a clock before that makes every certificate not valid yet.
pub(crate) fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn read_certificate(path: &Path) -> Result<Vec<u8>, CliError> {
    let bytes = files::read(path, "a certificate", LIMIT)?;
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(bytes);
    }
    let der = CertificateDer::from_pem_slice(&bytes);
    der.map(|der| der.to_vec()).map_err(|_| CliError::NotPem {
        path: path.into(),
        what: "CERTIFICATE",
    })
}

fn revocation(unlisted: &[String]) -> String {
    match unlisted {
        [] => "checked, none is revoked".to_owned(),
        unlisted => format!("NOT CHECKED for what these issued: {}", unlisted.join("; ")),
    }
}

fn holds(ek: &VerifiedEk, loaded: &Loaded, style: Style) -> Answer {
    let json = json!({
        "valid": true, "simulator": ek.is_simulator(), "manufacturer": ek.manufacturer(), "model": ek.model(),
        "version": ek.version(), "public_key_spki": hex::encode(ek.spki_der()),
        "roots": loaded.count, "roots_skipped": loaded.skipped, "crls": loaded.lists,
        "revocation_unchecked": ek.unlisted_issuers(), "weakest_link": {
            "bits": ek.weakest_link().bits(), "algorithm": ek.weakest_link().algorithm(),
            "issuer": ek.weakest_link().issuer(), "claim": ek.weakest_link().code(),
        },
    });
    let weakest = ek.weakest_link();
    let of = |text: Option<&str>| text.unwrap_or("not stated").to_owned();
    let mut text = if ek.is_simulator() {
        style.warn("the certificate holds, and is a simulator's")
    } else {
        style.good("the certificate holds")
    };
    text.push('\n');
    text.push_str(&pairs([
        ("manufacturer", of(ek.manufacturer())),
        ("model", of(ek.model())),
        ("version", of(ek.version())),
        (
            "roots",
            format!("{} used, {} files skipped", loaded.count, loaded.skipped.len()),
        ),
        ("revocation", revocation(ek.unlisted_issuers())),
        (
            "weakest link",
            format!(
                "{} bits: {}, by {}",
                weakest.bits(),
                weakest.algorithm(),
                weakest.issuer()
            ),
        ),
    ]));
    Answer::done(json, text)
}

fn fails(reason: &str, loaded: &Loaded, style: Style) -> Answer {
    let json =
        json!({"valid": false, "reason": reason, "roots": loaded.count, "roots_skipped": loaded.skipped});
    let text = format!("{}: {reason}\n", style.bad("the certificate does not hold"));
    Answer::verdict(false, json, text)
}
