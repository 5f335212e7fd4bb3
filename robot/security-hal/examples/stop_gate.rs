//! Measures how soon a stop has closed the gate and called every adapter, with 10,000 keys and a saturated TPM queue:
//! `cargo run --release -p alcub3-security-hal --example stop_gate`. DESIGN §8 asks for a 99th percentile of at most
//! 1 ms; a machine that is busy with other work adds its own scheduling delays.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss
)]

#[path = "../tests/support/mod.rs"]
mod support;

fn main() {
    let result = support::busy::measured(300);
    let ms = |ns: u64| ns as f64 / 1e6;
    println!("stop_gate_p50_ms {:.4}", ms(result.p50_ns));
    println!("stop_gate_p99_ms {:.4}", ms(result.p99_ns));
    println!("stop_gate_max_ms {:.4}", ms(result.max_ns));
    println!("gate_closed_p99_ms {:.4}", ms(result.gate_p99_ns));
}
