//! Heartbeats: endpoints that have to say again and again, and prove, that they are there while the robot runs. One that is silent
//! for longer than it may stops the robot, whatever the others say.
//!
//! A beat is a number above all before it, with HMAC-SHA256 over `alcub3/heartbeat/v1` 00 name 00 session 00 number. The session is
//! drawn anew by each agent's process, so that no beat counts twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alcub3_crypto::{HashAlg, MacKey, Secret};
use alcub3_trust_model::StopCause;
use serde::Deserialize;

use crate::run::random_id;

/// Why a robot is stopped whose heartbeat does not come.
pub(super) const CAUSE: StopCause = StopCause::SystemFailure;
const DOMAIN: &str = "alcub3/heartbeat/v1";
/// The key's length, in bytes.
const KEY: usize = 32;

/// An endpoint whose silence stops the robot.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Heartbeat {
    /// Its name, in the path of its beats.
    pub name: String,
    /// The file with its key: 64 hexadecimal digits.
    pub key_file: PathBuf,
    /// How long it may be silent while the robot runs, in milliseconds.
    pub within_ms: u64,
}

/// A heartbeat cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum HeartbeatError {
    /// Its name is none, or another's too.
    #[error("the heartbeat's name {0:?} is not of 1 to 64 of a-z, 0-9, - and _, or two heartbeats have it")]
    Name(String),
    /// Its time is none.
    #[error("heartbeat {0}: within-ms is 100 at least")]
    Within(String),
    /// Its key cannot be read.
    #[error("heartbeat {name}: its key {path}: {source}")]
    Read {
        /// The heartbeat.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Its key is none.
    #[error("heartbeat {name}: {path} does not hold 64 hexadecimal digits")]
    Key {
        /// The heartbeat.
        name: String,
        /// The file.
        path: PathBuf,
    },
    /// No randomness for the session.
    #[error("no session for heartbeats can be drawn")]
    Session,
}

/// A beat as it is sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::daemon) struct Beat {
    /// Above all before it.
    number: u64,
    /// HMAC-SHA256, in hexadecimal.
    proof: String,
}

struct Endpoint {
    key: MacKey,
    within: Duration,
    /// The number of the last beat, and when it came.
    last: Mutex<(u64, Option<Instant>)>,
}

/// All of them.
pub(in crate::daemon) struct Heartbeats {
    session: String,
    endpoints: BTreeMap<String, Endpoint>,
    /// Since when the robot runs, if it does.
    running: Mutex<Option<Instant>>,
}

impl Heartbeats {
    pub(super) fn new(configured: &[Heartbeat]) -> Result<Self, HeartbeatError> {
        let mut endpoints = BTreeMap::new();
        for heartbeat in configured {
            let endpoint = Endpoint {
                key: heartbeat.key()?,
                within: Duration::from_millis(heartbeat.within_ms),
                last: Mutex::new((0, None)),
            };
            let name = heartbeat.name.clone();
            if !is_name(&name) || endpoints.insert(name, endpoint).is_some() {
                return Err(HeartbeatError::Name(heartbeat.name.clone()));
            }
            if heartbeat.within_ms < 100 {
                return Err(HeartbeatError::Within(heartbeat.name.clone()));
            }
        }
        Ok(Self {
            session: hex::encode(random_id().map_err(|_| HeartbeatError::Session)?),
            endpoints,
            running: Mutex::default(),
        })
    }

    /// What beats of this process are proven for.
    pub(in crate::daemon) fn session(&self) -> &str {
        &self.session
    }

    /// Takes a beat, if it is the endpoint's and above all before it.
    pub(in crate::daemon) fn take(&self, name: &str, beat: &Beat) -> bool {
        let Some(endpoint) = self.endpoints.get(name) else {
            return false;
        };
        let number = beat.number.to_string();
        let proven = hex::decode(&beat.proof).is_ok_and(|proof| {
            let (name, session) = (name.as_bytes(), self.session.as_bytes());
            let parts: [&[u8]; 7] = [
                DOMAIN.as_bytes(),
                &[0],
                name,
                &[0],
                session,
                &[0],
                number.as_bytes(),
            ];
            endpoint.key.verify(&parts, &proof)
        });
        let mut last = endpoint.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !proven || beat.number <= last.0 {
            return false;
        }
        *last = (beat.number, Some(Instant::now()));
        true
    }

    /// Who has been silent for too long, while the robot runs. From the moment in which it begins to, each has its whole time.
    pub(super) fn silent(&self, is_running: bool) -> Option<&str> {
        let mut running = lock(&self.running);
        if !is_running {
            *running = None;
            return None;
        }
        let since = *running.get_or_insert_with(Instant::now);
        drop(running);
        let is_silent = |endpoint: &Endpoint| {
            let (_, last) = *endpoint.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.unwrap_or(since).max(since).elapsed() > endpoint.within
        };
        let found = self.endpoints.iter().find(|(_, endpoint)| is_silent(endpoint));
        found.map(|(name, _)| name.as_str())
    }
}

fn lock(running: &Mutex<Option<Instant>>) -> MutexGuard<'_, Option<Instant>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=64).contains(&name.len()) && name.bytes().all(allowed)
}

impl Heartbeat {
    fn key(&self) -> Result<MacKey, HeartbeatError> {
        let (name, path) = (self.name.clone(), self.key_file.clone());
        let text = read(&path).map_err(|source| HeartbeatError::Read {
            name: name.clone(),
            path: path.clone(),
            source,
        })?;
        let digits = text.expose().trim_ascii();
        let key = hex::decode(digits).map(Secret::from_vec).ok();
        let key = key.filter(|key| key.len() == KEY);
        let key = key.ok_or(HeartbeatError::Key { name, path })?;
        Ok(MacKey::new(HashAlg::Sha256, key.expose()))
    }
}

fn read(path: &Path) -> std::io::Result<Secret> {
    std::fs::read(path).map(Secret::from_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alcub3_crypto::hmac;

    fn beat(of: &Heartbeats, key: &[u8], name: &str, number: u64) -> Beat {
        let text = format!("{DOMAIN}\0{name}\0{}\0{number}", of.session());
        let proof = hmac(HashAlg::Sha256, key, &[text.as_bytes()]);
        Beat {
            number,
            proof: hex::encode(proof.as_bytes()),
        }
    }

    fn two() -> (tempfile::TempDir, Vec<Heartbeat>) {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, byte: u8, within_ms| {
            let key_file = folder.path().join(name);
            std::fs::write(&key_file, format!("{}\n", hex::encode([byte; KEY]))).unwrap();
            Heartbeat {
                name: name.to_owned(),
                key_file,
                within_ms,
            }
        };
        let both = vec![of("tablet", 7, 200), of("watchman", 8, 10_000)];
        (folder, both)
    }

    #[test]
    fn a_beat_counts_once_for_its_endpoint_and_its_process() {
        let (_folder, both) = two();
        let (beats, other) = (Heartbeats::new(&both).unwrap(), Heartbeats::new(&both).unwrap());
        let (key, name) = ([7; KEY], "tablet");
        assert!(beats.take(name, &beat(&beats, &key, name, 5)));
        assert!(!beats.take(name, &beat(&beats, &key, name, 5)), "again");
        assert!(!beats.take(name, &beat(&beats, &key, name, 4)), "an older one");
        assert!(
            !beats.take(name, &beat(&other, &key, name, 6)),
            "of another process"
        );
        assert!(
            !beats.take(name, &beat(&beats, &[8; KEY], name, 6)),
            "with another's key"
        );
        assert!(!beats.take(name, &beat(&beats, &key, "watchman", 6)), "another's");
        assert!(!beats.take("nobody", &beat(&beats, &key, "nobody", 6)));
        assert!(beats.take(name, &beat(&beats, &key, name, 6)));
    }

    #[test]
    fn the_shortest_silence_is_found_while_the_robot_runs_and_only_then() {
        let (_folder, both) = two();
        let beats = Heartbeats::new(&both).unwrap();
        assert_eq!(beats.silent(false), None);
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(beats.silent(true), None, "it has just begun to run");
        std::thread::sleep(Duration::from_millis(150));
        assert!(beats.take("tablet", &beat(&beats, &[7; KEY], "tablet", 1)));
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(beats.silent(true), None);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(beats.silent(true), Some("tablet"));
        assert_eq!(beats.silent(false), None);
    }

    #[test]
    fn names_times_and_keys_that_are_none_are_refused() {
        let (folder, both) = two();
        let changed = |change: fn(&mut Heartbeat)| {
            let mut one = both[0].clone();
            change(&mut one);
            Heartbeats::new(&[one, both[1].clone()])
                .err()
                .unwrap()
                .to_string()
        };
        assert!(changed(|one| one.name = "watchman".to_owned()).contains("two heartbeats"));
        assert!(changed(|one| one.name = "Tablet 1".to_owned()).contains("1 to 64"));
        assert!(changed(|one| one.within_ms = 50).contains("100 at least"));
        assert!(changed(|one| one.key_file = "/nowhere".into()).contains("/nowhere"));
        std::fs::write(folder.path().join("tablet"), "short").unwrap();
        assert!(changed(|_| ()).contains("64 hexadecimal digits"));
    }
}
