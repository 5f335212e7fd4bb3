//! The paths a source file names: grouped imports are taken apart, so that `use std::{io, fs}` names `std::fs`.

use crate::rust_source::{Token, TokenKind, spells};

/// A path with at least two segments, as written, and its line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// Every path in `tokens`, those of `use` trees expanded; a renamed root (`use std as s`) shows as `["std", "as"]`.
pub(crate) fn named_paths(tokens: &[Token]) -> Vec<NamedPath> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if token.ident() == Some("use") {
            at = use_tree(tokens, at + 1, &[], &mut out);
        } else if token.ident().is_some() {
            at = expression_path(tokens, at, &mut out);
        } else {
            at += 1;
        }
    }
    out
}

fn is_separator(tokens: &[Token], at: usize) -> bool {
    spells(tokens, at, &[":", ":"])
}

fn expression_path(tokens: &[Token], mut at: usize, out: &mut Vec<NamedPath>) -> usize {
    let line = tokens.get(at).map_or(0, |token| token.line);
    let mut segments = Vec::new();
    while let Some(name) = tokens.get(at).and_then(Token::ident) {
        segments.push(name.to_owned());
        at += 1;
        if !is_separator(tokens, at) {
            break;
        }
        at += 2;
    }
    if segments.len() > 1 {
        out.push(NamedPath { segments, line });
    }
    at
}

/// Reads one `use` tree from `at` under `prefix`; returns the index after it.
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], out: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens.get(at).map_or(0, |token| token.line);
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            TokenKind::Ident(name) if name == "self" && !segments.is_empty() => at += 1,
            TokenKind::Ident(name) => {
                segments.push(name.clone());
                at += 1;
                if name == "as" {
                    at += 1;
                    break;
                }
            }
            TokenKind::Punct('*') => {
                segments.push("*".to_owned());
                at += 1;
            }
            TokenKind::Punct(':') => at += 1,
            TokenKind::Punct('{') => return use_group(tokens, at + 1, &segments, out),
            _ => break,
        }
    }
    if segments.len() > prefix.len() || segments.len() > 1 {
        let renamed_item = segments.len() > 2 && segments.last().is_some_and(|last| last == "as");
        if renamed_item {
            segments.pop();
        }
        out.push(NamedPath { segments, line });
    }
    at
}

fn use_group(tokens: &[Token], mut at: usize, prefix: &[String], out: &mut Vec<NamedPath>) -> usize {
    while let Some(token) = tokens.get(at) {
        if token.is('}') {
            return at + 1;
        }
        if token.is(',') {
            at += 1;
            continue;
        }
        let next = use_tree(tokens, at, prefix, out);
        at = next.max(at + 1);
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rust_source::tokens;

    fn paths(source: &str) -> Vec<String> {
        named_paths(&tokens(source))
            .iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn groups_are_taken_apart() {
        assert_eq!(
            paths("use std::{fs::{self, File as F}, io, net};"),
            ["std::fs", "std::fs::File", "std::io", "std::net"]
        );
    }

    #[test]
    fn expressions_and_absolute_paths_are_seen() {
        assert_eq!(
            paths("let x = ::std::fs::read(a); std::time::Instant::now()"),
            ["std::fs::read", "std::time::Instant::now"]
        );
    }

    #[test]
    fn a_renamed_root_and_a_glob_show() {
        assert_eq!(
            paths("use std as s; use std::*; use std::{self as q};"),
            ["std::as", "std::*", "std::as"]
        );
    }

    #[test]
    fn groups_at_the_root_are_seen() {
        assert_eq!(paths("use {std::fs, core::fmt};"), ["std::fs", "core::fmt"]);
    }
}
