//! A throwaway swtpm and tpm2-tools against it. Absent tools make a test skip, with a line that says so.
#![allow(dead_code, unreachable_pub, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Tpm {
    folder: tempfile::TempDir,
    child: Child,
}

impl Drop for Tpm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Tpm {
    pub fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let child = Command::new("swtpm")
            .args([
                "socket",
                "--tpm2",
                "--flags",
                "not-need-init,startup-clear",
                "--tpmstate",
            ])
            .arg(format!("dir={}", folder.path().display()))
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}.ctrl", socket.display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let (Ok(child), Ok(_)) = (child, Command::new("tpm2_quote").arg("--version").output()) else {
            println!("skipped: swtpm or tpm2-tools is not installed");
            return None;
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_listening(&socket) {
            assert!(Instant::now() < deadline, "swtpm did not open its socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Self { folder, child })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Runs one tool in the TPM's folder; the first word is its name.
    pub fn run(&self, command: &str) -> String {
        let mut words = command.split_whitespace();
        let output = Command::new(words.next().unwrap())
            .args(words)
            .current_dir(self.folder.path())
            .env(
                "TPM2TOOLS_TCTI",
                format!("swtpm:path={}", self.path("sock").display()),
            )
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn flush(&self) {
        self.run("tpm2_flushcontext -t");
    }

    /// An attestation key under a fresh EK: `ak.ctx`, `ak.pub` (TPM2B_PUBLIC), `ak.pem`.
    pub fn attestation_key(&self, alg: &str, hash: &str, scheme: &str) {
        self.run("tpm2_createek -c ek.ctx -G ecc -u ek.pub");
        self.flush();
        self.run(&format!(
            "tpm2_createak -C ek.ctx -c ak.ctx -G {alg} -g {hash} -s {scheme} -u ak.pub -n ak.name"
        ));
        self.flush();
        self.run("tpm2_readpublic -c ak.ctx -f pem -o ak.pem");
        self.flush();
    }
}

pub fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !root.is_dir() {
        println!("skipped: no real data beside the checkout");
        return None;
    }
    Some(root)
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
