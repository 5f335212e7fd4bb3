//! What a robot measures while it runs, as its users see it: learned from a good machine, judged at each attestation.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_crypto::HashAlg;
use serde_json::Value;
use support::assert_error;
use support::fleet::Fleet;

/// The bank that the robots here are judged in: they have P-384 keys.
const BANK: HashAlg = HashAlg::Sha384;

/// The kernel of the robot: what it measures is in its list and in the TPM.
struct Kernel<'f> {
    fleet: &'f Fleet,
    list: ListBuilder,
    extended: usize,
}

impl<'f> Kernel<'f> {
    /// Starts, with the boot's aggregate and two programs.
    fn start(fleet: &'f Fleet, ima_hash: HashAlg) -> Self {
        let log = std::fs::read(fleet.path().join("boot.log")).unwrap();
        let replayed = EventLog::parse(&log)
            .unwrap()
            .replay_bank(ima_hash)
            .unwrap()
            .unwrap();
        let boot: Vec<u8> = (0..=9).collect();
        let values = boot.iter().map(|pcr| replayed.value(*pcr).unwrap()).collect();
        let boot = PcrValues::new(PcrSelection::of(ima_hash, &boot).unwrap(), values).unwrap();
        let mut kernel = Self {
            fleet,
            list: ListBuilder::new(),
            extended: 0,
        };
        kernel.list.boot_aggregate(ima_hash, &boot);
        for program in ["/sbin/init", "/usr/bin/driver"] {
            kernel.list.file(program, &ima_hash.digest(&[program.as_bytes()]));
        }
        kernel.measured();
        kernel
    }

    fn measure(&mut self, name: &str, content: &str) {
        self.list
            .file(name, &HashAlg::Sha256.digest(&[content.as_bytes()]));
        self.measured();
    }

    fn measured(&mut self) {
        let extends = self.list.extends(BANK);
        for digest in &extends[self.extended..] {
            let word = format!("10:{}={}", BANK.name(), digest.to_hex());
            self.fleet.robot.tools().run("pcrextend", &[&word]).unwrap();
        }
        self.extended = extends.len();
        std::fs::write(self.fleet.path().join("ima"), self.list.bytes()).unwrap();
    }
}

fn codes(answer: &Value) -> Vec<&str> {
    let findings = answer["findings"].as_array().unwrap().iter();
    let codes = findings.filter(|finding| finding["severity"] == "untrusted");
    codes.map(|finding| finding["reason"].as_str().unwrap()).collect()
}

#[test]
fn a_program_that_a_good_robot_never_measured_makes_it_untrusted_and_is_named() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.armed();
    let mut kernel = Kernel::start(&fleet, HashAlg::Sha256);
    let attest = "attest --eventlog boot.log --ima ima";
    assert!(
        fleet.yes(attest)["findings"]
            .to_string()
            .contains("runtime-unjudged")
    );

    let learned = fleet
        .yes("reference learn --eventlog boot.log --ima ima --bank sha384 --exclude /tmp/* -o good.json");
    assert_eq!(
        (&learned["files"], &learned["bank"]),
        (&2.into(), &"sha384".into())
    );
    assert_eq!(fleet.yes("authority reference r1 --values good.json")["files"], 2);
    let trusted = fleet.yes(attest);
    assert_eq!((codes(&trusted).len(), &trusted["lease"]), (0, &true.into()));
    assert!(!trusted["findings"].to_string().contains("runtime"), "{trusted}");

    kernel.measure("/tmp/scratch", "whatever");
    fleet.yes(attest);
    let before = kernel.list.bytes().to_vec();
    kernel.measure("/usr/bin/driver", "changed");
    kernel.measure("/opt/intruder", "intruder");
    let untrusted = fleet.no(attest);
    assert_eq!(codes(&untrusted), ["runtime-file", "runtime-file"]);
    assert_eq!(untrusted["lease"], false);
    let mut findings = untrusted["findings"].as_array().unwrap().iter();
    let found = findings.find(|found| found["reason"] == "runtime-file").unwrap();
    assert!(
        found["remedy"]
            .as_str()
            .unwrap()
            .contains("add its digest to the references"),
        "{found}"
    );
    assert!(found["meaning"].is_string());
    let text = fleet.run(attest).stdout;
    assert_eq!(
        text.matches("what to do: if the file was updated on purpose")
            .count(),
        1,
        "{text}"
    );
    let changed = HashAlg::Sha256.digest(&[b"changed"]).to_hex();
    for named in [
        changed.as_str(),
        "entry 4: /usr/bin/driver has another digest",
        "entry 5: /opt/intruder has no reference",
    ] {
        assert!(text.contains(named), "{text}");
    }

    // The list as it was before the intruder, and none.
    std::fs::write(fleet.path().join("ima"), &before).unwrap();
    assert_eq!(codes(&fleet.no(attest)), ["runtime-log-mismatch"]);
    let absent = fleet.run("--json attest --eventlog boot.log --ima absent");
    assert_error(&absent, 70, "robot");
}

#[test]
fn the_robots_own_bank_is_learned_by_the_authority_at_once() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.provisioned();
    fleet.armed();
    let mut kernel = Kernel::start(&fleet, HashAlg::Sha384);
    let set = fleet.yes("authority reference r1 --eventlog boot.log --ima ima --note-violations");
    assert_eq!(set["files"], 2);
    kernel.list.violation("/var/log/syslog");
    kernel.measured();
    let answer = fleet.yes("attest --eventlog boot.log --ima ima");
    assert!(
        answer["findings"].to_string().contains("runtime-violation-noted"),
        "{answer}"
    );
    for words in [
        "reference learn --eventlog boot.log --ima ima --exclude * -o x",
        "reference learn --eventlog boot.log --exclude /tmp/* -o x",
        "reference learn --eventlog boot.log --bank sha1 -o x",
        "authority reference r1 --values x --ima ima",
    ] {
        assert_error(&fleet.run(&format!("--json {words}")), 2, "usage");
    }
    assert_error(
        &fleet.run("--json reference learn --eventlog boot.log --ima boot.log -o x"),
        70,
        "bad-ima-list",
    );
}
