//! The command verdict on one core, against the bare signature check.

use crate::fixture::{LEASE, NOW_MS, World};
use crate::row::{Must, Row, best_rates};
use alcub3_command_authority::{ReplayWindows, Verdict, judge};
use alcub3_crypto::{HashAlg, SignatureScheme};
use std::hint::black_box;
use std::time::Instant;

fn windows(world: &World) -> ReplayWindows {
    let mut replay = ReplayWindows::new(LEASE);
    world
        .token
        .issuers
        .iter()
        .for_each(|issuer| replay.open(&issuer.operator));
    replay.wanted().iter().for_each(|wanted| replay.confirm(wanted));
    replay
}

/// Verdicts per second in the best batch, and the 99th percentile of one over all, in microseconds.
fn macs(world: &World) -> (f64, f64) {
    let envelopes: Vec<Vec<u8>> = (1..=60_000).map(|n| world.maced(&world.envelope(n))).collect();
    let (context, mut replay) = (world.context(), windows(world));
    let mut rate = 0.0;
    let mut times = Vec::with_capacity(envelopes.len());
    for batch in envelopes.chunks(500) {
        let start = Instant::now();
        for bytes in batch {
            let one = Instant::now();
            let verdict = judge(&context, &mut replay, black_box(bytes), Some(NOW_MS));
            times.push(one.elapsed());
            assert!(matches!(black_box(verdict), Verdict::Authorized(_)));
        }
        rate = f64::max(rate, batch.len() as f64 / start.elapsed().as_secs_f64());
    }
    times.sort_unstable();
    (rate, times[times.len() * 99 / 100].as_secs_f64() * 1e6)
}

pub fn rates() -> Vec<Row> {
    let world = World::p256();
    let (per_second, p99_us) = macs(&world);
    let signed: Vec<Vec<u8>> = (1..=10_000).map(|n| world.signed(&world.envelope(n))).collect();
    let (context, mut replay) = (world.context(), windows(&world));
    let (key, message) = (world.operator.verifying_key(), vec![7; signed[0].len()]);
    let signature = world.operator.sign(&message).unwrap();
    let mut envelopes = signed.iter();
    let (checked, bare) = best_rates(
        100,
        100,
        || {
            let verdict = judge(
                &context,
                &mut replay,
                black_box(envelopes.next().unwrap()),
                Some(NOW_MS),
            );
            assert!(matches!(verdict, Verdict::Authorized(_)));
        },
        || {
            key.verify(
                SignatureScheme::Ecdsa(HashAlg::Sha256),
                black_box(&message),
                &signature,
            )
            .unwrap();
        },
    );
    vec![
        Row::of("verdict_mac_per_s", per_second, "1/s", Must::AtLeast(300_000.0)),
        Row::of("verdict_mac_p99_us", p99_us, "us", Must::AtMost(20.0)),
        Row::over("verdict_ecdsa_ratio", checked, "1/s", bare, Must::AtLeast(0.85)),
    ]
}
