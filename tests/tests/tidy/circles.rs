//! No circle between the files of a crate: a file that names what another defines depends on it, and dependencies
//! run one way. To pass a child's item on (`pub use child::Item`) is no dependency, and who names the item there
//! depends on the child; to use it is one. `mod child;` alone is none either.
//! A module and the modules within it are one thing in several files, such as a type with an `impl` in each: between
//! them both directions are fine. A crate's root is no such module.
//! Seen are paths, in code that ships; a method call of a type that was not named is not.

use crate::paths::{Named, named};
use crate::source::{Kind, Source};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// How often a name may be passed on before we take it for defined where we stand.
const PASSED_ON_MAX: usize = 16;

type ModulePath = Vec<String>;

/// A file of a crate, with what the resolution of names asks of it.
struct File<'a> {
    source: &'a Source,
    paths: Vec<Named>,
    /// Local name to what it stands for, absolute in the crate; a name that comes from elsewhere is absent.
    imports: HashMap<String, ModulePath>,
    /// Modules of which this file takes or passes on everything.
    globs: Vec<ModulePath>,
    defined: HashSet<String>,
}

struct Crate<'a> {
    files: BTreeMap<ModulePath, File<'a>>,
}

/// The circles of all crates, one line each, with the files on the way round.
pub fn violations(sources: &[Source]) -> Vec<String> {
    crates(sources).iter().flat_map(Crate::circles).collect()
}

fn crates(sources: &[Source]) -> Vec<Crate<'_>> {
    let mut crates: BTreeMap<&str, Vec<(ModulePath, &Source)>> = BTreeMap::new();
    for source in sources {
        if let Some((name, module)) = module_of(&source.path) {
            crates.entry(name).or_default().push((module, source));
        }
    }
    crates.into_values().map(Crate::read).collect()
}

/// The crate's folder, and the module that a file is; none for a file outside `src` and for a binary beside a library.
fn module_of(path: &str) -> Option<(&str, ModulePath)> {
    let (package, file) = path.split_once("/src/")?;
    if file.starts_with("bin/") {
        return None;
    }
    let mut module: ModulePath = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || matches!(file, "lib.rs" | "main.rs") {
        module.pop();
    }
    Some((package, module))
}

impl<'a> Crate<'a> {
    fn read(sources: Vec<(ModulePath, &'a Source)>) -> Self {
        let library = sources.iter().any(|(_, source)| source.path.ends_with("/src/lib.rs"));
        let mut files = BTreeMap::new();
        for (module, source) in sources {
            if library && source.path.ends_with("/src/main.rs") {
                continue;
            }
            let file = File {
                source,
                paths: named(&source.code),
                imports: HashMap::new(),
                globs: Vec::new(),
                defined: definitions(source),
            };
            files.insert(module, file);
        }
        let mut this = Self { files };
        this.resolve_imports();
        this
    }

    fn resolve_imports(&mut self) {
        let modules: Vec<ModulePath> = self.files.keys().cloned().collect();
        for module in modules {
            let (mut imports, mut globs) = (HashMap::new(), Vec::new());
            for path in &self.files[&module].paths {
                let Some(import) = &path.import else { continue };
                let Some(target) = self.absolute(&module, path) else { continue };
                if import.local == "*" {
                    globs.push(target);
                } else if path.inside.is_empty() {
                    imports.insert(import.local.clone(), target);
                }
            }
            if let Some(file) = self.files.get_mut(&module) {
                (file.imports, file.globs) = (imports, globs);
            }
        }
    }

    /// Where a path that stands in `module` leads, from the crate's root; nothing for one that leaves the crate.
    fn absolute(&self, module: &[String], path: &Named) -> Option<ModulePath> {
        if path.rooted {
            return None;
        }
        let mut base: ModulePath = module.iter().chain(&path.inside).cloned().collect();
        let mut rest = path.segments.as_slice();
        match rest.first()?.as_str() {
            "crate" => (base, rest) = (Vec::new(), &rest[1..]),
            "self" => rest = &rest[1..],
            "super" => {}
            first => {
                let is_child = self.files.contains_key(&[module, &[first.to_owned()]].concat());
                if !(is_child && path.inside.is_empty() && (path.import.is_some() || rest.len() > 1)) {
                    let stands_for =
                        self.files[module].imports.get(first).filter(|_| path.import.is_none())?;
                    return Some([stands_for, &rest[1..]].concat());
                }
            }
        }
        while rest.first().is_some_and(|segment| segment == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    /// The file in which the thing at an absolute path is defined, through files that pass it on.
    fn definer(&self, path: &[String], passed_on: usize) -> Option<&ModulePath> {
        let (length, (module, file)) = (0..=path.len())
            .rev()
            .find_map(|length| self.files.get_key_value(&path[..length]).map(|found| (length, found)))?;
        let Some(item) = path.get(length).filter(|_| passed_on < PASSED_ON_MAX) else { return Some(module) };
        if let Some(target) = file.imports.get(item) {
            let onward = [target, &path[length + 1..]].concat();
            return self.definer(&onward, passed_on + 1);
        }
        if !file.defined.contains(item) {
            for glob in &file.globs {
                let onward = [glob.as_slice(), &path[length..]].concat();
                let found = self.definer(&onward, passed_on + 1);
                if let Some(found) = found.filter(|found| self.files[*found].defined.contains(item)) {
                    return Some(found);
                }
            }
        }
        Some(module)
    }

    /// The files that each file depends on, with the line of the first name that says so.
    fn edges(&self) -> BTreeMap<&ModulePath, BTreeMap<&ModulePath, usize>> {
        let mut edges: BTreeMap<_, BTreeMap<_, usize>> = BTreeMap::new();
        for (module, file) in &self.files {
            let targets = edges.entry(module).or_default();
            for path in &file.paths {
                let Some(target) = self.absolute(module, path) else { continue };
                let is_module = self.files.contains_key(&target);
                let no_use = match &path.import {
                    // A module brought in by name is used where that name is; so is an item passed on.
                    Some(import) => import.public || (is_module && import.local != "*"),
                    None => is_module,
                };
                if let (false, Some(definer)) = (no_use, self.definer(&target, 0))
                    && definer != module
                    && !are_one(definer, module)
                {
                    targets.entry(definer).or_insert(path.line);
                }
            }
        }
        edges
    }

    fn circles(&self) -> Vec<String> {
        let edges = self.edges();
        let mut told: BTreeSet<&ModulePath> = BTreeSet::new();
        let mut found = Vec::new();
        for start in edges.keys() {
            if told.contains(start) {
                continue;
            }
            if let Some(way) = way_round(&edges, start) {
                found.push(self.describe(&edges, &way));
                told.extend(way);
            }
        }
        found
    }

    fn describe(
        &self,
        edges: &BTreeMap<&ModulePath, BTreeMap<&ModulePath, usize>>,
        way: &[&ModulePath],
    ) -> String {
        let mut text = String::from("circle: ");
        for (index, module) in way.iter().enumerate() {
            let next = way[(index + 1) % way.len()];
            text.push_str(&format!("{}:{} -> ", self.files[*module].source.path, edges[*module][next]));
        }
        text + &self.files[way[0]].source.path
    }
}

/// Whether one of two modules lies within the other, and neither is the crate's root.
fn are_one(a: &[String], b: &[String]) -> bool {
    !a.is_empty() && !b.is_empty() && (a.starts_with(b) || b.starts_with(a))
}

/// The shortest way from `start` back to itself.
fn way_round<'a>(
    edges: &BTreeMap<&'a ModulePath, BTreeMap<&'a ModulePath, usize>>,
    start: &'a ModulePath,
) -> Option<Vec<&'a ModulePath>> {
    let mut ways: Vec<Vec<&ModulePath>> = vec![vec![start]];
    let mut seen: BTreeSet<&ModulePath> = BTreeSet::new();
    let mut at = 0;
    while let Some(way) = ways.get(at).cloned() {
        at += 1;
        let last = way.last()?;
        for next in edges.get(*last).into_iter().flat_map(BTreeMap::keys) {
            if *next == start {
                return Some(way);
            }
            if seen.insert(next) {
                ways.push([way.as_slice(), &[*next]].concat());
            }
        }
    }
    None
}

/// The names that a file's items have, at any depth.
fn definitions(source: &Source) -> HashSet<String> {
    const KEYWORDS: &[&str] = &["struct", "enum", "union", "trait", "type", "const", "static", "fn", "mod"];
    let mut found = HashSet::new();
    for (at, token) in source.code.iter().enumerate() {
        let name = match token.name() {
            Some("macro_rules") => source.code.get(at + 2),
            Some(keyword) if KEYWORDS.contains(&keyword) => source.code.get(at + 1),
            _ => continue,
        };
        if let Some(Kind::Name(name)) = name.map(|token| &token.kind) {
            found.insert(name.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::parse;

    /// The circles of a crate of these files under `m/src`.
    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let placed: Vec<(String, &str)> =
            files.iter().map(|(path, text)| (format!("m/src/{path}"), *text)).collect();
        let placed: Vec<(&str, &str)> = placed.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        violations(&parse(&placed))
    }

    #[test]
    fn circles_are_found() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("siblings", &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::a::A;")]),
            ("by path", &[("a.rs", "fn f() { crate::b::g() }"), ("b.rs", "fn g() { super::a::f() }")]),
            (
                "by module",
                &[
                    ("a.rs", "use crate::b; fn f() { b::g() }"),
                    ("b.rs", "use crate::a::{self}; fn g() { a::f() }"),
                ],
            ),
            ("by alias", &[("a.rs", "use crate::b as x; fn f() { x::g() }"), ("b.rs", "use crate::a::f;")]),
            (
                "of three",
                &[("a.rs", "use crate::b::B;"), ("b.rs", "use crate::c::C;"), ("c.rs", "use crate::a::A;")],
            ),
            (
                "through a facade",
                &[
                    ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                    ("b.rs", "use crate::A; pub struct B;"),
                ],
            ),
            (
                "through a glob",
                &[
                    ("lib.rs", "mod a; mod b; pub use a::*; pub use b::*;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                    ("b.rs", "use crate::A; pub struct B;"),
                ],
            ),
            (
                "parent and child",
                &[("lib.rs", "mod a; fn f() { a::g() } pub struct L;"), ("a.rs", "use crate::L; fn g() {}")],
            ),
            (
                "root that uses what it passes on",
                &[
                    ("lib.rs", "mod b; pub use b::B; pub struct A(B);"),
                    ("b.rs", "use crate::A; pub struct B;"),
                ],
            ),
            (
                "of children in two modules",
                &[
                    ("a/mod.rs", "mod b; use crate::c::d::D;"),
                    ("a/b.rs", "pub struct B;"),
                    ("c/mod.rs", "mod d;"),
                    ("c/d.rs", "use crate::a; fn f() { a::f() } pub struct D;"),
                ],
            ),
            (
                "in macros",
                &[("a.rs", "fn f() { vec![crate::b::B] }"), ("b.rs", "fn g() { assert!(crate::a::f()) }")],
            ),
            (
                "in an inline module",
                &[("a.rs", "mod i { use super::super::b::B; }"), ("b.rs", "use crate::a::A;")],
            ),
        ];
        for (name, files) in cases {
            assert_eq!(circles(files).len(), 1, "{name}");
        }
    }

    #[test]
    fn what_is_no_circle_passes() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("one way", &[("a.rs", "use crate::b::B;"), ("b.rs", "use std::a::A; struct B;")]),
            (
                "a facade",
                &[
                    ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
                    ("a.rs", "use crate::B; pub struct A;"),
                    ("b.rs", "pub struct B;"),
                ],
            ),
            ("a parent that dispatches", &[("lib.rs", "mod a; fn f() { a::g() }"), ("a.rs", "fn g() {}")]),
            (
                "one thing in several files",
                &[("a.rs", "mod b; pub struct A(b::B);"), ("a/b.rs", "use super::A; struct B; impl A {}")],
            ),
            (
                "a child that uses its parent",
                &[
                    ("a.rs", "mod b; pub use b::B; pub struct A;"),
                    ("a/b.rs", "use super::A; pub struct B(A);"),
                ],
            ),
            (
                "tests",
                &[
                    ("a.rs", "use crate::b::B;"),
                    ("b.rs", "struct B; #[cfg(test)] mod tests { use crate::a::A; }"),
                ],
            ),
            (
                "a name of another crate",
                &[("a.rs", "use crate::b::B;"), ("b.rs", "use other::a::A; fn a() { ::a::b() }")],
            ),
            (
                "a binary beside a library",
                &[
                    ("lib.rs", "pub mod a;"),
                    ("a.rs", "pub struct A;"),
                    ("main.rs", "fn main() { m::a::f() }"),
                ],
            ),
        ];
        for (name, files) in cases {
            assert_eq!(circles(files), [""; 0], "{name}");
        }
    }

    #[test]
    fn crates_are_kept_apart_and_the_way_is_told() {
        let files = [("x/src/a.rs", "use crate::b::B;"), ("y/src/b.rs", "use crate::a::A;")];
        assert_eq!(violations(&parse(&files)), [""; 0]);
        assert_eq!(
            circles(&[("a.rs", "\nuse crate::b::B;"), ("b.rs", "use crate::a::A;")]),
            ["circle: m/src/a.rs:2 -> m/src/b.rs:1 -> m/src/a.rs"]
        );
    }
}
