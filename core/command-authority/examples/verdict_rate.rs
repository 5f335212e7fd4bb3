//! Measures the verdict on one core: `cargo run --release -p alcub3-command-authority --example verdict_rate`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing
)]

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use std::hint::black_box;
use std::time::Instant;

use alcub3_command_authority::{ReplayWindows, Verdict, judge};
use alcub3_crypto::{HashAlg, SignatureScheme};
use fixture::{LEASE, NOW_MS, World};

fn windows(world: &World) -> ReplayWindows {
    let mut replay = ReplayWindows::new(LEASE);
    world
        .token
        .issuers
        .iter()
        .for_each(|issuer| replay.open(&issuer.operator));
    for wanted in replay.wanted() {
        replay.confirm(&wanted);
    }
    replay
}

/// Verdicts per second, and the median and the 99th percentile of one, in microseconds.
fn rate(world: &World, envelopes: &[Vec<u8>]) -> (f64, f64, f64) {
    let (context, mut replay) = (world.context(), windows(world));
    let mut times = Vec::with_capacity(envelopes.len());
    let start = Instant::now();
    for bytes in envelopes {
        let one = Instant::now();
        let verdict = judge(&context, &mut replay, black_box(bytes), Some(NOW_MS));
        times.push(one.elapsed());
        assert!(matches!(black_box(verdict), Verdict::Authorized(_)));
    }
    let total = start.elapsed().as_secs_f64();
    times.sort();
    let percentile = |of: usize| times[times.len() * of / 100].as_secs_f64() * 1e6;
    (envelopes.len() as f64 / total, percentile(50), percentile(99))
}

fn main() {
    let world = World::p256();
    let maced: Vec<Vec<u8>> = (1..=60_000).map(|n| world.maced(&world.envelope(n))).collect();
    let signed: Vec<Vec<u8>> = (1..=8_000).map(|n| world.signed(&world.envelope(n))).collect();
    println!(
        "envelope: MAC {} bytes, signed {} bytes",
        maced[0].len(),
        signed[0].len()
    );
    for _ in 0..3 {
        let (per_s, p50_us, p99_us) = rate(&world, &maced);
        let (ecdsa_per_s, ..) = rate(&world, &signed);
        let (key, message) = (world.operator.verifying_key(), vec![7; signed[0].len()]);
        let signature = world.operator.sign(&message).unwrap();
        let start = Instant::now();
        for _ in 0..signed.len() {
            key.verify(
                SignatureScheme::Ecdsa(HashAlg::Sha256),
                black_box(&message),
                &signature,
            )
            .unwrap();
        }
        let bare = signed.len() as f64 / start.elapsed().as_secs_f64();
        let ratio = ecdsa_per_s / bare;
        println!(
            "MAC {per_s:.0}/s, p50 {p50_us:.2} us, p99 {p99_us:.2} us; P-256 {ecdsa_per_s:.0}/s of {bare:.0}/s bare: {ratio:.3}"
        );
    }
}
