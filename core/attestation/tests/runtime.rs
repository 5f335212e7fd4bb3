//! What the running system measured, judged: lists that grow, that are cut, of other boots; files with and without references.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod software_robot;

use alcub3_attestation::appraisal::{
    Policy, Reason, ReferenceError, ReferenceValues, RuntimeRecord, RuntimeReferences, Severity, Verdict,
    appraise,
};
use alcub3_attestation::ima::builder::ListBuilder;
use alcub3_attestation::ima::{ImaLog, Template, TemplateHashing};
use alcub3_crypto::{Digest, HashAlg};
use software_robot::{BANK, NOW_MS, Robot, Verifier};

fn digest(of: &str) -> Digest {
    BANK.digest(&[of.as_bytes()])
}

/// A robot whose kernel measured its boot and three programs.
fn running() -> (Robot, ListBuilder) {
    let mut robot = Robot::new();
    let mut list = ListBuilder::new();
    list.boot_aggregate(BANK, &robot.pcrs());
    for program in ["/sbin/init", "/usr/bin/driver", "/usr/bin/planner"] {
        list.file(program, &digest(program));
    }
    measure(&mut robot, &list);
    (robot, list)
}

/// The kernel has measured the list, and the robot sends it whole.
fn measure(robot: &mut Robot, list: &ListBuilder) {
    robot.measured = list.extends(BANK);
    robot.sent = Some((0, list.bytes().to_vec()));
}

/// A verifier that accepts what was measured on this robot.
fn verifier(robot: &Robot, list: &ListBuilder) -> Verifier {
    let mut verifier = Verifier::of(robot);
    let golden = RuntimeReferences::golden(&ImaLog::parse(list.bytes()).unwrap()).unwrap();
    verifier.references = verifier.references.with_runtime(golden);
    verifier
}

fn with(verifier: &mut Verifier, change: impl FnOnce(&mut serde_json::Value)) {
    let mut json: serde_json::Value = serde_json::from_str(&verifier.references.to_json()).unwrap();
    change(&mut json["runtime"]);
    verifier.references = ReferenceValues::from_json(&json.to_string()).unwrap();
}

fn judge(robot: &Robot, verifier: &Verifier, known: Option<&RuntimeRecord>) -> Verdict {
    let policy = Policy {
        known_runtime: known,
        ..verifier.policy()
    };
    appraise(&robot.evidence(), &policy, NOW_MS)
}

fn untrusted(verdict: &Verdict) -> Vec<Reason> {
    let bad = verdict
        .findings()
        .iter()
        .filter(|finding| finding.severity == Severity::Untrusted);
    let reasons: Vec<_> = bad.map(|finding| finding.reason).collect();
    assert_eq!(verdict.is_trusted(), reasons.is_empty());
    assert!(verdict.is_trusted() || verdict.runtime().is_none());
    reasons
}

#[test]
fn a_list_that_explains_the_quote_by_known_files_is_trusted() {
    let (robot, list) = running();
    let verdict = judge(&robot, &verifier(&robot, &list), None);
    assert_eq!(untrusted(&verdict), []);
    assert_eq!(verdict.runtime().unwrap().position().entries, 4);
}

#[test]
fn without_references_a_list_is_noted_and_with_them_one_is_asked_for() {
    let (mut robot, list) = running();
    let none = Verifier::of(&robot);
    let verdict = judge(&robot, &none, None);
    assert_eq!(untrusted(&verdict), []);
    assert!(verdict.has(Reason::RuntimeUnjudged) && verdict.runtime().is_none());
    let asking = verifier(&robot, &list);
    robot.sent = None;
    assert_eq!(
        untrusted(&judge(&robot, &asking, None)),
        [Reason::RuntimeLogMissing]
    );
    assert_eq!(untrusted(&judge(&robot, &none, None)), []);
    robot.selected.retain(|pcr| *pcr != 10);
    assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::PcrNotQuoted]);
}

#[test]
fn a_list_that_grew_needs_only_what_was_added_and_nothing_where_nothing_was() {
    let (mut robot, mut list) = running();
    let mut asking = verifier(&robot, &list);
    let first = judge(&robot, &asking, None);
    let known = first.runtime();
    robot.sent = None;
    let idle = judge(&robot, &asking, known);
    assert_eq!(untrusted(&idle), []);
    assert_eq!(idle.runtime(), known);

    // The same file again, in another directory, which is excluded; measured after the quote is one that is not known.
    let judged = list.bytes().len();
    list.file("/tmp/scratch", &digest("scratch"));
    robot.measured = list.extends(BANK);
    list.file("/usr/bin/late", &digest("late"));
    robot.sent = Some((4, list.bytes()[judged..].to_vec()));
    assert_eq!(untrusted(&judge(&robot, &asking, known)), [Reason::RuntimeFile]);
    with(&mut asking, |runtime| {
        runtime["exclude"] = serde_json::json!(["/tmp/*"]);
    });
    // Other references than the list was judged by: it has to come whole.
    assert_eq!(
        untrusted(&judge(&robot, &asking, known)),
        [Reason::RuntimeLogHole]
    );
    robot.sent = Some((0, list.bytes().to_vec()));
    let grown = judge(&robot, &asking, known);
    assert_eq!(untrusted(&grown), []);
    assert_eq!(grown.runtime().unwrap().position().entries, 5);

    // The one measured after the quote is judged by the next one.
    robot.measured = list.extends(BANK);
    assert_eq!(
        untrusted(&judge(&robot, &asking, grown.runtime())),
        [Reason::RuntimeFile]
    );
    // Entries that were judged before may come again, and are not judged again.
    robot.sent = Some((3, ImaLog::parse(list.bytes()).unwrap().bytes_from(3).to_vec()));
    let again = judge(&robot, &asking, grown.runtime());
    assert_eq!(untrusted(&again), [Reason::RuntimeFile]);
    assert_eq!(again.findings().last().unwrap().event, Some(5));
}

#[test]
fn a_file_that_was_refused_once_is_refused_until_the_boot_ends() {
    let (mut robot, mut list) = running();
    let asking = verifier(&robot, &list);
    let good = judge(&robot, &asking, None);
    list.file("/usr/bin/intruder", &digest("intruder"));
    list.file("/usr/bin/driver", &digest("/usr/bin/driver"));
    measure(&mut robot, &list);
    let found = judge(&robot, &asking, good.runtime());
    assert_eq!(untrusted(&found), [Reason::RuntimeFile]);
    // The robot leaves the intruder out and begins behind it.
    robot.sent = Some((5, ImaLog::parse(list.bytes()).unwrap().bytes_from(5).to_vec()));
    assert_eq!(
        untrusted(&judge(&robot, &asking, good.runtime())),
        [Reason::RuntimeLogHole]
    );
    robot.sent = Some((4, ImaLog::parse(list.bytes()).unwrap().bytes_from(5).to_vec()));
    assert_eq!(
        untrusted(&judge(&robot, &asking, good.runtime())),
        [Reason::RuntimeLogMismatch]
    );
    robot.sent = None;
    assert_eq!(
        untrusted(&judge(&robot, &asking, good.runtime())),
        [Reason::RuntimeLogMissing]
    );
}

#[test]
fn no_other_boots_record_spares_entries() {
    let (mut robot, list) = running();
    let asking = verifier(&robot, &list);
    let before = judge(&robot, &asking, None);
    for restarted in [true, false] {
        let mut later = robot.clone();
        later.clock.reset_count += u32::from(!restarted);
        later.clock.restart_count += u32::from(restarted);
        later.sent = None;
        assert_eq!(
            untrusted(&judge(&later, &asking, before.runtime())),
            [Reason::RuntimeLogMissing]
        );
        later.sent = Some((4, Vec::new()));
        assert_eq!(
            untrusted(&judge(&later, &asking, before.runtime())),
            [Reason::RuntimeLogHole]
        );
        later.sent = Some((0, list.bytes().to_vec()));
        assert_eq!(untrusted(&judge(&later, &asking, before.runtime())), []);
    }
    robot.clock.clock_ms += 1;
    robot.sent = Some((4, Vec::new()));
    assert_eq!(untrusted(&judge(&robot, &asking, before.runtime())), []);
}

#[test]
fn whatever_is_done_to_a_list_it_no_longer_explains_the_quote() {
    let (robot, list) = running();
    let asking = verifier(&robot, &list);
    let entries = ImaLog::parse(list.bytes()).unwrap();
    let starts: Vec<usize> = (0..=4)
        .map(|entry| list.bytes().len() - entries.bytes_from(entry).len())
        .collect();
    let part = |entry: usize| &list.bytes()[starts[entry]..starts[entry + 1]];
    let orders: [&[usize]; 5] = [
        &[0, 1, 2],
        &[0, 1, 3, 2],
        &[0, 2, 3],
        &[1, 2, 3],
        &[0, 1, 1, 2, 3],
    ];
    for order in orders {
        let mut changed = robot.clone();
        changed.sent = Some((0, order.iter().flat_map(|entry| part(*entry)).copied().collect()));
        assert_eq!(
            untrusted(&judge(&changed, &asking, None)),
            [Reason::RuntimeLogMismatch],
            "{order:?}"
        );
    }
    for (at, bit) in (0..list.bytes().len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut bytes = list.bytes().to_vec();
        bytes[at] ^= 1 << bit;
        let mut changed = robot.clone();
        changed.sent = Some((0, bytes));
        let verdict = judge(&changed, &asking, None);
        let stated_hash = starts.iter().any(|start| (start + 4..start + 24).contains(&at));
        // The hash that the list states is of SHA-1 and not what this bank was given; that of zeros alone means something.
        assert_eq!(
            verdict.is_trusted(),
            stated_hash,
            "byte {at} bit {bit}: {:?}",
            verdict.findings()
        );
    }
}

#[test]
fn an_empty_pcr_is_bypass_or_inactive_and_never_good() {
    let (mut robot, list) = running();
    let asking = verifier(&robot, &list);
    robot.measured.clear();
    assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::ImaBypass]);
    robot.sent = Some((0, Vec::new()));
    assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::ImaInactive]);
}

#[test]
fn a_list_is_tied_to_the_boot_by_its_aggregate() {
    let (mut robot, list) = running();
    let asking = verifier(&robot, &list);
    let mut other = ListBuilder::new();
    other.file("boot_aggregate", &digest("another boot"));
    other.file("/sbin/init", &digest("/sbin/init"));
    measure(&mut robot, &other);
    assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::BootAggregate]);

    let mut without = ListBuilder::new();
    without.file("/sbin/init", &digest("/sbin/init"));
    measure(&mut robot, &without);
    assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::BootAggregate]);

    let mut bypassed = ListBuilder::new();
    bypassed.file("boot_aggregate", &Digest::zero(BANK));
    measure(&mut robot, &bypassed);
    let verdict = judge(&robot, &asking, None);
    assert_eq!(untrusted(&verdict), [Reason::BootAggregate]);
    assert!(verdict.findings().last().unwrap().detail.contains("no TPM"));

    // Of a bank that was not quoted, as on a robot with SHA-384 whose kernel hashes with SHA-256.
    let mut other_bank = ListBuilder::new();
    other_bank.file("boot_aggregate", &HashAlg::Sha384.digest(&[b"x"]));
    measure(&mut robot, &other_bank);
    let verdict = judge(&robot, &asking, None);
    assert_eq!(untrusted(&verdict), []);
    assert!(verdict.has(Reason::BootAggregateUnchecked));
}

#[test]
fn a_file_without_a_reference_or_with_another_digest_is_named() {
    let (mut robot, mut list) = running();
    let asking = verifier(&robot, &list);
    list.file("/usr/bin/driver", &digest("changed"));
    list.file("/usr/bin/driver", &HashAlg::Sha1.digest(&[b"weak"]));
    for number in 0..20 {
        list.file(&format!("/opt/{number}"), &digest("/sbin/init"));
    }
    measure(&mut robot, &list);
    let verdict = judge(&robot, &asking, None);
    let details: Vec<_> = verdict
        .findings()
        .iter()
        .map(|finding| finding.detail.as_str())
        .collect();
    assert!(
        details[0].starts_with("entry 4: /usr/bin/driver has another digest"),
        "{details:?}"
    );
    assert!(
        details[2].starts_with("entry 6: /opt/0 has no reference"),
        "{details:?}"
    );
    assert_eq!(details.last(), Some(&"and 14 more"));
    assert!(
        untrusted(&verdict)
            .iter()
            .all(|reason| *reason == Reason::RuntimeFile)
    );
}

#[test]
fn a_digest_of_fs_verity_is_not_that_of_the_file() {
    let (mut robot, mut list) = running();
    let mut asking = verifier(&robot, &list);
    let verity = [b"verity:sha256:\0".as_slice(), digest("/sbin/init").as_bytes()].concat();
    list.entry(Template::ImaNgV2, &[&verity, b"/sbin/init\0"], false);
    measure(&mut robot, &list);
    assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::RuntimeFile]);
    with(&mut asking, |runtime| {
        let also = format!("verity:sha256:{}", digest("/sbin/init").to_hex());
        runtime["files"]["/sbin/init"]
            .as_array_mut()
            .unwrap()
            .push(also.into());
    });
    assert_eq!(untrusted(&judge(&robot, &asking, None)), []);
}

#[test]
fn a_violation_is_refused_unless_it_is_to_be_noted_whatever_name_it_is_given() {
    let (mut robot, mut list) = running();
    let mut asking = verifier(&robot, &list);
    list.violation("/var/log/syslog");
    measure(&mut robot, &list);
    assert_eq!(
        untrusted(&judge(&robot, &asking, None)),
        [Reason::RuntimeViolation]
    );
    with(&mut asking, |runtime| runtime["violations"] = "note".into());
    let noted = judge(&robot, &asking, None);
    assert_eq!(untrusted(&noted), []);
    assert!(noted.has(Reason::RuntimeViolationNoted));
    with(&mut asking, |runtime| {
        runtime["violations"] = "refuse".into();
        runtime["exclude"] = serde_json::json!(["/var/log/syslog"]);
    });
    // The kernel extends the same for every violation: its name is the robot's word alone, and leaves nothing out.
    assert_eq!(
        untrusted(&judge(&robot, &asking, None)),
        [Reason::RuntimeViolation]
    );
}

#[test]
fn only_the_first_entry_of_a_boot_needs_no_reference_for_its_name() {
    let (mut robot, mut list) = running();
    let asking = verifier(&robot, &list);
    // A second kernel of the same boot (kexec) names the same PCRs.
    let kexec = |list: &mut ListBuilder, robot: &Robot| {
        list.boot_aggregate(BANK, &robot.pcrs());
    };
    kexec(&mut list, &robot);
    measure(&mut robot, &list);
    assert_eq!(untrusted(&judge(&robot, &asking, None)), []);
    let judged = judge(&robot, &asking, None);
    for digest in [digest("a program"), HashAlg::Sha384.digest(&[b"a program"])] {
        let mut list = list.clone();
        list.file("boot_aggregate", &digest);
        let mut robot = robot.clone();
        measure(&mut robot, &list);
        assert_eq!(untrusted(&judge(&robot, &asking, None)), [Reason::RuntimeFile]);
        // Also as the first of the entries that were added.
        let added = ImaLog::parse(list.bytes()).unwrap();
        robot.sent = Some((
            judged.runtime().unwrap().position().entries,
            added.bytes_from(added.len() - 1).to_vec(),
        ));
        let verdict = judge(&robot, &asking, judged.runtime());
        assert_eq!(untrusted(&verdict), [Reason::RuntimeFile]);
        assert!(RuntimeReferences::golden(&added).is_err());
    }
}

#[test]
fn what_was_measured_into_another_pcr_is_named() {
    let (mut robot, mut list) = running();
    let asking = verifier(&robot, &list);
    let before = list.bytes().len();
    list.file("/opt/hidden", &digest("x"));
    measure(&mut robot, &list);
    robot.measured.pop();
    let mut sent = list.bytes().to_vec();
    sent[before] = 11;
    robot.sent = Some((0, sent.clone()));
    let verdict = judge(&robot, &asking, None);
    assert_eq!(untrusted(&verdict), [Reason::RuntimeOtherPcr]);
    let detail = &verdict.findings().last().unwrap().detail;
    assert!(
        detail.ends_with("found /opt/hidden in PCR 11, expected in PCR 10"),
        "{detail}"
    );
    assert!(RuntimeReferences::golden(&ImaLog::parse(&sent).unwrap()).is_err());
}

#[test]
fn a_name_in_a_finding_is_cut_and_does_nothing_to_a_terminal() {
    let (mut robot, mut list) = running();
    let asking = verifier(&robot, &list);
    let name = format!("/tmp/\u{1b}[2J{}", "a".repeat(100_000));
    list.file(&name, &digest("x"));
    measure(&mut robot, &list);
    let verdict = judge(&robot, &asking, None);
    let detail = &verdict.findings().last().unwrap().detail;
    assert!(detail.contains(r"/tmp/\u{1b}[2Jaaa"), "{detail}");
    assert!(detail.len() < 500, "{}", detail.len());
}

#[test]
fn a_kernel_that_extends_sha1_is_judged_and_warned_of() {
    let (mut robot, list) = running();
    let asking = verifier(&robot, &list);
    let parsed = ImaLog::parse(list.bytes()).unwrap();
    robot.measured = parsed
        .entries()
        .map(|entry| TemplateHashing::PaddedSha1.extended(&entry, BANK))
        .collect();
    let verdict = judge(&robot, &asking, None);
    assert_eq!(untrusted(&verdict), []);
    assert!(verdict.has(Reason::RuntimeSha1));
    assert!(!judge(&running().0, &asking, None).has(Reason::RuntimeSha1));
}

#[test]
fn references_are_written_and_read_and_a_wrong_document_is_named() {
    let (robot, list) = running();
    let mut asking = verifier(&robot, &list);
    with(&mut asking, |runtime| {
        runtime["exclude"] = serde_json::json!(["/tmp/*", "/run/x"]);
        runtime["violations"] = "note".into();
    });
    let again = ReferenceValues::from_json(&asking.references.to_json()).unwrap();
    assert_eq!(again, asking.references);
    assert_ne!(again.fingerprint(), robot.references().fingerprint());
    let error = |runtime: &str| {
        let json = format!(r#"{{"version":1,"bank":"sha256","pcrs":{{}},"runtime":{runtime}}}"#);
        ReferenceValues::from_json(&json).unwrap_err()
    };
    for digest in [
        "",
        "sha256",
        "sha256:ab",
        "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "verity:ab",
    ] {
        let runtime = format!(r#"{{"files":{{"/x":["{digest}"]}}}}"#);
        assert!(
            matches!(error(&runtime), ReferenceError::FileDigest { .. }),
            "{digest}"
        );
    }
    for pattern in ["", "*", "/tmp/*/x", "*x", "/a**"] {
        let runtime = format!(r#"{{"files":{{}},"exclude":["{pattern}"]}}"#);
        assert!(matches!(error(&runtime), ReferenceError::Exclude(_)), "{pattern}");
    }
    assert!(matches!(
        error(r#"{"files":{},"extra":1}"#),
        ReferenceError::Json(_)
    ));
    let mut weak = ListBuilder::new();
    weak.file("/bin/sh", &HashAlg::Sha1.digest(&[b"x"]));
    assert!(RuntimeReferences::golden(&ImaLog::parse(weak.bytes()).unwrap()).is_err());
}
