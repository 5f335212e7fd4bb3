//! Keys of persons in files: PKCS#8 in PEM, readable by their owner alone; public halves as SubjectPublicKeyInfo in PEM.

use crate::commands::files;
use crate::error::CliError;
use alcub3_crypto::{Curve, Secret, SigningKey, VerifyingKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const LIMIT: u64 = 64 * 1024;

/// Makes a new key, and writes it where there is no file yet, and its public half beside it with `.pub` behind.
pub(crate) fn create(path: &Path, curve: Curve) -> Result<SigningKey, CliError> {
    if path.exists() {
        return Err(CliError::KeyExists { path: path.into() });
    }
    let key = SigningKey::generate(curve).map_err(|source| CliError::KeyFile {
        path: path.into(),
        source,
    })?;
    let private = Secret::from_vec(pem("PRIVATE KEY", key.to_pkcs8().expose()).into_bytes());
    files::write_private(path, private.expose())?;
    let mut public = path.as_os_str().to_owned();
    public.push(".pub");
    files::write_private(Path::new(&public), public_pem(&key.verifying_key()).as_bytes())?;
    Ok(key)
}

/// Reads a private key; a file that others may read is refused.
pub(crate) fn read_private(path: &Path) -> Result<SigningKey, CliError> {
    let unreadable = |source| CliError::Read {
        path: path.into(),
        source,
    };
    let mode = std::fs::metadata(path).map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(CliError::KeyExposed {
            path: path.into(),
            mode: mode & 0o777,
        });
    }
    let bytes = Secret::from_vec(files::read(path, "a private key", LIMIT)?);
    let der = PrivatePkcs8KeyDer::from_pem_slice(bytes.expose());
    let der = der.map_err(|_| CliError::NotPem {
        path: path.into(),
        what: "PRIVATE KEY",
    })?;
    SigningKey::from_pkcs8(der.secret_pkcs8_der()).map_err(|source| CliError::KeyFile {
        path: path.into(),
        source,
    })
}

/// Reads a public key.
pub(crate) fn read_public(path: &Path) -> Result<VerifyingKey, CliError> {
    let bytes = files::read(path, "a public key", LIMIT)?;
    let der = SubjectPublicKeyInfoDer::from_pem_slice(&bytes);
    let der = der.map_err(|_| CliError::NotPem {
        path: path.into(),
        what: "PUBLIC KEY",
    })?;
    VerifyingKey::from_spki_der(&der).map_err(|source| CliError::KeyFile {
        path: path.into(),
        source,
    })
}

/// A public key as PEM.
pub(crate) fn public_pem(key: &VerifyingKey) -> String {
    pem("PUBLIC KEY", &key.to_spki_der())
}

/// DER as PEM (RFC 7468): lines of 64 characters.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let body: Vec<_> = lines.collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        body.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        for curve in [Curve::P256, Curve::P384] {
            let path = folder.path().join(format!("{curve:?}.key"));
            let made = create(&path, curve).unwrap();
            let spki = made.verifying_key().to_spki_der();
            assert_eq!(read_private(&path).unwrap().verifying_key().to_spki_der(), spki);
            let public = path.with_extension("key.pub");
            assert_eq!(read_public(&public).unwrap().to_spki_der(), spki);
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
            assert!(matches!(create(&path, curve), Err(CliError::KeyExists { .. })));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
            assert!(matches!(
                read_private(&path),
                Err(CliError::KeyExposed { mode: 0o640, .. })
            ));
            assert!(matches!(read_private(&public), Err(CliError::NotPem { .. })));
        }
    }
}
