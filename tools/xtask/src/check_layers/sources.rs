//! Rules on the sources themselves: names of modules, and what pure code may not say.

use std::path::{Path, PathBuf};

use super::Violation;
use super::graph::{Graph, Layer};
use crate::rust_paths::{NamedPath, named_paths};
use crate::rust_source::{Token, production_tokens, spells, tokens};
use crate::source_files::{FileError, read, rust_files};

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 7] = ["common", "helper", "helpers", "type", "types", "util", "utils"];

/// Paths of the standard library that reach outside of a pure function.
const IMPURE_PATHS: [&[&str]; 12] = [
    &["std", "as"],
    &["std", "*"],
    &["std", "env"],
    &["std", "fs"],
    &["std", "io", "stderr"],
    &["std", "io", "stdin"],
    &["std", "io", "stdout"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
];

/// Ends of paths that read a clock, whoever defines them.
const CLOCKS: [&str; 4] = ["now", "now_local", "now_utc", "elapsed"];

/// All rules on the sources of the workspace's members.
///
/// # Errors
/// A file or folder that cannot be read.
pub(super) fn violations(graph: &Graph) -> Result<Vec<Violation>, FileError> {
    let mut found = Vec::new();
    for (_, package) in graph.members() {
        let folder = graph.root.join(&package.folder);
        crate_name(&package.name, &package.folder, &mut found);
        for file in rust_files(&folder)? {
            let source = read(&file)?;
            let shown = shown(&file, &graph.root);
            module_name(&file, &shown, &mut found);
            found.extend(named_modules(&tokens(&source), &shown));
            let production = file
                .strip_prefix(&folder)
                .is_ok_and(|path| path.starts_with("src"));
            if package.layer == Layer::Core && production {
                found.extend(impure(&source, &shown));
            }
        }
        if package.layer == Layer::Core {
            found.extend(forbids_unsafe(
                &read(&folder.join("src/lib.rs"))?,
                &package.folder,
            ));
        }
    }
    Ok(found)
}

fn shown(file: &Path, root: &Path) -> String {
    file.strip_prefix(root)
        .map_or_else(|_| PathBuf::from(file), PathBuf::from)
        .display()
        .to_string()
}

fn crate_name(name: &str, folder: &str, found: &mut Vec<Violation>) {
    let last = name.rsplit('-').next().unwrap_or(name);
    if EMPTY_NAMES.contains(&last) {
        found.push(Violation::new(
            "name",
            folder,
            format!("is a crate named {name}: name what it is about"),
        ));
    }
}

fn module_name(file: &Path, shown: &str, found: &mut Vec<Violation>) {
    let is_empty_name = |part: Option<&std::ffi::OsStr>| {
        part.and_then(|name| name.to_str())
            .is_some_and(|name| EMPTY_NAMES.contains(&name))
    };
    if is_empty_name(file.file_stem()) || is_empty_name(file.parent().and_then(Path::file_name)) {
        found.push(Violation::new(
            "name",
            shown,
            "names a module after nothing: say what is in it".to_owned(),
        ));
    }
}

/// Modules declared in line, which no file name shows.
fn named_modules(tokens: &[Token], shown: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let name = tokens.get(at + 1).and_then(Token::ident).unwrap_or_default();
        let inline = tokens.get(at + 2).is_some_and(|token| token.is('{'));
        if token.ident() == Some("mod") && inline && EMPTY_NAMES.contains(&name) {
            let place = format!("{shown}:{}", token.line);
            found.push(Violation::new(
                "name",
                &place,
                format!("`mod {name}`: say what is in it"),
            ));
        }
    }
    found
}

/// What a source of core/ names that reaches outside; items under `#[cfg(test)]` are exempt.
pub(super) fn impure(source: &str, shown: &str) -> Vec<Violation> {
    let all = production_tokens(source);
    named_paths(&all)
        .iter()
        .filter(|path| is_impure(path))
        .map(|path| impurity(path, shown))
        .collect()
}

fn is_impure(path: &NamedPath) -> bool {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    IMPURE_PATHS.iter().any(|banned| segments.starts_with(banned))
        || segments.starts_with(&["std", "time", "SystemTime"])
        || segments.last().is_some_and(|last| CLOCKS.contains(last))
        || matches!(segments.first(), Some(&("tokio" | "getrandom" | "rand")))
}

fn impurity(path: &NamedPath, shown: &str) -> Violation {
    let place = format!("{shown}:{}", path.line);
    let named = path.segments.join("::");
    Violation::new(
        "pure",
        &place,
        format!("names {named}: core/ takes time, randomness and I/O as arguments"),
    )
}

/// Every crate of core/ forbids unsafe code itself, not by a lint table that can change elsewhere.
pub(super) fn forbids_unsafe(source: &str, folder: &str) -> Option<Violation> {
    let all = tokens(source);
    let forbids =
        (0..all.len()).any(|at| spells(&all, at, &["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"]));
    (!forbids).then(|| {
        Violation::new(
            "unsafe",
            folder,
            "src/lib.rs lacks #![forbid(unsafe_code)]: add it".to_owned(),
        )
    })
}
