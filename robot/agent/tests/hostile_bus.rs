//! An attacker on the bus between a robot and its chip, at every response of a provision–rearm–attest–mission–sign–stop
//! life: each attack ends in an error or in the right result, never in something wrong that is believed.
//!
//! `ALCUB3_HOSTILE_STRIDE=1` runs every case; without it a sample is run.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod hostile;
mod support;

use alcub3_attestation::receipt::{Outcome, Receipt, Step as ReceiptStep};
use alcub3_crypto::tpm::make_credential;
use alcub3_crypto::tpm::policy::{Assertion, Policy};
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::tpm::{Name, attribute};
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_keys::RobotRecord;
use alcub3_security_hal::{Step, StepOutcome};
use alcub3_testkit::{Attack, Passed, When};
use alcub3_tpm::ops::{Hierarchy, Key, PersistentKey, PolicyInputs, SecretProof};
use alcub3_tpm::{Auth, Chip, CommandCode, Lane, OsEntropy};
use alcub3_trust_model::handle_map;
use hostile::cases::{Case, cases};
use hostile::judge::{self, Ending};
use hostile::runner::{run, stride};
use hostile::trace::{Seen, leaked, unprotected};
use hostile::world::{Failures, Lived, Snapshot, World, live, provisioned};
use support::{LONG, SoftAuthority};

const PCR_EXTEND: CommandCode = CommandCode(0x182);
const NV_INCREMENT: CommandCode = CommandCode(0x134);
/// How many of the cases are run unless told: as many as fit a run of all tests.
const SAMPLE: usize = 37;

/// The traffic of a world that nobody attacked.
fn heard(world: &mut World) -> Vec<Passed> {
    world.close();
    let traffic = world.bus.traffic();
    assert!(traffic.iter().all(|passed| passed.genuine == passed.given));
    traffic
}

fn attacked(snapshot: &Snapshot, case: &Case) -> World {
    World::of(snapshot, Some((When::Ordinal(case.ordinal), case.attack.clone())))
}

/// A provisioned robot and the authority that enrolled it.
fn enrolled() -> (Snapshot, SoftAuthority) {
    let mut world = World::of(&Snapshot::blank(), None);
    let (mut authority, mut failures) = (SoftAuthority::new(), Failures::default());
    provisioned(&world, &mut authority, &mut failures).unwrap();
    world.close();
    (Snapshot::of(&world.swtpm, world.folder.path()), authority)
}

fn provision_once(world: &mut World) -> Ending {
    let (mut authority, mut failures) = (SoftAuthority::new(), Failures::default());
    let record = provisioned(world, &mut authority, &mut failures);
    world.close();
    match record {
        Some(record) => judge::provisioning(world, &authority, &record),
        None => judge::locked_out(world, &authority),
    }
    if failures.0.is_empty() {
        Ending::Right
    } else {
        Ending::Error
    }
}

#[test]
fn whatever_is_done_to_a_response_of_provisioning_nothing_wrong_is_enrolled() {
    let blank = Snapshot::blank();
    let mut quiet = World::of(&blank, None);
    assert_eq!(provision_once(&mut quiet), Ending::Right);
    let recorded = heard(&mut quiet);
    println!("provisioning: {} responses", recorded.len());
    run(&cases(&recorded), stride(SAMPLE), |case| {
        let mut world = attacked(&blank, case);
        let ending = provision_once(&mut world);
        judge_delay(case, ending);
        ending
    })
    .assert_clean("provisioning");
}

#[test]
fn whatever_is_done_to_a_response_of_a_life_nothing_wrong_is_believed() {
    let (snapshot, authority) = enrolled();
    let live_once = |world: &mut World| {
        let mut failures = Failures::default();
        let lived = live(world, &authority, &mut failures);
        world.close();
        judge::life(world, &authority, &lived, &failures)
    };
    let mut quiet = World::of(&snapshot, None);
    assert_eq!(live_once(&mut quiet), Ending::Right);
    let recorded = heard(&mut quiet);
    println!("life: {} responses", recorded.len());
    run(&cases(&recorded), stride(SAMPLE), |case| {
        let ending = live_once(&mut attacked(&snapshot, case));
        judge_delay(case, ending);
        ending
    })
    .assert_clean("life");
}

/// A delay within the deadline is no failure.
fn judge_delay(case: &Case, ending: Ending) {
    assert!(!matches!(case.attack, Attack::Delay(_)) || ending == Ending::Right);
}

/// The life's stop with an attack on one of its two commands from the moment it is called.
fn stop_under(snapshot: &Snapshot, authority: &SoftAuthority, code: CommandCode, attack: &Attack) -> Lived {
    let mut quiet = World::of(snapshot, None);
    live(&quiet, authority, &mut Failures::default());
    let recorded = heard(&mut quiet);
    let is_it = |passed: &Passed| passed.command[6..10] == code.0.to_be_bytes();
    let ordinal = u64::try_from(recorded.iter().rposition(is_it).unwrap()).unwrap();
    let world = World::of(snapshot, Some((When::Ordinal(ordinal), attack.clone())));
    let lived = live(&world, authority, &mut Failures::default());
    assert_eq!(world.bus.attacked(), 1);
    lived
}

/// Whether the receipt's statement says that the answer to a command was good.
fn confirmed_by_its_answer(lived: &Lived, step: ReceiptStep) -> bool {
    let receipt = Receipt::from_canonical(lived.report.receipt.as_ref().unwrap()).unwrap();
    let steps = receipt.statement.steps.iter();
    steps.filter(|time| time.step == step).all(|time| time.confirmed)
}

#[test]
fn a_faked_success_of_a_stop_is_detected() {
    let (snapshot, authority) = enrolled();
    for (code, step, stated) in [
        (PCR_EXTEND, Step::PcrExtended, ReceiptStep::PcrExtended),
        (
            NV_INCREMENT,
            Step::CounterIncremented,
            ReceiptStep::CounterIncremented,
        ),
    ] {
        // Success with sessions, and the bare one: never believed. The command goes out again, and whether the chip did
        // it is for the chip to say, in the receipt.
        let bare = [0x80, 1, 0, 0, 0, 10, 0, 0, 0, 0].to_vec();
        for attack in [Attack::FakeSuccess(Vec::new()), Attack::Answer(bare)] {
            let lived = stop_under(&snapshot, &authority, code, &attack);
            assert!(!confirmed_by_its_answer(&lived, stated), "{code} {attack:?}");
            let outcome = &lived.report.step(step).unwrap().outcome;
            assert!(
                matches!(outcome, StepOutcome::Proven(_)),
                "{code} {attack:?}: {outcome}"
            );
            let receipt = judge::receipt_outcome(&authority, &lived);
            assert_eq!(receipt, Some(Outcome::Proven), "{code} {attack:?}");
            assert!(lived.stopped && lived.armed_refused);
        }
        // The chip silenced: nothing is done and nothing is claimed.
        let lived = stop_under(&snapshot, &authority, code, &Attack::DropCommand);
        assert!(!lived.report.step(step).unwrap().outcome.is_done(), "{code}");
        assert!(!lived.report.is_complete() && lived.stopped);
        assert_ne!(judge::receipt_outcome(&authority, &lived), Some(Outcome::Proven));
    }
}

/// The chip does what it is told, and the answer that says so is damaged: the command goes out again.
#[test]
fn a_stop_whose_answers_were_damaged_is_proven_by_its_receipt() {
    let (snapshot, authority) = enrolled();
    let damages = [
        Attack::ReplayEarlier,
        Attack::Truncate(10),
        Attack::Extend(vec![0]),
    ];
    for (code, extends) in [(PCR_EXTEND, 2), (NV_INCREMENT, 1)] {
        for damage in &damages {
            let lived = stop_under(&snapshot, &authority, code, damage);
            let receipt = Receipt::from_canonical(lived.report.receipt.as_ref().unwrap()).unwrap();
            assert_eq!(receipt.statement.extends, extends, "{code} {damage:?}");
            let outcome = judge::receipt_outcome(&authority, &lived);
            assert_eq!(outcome, Some(Outcome::Proven), "{code} {damage:?}");
            assert!(
                lived.report.is_complete(),
                "{code} {damage:?}: {:?}",
                lived.report
            );
        }
    }
}

/// An attacker who never stops: every answer to the stop's two commands is faked, with and without sessions.
#[test]
fn an_attacker_who_answers_for_the_chip_throughout_a_stop_proves_nothing() {
    let (snapshot, authority) = enrolled();
    let mut world = World::of(&snapshot, None);
    let mut failures = Failures::default();
    let bus = world.bus.clone();
    let lived = hostile::world::live_until_the_stop(&world, &authority, &mut failures, || {
        for code in [PCR_EXTEND, NV_INCREMENT] {
            bus.attack(When::Code(code), Attack::FakeSuccess(Vec::new()));
        }
    });
    world.close();
    for step in [Step::PcrExtended, Step::CounterIncremented] {
        assert!(!lived.report.step(step).unwrap().outcome.is_done());
    }
    assert_eq!(
        judge::life(&world, &authority, &lived, &failures),
        Ending::Unconfirmed
    );
}

/// Everything else that takes or gives a secret, on an enrolled robot's chip; returns the secrets.
fn use_secrets(
    chip: &mut Chip,
    record: &RobotRecord,
    endorsement: &Secret,
) -> alcub3_tpm::Result<Vec<Secret>> {
    let key = |handle, public| Key::from(PersistentKey::new(handle, public));
    let ek = key(handle_map::EK, record.endorsement_key.clone());
    let ak = key(handle_map::ATTESTATION_KEY, record.attestation_key.clone());
    let root = key(handle_map::STORAGE_ROOT, record.storage_root.clone());
    let mut secrets = vec![chip.random(48)?];
    for data in [vec![0xa1; 48], (0..=255).cycle().take(4000).collect()] {
        let sealed = chip.seal(&root, Auth::Empty, None, &data)?;
        let unsealed = chip.unseal(&root, Auth::Empty, Auth::Empty, &sealed)?;
        assert_eq!(unsealed.expose(), data);
        secrets.push(unsealed);
    }
    let mut child = |template: PublicTemplate, data: Option<&Secret>| -> alcub3_tpm::Result<(Key, Secret)> {
        let auth = chip.random(32)?;
        let made = chip.create(&root, Auth::Empty, template.as_tpmt_bytes(), &auth, data, &[])?;
        let object = chip.load(&root, Auth::Empty, &made.private, &made.public)?;
        Ok((Key::from(object), auth))
    };
    let bits = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::USER_WITH_AUTH | attribute::NO_DA;
    let known = Secret::from_slice(&[0xb2; 32]);
    let (mac, mac_auth) = child(
        PublicTemplate::hmac_key(HashAlg::Sha256, bits, None),
        Some(&known),
    )?;
    secrets.push(chip.hmac(&mac, Auth::Value(&mac_auth), &[0xc3; 32])?);
    secrets.extend([mac_auth, known, Secret::from_slice(&[0xc3; 32])]);
    let challenge = Secret::from_slice(&[0xd4; 32]);
    let credential = make_credential(ek.public(), ak.name(), challenge.expose(), &mut OsEntropy)?;
    let policy = Policy::new(
        ek.public().name_alg(),
        vec![Assertion::Secret {
            object_name: Name::of_handle(Hierarchy::Endorsement.handle()),
            policy_ref: Vec::new(),
        }],
    )
    .unwrap();
    let proof = SecretProof::of_hierarchy(Hierarchy::Endorsement, &[], endorsement.clone());
    let session = chip.policy_session(&policy, &PolicyInputs::new().secret(proof))?;
    let recovered = chip.activate_credential(
        &ak,
        Auth::Empty,
        &ek,
        Auth::Policy(&session),
        &credential.id_object,
        &credential.encrypted_secret,
    )?;
    assert_eq!(recovered.expose(), challenge.expose());
    secrets.extend([challenge, shared_secret(chip, &root)?]);
    Ok(secrets)
}

/// The result of an ECDH with a key of the chip's.
fn shared_secret(chip: &mut Chip, root: &Key) -> alcub3_tpm::Result<Secret> {
    let bits = attribute::FIXED_TPM
        | attribute::FIXED_PARENT
        | attribute::SENSITIVE_DATA_ORIGIN
        | attribute::USER_WITH_AUTH
        | attribute::NO_DA
        | attribute::DECRYPT;
    // A signing key's form with the null scheme in the place of ECDSA with SHA-256.
    let mut template = PublicTemplate::signing_key(Curve::P256, bits, None).into_tpmt_bytes();
    let ecdsa = [0x00, 0x18, 0x00, 0x0b];
    let at = template.windows(4).position(|bytes| bytes == ecdsa).unwrap();
    template.splice(at..at + 4, [0x00, 0x10]);
    let none = Secret::from_slice(&[]);
    let made = chip.create(root, Auth::Empty, &template, &none, None, &[])?;
    let object = Key::from(chip.load(root, Auth::Empty, &made.private, &made.public)?);
    let (_, x, y) = made.public.ec_point().unwrap();
    chip.ecdh_zgen(&object, Auth::Empty, &x, &y)
}

/// What may be sent before there is a session: the questions that lead to the pin, and what makes the EK.
const BEFORE_THE_PIN: [CommandCode; 6] = [
    CommandCode(0x17a), // GetCapability: is an owner authorisation set?
    CommandCode(0x173), // ReadPublic of the EK; asked again in the session
    CommandCode(0x131), // CreatePrimary of the EK
    CommandCode(0x120), // EvictControl of the EK
    CommandCode(0x165), // FlushContext, which permits no session
    CommandCode(0x176), // StartAuthSession
];

/// Handles whose Names provisioning asks for without a session: storage root, AK, identity, two level parents and
/// two derivation keys, two indices where the EK's certificate may be; all confirmed in the session where something is there.
const NAMES_ASKED: usize = 9;

#[test]
fn every_command_carries_a_session_and_no_secret_crosses_the_bus_in_the_clear() {
    let (mut authority, mut failures) = (SoftAuthority::new(), Failures::default());
    let (mut world, provisioning) = World::recorded(&Snapshot::blank());
    let record = provisioned(&world, &mut authority, &mut failures).unwrap();
    world.close();
    let snapshot = Snapshot::of(&world.swtpm, world.folder.path());
    let (mut world, life) = World::recorded(&snapshot);
    let lived = live(&world, &authority, &mut failures);
    assert!(failures.0.is_empty());
    let made = [record.attestation_key.clone(), lived.mission.public];
    let custody = authority.enrolled.as_ref().unwrap().custody.clone();
    let endorsement = custody.endorsement.clone();
    let mut secrets = world
        .tpm()
        .run(Lane::Background, LONG, move |chip| {
            use_secrets(chip, &record, &endorsement)
        })
        .unwrap();
    world.close();
    secrets.extend([custody.owner, custody.endorsement, custody.lockout]);

    for (tape, names_asked, made) in [(provisioning, NAMES_ASKED, &made[0]), (life, 0, &made[1])] {
        let exchanges = tape.capture().exchanges;
        let found = unprotected(&Seen::all(&exchanges));
        println!(
            "{} of {} commands that permit a session carry one",
            found.carried, found.permitted
        );
        assert!(found.faults.is_empty(), "{:?}", found.faults);
        assert!(found.carried > 50);
        // Handles that nobody knows anything about yet; a robot at work has none.
        assert!(found.permitted - found.carried <= names_asked, "{names_asked}");
        let before = found.before_the_pin.iter().map(|code| CommandCode(*code));
        let undocumented: Vec<CommandCode> = before.filter(|code| !BEFORE_THE_PIN.contains(code)).collect();
        assert!(undocumented.is_empty(), "{undocumented:?}");
        for secret in &secrets {
            assert!(!leaked(&exchanges, secret.expose()));
        }
        // The listener is not deaf: what is no secret is heard.
        assert!(leaked(&exchanges, &made.ec_point().unwrap().1));
    }
}
