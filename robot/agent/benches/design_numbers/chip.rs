//! What an operation costs on the chip: against the bare command on the same swtpm, and on a model of the SLB9672.

use crate::row::{Must, Row, in_turn, median, millis, timed};
use crate::support::{LONG, Life, NOW_MS, digest, nonce};
use alcub3_agent::Surroundings;
use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_tpm::ops::{Key, PersistentKey};
use alcub3_tpm::transport::{ChipModel, ModelClock, Timed, TimedMode, Transport};
use alcub3_tpm::{Auth, Chip, Lane};
use alcub3_trust_model::handle_map;
use std::time::Instant;

const ROUNDS: usize = 400;

/// A whole TPM2_Quote as a bare client sends it: the AK's empty password, no session.
fn raw_quote() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend_from_slice(&0x158u32.to_be_bytes());
    body.extend_from_slice(&handle_map::ATTESTATION_KEY.to_be_bytes());
    body.extend_from_slice(&[0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
    body.extend_from_slice(&[0, 32]);
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0x10, 0, 0, 0, 1, 0, 0x0b, 3, 0xff, 0x33, 0]);
    let size = u32::try_from(body.len() + 6).unwrap();
    [&[0x80, 0x02][..], &size.to_be_bytes(), &body].concat()
}

pub fn attest_over_raw_quote() -> Vec<Row> {
    let life = Life::running();
    let (mut bare, command) = (life.swtpm.transport(), raw_quote());
    let surroundings = Surroundings::unknown(HashAlg::Sha256);
    let mut response = Vec::new();
    let (attest, raw) = in_turn(
        ROUNDS,
        || {
            life.robot()
                .evidence(&nonce(1), &surroundings, None, NOW_MS)
                .unwrap();
        },
        || {
            bare.transmit(&command, &mut response, Instant::now() + LONG)
                .unwrap();
            assert_eq!(response[6..10], [0; 4], "the bare quote failed");
        },
    );
    vec![Row::over(
        "attest_over_raw_quote",
        attest,
        "ms",
        raw,
        Must::AtMost(1.15),
    )]
}

/// A robot whose chip answers as slowly as an SLB9672 would, by the model's clock.
fn on_model() -> (Life, ModelClock) {
    let mut life = Life::running();
    let timed = Timed::new(life.swtpm.transport(), ChipModel::SLB9672, TimedMode::Account);
    let clock = timed.clock();
    life.robot = None;
    (life.tpm, life.counts) = crate::support::open_tpm(timed);
    life.open();
    (life, clock)
}

/// The median time on the model: what our side took, plus what the chip would have.
fn model_ms(clock: &ModelClock, rounds: usize, mut work: impl FnMut()) -> f64 {
    let times = (0..rounds).map(|_| {
        clock.reset();
        let took = timed(&mut work);
        millis(took.saturating_sub(clock.inner()) + clock.elapsed())
    });
    median(times.collect())
}

fn on_chip<T: Send + 'static>(
    life: &Life,
    operation: impl FnOnce(&mut Chip) -> alcub3_tpm::Result<T> + Send + 'static,
) -> T {
    life.tpm.run(Lane::Command, LONG, operation).unwrap()
}

pub fn on_slb9672() -> Vec<Row> {
    let (mut life, clock) = on_model();
    let root = Key::from(PersistentKey::new(
        handle_map::STORAGE_ROOT,
        life.robot().keys().record().storage_root.clone(),
    ));
    let surroundings = Surroundings::unknown(HashAlg::Sha256);
    let keygen = model_ms(&clock, 20, || {
        let root = root.clone();
        on_chip(&life, move |chip| {
            let attributes = attribute::FIXED_TPM
                | attribute::FIXED_PARENT
                | attribute::SENSITIVE_DATA_ORIGIN
                | attribute::USER_WITH_AUTH
                | attribute::NO_DA
                | attribute::SIGN;
            let template = PublicTemplate::signing_key(Curve::P256, attributes, None);
            chip.create(
                &root,
                Auth::Empty,
                template.as_tpmt_bytes(),
                &Secret::from_slice(&[]),
                None,
                &[],
            )
            .map(|_| ())
        });
    });
    let attest = model_ms(&clock, 20, || {
        life.robot()
            .evidence(&nonce(1), &surroundings, None, NOW_MS)
            .unwrap();
    });
    let seal = model_ms(&clock, 20, || {
        let root = root.clone();
        on_chip(&life, move |chip| {
            chip.seal(&root, Auth::Empty, None, &[7; 64]).map(|_| ())
        });
    });
    let mission = life.start_mission(600_000);
    let key = life.key(&mission);
    let sign = model_ms(&clock, 20, || {
        life.robot().keys().sign(&key, digest()).unwrap();
    });
    vec![
        Row::of("keygen_slb9672_ms", keygen, "ms", Must::AtMost(1000.0)),
        Row::of("attest_slb9672_ms", attest, "ms", Must::AtMost(500.0)),
        Row::of("seal_slb9672_ms", seal, "ms", Must::AtMost(100.0)),
        Row::of("mission_sign_slb9672_ms", sign, "ms", Must::AtMost(100.0)),
    ]
}
