//! The owner thread under load: lanes, cancellation, deadlines, leaks (issue: 64 callers, 10,000 operations).
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_crypto::tpm::attribute;
use alcub3_crypto::tpm::template::PublicTemplate;
use alcub3_crypto::{Curve, HashAlg, Secret};
use alcub3_testkit::Swtpm;
use alcub3_tpm::ops::{Hierarchy, Key};
use alcub3_tpm::transport::{Counted, Counts, Transport};
use alcub3_tpm::{Auth, ChipOptions, CommandCode, Lane, Tpm, TpmError, TpmOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(120);
const PCR_EXTEND: CommandCode = CommandCode(0x182);

struct Fixture {
    tpm: Tpm,
    counts: Counts,
    storage: Key,
    _swtpm: Swtpm,
}

/// A swtpm with a persistent storage root that sessions are salted to.
fn fixture() -> Fixture {
    let swtpm = Swtpm::start().unwrap();
    let counted = Counted::new(swtpm.transport());
    let counts = counted.counts();
    let tpm = Tpm::start(Box::new(counted) as Box<dyn Transport>, TpmOptions::default()).unwrap();
    let storage = tpm
        .run(Lane::Background, LONG, |chip| {
            let template = PublicTemplate::storage_parent(Curve::P256);
            let primary =
                chip.create_primary(Hierarchy::Owner, Auth::Empty, template.as_tpmt_bytes(), None, &[])?;
            let key = chip.evict_control_make(&Secret::from_slice(&[]), &primary.object, 0x8101_0020)?;
            let name = *key.name();
            chip.pin_salt_key(0x8101_0020, Some(&name))?;
            Ok(Key::Persistent(key))
        })
        .unwrap();
    Fixture {
        tpm,
        counts,
        storage,
        _swtpm: swtpm,
    }
}

/// Handles in the chip that are neither persistent nor the two reserved sessions.
fn leftovers(tpm: &Tpm) -> (usize, usize) {
    tpm.run(Lane::Background, LONG, |chip| {
        chip.flush_dropped()?;
        let usage = chip.slot_usage();
        Ok((usage.objects, usage.sessions))
    })
    .unwrap()
}

/// What the executor promises under contention: every caller is answered, nothing is left behind, and a stop is
/// the next command the chip sees.
fn contend(callers: usize, operations: usize) {
    let fixture = fixture();
    let keys: Vec<(Vec<u8>, alcub3_crypto::tpm::Public)> = {
        let storage = fixture.storage.clone();
        fixture
            .tpm
            .run(Lane::Background, LONG, move |chip| {
                (0..6)
                    .map(|_| {
                        let attributes = attribute::FIXED_TPM
                            | attribute::FIXED_PARENT
                            | attribute::SENSITIVE_DATA_ORIGIN
                            | attribute::USER_WITH_AUTH
                            | attribute::NO_DA
                            | attribute::SIGN;
                        let template = PublicTemplate::signing_key(Curve::P256, attributes, None);
                        let made = chip.create(
                            &storage,
                            Auth::Empty,
                            template.as_tpmt_bytes(),
                            &Secret::from_slice(&[]),
                            None,
                            &[],
                        )?;
                        Ok((made.private, made.public))
                    })
                    .collect()
            })
            .unwrap()
    };
    let objects: Arc<Vec<Key>> = Arc::new(
        keys.iter()
            .map(|(private, public)| {
                let (private, public, storage) = (private.clone(), public.clone(), fixture.storage.clone());
                let object = fixture
                    .tpm
                    .run(Lane::Background, LONG, move |chip| {
                        chip.load(&storage, Auth::Empty, &private, &public)
                    })
                    .unwrap();
                Key::Transient(object)
            })
            .collect(),
    );
    let done = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (tpm, objects, done) = (fixture.tpm.clone(), objects.clone(), done.clone());
            scope.spawn(move || {
                for round in 0..operations / callers {
                    let key = objects[(caller + round) % objects.len()].clone();
                    let lane = [Lane::Command, Lane::Attestation, Lane::Background][round % 3];
                    let digest = HashAlg::Sha256.digest(&[&caller.to_be_bytes(), &round.to_be_bytes()]);
                    let answer = if round % 4 == 0 {
                        tpm.run(lane, LONG, move |chip| {
                            chip.sign(&key, Auth::Empty, &digest).map(|_| ())
                        })
                    } else {
                        tpm.run(lane, LONG, |chip| chip.random(16).map(|_| ()))
                    };
                    answer.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let stops = 20;
        for _ in 0..stops {
            std::thread::sleep(Duration::from_millis(20));
            let counts = fixture.counts.clone();
            let before = Arc::new(AtomicUsize::new(0));
            let seen = before.clone();
            let stop = fixture.tpm.submit(Lane::Emergency, LONG, move |chip| {
                seen.store(usize::try_from(counts.total()).unwrap(), Ordering::SeqCst);
                chip.pcr_extend(13, &[HashAlg::Sha256.digest(&[b"stop"])])
            });
            let submitted = fixture.counts.total();
            stop.wait().unwrap();
            let ran_after = u64::try_from(before.load(Ordering::SeqCst))
                .unwrap()
                .saturating_sub(submitted);
            assert!(
                ran_after <= 1,
                "{ran_after} other commands were sent after the stop was submitted"
            );
        }
    });
    assert_eq!(done.load(Ordering::Relaxed), operations / callers * callers);
    assert!(fixture.counts.of(PCR_EXTEND) >= 20);
    assert_eq!(leftovers(&fixture.tpm).0, objects.len());
    drop(objects);
    assert_eq!(leftovers(&fixture.tpm), (0, 0));
}

#[test]
fn sixty_four_callers_share_three_slots() {
    contend(64, 10_000);
}

#[test]
fn an_operation_whose_caller_left_does_not_run() {
    let fixture = fixture();
    let (go, waiting) = std::sync::mpsc::channel();
    let blocker = fixture.tpm.submit(Lane::Background, LONG, move |chip| {
        waiting.recv().unwrap();
        chip.random(8).map(|_| ())
    });
    let before = fixture.counts.of(PCR_EXTEND);
    drop(fixture.tpm.submit(Lane::Background, LONG, |chip| {
        chip.pcr_extend(13, &[HashAlg::Sha256.digest(&[b"x"])])
    }));
    go.send(()).unwrap();
    blocker.wait().unwrap();
    fixture
        .tpm
        .run(Lane::Background, LONG, |chip| chip.random(8).map(|_| ()))
        .unwrap();
    assert_eq!(fixture.counts.of(PCR_EXTEND), before);
}

#[test]
fn an_operation_past_its_deadline_sends_nothing() {
    let fixture = fixture();
    let (go, waiting) = std::sync::mpsc::channel();
    let blocker = fixture.tpm.submit(Lane::Background, LONG, move |_| {
        waiting.recv().unwrap();
        std::thread::sleep(Duration::from_millis(40));
        Ok(())
    });
    let late = fixture
        .tpm
        .submit(Lane::Background, Duration::from_millis(20), |chip| {
            chip.random(8).map(|_| ())
        });
    go.send(()).unwrap();
    assert!(matches!(late.wait(), Err(TpmError::DeadlineExceeded { .. })));
    blocker.wait().unwrap();
}

#[test]
fn the_time_of_an_emergency_counts_from_when_it_runs() {
    let fixture = fixture();
    let within = Duration::from_secs(2);
    let (begun, waiting) = std::sync::mpsc::channel();
    let blocker = fixture.tpm.submit(Lane::Background, LONG, move |_| {
        begun.send(()).unwrap();
        // Longer than the emergency has, with no command between which it could run.
        std::thread::sleep(within + Duration::from_millis(200));
        Ok(())
    });
    waiting.recv().unwrap();
    let before = fixture.counts.of(PCR_EXTEND);
    let stop = fixture.tpm.submit(Lane::Emergency, within, |chip| {
        chip.pcr_extend(13, &[HashAlg::Sha256.digest(&[b"stop"])])
    });
    blocker.wait().unwrap();
    stop.wait().unwrap();
    assert_eq!(fixture.counts.of(PCR_EXTEND), before + 1);
}

#[test]
fn a_panicking_operation_takes_nobody_down() {
    let fixture = fixture();
    let result = fixture
        .tpm
        .run(Lane::Background, LONG, |_| -> alcub3_tpm::Result<()> {
            panic!("boom")
        });
    assert!(result.is_err());
    fixture
        .tpm
        .run(Lane::Background, LONG, |chip| chip.random(8).map(|_| ()))
        .unwrap();
}

/// A saved session that nobody uses survives any number of saves of others: the short form. The 200,000 are
/// `ALCUB3_CONTEXT_SAVES=200000`.
#[test]
fn an_idle_saved_session_passes_the_context_gap() {
    let saves: usize = std::env::var("ALCUB3_CONTEXT_SAVES")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(20_000);
    let swtpm = Swtpm::start().unwrap();
    let options = TpmOptions {
        chip: ChipOptions {
            context_gap_refresh: 200,
            ..ChipOptions::default()
        },
    };
    let tpm = Tpm::start(Box::new(swtpm.transport()), options).unwrap();
    tpm.run(Lane::Background, Duration::from_secs(3600), move |chip| {
        let policy = alcub3_crypto::tpm::policy::Policy::new(HashAlg::Sha256, vec![]).unwrap();
        let inputs = alcub3_tpm::ops::PolicyInputs::default();
        let idle = chip.policy_session(&policy, &inputs)?;
        let busy: Vec<_> = (0..4)
            .map(|_| chip.policy_session(&policy, &inputs))
            .collect::<Result<_, _>>()?;
        for round in 0..saves {
            chip.policy_get_digest(&busy[round % busy.len()])?;
        }
        chip.policy_get_digest(&idle).map(|_| ())
    })
    .unwrap();
}
