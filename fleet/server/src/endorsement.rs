//! Roots for endorsement certificates, and what a certificate says of the kind of TPM.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use alcub3_attestation::ek_certificate::revocation::ListError;
use alcub3_attestation::ek_certificate::{
    EkError, RootError, RootKind, Roots, VerifiedEk, WeakestLink, verify,
};
use alcub3_crypto::tpm::{EkTemplate, Public};
use alcub3_crypto::{CryptoError, Digest, HashAlg};
use alcub3_fleet_protocol::endorsement::{EndorsementBasis, pin_digest};
use alcub3_fleet_protocol::enrolment::Endorsement;
use alcub3_trust_model::{HardwareTier, RobotId};

use crate::endorsement_pins::{Pins, PinsError};
use crate::origin::DEVICE_ROOTS;

/// The folder of roots that vouch for vendors' TPMs, inside the state folder.
pub const PRODUCTION_ROOTS: &str = "roots-production";
/// The folder of roots that vouch for simulators, inside the state folder.
pub const SIMULATOR_ROOTS: &str = "roots-simulator";

/// The folder of the vendors' revocation lists, inside the state folder.
pub const REVOCATION_LISTS: &str = "crls";

/// A folder of roots or of revocation lists could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The operating system refused.
    #[error("roots: {path}: {source}; check the folder's permissions")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A file holds no usable certificate.
    #[error("roots: {path}: {source}; remove the file or replace it")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: RootError,
    },
    /// A file holds no usable revocation list.
    #[error("revocation lists: {path}: {source}; remove the file or replace it")]
    List {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: ListError,
    },
}

/// Reads the three folders: every file holds certificates or revocation lists, PEM or DER. A file that does not read stops
/// everything: a list that was lost would revoke nothing.
pub(crate) fn read_roots(state: &Path, require_lists: bool) -> Result<Roots, RootsError> {
    let folders = [
        (RootKind::Production, PRODUCTION_ROOTS),
        (RootKind::Simulator, SIMULATOR_ROOTS),
    ];
    read_folders(state, &folders, require_lists)
}

/// The same, with the roots of those who build machines.
pub(crate) fn read_makers(state: &Path, require_lists: bool) -> Result<Roots, RootsError> {
    read_folders(state, &[(RootKind::Production, DEVICE_ROOTS)], require_lists)
}

fn read_folders(
    state: &Path,
    folders: &[(RootKind, &str)],
    require_lists: bool,
) -> Result<Roots, RootsError> {
    let mut roots = Roots::new();
    for &(kind, name) in folders {
        for path in files(&state.join(name))? {
            let added = roots.add(kind, &contents(&path)?);
            added.map_err(|source| RootsError::File { path, source })?;
        }
    }
    for path in files(&state.join(REVOCATION_LISTS))? {
        let added = roots.add_revocations(&contents(&path)?);
        added.map_err(|source| RootsError::List { path, source })?;
    }
    if require_lists {
        roots.require_revocation_lists();
    }
    Ok(roots)
}

fn contents(path: &Path) -> Result<Vec<u8>, RootsError> {
    fs::read(path).map_err(|source| RootsError::Io {
        path: path.to_owned(),
        source,
    })
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, RootsError> {
    let failed = |source| RootsError::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.retain(|path| path.is_file());
    paths.sort();
    Ok(paths)
}

/// Why a chip's endorsement was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum EndorsementError {
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] EkError),
    /// The certificate is of another key than the chip's endorsement key.
    #[error(
        "the endorsement certificate is of another key than the TPM uses: read the certificate of this key"
    )]
    OtherKey,
    /// What is around the key is none of what TPMs make.
    #[error(
        "the endorsement key is shown in a public area of none of the TCG's templates that are known here (L-1, L-2, H-1, H-2, H-3, H-6): \
         what vouches for the key does not vouch for that; show the area that the TPM itself shows"
    )]
    Template,
    /// There is no certificate, and no pin of the key.
    #[error(
        "the TPM has no endorsement certificate, and no endorsement key of {robot} is pinned: where the vendor ships none, read \
         the key's SHA-256 on the robot itself and pin it (`authority endorsement pin`); this request's is {}", .found.to_hex()
    )]
    NotPinned {
        /// Which robot.
        robot: RobotId,
        /// The digest of the key that it shows.
        found: Box<Digest>,
    },
    /// Another key than the one that is pinned.
    #[error(
        "the TPM has no endorsement certificate, and its endorsement key {} is not the one that is pinned for {robot}, {}: it is \
         another TPM, or the pin is wrong", .found.to_hex(), .pinned.to_hex()
    )]
    OtherPin {
        /// Which robot.
        robot: RobotId,
        /// What is pinned.
        pinned: Box<Digest>,
        /// The digest of the key that it shows.
        found: Box<Digest>,
    },
    /// The pins do not read.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The key cannot be used.
    #[error("the endorsement key cannot be used: {0}")]
    Key(#[from] CryptoError),
}

/// Verifies the certificate of an endorsement key, with what lies between it and a root, at a time (UTC in milliseconds). Gives the
/// weakest signature that it rests on as well.
pub(crate) fn judge(
    key: &Public,
    (certificate, chain): (&[u8], &[Vec<u8>]),
    roots: &Roots,
    now_ms: u64,
) -> Result<(Endorsement, WeakestLink), EndorsementError> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let verified = verify(certificate, &chain, roots, now_ms / 1000)?;
    if !verified.certifies(key) {
        return Err(EndorsementError::OtherKey);
    }
    check_area(key)?;
    let digest = HashAlg::Sha256.digest(&[certificate]);
    let unlisted = verified.unlisted_issuers();
    if !unlisted.is_empty() {
        tracing::info!(issuers = ?unlisted, "no revocation list is known of these issuers of an endorsement certificate");
    }
    let endorsement = Endorsement {
        key: key.verifying_key()?,
        basis: match unlisted {
            [] => EndorsementBasis::Certificate(digest),
            _ => EndorsementBasis::CertificateUnlisted(digest),
        },
        tier: tier(&verified),
    };
    Ok((endorsement, verified.weakest_link().clone()))
}

/// Judges a key whose chip has no certificate: by the operator's pin alone.
pub(crate) fn judge_by_pin(
    key: &Public,
    robot: &RobotId,
    pins: &Pins<'_>,
) -> Result<Endorsement, EndorsementError> {
    check_area(key)?;
    let key = key.verifying_key()?;
    let found = pin_digest(&key);
    let Some(pin) = pins.of(robot)? else {
        return Err(EndorsementError::NotPinned {
            robot: robot.clone(),
            found: Box::new(found),
        });
    };
    if pin.key != found {
        return Err(EndorsementError::OtherPin {
            robot: robot.clone(),
            pinned: Box::new(pin.key),
            found: Box::new(found),
        });
    }
    Ok(Endorsement {
        key,
        basis: EndorsementBasis::PinnedKey(found),
        tier: pin.tier,
    })
}

/// Certificates and pins are of the key alone. In an area of his own making whoever has one TPM could show its key under any number
/// of Names, each of a TPM that nobody has seen, purged or enrolled.
fn check_area(key: &Public) -> Result<(), EndorsementError> {
    EkTemplate::of(key).map(|_| ()).ok_or(EndorsementError::Template)
}

/// TPM manufacturers whose certified TPMs are separate chips (TCG vendor ID registry).
const DISCRETE: [&str; 6] = ["ATML", "IFX", "NSM", "NTC", "NTZ", "STM"];
/// Those whose TPMs live in the processor's trusted environment.
const FIRMWARE: [&str; 4] = ["AMD", "HISI", "INTC", "QCOM"];

/// The kind of TPM that a certificate vouches for. A vendor that is not known counts as the weakest real kind.
fn tier(verified: &VerifiedEk) -> HardwareTier {
    if verified.is_simulator() {
        return HardwareTier::Simulator;
    }
    let vendor = verified.manufacturer().and_then(vendor_text).unwrap_or_default();
    if DISCRETE.contains(&vendor.as_str()) {
        HardwareTier::Discrete
    } else if FIRMWARE.contains(&vendor.as_str()) {
        HardwareTier::Firmware
    } else {
        HardwareTier::Virtual
    }
}

/// The letters in `id:53544D20`, without filler.
fn vendor_text(manufacturer: &str) -> Option<String> {
    let number = u32::from_str_radix(manufacturer.strip_prefix("id:")?, 16).ok()?;
    let letters = number
        .to_be_bytes()
        .into_iter()
        .filter(u8::is_ascii_graphic)
        .map(char::from);
    Some(letters.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vendor_numbers_read_as_letters() {
        for (number, letters) in [
            ("id:53544D20", "STM"),
            ("id:49465800", "IFX"),
            ("id:414D4400", "AMD"),
        ] {
            assert_eq!(vendor_text(number).as_deref(), Some(letters));
        }
        for wrong in ["", "53544D20", "id:", "id:XYZ", "id:53544D2000"] {
            assert_eq!(vendor_text(wrong), None, "{wrong}");
        }
    }
}
