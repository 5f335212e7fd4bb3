//! Where an adapter finds its agent: a folder of its own with a socket and the session's key, both there only while the agent
//! waits for it.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use alcub3_security_hal::adapter_link::{LinkKey, LinkRefusal};
use alcub3_tpm::OsEntropy;
use rustix::net::sockopt::socket_peercred;

/// The names in the folder.
const SOCKET: &str = "socket";
const KEY: &str = "key";

/// Where an adapter's socket is and who may use it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AdapterSocket {
    /// The folder of this adapter alone. It is made where it is not there; the folder above must be.
    pub folder: PathBuf,
    /// The user that the adapter runs as; the agent's own where none is given.
    pub user: Option<u32>,
    /// The group through which an adapter of another user reaches folder, socket and key.
    pub group: Option<u32>,
}

/// An adapter's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// It belongs to somebody else, or is no folder.
    #[error("{0} is no folder of the agent's user: remove it, or name another")]
    NotOurs(PathBuf),
    /// Others may enter or write it.
    #[error("{path} has mode {mode:o}; it may have {allowed:o}: chmod it, or remove it")]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// What it may be.
        allowed: u32,
    },
    /// The operating system's.
    #[error("{path}: {source}")]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// No randomness for the session's key.
    #[error("the session's key cannot be drawn: {0}")]
    Entropy(#[from] alcub3_crypto::EntropyError),
}

impl AdapterSocket {
    /// For an adapter of the agent's own user.
    pub fn own(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            user: None,
            group: None,
        }
    }

    /// The socket's path.
    pub fn socket_path(&self) -> PathBuf {
        self.folder.join(SOCKET)
    }

    /// The key file's path.
    pub fn key_path(&self) -> PathBuf {
        self.folder.join(KEY)
    }

    /// What folder, socket and key may be opened by, beside their owner.
    const fn modes(&self) -> (u32, u32, u32) {
        match self.group {
            Some(_) => (0o710, 0o660, 0o640),
            None => (0o700, 0o600, 0o600),
        }
    }

    /// Waits for the adapter under a new key. What an earlier wait left is gone.
    pub(super) fn listen(&self) -> Result<(UnixListener, LinkKey), EndpointError> {
        self.own_folder()?;
        self.withdraw()?;
        let key = LinkKey::generate(&mut OsEntropy)?;
        self.write_key(&key)?;
        let path = self.socket_path();
        let listener = UnixListener::bind(&path).map_err(at(&path))?;
        let (_, socket_mode, _) = self.modes();
        fs::set_permissions(&path, Permissions::from_mode(socket_mode)).map_err(at(&path))?;
        self.give_to_group(&path, socket_mode)?;
        listener.set_nonblocking(true).map_err(at(&path))?;
        Ok((listener, key))
    }

    /// Takes socket and key away: who did not come in time is not let in.
    pub(super) fn withdraw(&self) -> Result<(), EndpointError> {
        for path in [self.socket_path(), self.key_path()] {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => return Err(EndpointError::Io { path, source }),
            }
        }
        Ok(())
    }

    fn own_folder(&self) -> Result<(), EndpointError> {
        let (mode, ..) = self.modes();
        match DirBuilder::new().mode(mode).create(&self.folder) {
            Ok(()) => self.give_to_group(&self.folder, mode)?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(source) => return Err(at(&self.folder)(source)),
        }
        let found = fs::symlink_metadata(&self.folder).map_err(at(&self.folder))?;
        if !found.is_dir() || found.uid() != own_user() {
            return Err(EndpointError::NotOurs(self.folder.clone()));
        }
        let found = found.mode() & 0o777;
        if found & !mode == 0 {
            return Ok(());
        }
        Err(EndpointError::Open {
            path: self.folder.clone(),
            mode: found,
            allowed: mode,
        })
    }

    fn write_key(&self, key: &LinkKey) -> Result<(), EndpointError> {
        let (.., mode) = self.modes();
        let path = self.key_path();
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path);
        let written = file.and_then(|mut file| file.write_all(key.to_text().expose()));
        written.map_err(at(&path))?;
        self.give_to_group(&path, mode)
    }

    /// Gives what was made to the group, if there is one, with the mode that the process's umask may have taken from.
    fn give_to_group(&self, path: &Path, mode: u32) -> Result<(), EndpointError> {
        let Some(group) = self.group else {
            return Ok(());
        };
        chown(path, None, Some(group)).map_err(at(path))?;
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(at(path))
    }

    /// Whether who connected runs as the user that the adapter is to run as.
    pub(super) fn check_peer(&self, stream: &UnixStream) -> io::Result<Result<(), LinkRefusal>> {
        let found = socket_peercred(stream)?.uid.as_raw();
        let expected = self.user.unwrap_or_else(own_user);
        Ok(if found == expected {
            Ok(())
        } else {
            Err(LinkRefusal::PeerUser { found, expected })
        })
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn at(path: &Path) -> impl Fn(io::Error) -> EndpointError + '_ {
    |source| EndpointError::Io {
        path: path.to_owned(),
        source,
    }
}
