//! The first part of a stop, under load; and what it extends.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod support;

use alcub3_attestation::event_log::agent;
use alcub3_crypto::HashAlg;
use alcub3_security_hal::{StopIntent, StopScope};
use alcub3_trust_model::nv_map::MissionAnchor;
use alcub3_trust_model::{Level, MissionId};
use support::busy::measured;
use support::order;

#[test]
fn a_stop_with_10000_keys_and_a_full_tpm_queue_closes_the_gate_and_calls_the_adapters() {
    let result = measured(5);
    assert!(result.max_ns < u64::MAX, "an adapter was never called");
    assert!(result.gate_p99_ns <= result.p99_ns);
}

#[test]
fn a_stop_extends_what_a_verifier_of_receipts_computes() {
    let anchor = MissionAnchor::new(3).unwrap();
    let mission = MissionId::new([9; 16]);
    let scopes = [
        (StopScope::Robot, agent::StopScope::Robot),
        (
            StopScope::Level(Level::Secret),
            agent::StopScope::Level(Level::Secret),
        ),
        (
            StopScope::Mission(mission, anchor),
            agent::StopScope::Mission(mission, anchor),
        ),
    ];
    for (scope, theirs) in scopes {
        let order = order(1, scope);
        let event = agent::StopEvent {
            stop: order.stop,
            robot: order.robot.clone(),
            scope: theirs,
            cause: order.cause,
            called_utc_ms: order.called_utc_ms,
        };
        let event = agent::AgentEvent::Stop(event);
        for alg in [HashAlg::Sha256, HashAlg::Sha384] {
            assert_eq!(
                StopIntent::new(order.clone()).event_digest(alg),
                event.digest(alg)
            );
        }
    }
}
