//! Runs cases on all processors, and counts how they ended. A panic or a hang in any of them is a finding.

use super::cases::{Case, Kind};
use super::judge::Ending;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// Far more than any case takes; one that takes longer hangs.
const HANG: Duration = Duration::from_secs(180);

/// What the owner threads of TPMs said when they panicked: nobody else would see it.
static OWNER_PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch_owner_threads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() == Some("tpm-owner") {
                lock(&OWNER_PANICS).push(info.to_string());
            }
            usual(info);
        }));
    });
}

/// How the cases ended.
#[derive(Debug, Default)]
pub struct Tally {
    pub endings: BTreeMap<(Kind, Ending), usize>,
    pub findings: Vec<String>,
}

impl Tally {
    pub fn of(&self, ending: Ending) -> usize {
        let counted = self.endings.iter().filter(|((_, e), _)| *e == ending);
        counted.map(|(_, count)| count).sum()
    }

    pub fn assert_clean(&self, what: &str) {
        println!(
            "{what}: {} cases: {} right, {} errors, {} unconfirmed stops; {:?}",
            self.endings.values().sum::<usize>() + self.findings.len(),
            self.of(Ending::Right),
            self.of(Ending::Error),
            self.of(Ending::Unconfirmed),
            self.endings,
        );
        assert!(
            self.findings.is_empty(),
            "{what}: {} findings:\n{}",
            self.findings.len(),
            self.findings.join("\n")
        );
        let owners = lock(&OWNER_PANICS);
        assert!(owners.is_empty(), "{owners:?}");
    }
}

/// `ALCUB3_HOSTILE_STRIDE`: every how many-th case is run; 1 for all.
pub fn stride(default: usize) -> usize {
    let given = std::env::var("ALCUB3_HOSTILE_STRIDE");
    given.map_or(default, |stride| {
        stride.parse().expect("ALCUB3_HOSTILE_STRIDE is a number")
    })
}

/// Runs every `stride`-th case.
pub fn run(cases: &[Case], stride: usize, one: impl Fn(&Case) -> Ending + Sync) -> Tally {
    watch_owner_threads();
    let chosen: Vec<&Case> = cases.iter().step_by(stride).collect();
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    let busy: Mutex<BTreeMap<usize, Instant>> = Mutex::default();
    let workers = std::thread::available_parallelism().map_or(2, |n| n.get() + 1);
    let live = AtomicUsize::new(workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let id = std::ptr::from_ref(*case).addr();
                    lock(&busy).insert(id, Instant::now());
                    let ended = catch_unwind(AssertUnwindSafe(|| one(case)));
                    lock(&busy).remove(&id);
                    count(&mut lock(&tally), case, ended);
                }
                live.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while live.load(Ordering::SeqCst) > 0 {
            std::thread::sleep(Duration::from_millis(50));
            if lock(&busy).values().any(|begun| begun.elapsed() > HANG) {
                eprintln!("a case hangs");
                std::process::exit(101);
            }
        }
    });
    tally.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn count(tally: &mut Tally, case: &Case, ended: std::thread::Result<Ending>) {
    match ended {
        Ok(ending) => *tally.endings.entry((Kind::of(&case.attack), ending)).or_default() += 1,
        Err(panic) => {
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let attack: String = format!("{:?}", case.attack).chars().take(80).collect();
            tally.findings.push(format!(
                "#{} {attack}: {}",
                case.ordinal,
                said.unwrap_or_default()
            ));
        }
    }
}
