//! What a UEFI log says of a boot, of real machines and of made ones, and what references may ask of it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

mod software_robot;

use alcub3_attestation::appraisal::{Reason, ReferenceError, ReferenceValues, appraise};
use alcub3_attestation::event_log::boot_facts::{BootFacts, CLAIMS, ClaimState, SignatureEntry};
use alcub3_attestation::event_log::builder::{Boot, Builder};
use alcub3_attestation::event_log::{EventLog, EventType};
use alcub3_crypto::HashAlg;
use software_robot::{NOW_MS, Robot, Verifier, uefi_log};
use std::path::{Path, PathBuf};
use std::process::Command;

const BANK: HashAlg = HashAlg::Sha256;
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
const SECURITY_DATABASE: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
const SHA256_LIST: [u8; 16] = [
    0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40, 0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
];
/// Microsoft's, which owns the entries of most databases.
const OWNER: &str = "bd9afa775903324dbd6028f4e78f784b";

fn facts(bytes: &[u8]) -> BootFacts {
    BootFacts::of(&EventLog::parse(bytes).unwrap(), BANK).unwrap()
}

fn made(build: impl FnOnce(&mut Builder)) -> BootFacts {
    let mut log = Builder::new(&[BANK]).unwrap();
    build(&mut log);
    facts(&log.finish())
}

fn state(facts: &BootFacts, name: &str) -> ClaimState {
    let claims = facts.claims();
    claims.iter().find(|claim| claim.name == name).unwrap().state
}

fn variable(guid: [u8; 16], name: &str, value: &[u8]) -> Vec<u8> {
    let wide: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let units = u64::try_from(name.len()).unwrap().to_le_bytes();
    let bytes = u64::try_from(value.len()).unwrap().to_le_bytes();
    [&guid[..], &units, &bytes, &wide, value].concat()
}

fn list(kind: [u8; 16], header: &[u8], entries: &[&[u8]]) -> Vec<u8> {
    let entry = 16 + entries[0].len();
    let size = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let mut out = [
        &kind[..],
        &size(28 + header.len() + entry * entries.len()),
        &size(header.len()),
        &size(entry),
        header,
    ]
    .concat();
    for data in entries {
        out.extend([&[9; 16][..], data].concat());
    }
    out
}

fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if root.is_dir() {
        return Some(root);
    }
    println!("skipped: no real data beside the checkout");
    None
}

#[test]
fn real_machines_say_how_they_booted() {
    let Some(root) = data() else { return };
    let of = |name: &str, bank| {
        let bytes = std::fs::read(root.join(name)).unwrap();
        BootFacts::of(&EventLog::parse(&bytes).unwrap(), bank).unwrap()
    };
    let server = of("evidence/x86-server/binary_bios_measurements", HashAlg::Sha384);
    assert_eq!(server.secure_boot, Some(false));
    assert_eq!(server.databases["dbx"].entries.len(), 598);
    assert_eq!((server.option_roms.len(), server.boot_images.len()), (7, 2));
    assert_eq!(
        server.boot_images[0].path.as_deref(),
        Some(r"\EFI\ubuntu\shimx64.efi")
    );
    assert_eq!(server.firmware_version.as_deref(), Some("A55 v1.62 (05/22/2024)"));
    let kernel = |facts: &BootFacts| {
        let mut texts = facts.command_lines.iter().map(|measured| measured.text.clone());
        texts.find(|text| text.starts_with("kernel_cmdline: "))
    };
    assert!(
        kernel(&server).unwrap().contains("root="),
        "{:?}",
        kernel(&server)
    );
    for (name, expected) in [
        ("firmware-integrity-measured", ClaimState::Shown),
        ("firmware-pcrs-closed", ClaimState::Shown),
        ("secure-boot", ClaimState::Contradicted),
        ("no-option-roms", ClaimState::Contradicted),
        ("firmware-update-protected", ClaimState::NotShown),
    ] {
        assert_eq!(state(&server, name), expected, "{name}");
    }
    let off = of("eventlogs/ubuntu-2104-no-secure-boot.bin", BANK);
    assert_eq!(off.secure_boot, Some(false));
    assert_eq!(state(&off, "secure-boot"), ClaimState::Contradicted);
    assert!(off.partitions.is_some_and(|table| !table.partitions.is_empty()));
    // Of SHA-1 alone, and of a machine whose firmware has no such variable.
    assert_eq!(
        of("eventlogs/debian-10.bin", HashAlg::Sha1).secure_boot,
        Some(true)
    );
    let arch = of("eventlogs/arch-linux-workstation.bin", BANK);
    assert_eq!((arch.secure_boot, arch.faults), (Some(false), Vec::new()));
}

/// The variables as `tpm2_eventlog` shows them: the value of SecureBoot, and how often the databases name their owner.
#[test]
fn variables_are_those_that_tpm2_eventlog_shows() {
    let Some(root) = data() else { return };
    for name in [
        "debian-10",
        "rhel8-uefi",
        "ubuntu-2104-no-secure-boot",
        "cos-85-amd-sev",
    ] {
        let path = root.join("eventlogs").join(format!("{name}.bin"));
        let Ok(output) = Command::new("tpm2_eventlog").arg(&path).output() else {
            println!("skipped: tpm2-tools is not installed");
            return;
        };
        let yaml = String::from_utf8_lossy(&output.stdout).into_owned();
        let shown = |variable: &str| {
            let (_, after) = yaml.split_once(&format!("UnicodeName: {variable}\n")).unwrap();
            let value = after.lines().next().unwrap().split('"').nth(1).unwrap();
            value.to_owned()
        };
        let bytes = std::fs::read(&path).unwrap();
        let log = EventLog::parse(&bytes).unwrap();
        let bank = log.banks().last().unwrap();
        let facts = BootFacts::of(&log, bank).unwrap();
        assert_eq!(facts.secure_boot, Some(shown("SecureBoot") == "01"), "{name}");
        for database in ["PK", "KEK", "db", "dbx"] {
            let value = shown(database);
            let entries = facts.databases[database].entries.len();
            let owned = value.matches(OWNER).count();
            if database == "dbx" && name != "cos-85-amd-sev" {
                assert_eq!(entries, owned, "{name} {database}");
            }
            assert!(entries >= owned && entries > 0, "{name} {database}");
        }
    }
}

#[test]
fn a_made_boot_is_told_and_a_changed_one_otherwise() {
    let good = facts(&uefi_log(&Boot::default()));
    assert_eq!(good.secure_boot, Some(true));
    assert_eq!(good.faults, []);
    assert_eq!(good.separated, (0..8).collect::<Vec<_>>());
    assert_eq!(state(&good, "boot-sequence"), ClaimState::Shown);
    let told = |text: &str| {
        good.command_lines
            .iter()
            .any(|measured| measured.text.contains(text))
    };
    assert!(told("root=/dev/mmcblk0p2"), "{:?}", good.command_lines);
    let off = Boot {
        secure_boot: false,
        ..Boot::default()
    };
    assert_eq!(
        state(&facts(&uefi_log(&off)), "secure-boot"),
        ClaimState::Contradicted
    );
    assert!(BootFacts::of(&EventLog::parse(&uefi_log(&off)).unwrap(), HashAlg::Sha512).is_none());
}

#[test]
fn only_what_the_digest_covers_is_a_fact() {
    let secure = variable(GLOBAL, "SecureBoot", &[1]);
    let driver = EventType::EFI_VARIABLE_DRIVER_CONFIG;
    let of = |measured: &[u8], data: &[u8]| {
        made(|log| {
            log.measured(7, driver, measured, data);
        })
    };
    assert_eq!(of(&secure, &secure).secure_boot, Some(true));
    assert_eq!(of(b"another", &secure).secure_boot, None);
    // Another PCR, another vendor's variable, and a value that is neither.
    let elsewhere = made(|log| {
        log.event(1, driver, &secure);
    });
    assert_eq!(elsewhere.secure_boot, None);
    let others = variable([7; 16], "SecureBoot", &[1]);
    assert_eq!(of(&others, &others).secure_boot, None);
    let neither = variable(GLOBAL, "SecureBoot", &[2]);
    let facts = of(&neither, &neither);
    assert!(facts.secure_boot.is_none() && facts.faults.iter().any(|fault| fault.event == Some(1)));
    // What follows the variable, or lacks of it.
    for wrong in [[&secure[..], &[0]].concat(), secure[..secure.len() - 1].to_vec()] {
        assert!(of(&wrong, &wrong).secure_boot.is_none());
    }
    let text = made(|log| {
        log.measured(8, EventType::IPL, b"ro quiet", b"kernel_cmdline: ro quiet\0");
        log.measured(8, EventType::IPL, b"ro quiet", b"kernel_cmdline: ro single\0");
        log.event(12, EventType::IPL, b"a\x1b[2Jb");
    });
    let texts: Vec<_> = text
        .command_lines
        .iter()
        .map(|measured| measured.text.as_str())
        .collect();
    assert_eq!(texts, ["kernel_cmdline: ro quiet", r"a\u{1b}[2Jb"]);
}

#[test]
fn databases_are_read_exactly_or_named() {
    let of = |value: &[u8]| {
        made(|log| {
            let data = variable(SECURITY_DATABASE, "dbx", value);
            log.event(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, &data);
        })
    };
    let two = list(SHA256_LIST, &[], &[&[1; 32], &[2; 32]]);
    let other = list([3; 16], &[5; 4], &[b"something"]);
    let both = of(&[&two[..], &other].concat());
    let entries = &both.databases["dbx"].entries;
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[1], SignatureEntry::ImageSha256("02".repeat(32)));
    assert!(matches!(entries[2], SignatureEntry::Other(_)));
    assert_eq!(of(&[]).databases["dbx"].entries, []);
    for wrong in [
        two[..two.len() - 1].to_vec(),
        [&two[..], &[0; 5]].concat(),
        list(SHA256_LIST, &[], &[&[1; 31]]),
        list([3; 16], &[], &[&[]]),
    ] {
        let facts = of(&wrong);
        assert!(facts.databases.is_empty(), "{wrong:?}");
        assert!(
            facts
                .faults
                .iter()
                .any(|fault| fault.what.contains("signature lists"))
        );
    }
}

#[test]
fn a_firmware_pcr_is_closed_once_and_without_an_error() {
    let closing = |change: &dyn Fn(&mut Builder)| {
        made(|log| {
            for pcr in 0..7 {
                log.event(pcr, EventType::SEPARATOR, &[0; 4]);
            }
            change(log);
        })
    };
    let closed = |value: &[u8]| {
        let value = value.to_vec();
        closing(&move |log| {
            log.event(7, EventType::SEPARATOR, &value);
        })
    };
    for good in [[0; 4], [0xff; 4]] {
        assert_eq!(state(&closed(&good), "firmware-pcrs-closed"), ClaimState::Shown);
    }
    let twice = closing(&|log| {
        log.event(7, EventType::SEPARATOR, &[0; 4]);
        log.event(7, EventType::SEPARATOR, &[0; 4]);
    });
    let falsified = closing(&|log| {
        log.measured(7, EventType::SEPARATOR, &[1, 0, 0, 0], &[0; 4]);
    });
    let open = closing(&|_| {});
    for wrong in [closed(&[1, 0, 0, 0]), closed(&[0; 3]), twice, falsified, open] {
        assert_eq!(state(&wrong, "firmware-pcrs-closed"), ClaimState::Contradicted);
        assert!(wrong.faults.iter().any(|fault| fault.pcr == 7));
    }
    let debugged = closing(&|log| {
        log.event(7, EventType::EFI_ACTION, b"UEFI Debug Mode");
    });
    let bypass = "firmware-update-not-bypassed";
    assert_eq!(state(&debugged, bypass), ClaimState::Contradicted);
    assert_eq!(state(&closed(&[0; 4]), bypass), ClaimState::NotShown);
}

#[test]
fn references_ask_for_claims_and_a_boot_that_does_not_show_them_is_untrusted() {
    let robot = Robot::new();
    let asking = |claims: &[&str]| {
        let claims = claims.iter().map(|claim| (*claim).to_owned());
        robot.references().asking(claims).unwrap()
    };
    let verdict = |references: &ReferenceValues| {
        let mut verifier = Verifier::of(&robot);
        verifier.references = references.clone();
        appraise(&robot.evidence(), &verifier.policy(), NOW_MS)
    };
    let shown = asking(&[
        "secure-boot",
        "firmware-pcrs-closed",
        "boot-sequence",
        "no-option-roms",
    ]);
    assert!(verdict(&shown).is_trusted(), "{:?}", verdict(&shown).findings());
    let more = asking(&["secure-boot", "firmware-update-protected"]);
    let refused = verdict(&more);
    assert!(!refused.is_trusted() && refused.has(Reason::BootClaim));
    let detail = &refused.findings().last().unwrap().detail;
    assert!(
        detail.starts_with("expected firmware-update-protected, found: "),
        "{detail}"
    );
    // They are part of what a judgement is remembered under, and of the document.
    assert_ne!(shown.fingerprint(), robot.references().fingerprint());
    assert_eq!(ReferenceValues::from_json(&shown.to_json()).unwrap(), shown);
    let unknown = robot.references().asking(["sekure-boot".to_owned()]).unwrap_err();
    assert!(
        matches!(&unknown, ReferenceError::Claim(name) if name == "sekure-boot"),
        "{unknown}"
    );
    let json = shown.to_json().replace("secure-boot", "sekure-boot");
    assert!(matches!(
        ReferenceValues::from_json(&json),
        Err(ReferenceError::Claim(_))
    ));
    let names: Vec<_> = facts(&robot.uefi_log)
        .claims()
        .iter()
        .map(|claim| claim.name)
        .collect();
    assert_eq!(names, CLAIMS);
}
