//! One robot, its authority, two approvers and an operator, on two software TPMs.

use super::{Run, command, finished, installed};
use alcub3_attestation::event_log::EventLog;
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_crypto::HashAlg;
use alcub3_testkit::{Served, Swtpm};
use serde_json::Value;
use std::path::Path;

pub struct Fleet {
    pub robot: Served,
    pub authority: Served,
    pub robot_swtpm: Swtpm,
    _authority_swtpm: Swtpm,
    folder: tempfile::TempDir,
}

impl Fleet {
    pub fn start() -> Option<Self> {
        if !installed(&["swtpm", "tpm2_pcrread"]) {
            return None;
        }
        let (robot_swtpm, authority_swtpm) = (Swtpm::start().unwrap(), Swtpm::start().unwrap());
        let fleet = Self {
            robot: robot_swtpm.serve().unwrap(),
            authority: authority_swtpm.serve().unwrap(),
            robot_swtpm,
            _authority_swtpm: authority_swtpm,
            folder: tempfile::tempdir().unwrap(),
        };
        fleet.boot();
        Some(fleet)
    }

    /// Writes a boot log and extends it into the robot's TPM.
    pub fn boot(&self) {
        self.boot_of(&self.robot);
    }

    /// As [`Self::boot`], for another robot's TPM.
    pub fn boot_of(&self, tpm: &Served) {
        let mut log = Builder::new(&[HashAlg::Sha256, HashAlg::Sha384]).unwrap();
        let log = log.uefi_boot(&Boot::default()).clone().finish();
        std::fs::write(self.path().join("boot.log"), &log).unwrap();
        let tools = tpm.tools();
        for event in EventLog::parse(&log)
            .unwrap()
            .events()
            .iter()
            .filter(|event| event.is_extended())
        {
            let [sha256, sha384] =
                [HashAlg::Sha256, HashAlg::Sha384].map(|alg| event.digest(alg).unwrap().to_hex());
            tools
                .run(
                    "pcrextend",
                    &[&format!("{}:sha256={sha256},sha384={sha384}", event.pcr)],
                )
                .unwrap();
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn run(&self, words: &str) -> Run {
        self.elsewhere(&self.robot, "robot", words)
    }

    pub fn yes(&self, words: &str) -> Value {
        let run = self.run(&format!("--json {words}"));
        assert_eq!(run.code, 0, "{words}: {}{}", run.stdout, run.stderr);
        run.json()
    }

    pub fn no(&self, words: &str) -> Value {
        let run = self.run(&format!("--json {words}"));
        assert_eq!(run.code, 1, "{words}: {}{}", run.stdout, run.stderr);
        run.json()
    }

    pub fn founded(&self) {
        for name in ["alice", "bob", "carol"] {
            self.yes(&format!("authority operator key {name}.key"));
        }
        self.yes(
            "authority init --approver alice=alice.key.pub --approver bob=bob.key.pub --admit-simulators",
        );
        self.yes(
            "authority operator add carol --role operator --key carol.key.pub --level SECRET --integrity operational",
        );
    }

    pub fn provisioned(&self) -> Value {
        self.founded();
        self.yes("provision r1 --level UNCLASSIFIED --level SECRET --simulator-ca --eventlog boot.log --part sensor:lidar=L-7")
    }

    /// A person's chip, from a blank one to an admitted one; leaves the authority's key in `authority.pub` and the admission in
    /// `NAME.admission`.
    pub fn admitted(&self, tpm: &Served, name: &str) -> Value {
        let there = |words: &str| {
            let run = self.elsewhere(tpm, name, &format!("--json {words}"));
            assert_eq!(run.code, 0, "{words}: {}{}", run.stdout, run.stderr);
        };
        there(&format!(
            "chip present {name} --key {name}.key --simulator-ca {name}-ca.pem -o {name}.chip"
        ));
        self.yes(&format!("authority roots --simulator {name}-ca.pem"));
        self.yes("authority show --key authority.pub");
        self.yes(&format!(
            "authority chip challenge {name}.chip -o {name}.challenge"
        ));
        there(&format!(
            "chip answer {name}.challenge --request {name}.chip --authority-key authority.pub -o {name}.answer"
        ));
        self.yes(&format!("authority chip admit {name}.answer -o {name}.admission"))
    }

    /// A person who holds a share or commands.
    pub fn registered(&self, name: &str, role: &str) {
        self.yes(&format!("authority operator key {name}.key"));
        self.yes(&format!(
            "authority operator add {name} --role {role} --key {name}.key.pub"
        ));
    }

    pub fn armed(&self) {
        self.yes("estop reset --approve alice=alice.key --approve bob=bob.key");
    }

    pub fn mission(&self) -> Value {
        self.armed();
        let attested = self.yes("attest --eventlog boot.log");
        assert_eq!(
            (&attested["trusted"], &attested["lease"]),
            (&true.into(), &true.into())
        );
        self.yes(
            "mission start --level SECRET --duration-s 600 --issuer carol=move.* --approve alice=alice.key --approve \
             bob=bob.key",
        )
    }

    pub fn sign(&self, mission: &Value, sequence: u64, speed: i64, out: &str) {
        let (id, lease) = (
            mission["mission"].as_str().unwrap(),
            mission["lease"].as_str().unwrap(),
        );
        self.yes(&format!(
            "command sign move.velocity --arg velocity_x_mm_per_s={speed} --robot r1 --mission {id} --lease {lease} \
             --issuer carol --key carol.key --sequence {sequence} --level SECRET --out {out}"
        ));
    }

    /// A command on another TPM than the robot's, with a state folder of its own.
    pub fn elsewhere(&self, tpm: &Served, state: &str, words: &str) -> Run {
        let mut command = command();
        command
            .env("ALCUB3_TPM", tpm.spec())
            .env("ALCUB3_STATE", self.path().join(state))
            .env("ALCUB3_AUTHORITY", self.path().join("authority"))
            .env("ALCUB3_AUTHORITY_TPM", self.authority.spec())
            .current_dir(self.path());
        finished(command.args(words.split_whitespace()).output().unwrap())
    }
}
