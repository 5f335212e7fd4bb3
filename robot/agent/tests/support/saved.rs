//! Policy sessions that the chip saved before a stop and that somebody goes on with after its power came back.
#![allow(dead_code, missing_docs, unreachable_pub)]

use crate::reach::{Power, mission};
use crate::support::{Life, digest};
use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::policy::Policy;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, Secret};
use alcub3_testkit::PowerUp;
use alcub3_tpm::ops::{Created, Key, PersistentKey};
use alcub3_tpm::{Auth, Chip, PolicySession};
use alcub3_trust_model::nv_map::NvIndex;
use alcub3_trust_model::{MissionKeyPurpose, handle_map};

/// A key under a policy of the test's choice, which unlike a mission key can still be loaded after a stop: what is
/// refused then is the session's doing.
fn key_under(
    chip: &mut Chip,
    root: &Key,
    policy: &Policy,
    purpose: MissionKeyPurpose,
) -> alcub3_tpm::Result<Created> {
    let bound = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::NO_DA;
    let made_inside = bound | attribute::SENSITIVE_DATA_ORIGIN;
    let (digest, hash, data) = (policy.digest(), policy.alg(), Secret::from_slice(&[7; 32]));
    let (template, data) = match purpose {
        MissionKeyPurpose::Signing => {
            let attributes = made_inside | attribute::SIGN;
            let template = PublicTemplate::signing_key(Curve::P256, attributes, Some(&digest));
            (template, None)
        }
        MissionKeyPurpose::CommandMac => (PublicTemplate::hmac_key(hash, made_inside, Some(&digest)), None),
        MissionKeyPurpose::DataSealing => {
            let template = PublicTemplate::sealed_data(hash, bound, Some(&digest));
            (template, Some(&data))
        }
    };
    let empty = Secret::from_slice(&[]);
    chip.create(root, Auth::Empty, template.as_tpmt_bytes(), &empty, data, &[])
}

/// Uses a key for the one thing that it is for.
pub fn use_for(
    chip: &mut Chip,
    key: &Key,
    purpose: MissionKeyPurpose,
    session: &PolicySession,
) -> alcub3_tpm::Result<()> {
    let auth = Auth::Policy(session);
    match purpose {
        MissionKeyPurpose::Signing => chip.sign(key, auth, &digest()).map(|_| ()),
        MissionKeyPurpose::CommandMac => chip.hmac(key, auth, b"command").map(|_| ()),
        MissionKeyPurpose::DataSealing => chip.unseal_object(key, auth).map(|_| ()),
    }
}

pub fn storage_root(life: &Life) -> Key {
    let public = life.robot().keys().record().storage_root.clone();
    Key::from(PersistentKey::new(handle_map::STORAGE_ROOT, public))
}

/// The mission policy's PolicyPCR behind the NV comparisons: the order that DESIGN §4 forbids.
pub fn pcr_last(policy: &Policy) -> Policy {
    let mut assertions = policy.assertions().to_vec();
    let pcr = assertions.remove(2);
    assertions.push(pcr);
    Policy::new(policy.alg(), assertions).unwrap()
}

fn split(policy: &Policy, at: usize) -> (Policy, Policy) {
    let (before, after) = policy.assertions().split_at(at);
    let part = |assertions: &[_]| Policy::new(policy.alg(), assertions.to_vec()).unwrap();
    (part(before), part(after))
}

/// Replays a policy's first assertions, has the chip save the session, stops the robot, cycles the power, replays the
/// rest and uses the key for its purpose.
pub fn saved_over(
    power: Power,
    order: fn(&Policy) -> Policy,
    replayed_before: usize,
    purpose: MissionKeyPurpose,
) -> alcub3_tpm::Result<()> {
    saved_while(order, replayed_before, purpose, |life| {
        let report = life.stop();
        assert!(report.is_complete(), "{report:?}");
        power.cycle(&life.swtpm);
    })
}

/// As [`saved_over`], with a stop of which only the counter was reached, in a chip that was told to keep its state.
pub fn saved_over_half_a_stop(
    power: PowerUp,
    replayed_before: usize,
    purpose: MissionKeyPurpose,
) -> alcub3_tpm::Result<()> {
    saved_while(Policy::clone, replayed_before, purpose, |life| {
        life.swtpm.shutdown().unwrap();
        life.increment(NvIndex::RobotEpoch);
        life.swtpm.power_cycle(power).unwrap();
    })
}

fn saved_while(
    order: fn(&Policy) -> Policy,
    replayed_before: usize,
    purpose: MissionKeyPurpose,
    happens: impl FnOnce(&mut Life),
) -> alcub3_tpm::Result<()> {
    let mut life = Life::running();
    let (record, _) = mission(&mut life);
    let policy = order(&life.robot().keys().policy_for(&record, purpose).unwrap());
    let (root, inputs) = (storage_root(&life), life.inputs(&record));
    let (before, after) = split(&policy, replayed_before);
    let (under, replay, parent) = (policy, inputs.clone(), root.clone());
    let (key, armed) = life
        .chip(move |chip| {
            let key = key_under(chip, &parent, &under, purpose)?;
            let armed = chip.policy_session(&before, &replay)?;
            // Others take the slots until the chip saves the first.
            let others = (0..2)
                .map(|_| chip.begin_policy(&under))
                .collect::<Result<Vec<_>, _>>()?;
            let usage = chip.slot_usage();
            assert!(usage.sessions_loaded < usage.sessions, "{usage:?}");
            drop(others);
            Ok((key, armed))
        })
        .unwrap();
    happens(&mut life);
    life.chip(move |chip| {
        chip.complete_policy(&armed, &after, &inputs)?;
        let loaded = chip.load(&root, Auth::Empty, &key.private, &key.public)?;
        use_for(chip, &Key::from(loaded), purpose, &armed)
    })
}

/// Assertions up to the anchor's, in either order: clock, approval, then PCR and three counters, or three counters.
pub const UP_TO_COUNTERS_PCR_FIRST: usize = 6;
pub const UP_TO_COUNTERS_PCR_LAST: usize = 5;
