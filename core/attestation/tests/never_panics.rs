//! Parsers of foreign bytes answer, whatever the bytes are.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod dice_platform;
mod software_robot;

use alcub3_attestation::appraisal::ReferenceValues;
use alcub3_attestation::attest::Attest;
use alcub3_attestation::checkquote::{parse_pcr_file, public_key, write_pcr_file};
use alcub3_attestation::corim::{self, Naming, Reading};
use alcub3_attestation::dice::References;
use alcub3_attestation::ek_certificate::{RootKind, Roots, split_chain, verify};
use alcub3_attestation::event_log::{
    EventLog, ReplayReport,
    agent::AgentEvent,
    boot_facts::BootFacts,
    builder::{Boot, Builder},
};
use alcub3_attestation::evidence::Evidence;
use alcub3_attestation::pcr::{PcrSelection, PcrValues};
use alcub3_attestation::receipt::Receipt;
use alcub3_crypto::{Digest, HashAlg};
use proptest::prelude::*;

fn every_parser(bytes: &[u8]) {
    if let Ok(log) = EventLog::parse(bytes) {
        let _ = ReplayReport::of(&log);
        for bank in log.banks() {
            let facts = BootFacts::of(&log, bank);
            let _ = facts.map(|facts| facts.claims());
        }
    }
    let _ = Attest::parse(bytes);
    let _ = AgentEvent::decode(bytes);
    let _ = public_key(bytes);
    let _ = PcrSelection::parse(bytes);
    if let Ok(values) = parse_pcr_file(bytes) {
        let _ = values.digest(HashAlg::Sha256);
    }
    if let Ok(evidence) = Evidence::from_canonical(bytes) {
        assert_eq!(evidence.to_canonical(), bytes);
    }
    if let Ok(receipt) = Receipt::from_canonical(bytes) {
        assert_eq!(receipt.to_canonical(), bytes);
    }
    let mut roots = Roots::new();
    let _ = roots.add(RootKind::Production, bytes);
    let _ = roots.add_revocations(bytes);
    let _ = verify(bytes, &[bytes], &roots, 1_704_067_200);
    let reading = Reading {
        signer: None,
        bank: None,
        now_s: 0,
    };
    let _ = corim::read(bytes, &reading);
    let _ = split_chain(bytes);
    if let Ok(text) = core::str::from_utf8(bytes) {
        let _ = ReferenceValues::from_json(text);
        let _ = ReferenceValues::from_toml(text);
        let _ = References::from_json(text);
    }
}

fn seed_log() -> Vec<u8> {
    Builder::new(&[HashAlg::Sha1, HashAlg::Sha256])
        .unwrap()
        .uefi_boot(&Boot::default())
        .clone()
        .finish()
}

fn seed_attest(kind: u16) -> Vec<u8> {
    let selection = PcrSelection::new(&[(HashAlg::Sha256, &[0, 13]), (HashAlg::Sha384, &[1])]).unwrap();
    let mut bytes = [0xff, 0x54, 0x43, 0x47].to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 2, 0, 11, 0, 3, 1, 2, 3]);
    bytes.extend([0; 17 - 1]);
    bytes.push(1);
    bytes.extend([0; 8]);
    bytes.extend(selection.encode());
    bytes.extend([0, 32]);
    bytes.extend([0xaa; 32]);
    bytes
}

fn seed_pcr_file() -> Vec<u8> {
    let selection = PcrSelection::new(&[(HashAlg::Sha384, &[0, 13]), (HashAlg::Sha256, &[1])]).unwrap();
    let digests = selection.pcrs().map(|(alg, _)| Digest::ones(alg)).collect();
    write_pcr_file(&PcrValues::new(selection, digests).unwrap())
}

fn seed_corim() -> Vec<u8> {
    let naming = Naming {
        id: "rover",
        vendor: "v",
        model: "m",
    };
    corim::write(&software_robot::Robot::new().references(), &naming, false).unwrap()
}

fn mutated(seed: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let length = seed.len();
    let changes = prop::collection::vec((0..length, any::<u8>()), 0..6);
    (changes, 0..=length).prop_map(move |(changes, cut)| {
        let mut bytes = seed.clone();
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.truncate(if cut % 3 == 0 { cut } else { length });
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn on_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        every_parser(&bytes);
    }

    #[test]
    fn on_changed_corims(bytes in mutated(seed_corim())) {
        every_parser(&bytes);
    }

    #[test]
    fn on_changed_logs(bytes in mutated(seed_log())) {
        every_parser(&bytes);
    }

    #[test]
    fn on_changed_attestations(kind in 0x8013_u16..0x801e, bytes in mutated(seed_attest(0x8018))) {
        let mut bytes = bytes;
        if let Some(field) = bytes.get_mut(4..6) {
            field.copy_from_slice(&kind.to_be_bytes());
        }
        every_parser(&bytes);
    }

    #[test]
    fn on_changed_pcr_files(bytes in mutated(seed_pcr_file())) {
        every_parser(&bytes);
    }

    #[test]
    fn a_pcr_file_that_parses_is_the_one_that_would_be_written(bytes in mutated(seed_pcr_file())) {
        if let Ok(values) = parse_pcr_file(&bytes) {
            prop_assert_eq!(write_pcr_file(&values), bytes);
        }
    }

    #[test]
    fn on_changed_evidence(bytes in mutated(software_robot::Robot::new().evidence())) {
        every_parser(&bytes);
    }

    #[test]
    fn on_changed_chains(bytes in mutated(dice_platform::file("tcg/leaf.der")), more in mutated(dice_platform::file("open/cdi2.der"))) {
        let platform = dice_platform::Platform::tcg();
        for certificate in [bytes, more] {
            let verdict = platform.judge_ders(&[dice_platform::file("tcg/root.der"), certificate]);
            prop_assert!(verdict.attested().is_none());
        }
    }

    #[test]
    fn selections_round_trip(a in 0_u32..0x100_0000, b in 0_u32..0x100_0000) {
        let pcrs = |mask: u32| (0..24_u8).filter(|pcr| mask & (1 << pcr) != 0).collect::<Vec<u8>>();
        let (first, second) = (pcrs(a), pcrs(b));
        let selection = PcrSelection::new(&[(HashAlg::Sha384, &first), (HashAlg::Sha256, &second)]).unwrap();
        prop_assert_eq!(PcrSelection::parse(&selection.encode()).unwrap(), selection);
        prop_assert_eq!(selection.pcr_count(), first.len() + second.len());
        prop_assert_eq!(selection.mask(HashAlg::Sha384), Some(a));
    }
}

#[test]
fn the_seeds_themselves_parse() {
    assert!(EventLog::parse(&seed_log()).is_ok());
    assert!(Attest::parse(&seed_attest(0x8018)).is_ok());
    assert_eq!(
        write_pcr_file(&parse_pcr_file(&seed_pcr_file()).unwrap()),
        seed_pcr_file()
    );
}
