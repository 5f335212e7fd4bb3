//! Durable entries of the audit log in groups, beside bare fdatasync on the same disk in the same run.

use crate::row::{Must, Row};
use alcub3_agent::AuditFile;
use alcub3_audit_log::{Entry, EntryKind, Outcome};
use alcub3_crypto::HashAlg;
use alcub3_trust_model::{BootId, Integrity, Labels, Level, RobotId};
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

/// Callers that wait for the disk at once, and how many entries each hands over before it waits.
const CALLERS: usize = 8;
const AT_ONCE: usize = 256;
const ROUNDS: usize = 40;

/// How often a file of the folder is appended to and synced in a second, an entry at a time.
fn bare_syncs(dir: &std::path::Path, entry: &[u8]) -> f64 {
    let mut file = File::create(dir.join("bare")).unwrap();
    let (began, mut syncs) = (Instant::now(), 0u32);
    while began.elapsed() < Duration::from_millis(1_500) {
        file.write_all(entry).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    f64::from(syncs) / began.elapsed().as_secs_f64()
}

fn verdict(log: &AuditFile, caller: usize, n: usize) -> Entry {
    let subject = format!("operator-{caller}");
    let mut entry = log.entry(EntryKind::Command, subject, 1_790_000_000_000, Outcome::Done);
    entry.object = Some(HashAlg::Sha256.digest(&[&n.to_be_bytes()]));
    entry
}

/// On the disk that the target folder is on: a folder in memory would sync for nothing.
pub fn durable() -> Vec<Row> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let robot = RobotId::new("rover-1").unwrap();
    let log = AuditFile::open(dir.path(), robot, BootId::new([1; 16])).unwrap();
    let log = log.labelled(Labels::new(Level::Secret, Integrity::Operational));
    let bare = bare_syncs(dir.path(), &verdict(&log, 0, 0).to_canonical().unwrap());
    let began = Instant::now();
    let mut waits: Vec<Duration> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let log = &log;
                scope.spawn(move || {
                    let round = |round: usize| {
                        let entries: Vec<Entry> = (0..AT_ONCE)
                            .map(|n| verdict(log, caller, round * AT_ONCE + n))
                            .collect();
                        let began = Instant::now();
                        log.append_each(&entries).unwrap();
                        began.elapsed()
                    };
                    (0..ROUNDS).map(round).collect::<Vec<_>>()
                })
            })
            .collect();
        callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect()
    });
    let rate = (CALLERS * AT_ONCE * ROUNDS) as f64 / began.elapsed().as_secs_f64();
    assert_eq!(log.head().0, (CALLERS * AT_ONCE * ROUNDS) as u64);
    waits.sort_unstable();
    let p99_ms = waits[waits.len() * 99 / 100].as_secs_f64() * 1e3;
    let mut row = Row::of("audit_durable_per_s", rate, "1/s", Must::AtLeast(50_000.0));
    row.limit = Some(bare);
    let wait = Row::of("audit_durable_p99_ms", p99_ms, "ms", Must::AtMost(1_000.0));
    vec![row, wait]
}
