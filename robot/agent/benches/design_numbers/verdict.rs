//! The command verdict on one core, against the bare signature check.

use crate::fixture::{LEASE, NOW_MS, World};
use crate::row::{Must, Row};
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

/// Verdicts per second and the 99th percentile of one in microseconds.
fn judge_all(world: &World, envelopes: &[Vec<u8>]) -> (f64, f64) {
    let (context, mut replay) = (world.context(), windows(world));
    let mut times = Vec::with_capacity(envelopes.len());
    let start = Instant::now();
    for bytes in envelopes {
        let one = Instant::now();
        let verdict = judge(&context, &mut replay, black_box(bytes), Some(NOW_MS));
        times.push(one.elapsed());
        assert!(matches!(black_box(verdict), Verdict::Authorized(_)));
    }
    let per_second = envelopes.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    (per_second, times[times.len() * 99 / 100].as_secs_f64() * 1e6)
}

fn bare_checks(world: &World, length: usize, count: usize) -> f64 {
    let (key, message) = (world.operator.verifying_key(), vec![7; length]);
    let signature = world.operator.sign(&message).unwrap();
    let start = Instant::now();
    for _ in 0..count {
        key.verify(
            SignatureScheme::Ecdsa(HashAlg::Sha256),
            black_box(&message),
            &signature,
        )
        .unwrap();
    }
    count as f64 / start.elapsed().as_secs_f64()
}

pub fn rates() -> Vec<Row> {
    let world = World::p256();
    let maced: Vec<Vec<u8>> = (1..=60_000).map(|n| world.maced(&world.envelope(n))).collect();
    let signed: Vec<Vec<u8>> = (1..=2_000).map(|n| world.signed(&world.envelope(n))).collect();
    let mut best = (0.0, f64::MAX);
    let (mut checked, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let (per_second, p99_us) = judge_all(&world, &maced);
        best = (f64::max(best.0, per_second), f64::min(best.1, p99_us));
        checked.push(judge_all(&world, &signed).0);
        bare.push(bare_checks(&world, signed[0].len(), signed.len()));
    }
    vec![
        Row::of("verdict_mac_per_s", best.0, "1/s", Must::AtLeast(300_000.0)),
        Row::of("verdict_mac_p99_us", best.1, "us", Must::AtMost(20.0)),
        Row::over(
            "verdict_ecdsa_ratio",
            crate::row::median(checked),
            "1/s",
            crate::row::median(bare),
            Must::AtLeast(0.85),
        ),
    ]
}
