//! A campaign: one genuine evidence, changed a hundred thousand times, and a judge that must take none of it.
//!
//! A case is the change that a seed and a number lead to. Even numbers flip bits, each once in its turn; odd ones edit
//! bytes, change fields without signing anew, swap parts between genuine evidences, or hand the evidence to a verifier
//! that expects another. Keys are made anew in each run; a case's change is the same one.

pub mod bytes;
pub mod random;
pub mod twins;

use random::Random;
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Cases that are judged in one go before the count is looked at.
const CHUNK: u64 = 500;
const THREADS: u64 = 2;

/// What is handed to a verifier.
pub type Parts = Vec<Vec<u8>>;

/// What a judge says.
pub enum Judgement {
    /// It is taken for genuine, and this is what the verdict relies on.
    Accepted(String),
    /// It is refused: the code of the first reason.
    Refused(String),
}

/// A change of fields, and what it was.
pub type Change = Option<(String, Parts)>;

pub type Judge = Box<dyn Fn(&Parts, usize) -> Judgement + Sync>;
pub type Explain = Box<dyn Fn(&Parts) -> Option<&'static str> + Sync>;

/// One kind of genuine evidence.
pub struct Kind {
    pub name: &'static str,
    /// The names of the parts.
    pub part_names: Vec<&'static str>,
    pub genuine: Parts,
    /// Verifiers that expect something else; the genuine one is number 0, and these count from 1.
    pub others: Vec<String>,
    /// Changes a field, or swaps parts with another genuine evidence; `None` where the dice found nothing to change.
    pub fields: Box<dyn Fn(&mut Random) -> Change + Sync>,
    /// Judges the parts as the verifier of a number.
    pub judge: Judge,
    /// The class of what means the same although its bytes differ; `None` where nothing explains that it was accepted.
    pub same_meaning: Explain,
}

/// A case, ready to be judged.
pub struct Case {
    pub number: u64,
    pub what: String,
    pub parts: Parts,
    pub verifier: usize,
}

/// What came of a case.
pub enum Outcome {
    Refused(String),
    Same(&'static str),
    Accepted,
}

/// What came of all.
#[derive(Default)]
pub struct Row {
    pub name: &'static str,
    /// Different mutations, without those of the same meaning.
    pub mutations: u64,
    /// Number and change of each case that was accepted and must not be.
    pub accepted: Vec<(u64, String)>,
    pub same_meaning: BTreeMap<&'static str, u64>,
    pub reasons: BTreeMap<String, u64>,
    pub took: Duration,
}

impl Row {
    pub fn same(&self) -> u64 {
        self.same_meaning.values().sum()
    }

    pub fn per_second(&self) -> f64 {
        self.mutations as f64 / self.took.as_secs_f64().max(1e-9)
    }

    fn add(&mut self, case: &Case, outcome: Outcome) {
        match outcome {
            Outcome::Refused(reason) => *self.reasons.entry(reason).or_default() += 1,
            Outcome::Accepted => self.accepted.push((case.number, case.what.clone())),
            Outcome::Same(class) => {
                *self.same_meaning.entry(class).or_default() += 1;
                return;
            }
        }
        self.mutations += 1;
    }

    fn join(&mut self, other: Self) {
        self.mutations += other.mutations;
        self.accepted.extend(other.accepted);
        for (class, count) in other.same_meaning {
            *self.same_meaning.entry(class).or_default() += count;
        }
        for (reason, count) in other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }
}

impl Kind {
    /// What the verdict over the genuine evidence relies on.
    pub fn meaning(&self) -> String {
        match (self.judge)(&self.genuine, 0) {
            Judgement::Accepted(meaning) => meaning,
            Judgement::Refused(reason) => panic!("{}: the genuine evidence is refused: {reason}", self.name),
        }
    }

    /// The case of a seed and a number; `None` where it changes nothing.
    pub fn case(&self, seed: u64, number: u64) -> Option<Case> {
        let mut random = Random::of_case(seed, self.name, number);
        let random = &mut random;
        let turn = usize::try_from(number / 2).unwrap();
        let (what, parts, verifier) = if number.is_multiple_of(2) {
            let part = turn % self.genuine.len();
            let (what, parts) = self.changed(part, |bytes| {
                bytes::flip(bytes, turn / self.genuine.len(), random)
            });
            (what, parts, 0)
        } else {
            match random.below(16) {
                0..=6 => {
                    let part = random.below(self.genuine.len());
                    let (what, parts) = self.changed(part, |bytes| bytes::edit(bytes, random));
                    (what, parts, 0)
                }
                7..=14 => {
                    let (what, parts) = (self.fields)(random)?;
                    (what, parts, 0)
                }
                _ => self.to_another(random)?,
            }
        };
        let changed = verifier != 0 || parts != self.genuine;
        changed.then_some(Case {
            number,
            what,
            parts,
            verifier,
        })
    }

    fn changed(&self, part: usize, change: impl FnOnce(&mut Vec<u8>) -> String) -> (String, Parts) {
        let mut parts = self.genuine.clone();
        let what = change(&mut parts[part]);
        (format!("{}: {what}", self.part_names[part]), parts)
    }

    /// The genuine evidence, or half of the times a changed one, for a verifier that expects another.
    fn to_another(&self, random: &mut Random) -> Option<(String, Parts, usize)> {
        let verifier = random.below(self.others.len());
        let expects = self.others.get(verifier)?;
        let (what, parts) = match random.yes() {
            true => (self.fields)(random)?,
            false => ("unchanged".to_owned(), self.genuine.clone()),
        };
        Some((format!("{what}, for {expects}"), parts, verifier + 1))
    }

    /// Judges a case.
    pub fn judged(&self, case: &Case, meaning: &str) -> Outcome {
        match (self.judge)(&case.parts, case.verifier) {
            Judgement::Refused(reason) => Outcome::Refused(reason),
            Judgement::Accepted(relied_on) if case.verifier == 0 && relied_on == meaning => {
                (self.same_meaning)(&case.parts).map_or(Outcome::Accepted, Outcome::Same)
            }
            Judgement::Accepted(_) => Outcome::Accepted,
        }
    }

    /// Judges cases until so many different ones were that mean something else.
    pub fn run(&self, seed: u64, count: u64) -> Row {
        let (started, meaning) = (Instant::now(), self.meaning());
        let seen = Mutex::new(HashSet::new());
        let mut row = Row {
            name: self.name,
            ..Row::default()
        };
        for first in (0..).step_by(usize::try_from(CHUNK).unwrap()) {
            if row.mutations >= count {
                break;
            }
            let part = |offset| {
                let numbers = (first + offset..first + CHUNK).step_by(usize::try_from(THREADS).unwrap());
                self.run_some(seed, numbers, &meaning, &seen)
            };
            let rows: Vec<Row> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|offset| scope.spawn(move || part(offset)))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            rows.into_iter().for_each(|some| row.join(some));
        }
        row.accepted.sort();
        row.took = started.elapsed();
        row
    }

    fn run_some(
        &self,
        seed: u64,
        numbers: impl Iterator<Item = u64>,
        meaning: &str,
        seen: &Mutex<HashSet<u64>>,
    ) -> Row {
        let mut row = Row::default();
        for case in numbers.filter_map(|number| self.case(seed, number)) {
            let mut hasher = DefaultHasher::new();
            case.what.hash(&mut hasher);
            let new = seen.lock().unwrap().insert(hasher.finish());
            if new {
                row.add(&case, self.judged(&case, meaning));
            }
        }
        row
    }
}
