//! Just enough of Rust's lexical grammar to judge a source file: comments, strings and character literals are
//! dropped, what is left is identifiers and punctuation with their lines.

/// One token that can matter to a rule. Literals are reduced to a placeholder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TokenKind {
    /// An identifier or keyword; a raw identifier without its `r#`.
    Ident(String),
    /// One punctuation character.
    Punct(char),
    /// A string, character, byte or numeric literal.
    Literal,
}

/// A token and the line it starts on, from 1.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn ident(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Ident(name) => Some(name),
            _ => None,
        }
    }

    pub(crate) fn is(&self, punct: char) -> bool {
        self.kind == TokenKind::Punct(punct)
    }
}

/// Splits `source` into tokens. Never fails: an unterminated literal or comment ends with the file.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
        out: Vec::new(),
    };
    lexer.run();
    lexer.out
}

/// `tokens` without the items under `#[cfg(test)]` and `#[test]`.
pub(crate) fn production_tokens(source: &str) -> Vec<Token> {
    let all = tokens(source);
    let mut out = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        if let Some(after) = test_attribute(&all, at) {
            at = item_end(&all, after);
        } else {
            out.extend(all.get(at).cloned());
            at += 1;
        }
    }
    out
}

/// Whether the tokens from `at` spell `expected`, one word or punctuation character after the other.
pub(crate) fn spells(tokens: &[Token], at: usize, expected: &[&str]) -> bool {
    expected.iter().enumerate().all(|(offset, want)| {
        tokens.get(at + offset).is_some_and(|token| match &token.kind {
            TokenKind::Ident(name) => name == want,
            TokenKind::Punct(c) => want.len() == c.len_utf8() && want.starts_with(*c),
            TokenKind::Literal => false,
        })
    })
}

fn test_attribute(tokens: &[Token], at: usize) -> Option<usize> {
    let forms: [&[&str]; 2] = [
        &["#", "[", "cfg", "(", "test", ")", "]"],
        &["#", "[", "test", "]"],
    ];
    forms
        .iter()
        .find(|form| spells(tokens, at, form))
        .map(|form| at + form.len())
}

/// Index after the item that starts at `at`: its closing brace, or its semicolon when no brace comes first.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    let mut round = 0_usize;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.kind {
            TokenKind::Punct('(' | '[') => round += 1,
            TokenKind::Punct(')' | ']') => round = round.saturating_sub(1),
            TokenKind::Punct(';') if round == 0 => return at,
            TokenKind::Punct('{') if round == 0 => return block_end(tokens, at),
            _ => {}
        }
    }
    at
}

/// Index after the brace that closes the block whose opening brace is just before `at`.
pub(crate) fn block_end(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 1_usize;
    while let Some(token) = tokens.get(at) {
        at += 1;
        if token.is('{') {
            depth += 1;
        } else if token.is('}') {
            depth -= 1;
            if depth == 0 {
                break;
            }
        }
    }
    at
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    out: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn push(&mut self, kind: TokenKind, line: usize) {
        self.out.push(Token { kind, line });
    }

    fn run(&mut self) {
        while let Some(c) = self.peek(0) {
            let line = self.line;
            match c {
                _ if c.is_whitespace() => {
                    self.bump();
                }
                '/' if self.peek(1) == Some('/') => self.skip_line(),
                '/' if self.peek(1) == Some('*') => self.skip_block_comment(),
                '"' => self.string(line),
                '\'' => self.quote(line),
                _ if c.is_ascii_digit() => self.number(line),
                _ if c.is_alphabetic() || c == '_' => self.word(line),
                _ => {
                    self.bump();
                    self.push(TokenKind::Punct(c), line);
                }
            }
        }
    }

    fn skip_line(&mut self) {
        while self.peek(0).is_some_and(|c| c != '\n') {
            self.bump();
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.bump();
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self, line: usize) {
        self.bump();
        while let Some(c) = self.bump() {
            match c {
                '\\' => {
                    self.bump();
                }
                '"' => break,
                _ => {}
            }
        }
        self.push(TokenKind::Literal, line);
    }

    /// A raw string, from its first `#` or quote: it ends at a quote followed by as many `#`.
    fn raw_string(&mut self, line: usize) {
        let mut hashes = 0;
        while self.peek(0) == Some('#') {
            self.bump();
            hashes += 1;
        }
        self.bump();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                (0..hashes).for_each(|_| {
                    self.bump();
                });
                break;
            }
        }
        self.push(TokenKind::Literal, line);
    }

    /// A character literal, or a lifetime: a lifetime has no closing quote after its first character.
    fn quote(&mut self, line: usize) {
        let lifetime =
            self.peek(1).is_some_and(|c| c.is_alphabetic() || c == '_') && self.peek(2) != Some('\'');
        self.bump();
        if lifetime {
            while self.peek(0).is_some_and(is_word) {
                self.bump();
            }
            return;
        }
        while let Some(c) = self.bump() {
            match c {
                '\\' => {
                    self.bump();
                }
                '\'' => break,
                _ => {}
            }
        }
        self.push(TokenKind::Literal, line);
    }

    fn number(&mut self, line: usize) {
        while self.peek(0).is_some_and(is_word) {
            self.bump();
        }
        self.push(TokenKind::Literal, line);
    }

    fn word(&mut self, line: usize) {
        let mut name = String::new();
        while let Some(c) = self.peek(0).filter(|c| is_word(*c)) {
            name.push(c);
            self.bump();
        }
        let raw_ahead = match (self.peek(0), self.peek(1)) {
            (Some('"'), _) => true,
            (Some('#'), Some(next)) => next == '"' || next == '#',
            _ => false,
        };
        match (name.as_str(), self.peek(0)) {
            ("r" | "br" | "cr", _) if raw_ahead => self.raw_string(line),
            ("b" | "c", Some('"')) => self.string(line),
            ("b", Some('\'')) => self.quote(line),
            ("r", Some('#')) => {
                self.bump();
                self.word(line);
            }
            _ => self.push(TokenKind::Ident(name), line),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source)
            .iter()
            .filter_map(|t| t.ident().map(str::to_owned))
            .collect()
    }

    #[test]
    fn comments_and_literals_hold_no_words() {
        let source = r###"
            // std::fs
            /* std::net /* nested std::env */ still */
            let a = "std::fs \" std::net"; let b = r#"std::thread " "#; let c = b"std::process"; let d = '"';
            let e = '\''; fn f<'a>(x: &'a str) {} real
        "###;
        assert_eq!(
            words(source),
            [
                "let", "a", "let", "b", "let", "c", "let", "d", "let", "e", "fn", "f", "x", "str", "real"
            ]
        );
    }

    #[test]
    fn test_items_are_not_production() {
        let source = "fn a() {} #[cfg(test)] mod tests { use std::fs; fn b() { { } } } fn c() {} #[cfg(test)] use std::net; fn d() {}";
        let names: Vec<_> = production_tokens(source)
            .iter()
            .filter_map(|t| t.ident().map(str::to_owned))
            .collect();
        assert_eq!(names, ["fn", "a", "fn", "c", "fn", "d"]);
    }

    #[test]
    fn a_test_function_with_array_types_ends_at_its_block() {
        let source = "#[test] fn a(x: [u8; 4]) { std } fn b() {}";
        let names: Vec<_> = production_tokens(source)
            .iter()
            .filter_map(|t| t.ident().map(str::to_owned))
            .collect();
        assert_eq!(names, ["fn", "b"]);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let found = tokens("a\n/* x\n y */ b\n\"q\nq\" c");
        let lines: Vec<_> = found.iter().map(|t| t.line).collect();
        assert_eq!(lines, [1, 3, 4, 5]);
    }

    #[test]
    fn raw_identifiers_are_words() {
        assert_eq!(words("r#type r#\"lit\"# b'x'"), ["type"]);
    }
}
