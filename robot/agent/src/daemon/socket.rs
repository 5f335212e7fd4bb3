//! Sockets in the file system, made by this process and removed with it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::DaemonError;

/// A listening socket; its file goes with it.
pub(super) struct Listening {
    path: PathBuf,
    listener: UnixListener,
}

/// Listens at a path. What an agent left there that is gone is removed. Everyone may connect: who may do what is decided by the
/// caller's user, which the kernel tells, so that a refusal can say why.
pub(super) fn listen(path: &Path) -> Result<Listening, DaemonError> {
    if UnixStream::connect(path).is_ok() {
        return Err(DaemonError::Served(path.to_owned()));
    }
    bind(path).map_err(|source| DaemonError::Socket {
        path: path.to_owned(),
        source,
    })
}

fn bind(path: &Path) -> io::Result<Listening> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    listener.set_nonblocking(true)?;
    Ok(Listening {
        path: path.to_owned(),
        listener,
    })
}

impl Listening {
    /// A descriptor of the socket for whoever serves it.
    pub(super) fn take(&self) -> Result<UnixListener, DaemonError> {
        self.listener.try_clone().map_err(DaemonError::System)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
