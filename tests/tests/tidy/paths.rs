//! The paths that a file's code names, `use` trees written out, each with the inline module in which it stands.
//! Stands between the tokens of a source and the rules that ask who names what.

use crate::source::{Kind, Token, group_end};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `a::b::c` as `[a, b, c]`; of `use a::{self}` as `[a]`, of `use a::*` as `[a]`.
    pub segments: Vec<String>,
    pub line: usize,
    /// The inline modules around it, outermost first.
    pub inside: Vec<String>,
    /// Starts with `::` or follows a type, so that it is not to be looked up in the file.
    pub rooted: bool,
    pub import: Option<Import>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The name that it brings into the file; `*` for a glob.
    pub local: String,
    /// Whether others may reach the name through this file.
    pub public: bool,
}

pub fn named(code: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut modules: Vec<(String, usize)> = Vec::new();
    let mut at = 0;
    while at < code.len() {
        modules.retain(|(_, end)| at < *end);
        let inside = || modules.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let Some(name) = code[at].name() else {
            at += 1;
            continue;
        };
        let next = |offset: usize| code.get(at + offset);
        if name == "mod" && next(2).is_some_and(|token| token.kind == Kind::Open('{')) {
            let module = next(1).and_then(Token::name).unwrap_or_default().to_owned();
            modules.push((module, group_end(code, at + 2)));
            at += 3;
        } else if name == "use" && !next(1).is_some_and(|token| token.is('<')) {
            let public = is_public(&code[..at]);
            let mut reader = Tree { code, at: at + 1, public, inside: inside(), found: &mut found };
            reader.read(&[]);
            at = reader.at;
        } else {
            let rooted = at >= 2 && code[at - 1].is(':') && code[at - 2].is(':');
            let line = code[at].line;
            let mut segments = vec![name.to_owned()];
            at += 1;
            while let Some(next) = after_colons(code, at) {
                segments.push(next.to_owned());
                at += 3;
            }
            found.push(Named { segments, line, inside: inside(), rooted, import: None });
        }
    }
    found
}

/// `name` where `:: name` stands at `at`.
fn after_colons(code: &[Token], at: usize) -> Option<&str> {
    match code.get(at..at + 3)? {
        [first, second, third] if first.is(':') && second.is(':') => third.name(),
        _ => None,
    }
}

/// Whether the tokens end with `pub` or `pub(…)`.
fn is_public(before: &[Token]) -> bool {
    let mut rest = before;
    if rest.last().is_some_and(|token| token.kind == Kind::Close(')')) {
        let Some(open) = rest.iter().rposition(|token| token.kind == Kind::Open('(')) else { return false };
        rest = &rest[..open];
    }
    rest.last().and_then(Token::name) == Some("pub")
}

/// Reads one `use` tree and writes down its leaves.
struct Tree<'a> {
    code: &'a [Token],
    at: usize,
    public: bool,
    inside: Vec<String>,
    found: &'a mut Vec<Named>,
}

impl Tree<'_> {
    /// Reads a tree under `prefix`, and stops at what cannot belong to it: `,`, `;` or the end of a group.
    fn read(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let mut alias = None;
        let line = self.code.get(self.at).map_or(0, |token| token.line);
        while let Some(token) = self.code.get(self.at) {
            match &token.kind {
                Kind::Name(name) if name == "as" => {
                    alias = self.code.get(self.at + 1).and_then(Token::name).map(str::to_owned);
                    self.at += 2;
                }
                Kind::Name(name) => {
                    segments.push(name.clone());
                    self.at += 1;
                }
                Kind::Sign('*') => {
                    alias = Some("*".to_owned());
                    self.at += 1;
                }
                Kind::Open('{') => {
                    let end = group_end(self.code, self.at);
                    self.at += 1;
                    while self.at + 1 < end {
                        self.read(&segments);
                        self.at += usize::from(self.code.get(self.at).is_some_and(|token| token.is(',')));
                    }
                    self.at = end;
                    return;
                }
                Kind::Sign(':') => self.at += 1,
                _ => break,
            }
        }
        if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
            segments.pop();
        }
        let Some(last) = segments.last().cloned() else { return };
        let import = Some(Import { local: alias.unwrap_or(last), public: self.public });
        self.found.push(Named { segments, line, inside: self.inside.clone(), rooted: false, import });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::parse;

    /// Each path as `a::b`, with ` as local`, `pub ` and `inside|` where they are.
    fn shown(text: &str) -> Vec<String> {
        let show = |named: Named| {
            let inside = named.inside.iter().map(|name| format!("{name}|")).collect::<String>();
            let rooted = if named.rooted { "::" } else { "" };
            let path = named.segments.join("::");
            match named.import {
                Some(Import { local, public }) => {
                    format!("{inside}{}{path} as {local}", if public { "pub " } else { "" })
                }
                None => format!("{inside}{rooted}{path}"),
            }
        };
        named(&parse(&[("a/src/a.rs", text)])[0].code).into_iter().map(show).collect()
    }

    #[test]
    fn trees_are_written_out() {
        assert_eq!(
            shown("use a::{b::{self, C}, D as E, f::*}; use g;"),
            ["a::b as b", "a::b::C as C", "a::D as E", "a::f as *", "g as g"]
        );
        assert_eq!(
            shown("pub use a::B; pub(crate) use c::{D, };"),
            ["pub", "pub a::B as B", "pub", "crate", "pub c::D as D"]
        );
        assert_eq!(shown("mod m { use super::A; } use b::C;"), ["m|super::A as A", "b::C as C"]);
    }

    #[test]
    fn paths_in_code_are_found() {
        assert_eq!(shown("a::b::<C>(::d::e, $crate::f::g!(h))"), ["a::b", "C", "::d::e", "crate::f::g", "h"]);
        assert_eq!(shown("mod m { fn a() -> super::B {} } x::y"), ["m|fn", "m|a", "m|super::B", "x::y"]);
    }
}
