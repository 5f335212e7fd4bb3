//! IMA measurement lists: the real ones replay, every template of the kernel is read in both forms, and no byte can be changed.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::print_stdout)]

use alcub3_attestation::checkquote::parse_pcr_file;
use alcub3_attestation::ima::{FieldId, ImaError, ImaLog, ImaReplay, ImaReport, Template, TemplateHashing};
use alcub3_crypto::{Digest, HashAlg};
use std::path::{Path, PathBuf};

const PCR: u8 = 10;

fn data() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    root.is_dir().then_some(root)
}

fn real(name: &str) -> Option<Vec<u8>> {
    let Some(root) = data() else {
        println!("skipped: no real data beside the checkout");
        return None;
    };
    Some(std::fs::read(root.join(name)).unwrap())
}

#[test]
fn the_servers_list_explains_its_quoted_pcr() {
    let (Some(list), Some(pcrs)) = (
        real("evidence/x86-server/ascii_runtime_measurements"),
        real("evidence/x86-server/quote.pcrs"),
    ) else {
        return;
    };
    let log = ImaLog::parse(&list).unwrap();
    assert_eq!(log.len(), 780);
    assert!(log.first_altered().is_none());
    let quoted = *parse_pcr_file(&pcrs)
        .unwrap()
        .value(HashAlg::Sha256, PCR)
        .unwrap();
    let explained = log.explains(PCR, &quoted).unwrap();
    assert_eq!(explained.entries(), 780);
    println!("explained by {} entries", explained.entries());
    // A list from after the quote still explains it; one that was cut, or whose middle is missing, does not.
    let lines: Vec<&[u8]> = list.split_inclusive(|byte| *byte == b'\n').collect();
    let grown = [&lines[..], &lines[5..9]].concat().concat();
    let grown = ImaLog::parse(&grown).unwrap();
    assert_eq!(grown.explains(PCR, &quoted).unwrap().entries(), 780);
    let cut = lines[..779].concat();
    assert!(ImaLog::parse(&cut).unwrap().explains(PCR, &quoted).is_none());
    let holed = [&lines[..300], &lines[301..]].concat().concat();
    assert!(ImaLog::parse(&holed).unwrap().explains(PCR, &quoted).is_none());
    let swapped = [&lines[..300], &[lines[301], lines[300]], &lines[302..]]
        .concat()
        .concat();
    assert!(ImaLog::parse(&swapped).unwrap().explains(PCR, &quoted).is_none());
}

#[test]
fn a_list_that_has_grown_costs_only_what_was_added() {
    let list = [IMA_NG, IMA_SIG, IMA_BUF].concat();
    let log = ImaLog::parse(list.as_bytes()).unwrap();
    for hashing in TemplateHashing::ALL {
        let mut whole = ImaReplay::new(HashAlg::Sha256, hashing);
        log.entries_of(PCR).for_each(|entry| whole.extend(&entry));
        let mut kept = ImaReplay::new(HashAlg::Sha256, hashing);
        log.entries_of(PCR).take(1).for_each(|entry| kept.extend(&entry));
        let from = kept.entries();
        assert!(kept.reach(log.entries_of(PCR).skip(from), whole.value()));
        assert_eq!(kept, whole);
    }
}

#[test]
fn every_entry_of_the_real_lists_has_the_hash_of_its_data() {
    let lists = [("ima-ng-826", 826), ("ima-sig", 4), ("ima-buf", 11)];
    for (name, entries) in lists {
        let Some(list) = real(&format!("ima/{name}.txt")) else {
            return;
        };
        let log = ImaLog::parse(&list).unwrap();
        assert_eq!(log.len(), entries, "{name}");
        let altered = log.first_altered().map(|entry| entry.index);
        assert_eq!(altered, None, "{name}");
    }
    let list = real("ima/ima-sig.txt").unwrap();
    let log = ImaLog::parse(&list).unwrap();
    let signed: Vec<usize> = log.entries().map(|entry| entry.signature().len()).collect();
    assert_eq!(signed[0], 0);
    assert!(signed[1..].iter().any(|length| *length > 70), "{signed:?}");
    let list = real("ima/ima-buf.txt").unwrap();
    let log = ImaLog::parse(&list).unwrap();
    let table = log.entries().next().unwrap();
    assert_eq!(table.name(), b"dm_table_load");
    assert!(table.buffer().unwrap().starts_with(b"dm_version="));
}

// Two lines of real machines, and one of each template that has none here; hashes are computed below where they say so.
const IMA_NG: &str = "10 1d8d532d463c9f8c205d0df7787669a85f93e260 ima-ng sha1:0000000000000000000000000000000000000000 boot_aggregate\n";
const IMA_SIG: &str = "10 02d7a8ac22a4878f51d9421a1debefe97fae3889 ima-sig sha256:76f8ae56f16b39f55be8145bee2824a6d64a84c009104f58305ea2449479da72 boot_aggregate \n";
const IMA_BUF: &str = "10 0000000000000000000000000000000000000000 ima-buf sha256:0000000000000000000000000000000000000000000000000000000000000000 .ima 3082\n";

const NO_HASH: &str = "1111111111111111111111111111111111111111";

/// A line of each template, with a template hash that is not its own.
fn lines() -> Vec<(Template, String)> {
    let sha256 = format!("sha256:{}", "ab".repeat(32));
    let line =
        |template: Template, fields: &str| (template, format!("10 {NO_HASH} {} {fields}\n", template.name()));
    vec![
        line(Template::Ima, &format!("{} /bin/sh", "cd".repeat(20))),
        line(Template::ImaNg, &format!("{sha256} /bin/sh")),
        line(Template::ImaNgV2, &format!("verity:{sha256} /bin/sh")),
        line(Template::ImaSig, &format!("{sha256} /bin/sh 0302")),
        line(Template::ImaSigV2, &format!("ima:{sha256} /bin/sh 0302")),
        line(
            Template::ImaBuf,
            &format!("{sha256} .builtin_trusted_keys 3082aa"),
        ),
        line(Template::ImaModsig, &format!("{sha256} /m.ko 0302 {sha256} 30aa")),
        line(Template::ImaModsig, &format!("{sha256} /m.ko   ")),
        line(
            Template::EvmSig,
            &format!(
                "{sha256} /bin/sh 0502 security.ima|security.selinux 0400000005000000 aabb 0 1000 33261"
            ),
        ),
    ]
}

/// The binary form of an entry, written as the kernel writes it.
fn binary(pcr: u32, hash: &[u8], name: &str, data: &[u8], original: bool) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat();
    let data = if original { data.to_vec() } else { sized(data) };
    [&pcr.to_le_bytes()[..], hash, &sized(name.as_bytes()), &data].concat()
}

/// An entry's data as the binary form holds it.
fn data_of(entry: &alcub3_attestation::ima::Entry<'_>) -> Vec<u8> {
    let mut data = Vec::new();
    for field in entry.fields() {
        if field.id != FieldId::Digest {
            data.extend(u32::try_from(field.bytes.len()).unwrap().to_le_bytes());
        }
        data.extend(field.bytes);
    }
    data
}

#[test]
fn every_template_is_read_in_both_forms() {
    for (template, line) in lines() {
        let text = ImaLog::parse(line.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let entry = text.entries().next().unwrap();
        assert_eq!((entry.template, entry.pcr), (template, PCR));
        assert!(
            entry.name() == b"/bin/sh" || template == Template::ImaBuf || template == Template::ImaModsig
        );
        assert!(entry.file_digest().is_some());
        assert_eq!(entry.fields().count(), template.fields().len());
        let original = template == Template::Ima;
        let bytes = binary(
            10,
            entry.template_hash,
            template.name(),
            &data_of(&entry),
            original,
        );
        let same = ImaLog::parse(&bytes).unwrap();
        let again = same.entries().next().unwrap();
        assert_eq!(data_of(&again), data_of(&entry), "{line}");
        for alg in HashAlg::ALL {
            assert_eq!(again.computed_hash(alg), entry.computed_hash(alg));
        }
    }
}

/// The hash of the first template is over the digest and the name in 256 bytes, of the others over lengths and fields.
#[test]
fn template_hashes_are_the_kernels() {
    let all = lines();
    let of = |template| {
        let (_, line) = all.iter().find(|(found, _)| *found == template).unwrap();
        let log = ImaLog::parse(line.as_bytes()).unwrap();
        let entry = log.entries().next().unwrap();
        entry.computed_hash(HashAlg::Sha1)
    };
    let mut name = b"/bin/sh".to_vec();
    name.resize(256, 0);
    assert_eq!(of(Template::Ima), HashAlg::Sha1.digest(&[&[0xcd; 20], &name]));
    let digest = [&b"sha256:\0"[..], &[0xab; 32]].concat();
    let fields: [&[u8]; 4] = [&40u32.to_le_bytes(), &digest, &8u32.to_le_bytes(), b"/bin/sh\0"];
    assert_eq!(of(Template::ImaNg), HashAlg::Sha1.digest(&fields));
}

/// A list with right hashes, of all templates.
fn genuine() -> Vec<u8> {
    let mut bytes = Vec::new();
    for (template, line) in lines() {
        let log = ImaLog::parse(line.as_bytes()).unwrap();
        let entry = log.entries().next().unwrap();
        let hash = entry.computed_hash(HashAlg::Sha1);
        let original = template == Template::Ima;
        bytes.extend(binary(
            10,
            hash.as_bytes(),
            template.name(),
            &data_of(&entry),
            original,
        ));
    }
    bytes
}

#[test]
fn no_byte_of_a_list_can_be_changed_and_no_list_cut() {
    let genuine = genuine();
    let log = ImaLog::parse(&genuine).unwrap();
    assert!(log.first_altered().is_none());
    let mut replay = ImaReplay::new(HashAlg::Sha256, TemplateHashing::OfBank);
    log.entries_of(PCR).for_each(|entry| replay.extend(&entry));
    let explained = |bytes: &[u8]| {
        ImaLog::parse(bytes)
            .is_ok_and(|log| log.first_altered().is_none() && log.explains(PCR, replay.value()).is_some())
    };
    assert!(explained(&genuine));
    for at in 0..genuine.len() {
        for pattern in [0x01, 0x20, 0x80] {
            let mut changed = genuine.clone();
            changed[at] ^= pattern;
            assert!(!explained(&changed), "byte {at} ^ {pattern:#x}");
        }
        assert!(!explained(&genuine[..at]), "cut at {at}");
    }
}

#[test]
fn a_violation_extends_ones_whatever_it_names() {
    let log = ImaLog::parse(IMA_BUF.as_bytes()).unwrap();
    let entry = log.entries().next().unwrap();
    assert!(entry.is_violation() && log.first_altered().is_none());
    for bank in [HashAlg::Sha1, HashAlg::Sha256] {
        for hashing in TemplateHashing::ALL {
            assert_eq!(hashing.extended(&entry, bank), Digest::ones(bank));
        }
    }
    assert_eq!(ImaReport::of(&log).violations, 1);
}

#[test]
fn what_is_no_list_is_named() {
    let line = |text: &str| ImaLog::parse(text.as_bytes()).map(|_| ()).unwrap_err();
    assert!(matches!(
        line(&IMA_NG.replace("10 ", "24 ")),
        ImaError::Pcr { pcr: 24, .. }
    ));
    assert!(matches!(
        line(&IMA_NG.replace("ima-ng", "ima-xx")),
        ImaError::Template { .. }
    ));
    assert!(matches!(
        line(&IMA_NG.replace("sha1:00", "sha1:")),
        ImaError::Fields { .. }
    ));
    assert!(matches!(
        line(&IMA_NG.replace("1d8d", "1d8")),
        ImaError::Line { .. }
    ));
    assert!(matches!(
        line(&IMA_NG.replace("\n", " more\n")),
        ImaError::Fields { .. }
    ));
    let long = binary(10, &[1; 20], "ima-ng", &[0; 4], false);
    let mut huge = long.clone();
    huge[24..28].copy_from_slice(&u32::MAX.to_le_bytes());
    for bytes in [long, huge, vec![10, 0, 0]] {
        let error = ImaLog::parse(&bytes).unwrap_err();
        assert!(error.to_string().starts_with("IMA entry 0"), "{error}");
    }
    assert!(ImaLog::parse(b"").unwrap().is_empty());
}
