//! A TPM that can be made to answer nothing for a while.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Stands before a TPM's socket.
pub struct SlowTpm {
    path: PathBuf,
    silent: Arc<AtomicBool>,
}

impl SlowTpm {
    pub fn before(tpm: &Path, path: PathBuf) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let silent = Arc::new(AtomicBool::new(false));
        let (tpm, while_silent) = (tpm.to_owned(), silent.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let tpm = UnixStream::connect(&tpm).unwrap();
                let (answers, asks) = (tpm.try_clone().unwrap(), client.try_clone().unwrap());
                let silent = while_silent.clone();
                thread::spawn(move || pass(asks, tpm, &silent));
                thread::spawn(move || pass(answers, client, &AtomicBool::new(false)));
            }
        });
        Self { path, silent }
    }

    pub fn spec(&self) -> String {
        format!("socket:{}", self.path.display())
    }

    pub fn set_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::SeqCst);
    }
}

fn pass(mut from: UnixStream, mut to: UnixStream, silent: &AtomicBool) {
    let mut bytes = [0; 8192];
    while let Ok(count) = from.read(&mut bytes) {
        while silent.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}
