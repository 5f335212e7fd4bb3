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
    data: Service,
    // Only kept: clients of swtpm's protocol ask for locality 0 there before they do anything.
    _control: Service,
    folder: TempDir,
}

impl Served {
    pub(crate) fn start(transport: SharedTransport) -> Result<Self, TestkitError> {
        let folder = tempfile::Builder::new().prefix("alcub3-served-").tempdir();
        let folder = folder.map_err(TestkitError::io("making a folder for a socket"))?;
        let data = Service::start(folder.path().join("tpm"), move |stream| {
            relay(stream, transport.clone())
        });
        let control = Service::start(folder.path().join("tpm.ctrl"), answer_control);
        let listening = TestkitError::io("listening on a socket");
        let (data, control) = data.and_then(|data| Ok((data, control?))).map_err(listening)?;
        Ok(Self {
            data,
            _control: control,
            folder,
        })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.data.path
    }

    /// How `tpm2-tools` name it: `-T` and `TPM2TOOLS_TCTI`.
    pub fn tcti(&self) -> String {
        format!("swtpm:path={}", self.path().display())
    }

    /// How the command line names it: `--tpm` and `ALCUB3_TPM`.
    pub fn spec(&self) -> String {
        format!("socket:{}", self.path().display())
    }

    /// `tpm2-tools` on this TPM, working in the folder of its socket.
    pub fn tools(&self) -> Tools {
        Tools::new(self.tcti(), self.folder.path())
    }
}

/// Relays TPM commands until the client or the TPM is gone.
fn relay(stream: &mut UnixStream, mut transport: SharedTransport) -> io::Result<()> {
    let mut response = Vec::new();
    loop {
        let command = read_command(stream)?;
        let answered = transport.transmit(&command, &mut response, Instant::now() + WITHIN);
        answered.map_err(io::Error::other)?;
        stream.write_all(&response)?;
    }
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

/// Grants locality 0, the one everybody has, and nothing else: the TPM has other users.
fn answer_control(stream: &mut UnixStream) -> io::Result<()> {
    const SET_LOCALITY: u32 = 5;
    const BAD_ORDINAL: u32 = 0x0a;
    const BAD_LOCALITY: u32 = 0x3d;
    loop {
        let mut command = [0; 4];
        stream.read_exact(&mut command)?;
        let result = if u32::from_be_bytes(command) == SET_LOCALITY {
            let mut locality = [0; 1];
            stream.read_exact(&mut locality)?;
            if locality == [0] { 0 } else { BAD_LOCALITY }
        } else {
            BAD_ORDINAL
        };
        stream.write_all(&result.to_be_bytes())?;
    }
}

/// A UNIX socket with a thread for each client.
struct Service {
    path: PathBuf,
    ending: Arc<AtomicBool>,
    clients: Arc<Clients>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Clients(Mutex<Vec<(UnixStream, JoinHandle<()>)>>);

impl Service {
    fn start<F>(path: PathBuf, serve: F) -> io::Result<Self>
    where
        F: Fn(&mut UnixStream) -> io::Result<()> + Clone + Send + 'static,
    {
        let listener = UnixListener::bind(&path)?;
        let (ending, clients) = (Arc::new(AtomicBool::new(false)), Arc::new(Clients::default()));
        let acceptor = thread::spawn({
            let (ending, clients) = (Arc::clone(&ending), Arc::clone(&clients));
            move || {
                for stream in listener.incoming() {
                    if ending.load(Ordering::SeqCst) {
                        return;
                    }
                    if let Ok(stream) = stream {
                        clients.admit(stream, serve.clone());
                    }
                }
            }
        });
        Ok(Self {
            path,
            ending,
            clients,
            acceptor: Some(acceptor),
        })
    }
}

impl Clients {
    fn admit<F>(&self, mut stream: UnixStream, serve: F)
    where
        F: Fn(&mut UnixStream) -> io::Result<()> + Send + 'static,
    {
        let Ok(kept) = stream.try_clone() else { return };
        let thread = thread::spawn(move || {
            // A client that breaks the protocol, or a TPM that is gone, ends this client's connection only.
            let _ = serve(&mut stream);
            // The clone kept for the end holds the socket open; the client must see that nobody answers.
            let _ = stream.shutdown(Shutdown::Both);
        });
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|(_, thread)| !thread.is_finished());
        clients.push((kept, thread));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is to end.
        let woken = UnixStream::connect(&self.path).is_ok();
        if let Some(acceptor) = self.acceptor.take().filter(|_| woken) {
            let _ = acceptor.join();
        }
        let clients = std::mem::take(&mut *self.clients.0.lock().unwrap_or_else(PoisonError::into_inner));
        for (stream, thread) in clients {
            let _ = stream.shutdown(Shutdown::Both);
            let _ = thread.join();
        }
    }
}
