//! A throwaway swtpm and the tools of tpm2-tools against it.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use alcub3_crypto::{Entropy, EntropyError};

/// A swtpm in its own folder, ended on drop.
pub struct Tpm {
    child: Child,
    dir: tempfile::TempDir,
}

impl Tpm {
    /// Starts one, or says why the test is skipped.
    pub fn start() -> Option<Self> {
        for tool in ["tpm2_startauthsession", "swtpm"] {
            if Command::new(tool)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_err()
            {
                // Past the test harness's capture: a skipped test must not look like a passed one.
                let what = if tool == "swtpm" { "swtpm" } else { "tpm2-tools" };
                let _ = writeln!(std::io::stderr(), "skipped: {what} not installed");
                return None;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tpm");
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate"])
            .arg(format!("dir={}", dir.path().display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}.ctrl", socket.display()))
            .args(["--flags", "not-need-init,startup-clear"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tpm = Self { child, dir };
        tpm.wait_for(&socket);
        Some(tpm)
    }

    fn wait_for(&self, socket: &Path) {
        let start = Instant::now();
        while !is_listening(socket) {
            assert!(start.elapsed() < Duration::from_secs(10), "swtpm does not listen");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A file in the TPM's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs one tool in the TPM's folder; the words of `command` are its arguments. Returns what it printed.
    pub fn run(&self, command: &str) -> String {
        let (ok, out, err) = self.attempt(command);
        assert!(ok, "{command}: {err}");
        out
    }

    /// As [`run`](Self::run), but the tool may fail.
    pub fn attempt(&self, command: &str) -> (bool, String, String) {
        let mut words = command.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .env(
                "TPM2TOOLS_TCTI",
                format!("swtpm:path={}", self.path("tpm").display()),
            )
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (
            output.status.success(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Numbers that look random and are the same in each run.
pub struct Counted(pub u64);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in out.chunks_mut(32) {
            self.0 += 1;
            let block = alcub3_crypto::HashAlg::Sha256.digest(&[&self.0.to_be_bytes()]);
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Whether somebody listens on a socket: its file is there a moment before, when connecting is still refused.
fn is_listening(socket: &Path) -> bool {
    const ACCEPTS: &str = "00010000";
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let path = socket.to_str().unwrap();
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(ACCEPTS) && fields.next_back() == Some(path)
    })
}
