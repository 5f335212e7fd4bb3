//! Measuring the first part of a stop (DESIGN §8, `stop_gate_p99_ms`).

use crate::report::StopReport;

/// How long stops took until every adapter had been called, in nanoseconds from the call.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct GateMeasurement {
    /// How many stops were measured.
    pub rounds: usize,
    /// The median until the last adapter was called.
    pub p50_ns: u64,
    /// The 99th percentile until the last adapter was called.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// The 99th percentile until the gate was closed.
    pub gate_p99_ns: u64,
}

/// Runs `round` so many times and measures, from each report, when the gate was closed and when the last adapter's
/// `stop` was entered. An adapter that was never called counts as never: `u64::MAX`.
///
/// The caller builds what is stopped, with its keys and its busy TPM queue, afresh for each round.
pub fn measure_gate(rounds: usize, mut round: impl FnMut(usize) -> StopReport) -> GateMeasurement {
    let reports: Vec<StopReport> = (0..rounds).map(&mut round).collect();
    let called = sorted(
        reports
            .iter()
            .map(|report| report.adapters_called_ns().unwrap_or(u64::MAX)),
    );
    let gate = sorted(
        reports
            .iter()
            .map(|report| report.steps.first().map_or(u64::MAX, |step| step.ended_ns)),
    );
    GateMeasurement {
        rounds,
        p50_ns: percentile(&called, 50),
        p99_ns: percentile(&called, 99),
        max_ns: percentile(&called, 100),
        gate_p99_ns: percentile(&gate, 99),
    }
}

fn sorted(values: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values
}

/// The smallest value that at least so many per cent of all do not exceed.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = sorted.len().saturating_mul(percent).div_ceil(100).max(1);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), 100);
        assert_eq!(percentile(&values, 99), 198);
        assert_eq!(percentile(&values, 100), 200);
        assert_eq!(percentile(&[7], 99), 7);
        assert_eq!(percentile(&[], 99), u64::MAX);
    }
}
