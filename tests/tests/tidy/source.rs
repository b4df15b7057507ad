//! A Rust file as the rules see it: a flat list of tokens with lines, without comments, and without test code.
//! Stands between the walk over the workspace and the rules. Strings and comments are never taken for code, and
//! what stands under `#[cfg(test)]`, in a file or as a whole file, is left out of `code`.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::HashSet;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Name(String),
    Sign(char),
    Open(char),
    Close(char),
    Literal,
}

#[derive(Debug, Clone)]
pub struct Token {
    pub kind: Kind,
    pub line: usize,
}

impl Token {
    pub fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Name(name) => Some(name),
            _ => None,
        }
    }

    pub fn is(&self, sign: char) -> bool {
        self.kind == Kind::Sign(sign)
    }
}

pub struct Source {
    /// Relative to the workspace, with `/`.
    pub path: String,
    pub text: String,
    /// All tokens, test code included.
    pub tokens: Vec<Token>,
    /// Without test code; empty for a file that is test code as a whole.
    pub code: Vec<Token>,
    /// Why the text is no Rust, if it is none.
    pub unreadable: Option<String>,
}

/// Parses `files` (path, text) together: a file declared by `#[cfg(test)] mod name;` in another is test code.
pub fn parse_all(files: Vec<(String, String)>) -> Vec<Source> {
    let mut test_files = HashSet::new();
    let mut sources: Vec<Source> = files
        .into_iter()
        .map(|(path, text)| {
            let (tokens, unreadable) = match text.parse::<TokenStream>() {
                Ok(stream) => (flatten(stream), None),
                Err(error) => (Vec::new(), Some(format!("{path}: {error}"))),
            };
            let (code, test_modules) = without_tests(&tokens);
            test_files.extend(test_modules.iter().flat_map(|module| files_of(&path, module)));
            Source { path, text, tokens, code, unreadable }
        })
        .collect();
    for source in &mut sources {
        let in_test_file = test_files.iter().any(|test| {
            source.path == *test || test.strip_suffix("/mod.rs").is_some_and(|d| within(&source.path, d))
        });
        if in_test_file || is_test_path(&source.path) {
            source.code.clear();
        }
    }
    sources
}

/// Whether `path` is `folder` or lies under it.
pub fn within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Folders in which cargo looks for tests and benchmarks, and the `tests` crate.
fn is_test_path(path: &str) -> bool {
    path.split('/').rev().skip(1).any(|part| part == "tests" || part == "benches" || part == "fuzz")
}

/// The two places in which the file of module `name`, declared in `path`, may lie.
fn files_of(path: &str, name: &str) -> [String; 2] {
    let folder = module_folder(path);
    [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]
}

/// The folder in which the files of the modules declared in `path` lie.
fn module_folder(path: &str) -> String {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    }
}

fn flatten(stream: TokenStream) -> Vec<Token> {
    let mut tokens = Vec::new();
    push_all(stream, &mut tokens);
    tokens
}

fn push_all(stream: TokenStream, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        match tree {
            TokenTree::Ident(name) => tokens.push(Token { kind: Kind::Name(name.to_string()), line }),
            TokenTree::Punct(sign) => tokens.push(Token { kind: Kind::Sign(sign.as_char()), line }),
            TokenTree::Literal(_) => tokens.push(Token { kind: Kind::Literal, line }),
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Brace => ('{', '}'),
                    Delimiter::Bracket => ('[', ']'),
                    Delimiter::None => (' ', ' '),
                };
                tokens.push(Token { kind: Kind::Open(open), line });
                push_all(group.stream(), tokens);
                tokens.push(Token { kind: Kind::Close(close), line: group.span_close().end().line });
            }
        }
    }
}

/// The tokens without items under `#[cfg(test)]`, and the modules that such items declare as files.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let (mut code, mut modules) = (Vec::with_capacity(tokens.len()), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        match test_attribute(tokens, at) {
            Some((_, Attribute::WholeFile)) => return (Vec::new(), modules),
            Some((end, Attribute::Item)) => {
                let after = item_end(tokens, end);
                let names: Vec<&str> = tokens[end..after].iter().filter_map(Token::name).collect();
                let is_file = tokens[end..after].last().is_some_and(|token| token.is(';'));
                if let (true, Some(place)) = (is_file, names.iter().position(|name| *name == "mod")) {
                    modules.extend(names.get(place + 1).map(|name| (*name).to_owned()));
                }
                at = after;
            }
            None => {
                code.push(tokens[at].clone());
                at += 1;
            }
        }
    }
    (code, modules)
}

enum Attribute {
    Item,
    WholeFile,
}

/// If `#[cfg(… test …)]`, `#[test]` or the like starts at `at`: where it ends, and what it governs. `cfg(not(test))`
/// governs code that ships.
fn test_attribute(tokens: &[Token], at: usize) -> Option<(usize, Attribute)> {
    if !tokens.get(at)?.is('#') {
        return None;
    }
    let whole_file = tokens.get(at + 1)?.is('!');
    let open = at + 1 + usize::from(whole_file);
    if tokens.get(open)?.kind != Kind::Open('[') {
        return None;
    }
    let end = group_end(tokens, open);
    let names: Vec<&str> = tokens[open..end].iter().filter_map(Token::name).collect();
    let is_test = match names.first() {
        Some(&"cfg") => names.contains(&"test") && !names.contains(&"not"),
        Some(&"test") => true,
        _ => false,
    };
    is_test.then_some((end, if whole_file { Attribute::WholeFile } else { Attribute::Item }))
}

/// The place behind the group that opens at `open`.
pub fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, token) in tokens[open..].iter().enumerate() {
        match token.kind {
            Kind::Open(_) => depth += 1,
            Kind::Close(_) => {
                depth -= 1;
                if depth == 0 {
                    return open + offset + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The place behind the item, field, arm or statement that starts at `at`, its other attributes included.
fn item_end(tokens: &[Token], mut at: usize) -> usize {
    const ITEMS: &[&str] = &[
        "fn",
        "struct",
        "enum",
        "union",
        "impl",
        "trait",
        "mod",
        "use",
        "static",
        "const",
        "type",
        "extern",
        "macro_rules",
    ];
    let mut is_item = false;
    let mut is_use = false;
    while let Some(token) = tokens.get(at) {
        match &token.kind {
            Kind::Open(delimiter) => {
                let end = group_end(tokens, at);
                if *delimiter == '{' && !is_use {
                    return end;
                }
                at = end;
            }
            Kind::Close(_) => return at,
            Kind::Sign(';') => return at + 1,
            Kind::Sign(',') if !is_item => return at + 1,
            Kind::Name(name) => {
                is_item |= ITEMS.contains(&name.as_str());
                is_use |= name == "use";
                at += 1;
            }
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn parse(files: &[(&str, &str)]) -> Vec<Source> {
        parse_all(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn names(path: &str, text: &str) -> Vec<String> {
        parse(&[(path, text)])[0].code.iter().filter_map(Token::name).map(str::to_owned).collect()
    }

    #[test]
    fn comments_strings_and_tests_are_no_code() {
        for (text, expected) in [
            ("// tokio\n/* tokio /* tokio */ */ fn a() {}", vec!["fn", "a"]),
            ("const A: &str = \"tokio // tokio\";", vec!["const", "A", "str"]),
            ("const A: &str = r#\"tokio\"#;", vec!["const", "A", "str"]),
            ("/// tokio\nfn a<'t>() {}", vec!["doc", "fn", "a", "t"]),
            ("#[cfg(test)] mod tests { use tokio; } fn a() {}", vec!["fn", "a"]),
            ("#[cfg(test)] use tokio::{A, B}; fn a() {}", vec!["fn", "a"]),
            ("#[cfg(all(test, unix))] fn t() -> [u8; 3] { tokio() } fn a() {}", vec!["fn", "a"]),
            ("#[test] #[ignore] fn t() { tokio() } fn a() {}", vec!["fn", "a"]),
            ("struct S { #[cfg(test)] t: Tokio, a: A }", vec!["struct", "S", "a", "A"]),
            ("#[cfg(not(test))] fn a() {}", vec!["cfg", "not", "test", "fn", "a"]),
            ("#![cfg(test)] fn t() {}", vec![]),
        ] {
            let got = names("broker/model/src/a.rs", text);
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn test_files_are_no_code() {
        assert_eq!(names("broker/model/tests/a.rs", "fn t() {}"), Vec::<String>::new());
        assert_eq!(names("tests/src/lib.rs", "fn t() {}"), Vec::<String>::new());
        assert_eq!(names("broker/model/src/tests.rs", "fn a() {}"), ["fn", "a"]);
        let sources = parse(&[
            ("broker/model/src/log.rs", "#[cfg(test)] mod tests; fn a() {}"),
            ("broker/model/src/log/tests.rs", "fn t() {}"),
            ("broker/model/src/log/other.rs", "fn a() {}"),
        ]);
        let shipped: Vec<bool> = sources.iter().map(|source| !source.code.is_empty()).collect();
        assert_eq!(shipped, [true, false, true]);
    }

    #[test]
    fn lines_and_errors_are_told() {
        let sources = parse(&[("a.rs", "\n\nfn a() {}"), ("b.rs", "fn a( {}")]);
        assert_eq!(sources[0].tokens[0].line, 3);
        assert!(sources[1].unreadable.as_ref().is_some_and(|error| error.contains("b.rs")));
    }
}
