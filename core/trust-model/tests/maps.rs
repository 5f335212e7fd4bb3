//! The maps: no two things share a handle, every definition is what DESIGN §4 says.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;

use alcub3_crypto::{HashAlg, Suite};
use alcub3_trust_model::handle_map::{self, Persistent};
use alcub3_trust_model::nv_map::{KeyAnchor, MissionAnchor, NvIndex, NvKind, NvMap, Register, attribute};
use alcub3_trust_model::pcr_map::{PcrMap, PcrMapError};
use alcub3_trust_model::{HardwareTier, Level, danger, domain, profile};

#[test]
fn every_handle_is_in_its_range_and_used_once() {
    let nv: Vec<u32> = NvIndex::all().map(NvIndex::handle).collect();
    assert_eq!(nv.len(), 1 + 1 + 1 + 5 + 8 + 4 + 12);
    assert!(
        nv.iter()
            .all(|handle| (0x0181_0000..0x0182_0000).contains(handle))
    );
    assert_eq!(nv.iter().collect::<BTreeSet<_>>().len(), nv.len());
    let persistent: Vec<u32> = Persistent::all().map(Persistent::handle).collect();
    assert_eq!(persistent.len(), 4 + 5 + 5);
    assert!(
        persistent
            .iter()
            .all(|handle| (0x8101_0000..0x8180_0000).contains(handle))
    );
    assert_eq!(persistent.iter().collect::<BTreeSet<_>>().len(), persistent.len());
}

#[test]
fn handles_lead_back_to_what_they_hold() {
    for index in NvIndex::all() {
        assert_eq!(NvIndex::from_handle(index.handle()), Some(index));
    }
    for object in Persistent::all() {
        assert_eq!(Persistent::from_handle(object.handle()), Some(object));
    }
    assert_eq!(NvIndex::from_handle(0x0181_0028), None);
    assert_eq!(handle_map::level_parent(Level::TopSecret), 0x8101_0044);
    assert_eq!(MissionAnchor::new(8), None);
    assert_eq!(KeyAnchor::new(12), None);
    let names: BTreeSet<String> = NvIndex::all().map(NvIndex::name).collect();
    assert_eq!(names.len(), NvIndex::all().count());
}

#[test]
fn counters_count_and_registers_extend() {
    for alg in [HashAlg::Sha256, HashAlg::Sha384] {
        for spec in NvMap::new(alg).unwrap().specs() {
            let nt = spec.attributes >> 4 & 0xF;
            assert_eq!(spec.attributes & attribute::WRITTEN, 0);
            assert_ne!(
                spec.attributes & attribute::NO_DA,
                0,
                "{:?} could lock the chip out",
                spec.index
            );
            match spec.kind {
                NvKind::Counter => assert_eq!((nt, usize::from(spec.size)), (1, 8)),
                NvKind::Extend | NvKind::Ratchet => {
                    assert_eq!((nt, usize::from(spec.size)), (4, alg.size()));
                }
            }
        }
    }
    assert!(NvMap::new(HashAlg::Sha1).is_err());
}

#[test]
fn what_makes_an_end_permanent_outlives_the_power() {
    let forgets = attribute::ORDERLY | attribute::CLEAR_STCLEAR;
    for spec in NvMap::new(HashAlg::Sha256).unwrap().specs() {
        let is_register = matches!(spec.index, NvIndex::Register(_));
        assert_eq!(spec.attributes & forgets != 0, is_register, "{:?}", spec.index);
    }
    // The map fits chips with 16 counters (TPM_PT_NV_COUNTERS_MAX).
    let counters = NvIndex::all().filter(|index| index.kind() == NvKind::Counter);
    assert_eq!(counters.count(), 16);
}

#[test]
fn nv_public_is_the_structure_of_the_specification() {
    let map = NvMap::new(HashAlg::Sha256).unwrap();
    let epoch = map.spec(NvIndex::RobotEpoch);
    // nvIndex, nameAlg, attributes AUTHWRITE COUNTER OWNERREAD AUTHREAD NO_DA, empty policy, 8 bytes
    assert_eq!(
        hex::encode(epoch.nv_public_bytes(false)),
        "01810000000b0206001400000008"
    );
    assert_eq!(
        hex::encode(epoch.nv_public_bytes(true)),
        "01810000000b2206001400000008"
    );
    let mode = map.spec(NvIndex::Register(Register::OperationalMode));
    assert_eq!(
        hex::encode(mode.nv_public_bytes(true)),
        "01810043000b2e04004400000020"
    );
    let name = epoch.tpm_name(true);
    let digest = HashAlg::Sha256.digest(&[&epoch.nv_public_bytes(true)]);
    assert_eq!(name.as_bytes(), [&[0x00, 0x0B], digest.as_bytes()].concat());
    assert_ne!(name, epoch.tpm_name(false));
}

#[test]
fn pcr_map_refuses_pcrs_of_the_wrong_sort() {
    assert_eq!(PcrMap::new(13, 12, 23), Ok(PcrMap::DEFAULT));
    for lockdown in [0, 7, 10, 16, 17, 21, 22, 23, 24] {
        assert_eq!(
            PcrMap::new(lockdown, 12, 23),
            Err(PcrMapError::NotCounting(lockdown, "lockdown"))
        );
        assert_eq!(
            PcrMap::new(13, lockdown, 23),
            Err(PcrMapError::NotCounting(lockdown, "retire"))
        );
    }
    assert_eq!(PcrMap::new(13, 13, 23), Err(PcrMapError::Twice(13)));
    assert_eq!(PcrMap::new(13, 12, 14), Err(PcrMapError::NotResettable(14)));
}

#[test]
fn profiles_only_tighten_upward() {
    for pair in Level::ALL.windows(2) {
        let (low, high) = (profile(pair[0]), profile(pair[1]));
        assert!(high.max_mission_ms < low.max_mission_ms);
        assert!(high.attestation_freshness_ms < low.attestation_freshness_ms);
        assert!(high.lease_ms < low.lease_ms && high.attestation_freshness_ms < high.lease_ms);
        assert!(high.persons >= low.persons && high.allowed_resets <= low.allowed_resets);
        assert!(high.min_tier >= low.min_tier && high.boot_pcrs >= low.boot_pcrs);
        assert!(high.hash_floor() >= low.hash_floor());
    }
}

#[test]
fn confidential_and_above_need_the_one_strong_suite() {
    for level in Level::ALL {
        let strong = level >= Level::Confidential;
        assert_eq!(profile(level).admits_suite(Suite::EcdsaP256Sha256), !strong);
        assert_eq!(profile(level).admits_suite(Suite::HmacSha256), !strong);
        assert!(profile(level).admits_suite(Suite::EcdsaP384Sha384));
        assert_eq!(profile(level).allowed_resets == 0, level >= Level::Secret);
        assert_eq!(profile(level).level, level);
    }
}

#[test]
fn no_production_profile_admits_a_simulator() {
    for level in Level::ALL {
        assert!(!profile(level).admits_tier(HardwareTier::Simulator));
        let weakened = danger::admitting_simulators(profile(level), HardwareTier::Simulator);
        assert!(weakened.admits_tier(HardwareTier::Simulator));
        assert!(!weakened.admits_tier(HardwareTier::None));
        // Real chips still have to meet their own floor.
        let of_a_chip = danger::admitting_simulators(profile(level), HardwareTier::Virtual);
        assert_eq!(of_a_chip, profile(level));
    }
    for tier in HardwareTier::ALL {
        assert_eq!(HardwareTier::from_id(tier.id()), Some(tier));
        assert_eq!(tier.name().parse(), Ok(tier));
    }
}

#[test]
fn domain_strings_have_one_form_and_differ() {
    let all: BTreeSet<&str> = domain::ALL.iter().copied().collect();
    assert_eq!(all.len(), domain::ALL.len());
    for text in all {
        let (what, version) = text
            .strip_prefix("alcub3/")
            .and_then(|rest| rest.rsplit_once("/v"))
            .expect(text);
        assert!(["1", "2"].contains(&version), "{text}");
        assert!(
            what.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{text}"
        );
    }
}
