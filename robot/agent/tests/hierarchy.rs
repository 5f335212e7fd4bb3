//! The levels of a robot's key hierarchy: made again by the chip alone, and out of reach from one another.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "support/reach.rs"]
mod reach;
mod support;

use alcub3_agent::{AgentError, provision};
use alcub3_crypto::Curve;
use alcub3_crypto::tpm::Name;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_keys::{DerivedPurpose, KeysError, LevelSeeds, MAX_CONTEXT_LEN, StateFolder};
use alcub3_security_hal::StopScope;
use alcub3_testkit::Swtpm;
use alcub3_tpm::ops::{Approval, Hierarchy, Key, PolicyInputs, Sealed};
use alcub3_tpm::{Auth, Lane, ResponseCode, TpmError};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::policies::{parent_session_policy, rearm_ref};
use alcub3_trust_model::{Level, RobotId, StopCause, handle_map};
use reach::{Power, refused};
use support::{LONG, Life, NOW_MS, SoftAuthority, open_tpm, request, robot_id};

const LOWER: Level = Level::Unclassified;
const HIGHER: Level = Level::Cui;
const PURPOSE: DerivedPurpose = DerivedPurpose::DataEncryption;

fn secret(bytes: &[u8]) -> alcub3_crypto::Secret {
    alcub3_crypto::Secret::from_slice(bytes)
}

/// What the authority knows of the robot is enough to have its chip make the levels again.
fn seeds(life: &Life) -> LevelSeeds {
    LevelSeeds {
        robot: robot_id(),
        curve: life.robot().keys().record().curve,
        rearm_key: life.authority.anchors().rearm.name(),
    }
}

/// The Names of a level's primaries.
fn names(life: &Life, level: Level) -> [Name; 2] {
    let record = life.robot().keys().record();
    let keys = record.parent(level).unwrap();
    [keys.public.name(), keys.kdf.name()]
}

fn derived(life: &Life, level: Level, purpose: DerivedPurpose, context: &[u8]) -> Vec<u8> {
    let key = life.robot().keys().derive(level, purpose, context).unwrap();
    assert_eq!(key.len(), 32);
    key.expose().to_vec()
}

/// Removes a level's primaries, as if the chip had never made them persistent.
fn forget(life: &Life, level: Level) {
    let owner = life.owner();
    life.chip(move |chip| {
        for handle in [handle_map::level_parent(level), handle_map::level_kdf(level)] {
            let key = chip.persistent_key(handle)?.unwrap();
            chip.evict_control_remove(&owner, &key)?;
        }
        Ok(())
    })
    .unwrap();
}

fn make(life: &Life, seeds: LevelSeeds, level: Level) -> [Name; 2] {
    let owner = life.owner();
    let made = life
        .chip(move |chip| Ok(seeds.make(chip, &owner, level).unwrap()))
        .unwrap();
    [made.public.name(), made.kdf.name()]
}

#[test]
fn the_chip_alone_makes_each_level_again_after_the_disk_is_lost() {
    let life = Life::running();
    let before = [LOWER, HIGHER].map(|level| (level, names(&life, level)));
    let seeds = seeds(&life);
    std::fs::remove_dir_all(life.path()).unwrap();
    for (level, names) in before {
        forget(&life, level);
        assert_eq!(make(&life, seeds.clone(), level), names, "{level}");
    }
    // Another robot's name, or another authority's rearm key, makes other keys.
    forget(&life, LOWER);
    let other = LevelSeeds {
        robot: RobotId::new("rover-2").unwrap(),
        ..seeds
    };
    let made = make(&life, other, LOWER);
    assert!(made.iter().all(|name| !before[0].1.contains(name)));
}

#[test]
fn the_same_inputs_give_the_same_key_and_any_other_another() {
    let mut life = Life::running();
    let key = derived(&life, LOWER, PURPOSE, b"map tiles");
    let mut seen = vec![key.clone()];
    for purpose in DerivedPurpose::ALL {
        for context in [b"map tiles".as_slice(), b"map tile", b""] {
            seen.push(derived(&life, LOWER, purpose, context));
        }
    }
    seen.push(derived(&life, HIGHER, PURPOSE, b"map tiles"));
    assert_eq!(seen.iter().filter(|other| **other == key).count(), 2);
    seen.remove(0);
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 10);
    for power in Power::ALL {
        life.reopen_after(|swtpm| power.cycle(swtpm));
        assert_eq!(derived(&life, LOWER, PURPOSE, b"map tiles"), key, "{power:?}");
    }
}

#[test]
fn a_key_derived_after_the_chip_made_the_level_again_is_the_same() {
    let life = Life::running();
    let key = derived(&life, HIGHER, PURPOSE, b"logs");
    let seeds = seeds(&life);
    forget(&life, HIGHER);
    make(&life, seeds, HIGHER);
    assert_eq!(derived(&life, HIGHER, PURPOSE, b"logs"), key);
}

#[test]
fn a_context_that_does_not_fit_one_hmac_is_refused() {
    let life = Life::running();
    derived(&life, LOWER, PURPOSE, &[7; MAX_CONTEXT_LEN]);
    let long = vec![7; MAX_CONTEXT_LEN + 1];
    let refused = life.robot().keys().derive(LOWER, PURPOSE, &long);
    assert!(matches!(refused, Err(KeysError::Context { length: 901, .. })));
}

/// What a stop of the level ends, and the next rearm gives back.
#[test]
fn a_stop_ends_derivation_and_unsealing_until_the_rearm() {
    let mut life = Life::running();
    let key = derived(&life, LOWER, PURPOSE, b"logs");
    let long = vec![0x5a; 100_000];
    let sealed: Vec<(Vec<u8>, Sealed)> = [b"small".to_vec(), long]
        .into_iter()
        .map(|data| {
            let sealed = life.robot().keys().seal(LOWER, secret(&data)).unwrap();
            (data, Sealed::from_bytes(&sealed.to_bytes()).unwrap())
        })
        .collect();
    let keys = |life: &Life| life.robot().keys().clone();
    for scope in [StopScope::Level(LOWER), StopScope::Robot] {
        life.robot()
            .stop(scope, StopCause::ManualTrigger, NOW_MS)
            .unwrap();
        refused(keys(&life).derive(LOWER, PURPOSE, b"logs"), ResponseCode::POLICY);
        refused(keys(&life).seal(LOWER, secret(b"new")), ResponseCode::POLICY);
        for (_, sealed) in &sealed {
            refused(keys(&life).unseal(LOWER, sealed.clone()), ResponseCode::POLICY);
        }
        life.rearm();
        assert_eq!(derived(&life, LOWER, PURPOSE, b"logs"), key);
        for (data, sealed) in &sealed {
            let opened = keys(&life).unseal(LOWER, sealed.clone()).unwrap();
            assert_eq!(opened.expose(), data);
        }
    }
}

#[test]
fn a_level_the_robot_does_not_serve_seals_and_derives_nothing() {
    let life = Life::running();
    let keys = life.robot().keys();
    let none = |error: KeysError| matches!(error, KeysError::NoSuchLevel { level: Level::Secret });
    assert!(none(keys.seal(Level::Secret, secret(b"x")).unwrap_err()));
    assert!(none(keys.derive(Level::Secret, PURPOSE, b"").unwrap_err()));
}

/// A level's approval as root finds it on the disk, with the session policy it stands in.
fn approval_of(life: &Life, level: Level) -> (Policy, PolicyInputs) {
    approval_claimed(life, level, level)
}

/// The same, claimed to be one of another level.
fn approval_claimed(life: &Life, level: Level, claimed: Level) -> (Policy, PolicyInputs) {
    let keys = life.robot().keys();
    let record = keys.rearm_record().unwrap().unwrap();
    let approval = record.approvals.into_iter().find(|a| a.level == level).unwrap();
    let indices = [NvIndex::RobotEpoch, NvIndex::LevelEpoch(level)];
    let [robot_epoch, level_epoch] = indices.map(|index| keys.counter(index).unwrap());
    let rearm = life.authority.anchors().rearm;
    let of = (&robot_id(), claimed);
    let policy = parent_session_policy(keys.hash(), rearm.name(), of, robot_epoch, level_epoch).unwrap();
    let approval = Approval {
        key: rearm,
        policy_ref: rearm_ref(&robot_id(), claimed),
        signature: approval.signature,
    };
    let inputs = indices
        .iter()
        .fold(PolicyInputs::new().approval(approval), |inputs, index| {
            inputs.nv(index.handle())
        });
    (policy, inputs)
}

/// Root on the robot, with the rearm of the lower level and everything that is on the disk, asks the chip itself.
#[test]
fn no_levels_key_is_reachable_from_a_lower_one() {
    let life = Life::running();
    let keys = life.robot().keys();
    let sealed = keys.seal(HIGHER, secret(b"of the higher level")).unwrap();
    let (parent, kdf) = (keys.parent(HIGHER).unwrap(), keys.kdf(HIGHER).unwrap());
    let own = (keys.parent(LOWER).unwrap(), keys.kdf(LOWER).unwrap());
    let lower = approval_of(&life, LOWER);

    // It works for the level it was given for,
    let (policy, inputs) = lower.clone();
    life.chip(move |chip| {
        chip.with_policy(&policy, &inputs, |chip, session| {
            chip.hmac(&own.1, Auth::Policy(session), b"x")
        })
    })
    .unwrap();
    // and the higher level's parent, data and derivation key are refused by the chip.
    for attempt in ["load", "unseal with the lower parent", "derive"] {
        let ((policy, inputs), sealed) = (lower.clone(), sealed.clone());
        let (parent, kdf, own_parent) = (parent.clone(), kdf.clone(), own.0.clone());
        let result: Result<(), TpmError> = life.chip(move |chip| {
            chip.with_policy(&policy, &inputs, |chip, session| {
                let auth = Auth::Policy(session);
                match attempt {
                    "load" => chip
                        .load(&parent, auth, sealed.private(), sealed.public())
                        .map(|_| ()),
                    "derive" => chip.hmac(&kdf, auth, b"x").map(|_| ()),
                    _ => chip
                        .load(&own_parent, auth, sealed.private(), sealed.public())
                        .map(|_| ()),
                }
            })
        });
        let expected = if attempt.starts_with("unseal") {
            ResponseCode::INTEGRITY
        } else {
            ResponseCode::POLICY_FAIL
        };
        let error = result.unwrap_err();
        assert!(error.is_refusal(expected), "{attempt}: {error}");
    }
    // Nor does the signature pass for one of the higher level.
    let (policy, inputs) = approval_claimed(&life, LOWER, HIGHER);
    let error = life
        .chip(move |chip| chip.policy_session(&policy, &inputs))
        .unwrap_err();
    assert!(error.is_refusal(ResponseCode::SIGNATURE), "{error}");
    // The higher level's own sealed object, loaded by who may, does not open in the lower level's session either.
    let (policy, inputs) = lower;
    let error = unseal_loaded(&life, &parent, sealed, policy, inputs).unwrap_err();
    assert!(error.is_refusal(ResponseCode::POLICY_FAIL), "{error}");
}

/// Loads the higher level's object with the higher level's approval, and unseals it in the lower one's session.
fn unseal_loaded(
    life: &Life,
    parent: &Key,
    sealed: Sealed,
    policy: Policy,
    inputs: PolicyInputs,
) -> Result<(), TpmError> {
    let (higher, higher_inputs) = approval_of(life, HIGHER);
    let parent = parent.clone();
    life.chip(move |chip| {
        let object = chip.with_policy(&higher, &higher_inputs, |chip, session| {
            chip.load(&parent, Auth::Policy(session), sealed.private(), sealed.public())
        })?;
        let object = Key::from(object);
        chip.with_policy(&policy, &inputs, |chip, session| {
            chip.unseal_object(&object, Auth::Policy(session)).map(|_| ())
        })
    })
}

/// A session armed before a stop does not derive after it, nor over the chip's next start.
#[test]
fn a_derivation_armed_before_a_stop_is_dead_after_it() {
    for scope in [StopScope::Robot, StopScope::Level(LOWER)] {
        let life = Life::running();
        let kdf = life.robot().keys().kdf(LOWER).unwrap();
        let (policy, inputs) = approval_of(&life, LOWER);
        let armed = life
            .chip(move |chip| chip.policy_session(&policy, &inputs))
            .unwrap();
        assert!(
            life.robot()
                .stop(scope, StopCause::ManualTrigger, NOW_MS)
                .unwrap()
                .is_complete()
        );
        let error = life
            .chip(move |chip| chip.hmac(&kdf, Auth::Policy(&armed), b"x"))
            .unwrap_err();
        assert!(error.is_refusal(ResponseCode::PCR_CHANGED), "{error}");
    }
}

/// A chip whose persistent slots others have filled is told so, and keeps its authorisations.
#[test]
fn a_chip_with_too_few_persistent_slots_is_left_as_it_was() {
    let swtpm = Swtpm::start().unwrap();
    let (tpm, _) = open_tpm(swtpm.transport());
    tpm.run(Lane::Background, LONG, |chip| {
        let template = PublicTemplate::storage_parent(Curve::P256);
        let template = template.as_tpmt_bytes();
        let made = chip.create_primary(Hierarchy::Owner, Auth::Empty, template, None, &[])?;
        // Until fewer slots are left than a robot of two levels takes.
        for handle in 0x8100_0001.. {
            chip.evict_control_make(&secret(&[]), &made.object, handle)?;
            if chip.tpm_properties(0x209, 0x209)?[&0x209] < 8 {
                break;
            }
        }
        Ok(())
    })
    .unwrap();
    let folder = tempfile::TempDir::new().unwrap();
    let folder = StateFolder::open(folder.path()).unwrap();
    let mut authority = SoftAuthority::new();
    let request = request(&authority);
    let refused = provision(&tpm, &folder, &request, &mut authority).unwrap_err();
    assert!(
        matches!(refused, AgentError::Keys(KeysError::PersistentSlots { needed: 8, available }) if available < 8),
        "{refused}"
    );
    let set = tpm
        .run(Lane::Background, LONG, |chip| chip.lockout_state())
        .unwrap();
    assert!(!set.owner_auth_set && !set.endorsement_auth_set && !set.lockout_auth_set);
    assert!(!folder.path().join("provisioning.cbor").exists());
}
