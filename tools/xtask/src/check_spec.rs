//! `cargo xtask check-spec`: every promise of SPECIFICATION.md names a test that exists, or says `pending`.
//!
//! A promise is a table row whose first cell is an id such as `TPM-3`; its last cell holds, in backquotes, the tests
//! that hold it: `path/to/file.rs::function`, `bench::NAME` for a row of `cargo xtask bench`, or the word pending.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Failure;
use crate::rust_source::{Token, spells, tokens};
use crate::source_files::{FileError, read, rust_files};

const FILE: &str = "SPECIFICATION.md";

/// One row.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Promise {
    id: String,
    tests: Vec<String>,
    pending: bool,
}

/// Checks the SPECIFICATION.md of the current folder.
///
/// # Errors
/// [`Failure::Found`] with the count of faults, after printing each; otherwise the file that could not be read.
pub(crate) fn run() -> Result<(), Failure> {
    let root = Path::new(".");
    let promises = promises(&read(&root.join(FILE))?);
    let mut faults = duplicate_ids(&promises);
    for promise in &promises {
        faults.extend(check(promise, root)?);
    }
    for fault in &faults {
        println!("{FILE}: {fault}");
    }
    if !faults.is_empty() {
        return Err(Failure::Found {
            what: "faults in SPECIFICATION.md",
            count: faults.len(),
        });
    }
    if promises.is_empty() {
        return Err(Failure::Found {
            what: "promises found in SPECIFICATION.md",
            count: 0,
        });
    }
    let pending = promises.iter().filter(|promise| promise.pending).count();
    println!(
        "specification: {} promises, {} held by tests, {pending} pending",
        promises.len(),
        promises.len() - pending
    );
    Ok(())
}

fn promises(text: &str) -> Vec<Promise> {
    text.lines().filter_map(promise).collect()
}

fn promise(line: &str) -> Option<Promise> {
    let cells: Vec<&str> = line
        .trim()
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let (id, last) = (cells.first()?, cells.last()?);
    if !is_id(id) {
        return None;
    }
    let tests = last.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let pending = last
        .split(|c: char| !c.is_alphanumeric())
        .any(|word| word == "pending");
    Some(Promise {
        id: (*id).to_owned(),
        tests,
        pending,
    })
}

/// Capital letters, a hyphen, digits.
fn is_id(cell: &str) -> bool {
    cell.split_once('-').is_some_and(|(area, number)| {
        !area.is_empty()
            && area.chars().all(|c| c.is_ascii_uppercase())
            && !number.is_empty()
            && number.chars().all(|c| c.is_ascii_digit())
    })
}

fn duplicate_ids(promises: &[Promise]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    promises
        .iter()
        .filter(|promise| !seen.insert(&promise.id))
        .map(|promise| format!("{} is there twice", promise.id))
        .collect()
}

fn check(promise: &Promise, root: &Path) -> Result<Vec<String>, FileError> {
    if promise.tests.is_empty() && !promise.pending {
        return Ok(vec![format!(
            "{} names no test and does not say pending",
            promise.id
        )]);
    }
    let mut faults = Vec::new();
    for test in &promise.tests {
        if let Some(fault) = check_test(test, root)? {
            faults.push(format!("{} names `{test}`: {fault}", promise.id));
        }
    }
    Ok(faults)
}

fn check_test(test: &str, root: &Path) -> Result<Option<String>, FileError> {
    let Some((file, name)) = test.split_once("::") else {
        return Ok(Some("write it as path/to/file.rs::function".to_owned()));
    };
    if file == "bench" {
        return Ok((!is_benchmark(name, root)?).then(|| "no benchmark of that name under robot/".to_owned()));
    }
    let path = root.join(file);
    if !path.is_file() {
        return Ok(Some("there is no such file".to_owned()));
    }
    Ok((!is_test(&read(&path)?, name)).then(|| "that file has no such test, or it is ignored".to_owned()))
}

/// A benchmark's name is a string literal of a benchmark's source.
fn is_benchmark(name: &str, root: &Path) -> Result<bool, FileError> {
    let quoted = format!("\"{name}\"");
    let bench = |path: &Path| path.components().any(|part| part.as_os_str() == "benches");
    for file in rust_files(&root.join("robot"))?.iter().filter(|path| bench(path)) {
        if read(file)?.contains(&quoted) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether `source` has a function `name` under a test attribute and not under `#[ignore]`. Inside `proptest!` and
/// parametrised tests the attribute is there as well.
fn is_test(source: &str, name: &str) -> bool {
    let all = tokens(source);
    (0..all.len())
        .filter(|at| spells(&all, *at, &["fn", name]))
        .any(|at| {
            let attributes = attributes_before(&all, at);
            let has = |word: &str| attributes.iter().any(|token| token.ident() == Some(word));
            (has("test") || has("rstest")) && !has("ignore")
        })
}

/// The tokens between the end of the item before and the function at `at`.
fn attributes_before(all: &[Token], at: usize) -> &[Token] {
    let start = (0..at)
        .rev()
        .find(|index| {
            all.get(*index)
                .is_some_and(|token| token.is('}') || token.is('{') || token.is(';'))
        })
        .map_or(0, |index| index + 1);
    all.get(start..at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_ids_are_promises_and_others_are_not() {
        let text = "| id | promise | test |\n|---|---|---|\n| TPM-1 | x | `a.rs::b`, `bench::c` |\n| ES-2 | y | pending |\ntext";
        let found = promises(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].tests, ["a.rs::b", "bench::c"]);
        assert!(!found[0].pending && found[1].pending);
    }

    #[test]
    fn a_promise_without_a_test_is_a_fault_unless_pending() {
        let empty = Promise {
            id: "A-1".to_owned(),
            tests: vec![],
            pending: false,
        };
        assert_eq!(check(&empty, Path::new(".")).unwrap().len(), 1);
        assert!(
            check(
                &Promise {
                    pending: true,
                    ..empty
                },
                Path::new(".")
            )
            .unwrap()
            .is_empty()
        );
    }

    #[test]
    fn a_test_needs_its_attribute_and_must_not_be_ignored() {
        assert!(is_test("#[test]\nfn holds() {}", "holds"));
        assert!(is_test(
            "fn other() {}\n#[test]\n#[should_panic]\nfn holds() {}",
            "holds"
        ));
        assert!(!is_test("#[test]\nfn other() {}\nfn holds() {}", "holds"));
        assert!(!is_test("#[test]\n#[ignore = \"slow\"]\nfn holds() {}", "holds"));
        assert!(!is_test(
            "// #[test] fn holds() {}\nconst X: &str = \"#[test] fn holds() {}\";",
            "holds"
        ));
    }

    #[test]
    fn a_missing_file_or_function_is_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(check_test("src/nowhere.rs::x", root).unwrap().is_some());
        assert!(check_test("src/check_spec.rs::nothing", root).unwrap().is_some());
        let this = "src/check_spec.rs::a_missing_file_or_function_is_named";
        assert_eq!(check_test(this, root).unwrap(), None);
    }

    #[test]
    fn an_id_twice_is_a_fault() {
        let text = "| A-1 | x | pending |\n| A-1 | y | pending |";
        assert_eq!(duplicate_ids(&promises(text)).len(), 1);
    }

    #[test]
    fn the_specification_of_this_repository_holds() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let all = promises(&read(&root.join(FILE)).unwrap());
        assert!(!all.is_empty());
        let faults: Vec<_> = all
            .iter()
            .flat_map(|promise| check(promise, &root).unwrap())
            .collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
