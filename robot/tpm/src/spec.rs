//! How a TPM is named on the command line and in the environment (`--tpm SPEC`, `ALCUB3_TPM`).

use crate::transport::{
    DEFAULT_DEVICE, DeviceTransport, SocketAddress, SocketTransport, SwtpmOptions, SwtpmTransport, Transport,
    TransportError,
};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Which TPM to use: `device[:PATH]`, `swtpm[:DIR]`, `socket:HOST:PORT` or `socket:PATH`.
///
/// What it names is what is used: a device that is absent is an error, never a simulator.
#[derive(Clone, Debug, Eq, PartialEq, Hash)]
pub enum TpmSpec {
    /// The chip's device file.
    Device(PathBuf),
    /// A swtpm child; without a folder its state is deleted at its end.
    Swtpm(Option<PathBuf>),
    /// A simulator that is running already.
    Socket(SocketAddress),
}

impl TpmSpec {
    /// Opens what is named.
    ///
    /// # Errors
    /// Why it cannot be opened, with what to do about it.
    pub fn open(&self) -> Result<Box<dyn Transport>, TransportError> {
        Ok(match self {
            Self::Device(path) => Box::new(DeviceTransport::open(path)?),
            Self::Swtpm(folder) => {
                let options = folder
                    .as_ref()
                    .map_or_else(SwtpmOptions::throwaway, SwtpmOptions::in_folder);
                Box::new(SwtpmTransport::start(&options)?)
            }
            Self::Socket(address) => Box::new(SocketTransport::connect(address)?),
        })
    }
}

impl Default for TpmSpec {
    fn default() -> Self {
        Self::Device(DEFAULT_DEVICE.into())
    }
}

impl fmt::Display for TpmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) if path == Path::new(DEFAULT_DEVICE) => f.write_str("device"),
            Self::Device(path) => write!(f, "device:{}", path.display()),
            Self::Swtpm(None) => f.write_str("swtpm"),
            Self::Swtpm(Some(folder)) => write!(f, "swtpm:{}", folder.display()),
            Self::Socket(address) => write!(f, "socket:{address}"),
        }
    }
}

/// Why a SPEC is not one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{given}` names no TPM: {problem}; use device[:PATH], swtpm[:DIR], socket:HOST:PORT or socket:PATH")]
pub struct SpecError {
    given: String,
    problem: &'static str,
}

impl FromStr for TpmSpec {
    type Err = SpecError;

    fn from_str(given: &str) -> Result<Self, SpecError> {
        let (kind, rest) = match given.split_once(':') {
            Some((kind, rest)) => (kind, Some(rest)),
            None => (given, None),
        };
        let spec = match (kind, rest) {
            ("device" | "swtpm", Some("")) => Err("the path after the colon is empty"),
            ("device", None) => Ok(Self::default()),
            ("device", Some(path)) => Ok(Self::Device(path.into())),
            ("swtpm", folder) => Ok(Self::Swtpm(folder.map(Into::into))),
            ("socket", Some(address)) => socket(address).map(Self::Socket),
            ("socket", None) => Err("the address is missing"),
            _ => Err("the word before the colon is unknown"),
        };
        spec.map_err(|problem| SpecError {
            given: given.to_owned(),
            problem,
        })
    }
}

/// With a slash, or without a colon, it is a path; else a host and a port.
fn socket(address: &str) -> Result<SocketAddress, &'static str> {
    if address.is_empty() {
        return Err("the address is empty");
    }
    let Some((host, port)) = address.rsplit_once(':').filter(|_| !address.contains('/')) else {
        return Ok(SocketAddress::Unix(address.into()));
    };
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = match bracketed {
        Some(host) => host,
        None if host.contains(':') => return Err("an IPv6 address needs brackets, as in [::1]:2321"),
        None => host,
    };
    match (host, port.parse()) {
        ("", _) => Err("the host is empty"),
        (_, Err(_) | Ok(0)) => Err("the port is not a number from 1 to 65535"),
        (host, Ok(port)) => Ok(SocketAddress::Tcp {
            host: host.to_owned(),
            port,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u16) -> TpmSpec {
        TpmSpec::Socket(SocketAddress::Tcp {
            host: host.into(),
            port,
        })
    }

    #[test]
    fn every_form_is_read_and_printed_as_it_was_given() {
        let unix = |path: &str| TpmSpec::Socket(SocketAddress::Unix(path.into()));
        for (text, spec) in [
            ("device", TpmSpec::Device("/dev/tpmrm0".into())),
            ("device:/dev/tpm0", TpmSpec::Device("/dev/tpm0".into())),
            ("swtpm", TpmSpec::Swtpm(None)),
            ("swtpm:state:1", TpmSpec::Swtpm(Some("state:1".into()))),
            ("socket:localhost:2321", tcp("localhost", 2321)),
            ("socket:[::1]:2321", tcp("::1", 2321)),
            ("socket:/run/tpm:1.sock", unix("/run/tpm:1.sock")),
            ("socket:tpm.sock", unix("tpm.sock")),
        ] {
            assert_eq!(text.parse(), Ok(spec.clone()));
            assert_eq!(spec.to_string(), text);
        }
        assert_eq!(TpmSpec::default().to_string(), "device");
    }

    #[test]
    fn what_names_no_tpm_is_refused_with_the_forms() {
        for bad in [
            "",
            "tpm",
            "Device",
            "device:",
            "swtpm:",
            "socket",
            "socket:",
            "socket::2321",
            "socket:host:",
            "socket:host:0",
            "socket:host:65536",
            "socket:host:x",
            "socket:::1:2321",
            "socket:[]:1",
        ] {
            let error = bad.parse::<TpmSpec>().unwrap_err().to_string();
            assert!(
                error.contains("socket:HOST:PORT") && error.contains(&format!("`{bad}`")),
                "{error}"
            );
        }
    }
}
