//! Health: what was judged, and how long ago, makes one of five states; silence is one of them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use alcub3_attestation::health::{HealthState, History, Trend};

const INTERVAL: u64 = 400_000;
const AT: u64 = 1_790_000_000_000;

fn judged(judgements: &[(u64, bool)]) -> History {
    let mut history = History::default();
    for (at, trusted) in judgements {
        history.note(AT + at, *trusted, if *trusted { &[] } else { &["runtime-file"] });
    }
    history
}

#[test]
fn a_trusted_robot_is_fresh_then_due_then_late_at_the_moment_that_is_told() {
    let history = judged(&[(0, true)]);
    let mut at = AT;
    let mut seen = Vec::new();
    loop {
        let health = history.health(INTERVAL, at);
        seen.push((health.state, at - AT));
        assert_eq!(health.next_due_ms, AT + 300_000);
        let Some(next) = health.next_change_ms else { break };
        assert_eq!(
            history.health(INTERVAL, next - 1).state,
            health.state,
            "not before"
        );
        at = next;
    }
    let expected = [
        (HealthState::Fresh, 0),
        (HealthState::Due, 300_000),
        (HealthState::Late, 400_000),
    ];
    assert_eq!(seen, expected);
    let silent = |at| history.health(INTERVAL, AT + at).silent_since_ms;
    assert_eq!((silent(0), silent(INTERVAL - 1)), (None, None));
    assert_eq!(silent(INTERVAL), Some(AT + INTERVAL));
    let late = history.health(INTERVAL, AT + 10 * INTERVAL);
    assert_eq!(late.silent_since_ms, Some(AT + INTERVAL));
    assert_eq!(late.since_ms, Some(AT + INTERVAL), "it stays late, since then");
    assert!(
        late.why.contains("nothing was heard of it for 66 min"),
        "{}",
        late.why
    );
}

#[test]
fn an_untrusted_robot_is_failing_with_its_reason_until_it_is_trusted() {
    let mut history = judged(&[(0, true), (10, false), (20, false)]);
    for age in [0, INTERVAL, 100 * INTERVAL] {
        let health = history.health(INTERVAL, AT + 20 + age);
        assert_eq!(
            (health.state, health.since_ms),
            (HealthState::Failing, Some(AT + 10))
        );
        assert!(health.why.contains("runtime-file"), "{}", health.why);
        assert_eq!(health.next_due_ms, AT + 20 + age, "now");
    }
    history.note(AT + 30, true, &[]);
    let health = history.health(INTERVAL, AT + 30);
    assert_eq!(
        (health.state, health.since_ms),
        (HealthState::Fresh, Some(AT + 30))
    );
}

#[test]
fn a_failing_robot_that_falls_silent_is_both_from_the_end_of_its_interval_on() {
    let history = judged(&[(0, true), (20, false)]);
    let silent = AT + 20 + INTERVAL;
    for now in [AT + 20, silent - 1] {
        let heard = history.health(INTERVAL, now);
        assert_eq!((heard.state, heard.silent_since_ms), (HealthState::Failing, None));
        assert_eq!(heard.next_change_ms, Some(silent), "it is told when");
        assert!(!heard.why.contains("nothing was heard"), "{}", heard.why);
    }
    for now in [silent, silent + 100 * INTERVAL] {
        let both = history.health(INTERVAL, now);
        assert_eq!(
            (both.state, both.silent_since_ms),
            (HealthState::Failing, Some(silent))
        );
        assert_eq!((both.since_ms, both.next_change_ms), (Some(AT + 20), None));
        for word in ["runtime-file", "nothing was heard of it"] {
            assert!(both.why.contains(word), "{}", both.why);
        }
    }
    // Untrusted again is heard of.
    let again = judged(&[(0, true), (20, false), (20 + INTERVAL, false)]);
    assert_eq!(again.health(INTERVAL, silent).silent_since_ms, None);
}

#[test]
fn nothing_known_or_a_clock_that_is_behind_is_unknown() {
    let never = History::default().health(INTERVAL, AT);
    assert_eq!((never.state, never.since_ms), (HealthState::Unknown, None));
    assert!(never.why.contains("nothing was ever heard"), "{}", never.why);
    let behind = judged(&[(10, true)]).health(INTERVAL, AT + 9);
    assert_eq!(behind.state, HealthState::Unknown);
    assert!(behind.why.contains("clock"), "{}", behind.why);
}

#[test]
fn a_trend_is_seen_in_the_last_judgements() {
    let trend = |trusted: &[bool]| {
        let judgements: Vec<_> = (0..).zip(trusted.iter().copied()).collect();
        judged(&judgements).health(INTERVAL, AT + 1000).trend
    };
    assert_eq!(trend(&[true, false, true]), Trend::Unknown);
    assert_eq!(trend(&[true; 4]), Trend::Steady);
    assert_eq!(trend(&[true, true, true, false]), Trend::Worsening);
    assert_eq!(trend(&[false, false, true, true, true]), Trend::Improving);
    // Only the last ones.
    let mut long = vec![false; 40];
    long.extend([true; 16]);
    assert_eq!(trend(&long), Trend::Steady);
}

#[test]
fn a_history_reads_back_exactly_and_stays_short() {
    let many: Vec<_> = (0..100).map(|at| (at, at % 3 == 0)).collect();
    for history in [History::default(), judged(&[(1, true)]), judged(&many)] {
        let bytes = history.to_canonical();
        assert!(bytes.len() < 400, "{}", bytes.len());
        assert_eq!(History::from_canonical(&bytes).unwrap(), history);
        for cut in 0..bytes.len() {
            assert!(History::from_canonical(&bytes[..cut]).is_err());
        }
    }
}
