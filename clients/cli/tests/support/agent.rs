//! The real agent over a fleet's robot.
#![allow(dead_code, missing_docs, unreachable_pub)]

use super::command;
use super::fleet::Fleet;
use serde_json::Value;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The agent's process over a fleet's robot.
pub struct Agent<'f> {
    pub fleet: &'f Fleet,
    pub process: Child,
}

impl<'f> Agent<'f> {
    pub fn start(fleet: &'f Fleet, more: &str) -> Self {
        let mut agent = Self::begin(fleet, &fleet.robot.spec(), more);
        agent.wait_until_it_serves();
        agent
    }

    /// Starts it on a TPM, and does not wait.
    pub fn begin(fleet: &'f Fleet, tpm: &str, more: &str) -> Self {
        let folder = fleet.path();
        let stopper = folder.join("stopper.sh");
        let script = format!(
            "#!/bin/sh\necho \"$ALCUB3_STOP_CAUSE\" >> {}/stops\n",
            folder.display()
        );
        std::fs::write(&stopper, script).unwrap();
        make_executable(&stopper);
        let config = format!(
            "tpm = \"{}\"\nstate = \"robot\"\n[api]\nsocket = \"agent.sock\"\n{more}\n[stop]\nsocket = \"stop.sock\"\n\
             [[stop.program]]\nname = \"brake\"\nprogram = \"{}\"\n[logs]\neventlog = \"boot.log\"\n",
            tpm,
            stopper.display(),
        );
        std::fs::write(folder.join("agent.toml"), config).unwrap();
        Self {
            fleet,
            process: spawned(fleet),
        }
    }

    /// The causes of which the machine's stop program was told, in order.
    pub fn told(&self) -> Vec<String> {
        let told = std::fs::read_to_string(self.fleet.path().join("stops")).unwrap_or_default();
        told.lines().map(str::to_owned).collect()
    }

    /// Waits until something holds, no longer than so.
    pub fn wait(&self, limit: Duration, what: &str, holds: impl Fn(&Self) -> bool) {
        let since = Instant::now();
        while !holds(self) {
            assert!(since.elapsed() < limit, "{what}: {:?}", self.told());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_stopped(&self) -> bool {
        get(self.fleet, "/v1/robot").contains("\"stopped\":true")
    }

    /// Sends its process a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-s", name, &pid])
            .status();
        assert!(sent.unwrap().success());
    }

    pub fn wait_until_it_serves(&mut self) {
        let since = Instant::now();
        while UnixStream::connect(self.fleet.path().join("agent.sock")).is_err() {
            assert!(self.process.try_wait().unwrap().is_none(), "the agent ended");
            assert!(
                since.elapsed() < Duration::from_secs(20),
                "the agent does not serve"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn kill_and_start(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawned(self.fleet);
        self.wait_until_it_serves();
    }

    pub fn yes(&self, words: &str) -> Value {
        self.fleet.yes(&format!("--agent agent.sock {words}"))
    }

    pub fn no(&self, words: &str) -> Value {
        self.fleet.no(&format!("--agent agent.sock {words}"))
    }

    pub fn mission(&self) -> Value {
        let attested = self.yes("attest");
        assert_eq!(
            (&attested["trusted"], &attested["lease"]),
            (&true.into(), &true.into())
        );
        self.yes(
            "mission start --level SECRET --duration-s 600 --issuer carol=move.* --approve alice=alice.key --approve \
             bob=bob.key",
        )
    }

    pub fn arm(&self) {
        self.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    }

    /// Ends it as a service manager does; how long that took.
    pub fn end(mut self) -> Duration {
        let since = Instant::now();
        let pid = self.process.id().to_string();
        assert!(
            std::process::Command::new("kill")
                .arg(pid)
                .status()
                .unwrap()
                .success()
        );
        assert!(self.process.wait().unwrap().success());
        since.elapsed()
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub fn spawned(fleet: &Fleet) -> Child {
    let mut command = command();
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(fleet.path().join("agent.log"));
    command
        .args(["agent", "--config", "agent.toml"])
        .env("RUST_LOG", "info")
        .current_dir(fleet.path())
        .stdout(Stdio::null())
        .stderr(log.unwrap());
    command.spawn().unwrap()
}

pub fn make_executable(path: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// What is answered to bytes that are written to a socket.
pub fn said(fleet: &Fleet, socket: &str, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(fleet.path().join(socket)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn get(fleet: &Fleet, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n");
    said(fleet, "agent.sock", request.as_bytes())
}
