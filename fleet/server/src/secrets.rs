//! The authority's own keys: where they lie, and how custody is sealed at rest.
//!
//! The signing key and the one that certificates are signed with (both PKCS#8) and the custody key (HPKE) lie in the state folder, readable by its owner alone. The robots'
//! hierarchy authorisations are sealed there with AES-256-GCM under a key file that is kept apart from the folder, so
//! that a copy of the folder alone, as a backup is, opens nothing. It does not protect against whoever reads both.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use alcub3_crypto::hpke::RecipientKey;
use alcub3_crypto::{AeadKey, CryptoError, Curve, Entropy, EntropyError, Secret, SigningKey};

use crate::store::{StateFolder, StoreError, write_atomically};

const KEYS: &str = "keys";
const SIGNING: &str = "signing.p8";
const CUSTODY: &str = "custody.hpke";
const CERTIFICATES: &str = "certificates.p8";
const SEAL_KEY_BYTES: usize = 32;
const AEAD_NONCE_BYTES: usize = 12;

/// The authority's keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A key is missing from the state folder.
    #[error("the authority's {0} key is missing from its state folder; restore the folder from a backup")]
    Missing(&'static str),
    /// The custody key file would lie in the state folder that it is to protect.
    #[error(
        "custody key file {0} lies inside the state folder: a copy of the folder would open it; keep it apart"
    )]
    NotApart(PathBuf),
    /// The custody key file is there already.
    #[error(
        "custody key file {0} exists already; name a new file, so that no other authority's key is overwritten"
    )]
    Exists(PathBuf),
    /// The custody key file cannot be read.
    #[error("custody key file {path}: {source}; mount or restore it")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The custody key file is not one.
    #[error("custody key file {0} does not hold {SEAL_KEY_BYTES} bytes; restore it from its backup")]
    Length(PathBuf),
    /// Others may read the custody key file.
    #[error("custody key file {0} may be read by others; chmod 600 it")]
    Open(PathBuf),
    /// Cryptography refused.
    #[error("the authority's keys: {0}")]
    Crypto(#[from] CryptoError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The state folder.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The authority's keys, loaded.
pub(crate) struct Keys {
    pub(crate) signing: SigningKey,
    pub(crate) custody: RecipientKey,
    /// Signs X.509 certificates and nothing else.
    pub(crate) certificates: SigningKey,
    seal: AeadKey,
}

impl Keys {
    /// Makes new keys.
    pub(crate) fn create(
        folder: &StateFolder,
        seal_file: &Path,
        curve: Curve,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, KeyError> {
        check_apart(folder, seal_file)?;
        if seal_file.exists() {
            return Err(KeyError::Exists(seal_file.to_owned()));
        }
        let mut seal = Secret::zeroed(SEAL_KEY_BYTES);
        entropy.fill(seal.expose_mut())?;
        write_atomically(seal_file, seal.expose())?;
        let (signing, custody) = (SigningKey::generate(curve)?, RecipientKey::generate()?);
        let certificates = SigningKey::generate(curve)?;
        folder.put(KEYS, SIGNING, signing.to_pkcs8().expose())?;
        folder.put(KEYS, CUSTODY, custody.to_bytes().expose())?;
        folder.put(KEYS, CERTIFICATES, certificates.to_pkcs8().expose())?;
        Ok(Self {
            signing,
            custody,
            certificates,
            seal: AeadKey::new(&seal)?,
        })
    }

    /// Reads the keys.
    pub(crate) fn load(folder: &StateFolder, seal_file: &Path) -> Result<Self, KeyError> {
        check_apart(folder, seal_file)?;
        let signing = read_secret(folder, SIGNING, "signing")?;
        let custody = read_secret(folder, CUSTODY, "custody")?;
        let certificates = read_secret(folder, CERTIFICATES, "certificate")?;
        Ok(Self {
            signing: SigningKey::from_pkcs8(signing.expose())?,
            custody: RecipientKey::from_bytes(custody.expose())?,
            certificates: SigningKey::from_pkcs8(certificates.expose())?,
            seal: AeadKey::new(&read_seal_key(seal_file)?)?,
        })
    }

    /// Seals bytes for the disk, bound to what they are and whose.
    pub(crate) fn seal(
        &self,
        what: &[u8],
        plain: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, KeyError> {
        let mut nonce = [0; AEAD_NONCE_BYTES];
        entropy.fill(&mut nonce)?;
        let sealed = self.seal.seal(&nonce, what, plain.expose())?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Opens what [`Self::seal`] sealed.
    pub(crate) fn unseal(&self, what: &[u8], sealed: &[u8]) -> Result<Secret, KeyError> {
        let short = CryptoError::AuthenticationFailed {
            what: "custody record",
        };
        let (nonce, sealed) = sealed.split_first_chunk::<AEAD_NONCE_BYTES>().ok_or(short)?;
        Ok(self.seal.open(nonce, what, sealed)?)
    }
}

fn read_secret(folder: &StateFolder, name: &str, what: &'static str) -> Result<Secret, KeyError> {
    folder
        .get(KEYS, name)?
        .map(Secret::from_vec)
        .ok_or(KeyError::Missing(what))
}

fn read_seal_key(path: &Path) -> Result<Secret, KeyError> {
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    if is_open_to_others(&file.metadata().map_err(failed)?) {
        return Err(KeyError::Open(path.to_owned()));
    }
    let mut bytes = Vec::with_capacity(SEAL_KEY_BYTES + 1);
    file.take(64).read_to_end(&mut bytes).map_err(failed)?;
    let key = Secret::from_vec(bytes);
    if key.len() == SEAL_KEY_BYTES {
        Ok(key)
    } else {
        Err(KeyError::Length(path.to_owned()))
    }
}

fn check_apart(folder: &StateFolder, file: &Path) -> Result<(), KeyError> {
    let parent = file
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let resolved = |path: &Path| {
        fs::canonicalize(path).map_err(|source| KeyError::Io {
            path: path.to_owned(),
            source,
        })
    };
    let inside = resolved(parent)?.starts_with(resolved(folder.path())?);
    if inside {
        Err(KeyError::NotApart(file.to_owned()))
    } else {
        Ok(())
    }
}

#[cfg(unix)]
fn is_open_to_others(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_open_to_others(_: &fs::Metadata) -> bool {
    false
}
