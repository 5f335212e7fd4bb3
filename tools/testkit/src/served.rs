//! Serves a test's TPM on a UNIX socket, as `swtpm --server type=unixio` does, but to many clients at once.

use crate::shared::SharedTransport;
use crate::{TestkitError, Tools};
use alcub3_tpm::transport::{MAX_MESSAGE, Transport};
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a client's command may take.
const WITHIN: Duration = Duration::from_secs(60);

/// A TPM on a UNIX socket, until this is dropped.
pub struct Served {
    folder: TempDir,
    path: PathBuf,
    ending: Arc<AtomicBool>,
    clients: Arc<Clients>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Clients(Mutex<Vec<(UnixStream, JoinHandle<()>)>>);

impl Served {
    pub(crate) fn start(transport: SharedTransport) -> Result<Self, TestkitError> {
        let folder = tempfile::Builder::new().prefix("alcub3-served-").tempdir();
        let folder = folder.map_err(TestkitError::io("making a folder for a socket"))?;
        let path = folder.path().join("tpm");
        let listener = UnixListener::bind(&path).map_err(TestkitError::io("listening on a socket"))?;
        let (ending, clients) = (Arc::new(AtomicBool::new(false)), Arc::new(Clients::default()));
        let acceptor = thread::spawn({
            let (ending, clients) = (Arc::clone(&ending), Arc::clone(&clients));
            move || accept(&listener, &transport, &ending, &clients)
        });
        Ok(Self {
            folder,
            path,
            ending,
            clients,
            acceptor: Some(acceptor),
        })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How `tpm2-tools` name it: `-T` and `TPM2TOOLS_TCTI`.
    pub fn tcti(&self) -> String {
        format!("swtpm:path={}", self.path.display())
    }

    /// How the command line names it: `--tpm` and `ALCUB3_TPM`.
    pub fn spec(&self) -> String {
        format!("socket:{}", self.path.display())
    }

    /// `tpm2-tools` on this TPM, working in the folder of its socket.
    pub fn tools(&self) -> Tools {
        Tools::new(self.tcti(), self.folder.path())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to end.
        let woken = UnixStream::connect(&self.path).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
        let clients = std::mem::take(&mut *self.clients.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (stream, relay) in clients {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = relay.join();
        }
    }
}

fn accept(listener: &UnixListener, transport: &SharedTransport, ending: &AtomicBool, clients: &Clients) {
    for stream in listener.incoming() {
        if ending.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(kept) = stream.try_clone() else { continue };
        let transport = transport.clone();
        // A client that breaks the protocol, or a TPM that is gone, ends that client's connection.
        let relay = thread::spawn(move || drop(serve(stream, transport)));
        let mut clients = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(_, relay)| !relay.is_finished());
        clients.push((kept, relay));
    }
}

fn serve(mut stream: UnixStream, mut transport: SharedTransport) -> io::Result<()> {
    let mut response = Vec::new();
    let result = loop {
        let command = match read_command(&mut stream) {
            Ok(command) => command,
            Err(error) => break Err(error),
        };
        let answered = transport.transmit(&command, &mut response, Instant::now() + WITHIN);
        let written = answered
            .map_err(io::Error::other)
            .and_then(|()| stream.write_all(&response));
        if let Err(error) = written {
            break Err(error);
        }
    };
    // The clone kept for the end holds the socket open; the client must see that nobody answers any more.
    let _ = stream.shutdown(Shutdown::Both);
    result
}

fn read_command(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut header = [0; 10];
    stream.read_exact(&mut header)?;
    let [_, _, a, b, c, d, ..] = header;
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if !(header.len()..=MAX_MESSAGE).contains(&size) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut command = vec![0; size];
    let (start, rest) = command.split_at_mut(header.len());
    start.copy_from_slice(&header);
    stream.read_exact(rest)?;
    Ok(command)
}
