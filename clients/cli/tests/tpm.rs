//! `alcub3 tpm …` on a software TPM, compared with `tpm2-tools` on the same one, and its refusals.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_testkit::{Served, Swtpm};
use support::{alcub3, assert_error, command, finished, installed};

struct Tpm {
    _swtpm: Swtpm,
    served: Served,
    folder: tempfile::TempDir,
}

impl Tpm {
    fn start() -> Option<Self> {
        if !installed(&["swtpm", "tpm2_pcrread"]) {
            return None;
        }
        let swtpm = Swtpm::start().unwrap();
        let served = swtpm.serve().unwrap();
        Some(Self {
            _swtpm: swtpm,
            served,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn run(&self, arguments: &[&str]) -> support::Run {
        let mut command = command();
        command
            .env("ALCUB3_TPM", self.served.spec())
            .current_dir(self.folder.path());
        finished(command.args(arguments).output().unwrap())
    }

    fn tool(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let tools = self.served.tools().in_folder(self.folder.path());
        tools.run(words[0], &words[1..]).unwrap().text()
    }
}

#[test]
fn pcrs_are_those_that_tpm2_pcrread_reads() {
    let Some(tpm) = Tpm::start() else { return };
    tpm.tool("pcrevent 13 /dev/null");
    tpm.tool(&format!("pcrextend 7:sha256={}", "11".repeat(32)));
    let all = tpm.run(&["tpm", "pcrs", "--json"]).json();
    for bank in ["sha1", "sha256", "sha384", "sha512"] {
        let text = tpm.tool(&format!("pcrread {bank}"));
        let mut compared = 0;
        for line in text.lines().filter(|line| line.contains(": 0x")) {
            let (pcr, value) = line.split_once(": 0x").unwrap();
            assert_eq!(
                all["banks"][bank][pcr.trim()],
                value.trim().to_lowercase(),
                "{bank} {pcr}"
            );
            compared += 1;
        }
        assert_eq!(compared, 24, "{text}");
    }
    let some = tpm.run(&["--json", "tpm", "pcrs", "sha256:7+sha384:0,13"]).json();
    assert_eq!(some["banks"]["sha256"].as_object().unwrap().len(), 1);
    assert_eq!(some["banks"]["sha384"].as_object().unwrap().len(), 2);
    let text = tpm.run(&["tpm", "pcrs", "sha256:7"]);
    assert!(
        text.stdout
            .contains(some["banks"]["sha256"]["7"].as_str().unwrap()),
        "{}",
        text.stdout
    );
    assert_error(&tpm.run(&["--json", "tpm", "pcrs", "sha256:99"]), 2, "usage");
}

#[test]
fn info_says_what_the_chip_is_and_that_it_is_a_simulator() {
    let Some(tpm) = Tpm::start() else { return };
    let json = tpm.run(&["tpm", "info", "--json"]).json();
    assert_eq!(
        (&json["simulator"], &json["kind"]),
        (&true.into(), &"simulator".into())
    );
    assert_eq!(
        json["banks"],
        serde_json::json!(["sha1", "sha256", "sha384", "sha512"])
    );
    assert_eq!(json["fips"]["modes"], 0);
    let text = tpm.run(&["tpm", "info"]);
    assert!(
        text.stdout.starts_with("a simulator: a program answers"),
        "{}",
        text.stdout
    );
    assert!(
        !text.stdout.contains("Some(") && !text.stdout.contains("None"),
        "no dump: {}",
        text.stdout
    );
}

#[test]
fn random_bytes_are_as_many_as_asked_for_and_never_the_same() {
    let Some(tpm) = Tpm::start() else { return };
    let once = tpm.run(&["tpm", "random", "300"]).stdout;
    assert_eq!(once.trim().len(), 600);
    assert_ne!(once, tpm.run(&["tpm", "random", "300"]).stdout);
    for bad in ["0", "-1", "65537", "x"] {
        assert_eq!(tpm.run(&["tpm", "random", bad]).code, 2, "{bad}");
    }
}

#[test]
fn sealed_data_comes_back_whole_until_its_pcrs_change() {
    let Some(tpm) = Tpm::start() else { return };
    for size in [1, 128, 129, 5000] {
        let data: Vec<u8> = (0..size).map(|n| u8::try_from(n % 251).unwrap()).collect();
        std::fs::write(tpm.folder.path().join("data"), &data).unwrap();
        assert_eq!(tpm.run(&["tpm", "seal", "data", "--out", "sealed"]).code, 0);
        let run = tpm.run(&["tpm", "unseal", "sealed", "--out", "back"]);
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(
            std::fs::read(tpm.folder.path().join("back")).unwrap(),
            data,
            "{size} bytes"
        );
    }
    std::fs::write(tpm.folder.path().join("data"), "for this boot only").unwrap();
    assert_eq!(
        tpm.run(&["tpm", "seal", "data", "--out", "sealed", "--pcrs", "sha256:7,13"])
            .code,
        0
    );
    assert_eq!(tpm.run(&["tpm", "unseal", "sealed"]).stdout, "for this boot only");
    tpm.tool(&format!("pcrextend 13:sha256={}", "22".repeat(32)));
    let refused = tpm.run(&["tpm", "unseal", "sealed", "--json"]);
    assert_eq!(refused.code, 1, "{}{}", refused.stdout, refused.stderr);
    assert_eq!(refused.json()["unsealed"], false);
    let text = tpm.run(&["tpm", "unseal", "sealed"]);
    assert!(
        text.stdout.starts_with("the TPM refused: the PCRs"),
        "{}",
        text.stdout
    );
}

#[test]
fn a_changed_cut_or_foreign_sealed_file_is_refused_and_leaves_nothing() {
    let Some(tpm) = Tpm::start() else { return };
    std::fs::write(tpm.folder.path().join("data"), vec![9; 600]).unwrap();
    assert_eq!(tpm.run(&["tpm", "seal", "data", "--out", "sealed"]).code, 0);
    let whole = std::fs::read(tpm.folder.path().join("sealed")).unwrap();
    for at in (0..whole.len()).step_by(whole.len() / 30) {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        std::fs::write(tpm.folder.path().join("changed"), changed).unwrap();
        let run = tpm.run(&["tpm", "unseal", "changed", "--out", "back"]);
        assert_ne!(run.code, 0, "byte {at}");
        assert!(!tpm.folder.path().join("back").exists(), "byte {at}");
    }
    std::fs::write(tpm.folder.path().join("cut"), &whole[..whole.len() - 1]).unwrap();
    assert_error(
        &tpm.run(&["--json", "tpm", "unseal", "cut"]),
        70,
        "bad-sealed-file",
    );
    let Some(other) = Tpm::start() else { return };
    std::fs::write(other.folder.path().join("sealed"), &whole).unwrap();
    assert_error(
        &other.run(&["--json", "tpm", "unseal", "sealed"]),
        70,
        "tpm-refused",
    );
}

#[test]
fn nothing_is_left_in_the_chip() {
    let Some(tpm) = Tpm::start() else { return };
    std::fs::write(tpm.folder.path().join("data"), "data").unwrap();
    for _ in 0..6 {
        assert_eq!(
            tpm.run(&["tpm", "seal", "data", "--out", "sealed", "--pcrs", "sha256:0"])
                .code,
            0
        );
        assert_eq!(tpm.run(&["tpm", "unseal", "sealed"]).stdout, "data");
    }
    for kind in [
        "handles-transient",
        "handles-loaded-session",
        "handles-saved-session",
        "handles-persistent",
    ] {
        assert_eq!(tpm.tool(&format!("getcap {kind}")).trim(), "", "{kind}");
    }
}

#[test]
fn an_absent_tpm_is_unavailable_with_a_remedy_and_never_replaced_by_a_simulator() {
    let folder = tempfile::tempdir().unwrap();
    let absent = folder.path().join("tpmrm9");
    let cases = [
        (format!("device:{}", absent.display()), "tpm-absent"),
        (format!("device:{}", folder.path().display()), "tpm-unavailable"),
        (format!("socket:{}", absent.display()), "tpm-unavailable"),
        ("socket:127.0.0.1:1".to_owned(), "tpm-unavailable"),
    ];
    for (spec, word) in cases {
        for command in [&["tpm", "info"][..], &["tpm", "random", "8"], &["tpm", "pcrs"]] {
            let words = ["--json", "--tpm", &spec]
                .into_iter()
                .chain(command.iter().copied());
            assert_error(&alcub3(words), 69, word);
        }
        let text = alcub3(["--tpm", &spec, "tpm", "info"]);
        assert_eq!((text.code, text.stdout.as_str()), (69, ""));
        assert!(text.stderr.contains("remedy: "), "{}", text.stderr);
    }
    assert_error(
        &alcub3(["--json", "--tpm", "nonsense", "tpm", "info"]),
        2,
        "usage",
    );
}

#[test]
fn a_missing_swtpm_program_is_unavailable() {
    let mut command = command();
    let run = finished(
        command
            .env("PATH", "/nowhere")
            .args(["--json", "--tpm", "swtpm", "tpm", "info"])
            .output()
            .unwrap(),
    );
    assert_error(&run, 69, "swtpm-missing");
}

#[test]
fn doctor_explains_an_absent_tpm_a_simulator_and_a_lockout() {
    let run = alcub3(["--json", "--tpm", "device:/nowhere/tpm", "tpm", "doctor"]);
    assert_eq!(run.code, 69);
    let json = run.json();
    assert_eq!(json["healthy"], false);
    assert_eq!(json["findings"][0]["severity"], "fault");
    assert!(
        json["findings"][0]["remedy"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let Some(tpm) = Tpm::start() else { return };
    let healthy = tpm.run(&["tpm", "doctor", "--json"]);
    assert_eq!(healthy.code, 0, "{}", healthy.stdout);
    let has = |run: &support::Run, code: &str| {
        run.json()["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["code"] == code)
    };
    assert!(has(&healthy, "simulator"));
    tpm.tool("dictionarylockout -s -n 1 -t 1000 -l 1000");
    tpm.tool("createprimary -C o -c primary.ctx");
    tpm.tool("create -C primary.ctx -p right -u key.pub -r key.priv -c key.ctx");
    tpm.tool("flushcontext -t");
    let tools = tpm.served.tools().in_folder(tpm.folder.path());
    std::fs::write(tpm.folder.path().join("data"), "x").unwrap();
    let wrong = [
        "-c", "key.ctx", "-p", "wrong", "-g", "sha256", "-o", "sig", "data",
    ];
    assert!(tools.run("sign", &wrong).is_err() && tools.run("sign", &wrong).is_err());
    let locked = tpm.run(&["tpm", "doctor", "--json"]);
    assert!(has(&locked, "lockout"), "{}", locked.stdout);
    assert_eq!(locked.code, 1, "{}", locked.stdout);
    let text = tpm.run(&["tpm", "doctor"]);
    assert!(
        text.stdout.contains("do: ") && text.stdout.contains("[lockout]"),
        "{}",
        text.stdout
    );
}
