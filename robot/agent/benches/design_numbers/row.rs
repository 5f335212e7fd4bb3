//! One measurement, for people and for programs.

use std::fmt;
use std::time::{Duration, Instant};

/// What a figure must be.
#[derive(Copy, Clone)]
pub enum Must {
    AtMost(f64),
    AtLeast(f64),
    Exactly(f64),
}

impl fmt::Display for Must {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(out, "<= {limit}"),
            Self::AtLeast(limit) => write!(out, ">= {limit}"),
            Self::Exactly(value) => write!(out, "= {value}"),
        }
    }
}

/// One row: a figure, the bare limit measured in the same run, their ratio, what must hold.
pub struct Row {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    /// The bare operation in the same run, in the same unit, where there is one.
    pub limit: Option<f64>,
    pub must: Must,
    /// Whether `must` is about the ratio instead of the value.
    pub judged_by_ratio: bool,
    /// Why nothing was measured, and what to do about it. Such a row neither holds nor fails.
    pub skipped: Option<&'static str>,
}

impl Row {
    /// A row judged by its value, without a bare limit.
    pub fn of(name: &'static str, value: f64, unit: &'static str, must: Must) -> Self {
        Self {
            name,
            value,
            unit,
            limit: None,
            must,
            judged_by_ratio: false,
            skipped: None,
        }
    }

    /// A row judged by its ratio to the bare limit.
    pub fn over(name: &'static str, value: f64, unit: &'static str, limit: f64, must: Must) -> Self {
        Self {
            name,
            value,
            unit,
            limit: Some(limit),
            must,
            judged_by_ratio: true,
            skipped: None,
        }
    }

    /// A row that cannot be measured here.
    pub fn skipped(name: &'static str, unit: &'static str, must: Must, why: &'static str) -> Self {
        Self {
            skipped: Some(why),
            ..Self::of(name, f64::NAN, unit, must)
        }
    }

    fn ratio(&self) -> Option<f64> {
        self.limit.map(|limit| self.value / limit)
    }

    /// Whether it is as it must be; nothing where it was not measured.
    pub fn holds(&self) -> Option<bool> {
        self.skipped.is_none().then(|| self.is_as_it_must_be())
    }

    fn is_as_it_must_be(&self) -> bool {
        let judged = if self.judged_by_ratio {
            self.ratio().unwrap_or(f64::NAN)
        } else {
            self.value
        };
        match self.must {
            Must::AtMost(limit) => judged <= limit,
            Must::AtLeast(limit) => judged >= limit,
            Must::Exactly(value) => (judged - value).abs() < f64::EPSILON,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = self.skipped {
            return write!(out, "{:<26} skipped: {why}", self.name);
        }
        let limit = self
            .limit
            .map_or_else(|| "-".to_owned(), |limit| format!("{limit:.3}"));
        let ratio = self
            .ratio()
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.3}"));
        let holds = if self.is_as_it_must_be() {
            "holds"
        } else {
            "DOES NOT HOLD"
        };
        let Self {
            name,
            value,
            unit,
            must,
            ..
        } = self;
        write!(
            out,
            "{name:<26} {value:>14.3} {unit:<6} limit {limit:>14}  ratio {ratio:>7}  must {must:<10} {holds}"
        )
    }
}

/// One JSON array: the rows (a skipped one has no value, holds neither way, and says why), then the counts as rows whose unit is `commands`.
pub fn to_json(rows: &[Row], counts: &[(String, u64)]) -> String {
    let measured = rows.iter().map(|row| {
        let value = row.skipped.is_none().then_some(row.value);
        let mut object = serde_json::json!({
            "name": row.name, "value": value, "unit": row.unit, "limit": row.limit, "ratio": row.ratio(),
            "must": row.must.to_string(), "holds": row.holds(),
        });
        if let Some(why) = row.skipped {
            object["skipped"] = why.into();
        }
        object
    });
    let counted = counts.iter().map(|(operation, count)| {
        serde_json::json!({
            "name": operation, "value": count, "unit": "commands", "limit": null, "ratio": null,
            "must": "= SPECIFICATION.md", "holds": true,
        })
    });
    serde_json::Value::Array(measured.chain(counted).collect()).to_string()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians in milliseconds of two operations run in turn, so that both see the same machine.
pub fn in_turn(rounds: usize, mut one: impl FnMut(), mut other: impl FnMut()) -> (f64, f64) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        times[0].push(millis(timed(&mut one)));
        times[1].push(millis(timed(&mut other)));
    }
    let [one, other] = times;
    (median(one), median(other))
}

/// The best rates of two operations run in turn, in small batches: on a shared machine the best batch is the one that
/// nothing else ran beside, and both operations get the same chance of it.
pub fn best_rates(
    batches: usize,
    per_batch: usize,
    mut one: impl FnMut(),
    mut other: impl FnMut(),
) -> (f64, f64) {
    let mut best = [Duration::MAX; 2];
    for _ in 0..batches {
        best[0] = best[0].min(timed(|| (0..per_batch).for_each(|_| one())));
        best[1] = best[1].min(timed(|| (0..per_batch).for_each(|_| other())));
    }
    let rate = |batch: Duration| per_batch as f64 / batch.as_secs_f64();
    (rate(best[0]), rate(best[1]))
}

pub fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
