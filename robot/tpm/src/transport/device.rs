//! The chip, through the kernel's device files (`/dev/tpmrm0`, `/dev/tpm0`).

use super::channel::{Channel, Framing};
use super::{Transport, TransportError, TransportKind};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The kernel's TPM device with its resource manager: shared by programs, objects swapped per descriptor.
pub const DEFAULT_DEVICE: &str = "/dev/tpmrm0";

/// One open descriptor to a TPM device file.
///
/// The kernel offers no way to cancel a TPM 2.0 command from outside, so there is no canceller.
pub struct DeviceTransport {
    channel: Channel<File>,
    path: PathBuf,
    kind: TransportKind,
}

impl DeviceTransport {
    /// Opens the device file at `path`.
    ///
    /// # Errors
    /// [`TransportError::DeviceAbsent`], [`PermissionDenied`](TransportError::PermissionDenied),
    /// [`DeviceBusy`](TransportError::DeviceBusy), [`NotADevice`](TransportError::NotADevice) or
    /// [`Io`](TransportError::Io).
    pub fn open(path: &Path) -> Result<Self, TransportError> {
        let refused = |error| open_error(path, error);
        // Looked at before it is opened: opening a named pipe or a disk would have effects of its own.
        if !fs::metadata(path).map_err(refused)?.file_type().is_char_device() {
            return Err(TransportError::NotADevice { path: path.into() });
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
            .open(path)
            .map_err(refused)?;
        Ok(Self {
            channel: Channel::new(file, Framing::Message),
            path: path.into(),
            kind: kind_of(path),
        })
    }

    /// The device file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Whether the kernel's resource manager is behind the path, links followed.
fn kind_of(path: &Path) -> TransportKind {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = real
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    if name.starts_with("tpmrm") {
        TransportKind::DeviceResourceManager
    } else {
        TransportKind::DeviceRaw
    }
}

fn open_error(path: &Path, source: io::Error) -> TransportError {
    let path = path.to_path_buf();
    match (source.kind(), source.raw_os_error()) {
        (ErrorKind::NotFound | ErrorKind::NotADirectory, _) | (_, Some(libc::ENODEV | libc::ENXIO)) => {
            TransportError::DeviceAbsent { path }
        }
        (ErrorKind::PermissionDenied, _) => TransportError::PermissionDenied { path },
        (ErrorKind::ResourceBusy, _) => TransportError::DeviceBusy { path },
        _ => TransportError::Io {
            what: "opening the TPM device",
            source,
        },
    }
}

impl Transport for DeviceTransport {
    fn transmit(
        &mut self,
        command: &[u8],
        response: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<(), TransportError> {
        self.channel.transmit(command, response, deadline)
    }

    /// A second descriptor of `/dev/tpmrm0`; `/dev/tpm0` can be open only once.
    fn emergency(&mut self) -> Result<Option<Box<dyn Transport>>, TransportError> {
        match self.kind {
            TransportKind::DeviceResourceManager => Ok(Some(Box::new(Self::open(&self.path)?))),
            _ => Ok(None),
        }
    }

    fn kind(&self) -> TransportKind {
        self.kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_operating_system_get_a_remedy() {
        let path = Path::new("/dev/tpmrm0");
        let of = |number| open_error(path, io::Error::from_raw_os_error(number));
        assert!(of(libc::ENOENT).to_string().contains("firmware settings"));
        assert!(matches!(of(libc::ENODEV), TransportError::DeviceAbsent { .. }));
        assert!(of(libc::EACCES).to_string().contains("group `tss`"));
        assert!(
            of(libc::EBUSY)
                .to_string()
                .contains("/dev/tpmrm0, which can be shared")
        );
        assert!(matches!(of(libc::EIO), TransportError::Io { .. }));
    }

    #[test]
    fn the_resource_manager_is_known_by_the_device_a_link_leads_to() {
        assert_eq!(
            kind_of(Path::new("/dev/tpmrm1")),
            TransportKind::DeviceResourceManager
        );
        assert_eq!(kind_of(Path::new("/dev/tpm0")), TransportKind::DeviceRaw);
    }
}
