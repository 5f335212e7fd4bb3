//! How many TPM commands each operation of a robot's life takes.

use super::{steady as support_steady, *};
use alcub3_agent::{Asked, PlatformLogs};
use alcub3_crypto::Secret;
use alcub3_fleet_protocol::certificate::DeviceKeyKind;
use alcub3_keys::DerivedPurpose;
use alcub3_tpm::Lane;
use alcub3_trust_model::{AttestationKind, Level};

/// Every operation of a robot's life with the number of TPM commands it takes in the steady state.
pub fn counted_operations(life: &mut Life) -> Vec<(String, u64)> {
    let mut counts = Vec::new();
    let surroundings = alcub3_agent::Surroundings::unknown();
    let mut steady = None;
    let evidence = |life: &Life, asked: &Asked| {
        life.robot()
            .evidence(asked, &surroundings, &PlatformLogs::NONE, NOW_MS)
            .unwrap();
    };
    let mut count = |life: &mut Life, operation: &str, work: &mut dyn FnMut(&mut Life)| {
        // What an earlier operation dropped is flushed before the count starts.
        life.tpm
            .run(Lane::Background, LONG, |chip| chip.flush_dropped())
            .unwrap();
        let before = life.counts.total();
        work(life);
        life.tpm
            .run(Lane::Background, LONG, |chip| chip.flush_dropped())
            .unwrap();
        counts.push((operation.to_owned(), life.counts.total() - before));
    };
    count(life, "attest: the first after a start of the chip", &mut |life| {
        steady = Some(support_steady(life.robot()));
    });
    let steady = steady.unwrap();
    count(life, "attest: evidence for a nonce", &mut |life| {
        evidence(life, &steady);
    });
    for kind in [
        AttestationKind::Platform,
        AttestationKind::Sensor,
        AttestationKind::Emergency,
    ] {
        let asked = Asked {
            kind,
            ..steady.clone()
        };
        count(life, &format!("attest: {kind}"), &mut |life| {
            evidence(life, &asked);
        });
    }
    let unknown = Asked::all(nonce(9));
    count(
        life,
        "attest: to a verifier that knows no register",
        &mut |life| {
            evidence(life, &unknown);
        },
    );
    life.create_identity().unwrap();
    count(life, "identity: renew the local device key", &mut |life| {
        life.renew_identity().unwrap();
    });
    let local = life.robot().identity().unwrap().local;
    let device_key = life
        .robot()
        .keys()
        .load_device_key(DeviceKeyKind::Local, &local)
        .unwrap();
    count(life, "identity: sign, as for a TLS handshake", &mut |_| {
        device_key.sign_message(b"handshake").unwrap();
    });
    drop(device_key);
    life.robot().measure_hardware(None, NOW_MS).unwrap();
    count(life, "hardware: measure, nothing changed", &mut |life| {
        life.robot().measure_hardware(None, NOW_MS).unwrap();
    });
    let mut asked = None;
    count(life, "hardware: ask for replaced parts", &mut |life| {
        let camera = Part {
            class: PartClass::Sensor,
            ..board("camera")
        };
        let declared = DeclaredAnew {
            parts: vec![camera],
            gone: Vec::new(),
        };
        asked = Some(life.ask_replacement(None, &declared).unwrap());
    });
    let (request, session) = asked.unwrap();
    let answer = life.authority.approve_replacement(&request, session).unwrap();
    let mut robot = life.robot.take();
    count(life, "hardware: take the approved replacement", &mut |_| {
        robot.take().unwrap().take_replacement(&answer, NOW_MS).unwrap();
    });
    life.open();
    evidence(life, &steady);
    count(life, "rearm: request for two levels", &mut |life| {
        let session = life.next_session();
        life.robot()
            .rearm_request(session, &[Level::Unclassified, Level::Cui])
            .unwrap();
    });
    let mut mission = None;
    count(life, "mission: request and start", &mut |life| {
        mission = Some(life.start_mission(600_000));
    });
    let mission = mission.unwrap();
    let mut key = None;
    count(life, "mission key: load", &mut |life| {
        key = Some(life.key(&mission));
    });
    let key = key.unwrap();
    // The approval of the end is verified by the chip once; its ticket is kept.
    life.robot().keys().sign(&key, digest()).unwrap();
    count(life, "mission key: arm and sign", &mut |life| {
        life.robot().keys().sign(&key, digest()).unwrap();
    });
    drop(key);
    let purpose = DerivedPurpose::DataEncryption;
    life.robot().checkpoint_audit().unwrap();
    count(life, "audit: a checkpoint, counted and signed", &mut |life| {
        life.robot().checkpoint_audit().unwrap();
    });
    count(life, "level: derive a key", &mut |life| {
        life.robot().keys().derive(LEVEL, purpose, b"logs").unwrap();
    });
    let mut sealed = None;
    count(life, "level: seal, any size", &mut |life| {
        let data = Secret::from_slice(&[7; 4096]);
        sealed = Some(life.robot().keys().seal(LEVEL, data).unwrap());
    });
    count(life, "level: unseal, any size", &mut |life| {
        let sealed = sealed.take().unwrap();
        life.robot().keys().unseal(LEVEL, sealed).unwrap();
    });
    count(life, "mission: complete", &mut |life| {
        life.robot().complete_mission(mission.mission, NOW_MS).unwrap();
    });
    count_managed_keys(life, &mut count);
    count(life, "stop: whole, with receipt", &mut |life| {
        life.stop();
    });
    count(life, "robot: open", &mut |life| {
        life.open();
    });
    counts
}

type Count<'a> = dyn FnMut(&mut Life, &str, &mut dyn FnMut(&mut Life)) + 'a;

/// The operations of a managed key that a stop ends; one was made before under the same anchor.
fn count_managed_keys(life: &mut Life, count: &mut Count<'_>) {
    use alcub3_trust_model::managed_key::{KeyPurpose, Transition};
    let plan = alcub3_keys::KeyPlan {
        label: alcub3_trust_model::KeyLabel::new("counted").unwrap(),
        purpose: KeyPurpose::DataEncryption,
        level: LEVEL,
        activates_in_ms: 0,
    };
    let create = |life: &Life| life.robot().create_key(&plan, NOW_MS).unwrap();
    let destroy = |life: &Life, id| {
        life.robot().change_key(id, Transition::Destroy, NOW_MS).unwrap();
    };
    destroy(life, create(life).id);
    let mut key = None;
    count(life, "managed key: create", &mut |life| {
        key = Some(create(life).id);
    });
    let key = key.unwrap();
    count(life, "managed key: encrypt", &mut |life| {
        life.robot().encrypt_with_key(key, b"map", NOW_MS).unwrap();
    });
    count(life, "managed key: suspend", &mut |life| {
        life.robot().change_key(key, Transition::Suspend, NOW_MS).unwrap();
    });
    count(life, "managed key: destroy", &mut |life| destroy(life, key));
    count(life, "managed keys: sweep, nothing due", &mut |life| {
        life.robot().sweep_keys(None).unwrap();
    });
}
