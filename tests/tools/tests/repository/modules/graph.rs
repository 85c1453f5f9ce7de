//! Which top-level module of a crate imports which: by `crate::`, by `super::` that climbs to the top, and by names that `lib.rs`
//! takes out of a module to the top.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::tokens::tokens;

/// A crate's modules, each with those that it imports and a file that does.
#[derive(Debug, Default)]
pub(super) struct Graph(pub(super) BTreeMap<String, BTreeMap<String, String>>);

/// Reads one file.
struct Reader<'a> {
    tokens: &'a [String],
    /// Names that stand at the top of the crate.
    found: BTreeSet<String>,
}

// === impl Graph ===

impl Graph {
    /// The graph of a crate's files: paths below its `src`, and their text.
    pub(super) fn of(files: &[(String, String)]) -> Self {
        let roots = ["lib", "main", "bin"];
        let tops = files.iter().map(|(path, text)| (top(path), path, text));
        let tops: Vec<_> = tops.filter(|(top, ..)| !roots.contains(top)).collect();
        let mut graph = Self(tops.iter().map(|(top, ..)| ((*top).to_owned(), BTreeMap::new())).collect());
        let exported: BTreeMap<String, String> =
            files.iter().filter(|(path, _)| path == "lib.rs").flat_map(|(_, text)| exports(text)).collect();
        for (top, path, text) in tops {
            for import in imports(path, text) {
                let is_module = graph.0.contains_key(&import);
                let import = exported.get(&import).filter(|_| !is_module).cloned().unwrap_or(import);
                if import != top && graph.0.contains_key(&import) {
                    let of_top = graph.0.entry(top.to_owned()).or_default();
                    of_top.entry(import).or_insert_with(|| path.clone());
                }
            }
        }
        graph
    }

    /// Modules that import each other in a circle, whole groups of them.
    pub(super) fn cycles(&self) -> Vec<Vec<&str>> {
        let below = self.below();
        let mut cycles: Vec<Vec<&str>> = Vec::new();
        for (module, of_module) in &below {
            let group: Vec<&str> =
                of_module.iter().filter(|it| below[*it].contains(module)).copied().collect();
            if !group.is_empty() && !cycles.contains(&group) {
                cycles.push(group);
            }
        }
        cycles
    }

    /// Everything that each module imports, itself or by others.
    fn below(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let of = |module: &str| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&str> = self.0[module].keys().map(String::as_str).collect();
            while let Some(module) = next.pop() {
                if seen.insert(module) {
                    next.extend(self.0[module].keys().map(String::as_str));
                }
            }
            seen
        };
        self.0.keys().map(|module| (module.as_str(), of(module))).collect()
    }

    /// The shortest way from one module to another, or around to itself.
    pub(super) fn way(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut ways = VecDeque::from([vec![from.to_owned()]]);
        while let Some(way) = ways.pop_front() {
            for next in self.0.get(way.last()?)?.keys() {
                let longer = [way.clone(), vec![next.clone()]].concat();
                if next == to {
                    return Some(longer);
                }
                if seen.insert(next) {
                    ways.push_back(longer);
                }
            }
        }
        None
    }

    /// A circle in words: each import with the file that has it.
    pub(super) fn told(&self, group: &[&str]) -> String {
        let Some(way) = group.first().and_then(|first| self.way(first, first)) else { return String::new() };
        let steps = way.windows(2).map(|pair| {
            format!("{} imports {} ({})", pair[0], pair[1], self.0[pair[0].as_str()][pair[1].as_str()])
        });
        steps.collect::<Vec<_>>().join(", ")
    }

    /// How many imports lie below each module, at most; those within a circle do not count.
    pub(super) fn heights(&self) -> BTreeMap<&str, usize> {
        let below = self.below();
        let mut heights: BTreeMap<&str, usize> = below.keys().map(|module| (*module, 0)).collect();
        loop {
            let mut is_settled = true;
            for (module, imports) in &self.0 {
                let down = imports.keys().filter(|it| !below[it.as_str()].contains(module.as_str()));
                let height = down.map(|it| 1 + heights[it.as_str()]).max().unwrap_or(0);
                is_settled &= heights.insert(module, height) == Some(height);
            }
            if is_settled {
                return heights;
            }
        }
    }
}

/// The top-level module that a file belongs to.
fn top(path: &str) -> &str {
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// What `lib.rs` takes out of modules to the top of the crate, by its name there.
fn exports(text: &str) -> Vec<(String, String)> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| *token == "use") {
        let path = tokens[at + 1..].iter().take_while(|token| *token != ";");
        let mut names =
            path.filter(|it| it.starts_with(char::is_alphabetic) && *it != "self" && *it != "crate");
        if let Some(module) = names.next() {
            found.extend(names.map(|name| (name.clone(), module.clone())));
        }
    }
    found
}

/// The names at the top of the crate that a file's paths begin with.
fn imports(path: &str, text: &str) -> BTreeSet<String> {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, found: BTreeSet::new() };
    let file_depth = path.trim_end_matches("/mod.rs").split('/').count();
    // Where inline modules end, by how many braces are open then.
    let mut inline: Vec<usize> = Vec::new();
    let (mut braces, mut at) = (0, 0);
    while let Some(token) = reader.token(at) {
        match token {
            "{" => {
                if at >= 2 && reader.token(at - 2) == Some("mod") {
                    inline.push(braces);
                }
                braces += 1;
            }
            "}" => {
                braces = braces.saturating_sub(1);
                inline.pop_if(|end| *end == braces);
            }
            "crate" | "super" | "self" if reader.begins_path(at) => {
                at = reader.path(at, file_depth + inline.len());
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    reader.found
}

// === impl Reader ===

impl Reader<'_> {
    fn token(&self, at: usize) -> Option<&str> {
        self.tokens.get(at).map(String::as_str)
    }

    /// Whether a path begins here: not in the midst of one, and something follows.
    fn begins_path(&self, at: usize) -> bool {
        let is_inner = at > 0 && self.token(at - 1) == Some("::");
        !is_inner && self.token(at + 1) == Some("::")
    }

    /// Reads a path, or a tree of them, from within a module so deep; 0 is the top of the crate. Gives what comes after it.
    fn path(&mut self, mut at: usize, mut depth: usize) -> usize {
        loop {
            match self.token(at) {
                Some("crate") => depth = 0,
                Some("super") => depth = depth.saturating_sub(1),
                Some("self") => {}
                Some("{") => return self.group(at + 1, depth),
                Some(name) => {
                    if depth == 0 {
                        self.found.insert(name.to_owned());
                    }
                    return at + 1;
                }
                None => return at,
            }
            if self.token(at + 1) != Some("::") {
                return at + 1;
            }
            at += 2;
        }
    }

    /// Reads the paths of `{a, b::{c, d}}` after its opening brace.
    fn group(&mut self, mut at: usize, depth: usize) -> usize {
        loop {
            if self.token(at) != Some("}") {
                at = self.path(at, depth);
            }
            let mut open = 0;
            while let Some(token) = self.token(at) {
                match token {
                    "{" => open += 1,
                    "}" | "," if open == 0 => break,
                    "}" => open -= 1,
                    _ => {}
                }
                at += 1;
            }
            match self.token(at) {
                Some(",") => at += 1,
                _ => return at + 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(files: &[(&str, &str)]) -> Graph {
        let files: Vec<_> = files.iter().map(|(path, text)| ((*path).into(), (*text).into())).collect();
        Graph::of(&files)
    }

    #[test]
    fn every_way_to_name_a_module_is_an_import() {
        for text in [
            "use crate::b;",
            "use crate::b::C;",
            "pub use crate::{x, b::{self, C}};",
            "use crate::{x::{y, z}, b};",
            "fn f(it: crate::b::C) {}",
            "macro_rules! m { () => { $crate::b::c!() } }",
            "use super::b::C;",
            "use super::{x, b};",
            "use self::super::b;",
            "mod tests { use super::super::b; }",
            "mod tests { use super::{super::b::C, x}; }",
            "mod x { fn f() { g(); } } use super::b;",
            "use crate::D;",
            "fn f() -> crate::E {}",
        ] {
            let top = "mod a; mod b; pub use b::D; pub use self::b::{C as E, F};";
            let graph = graph(&[("lib.rs", top), ("a.rs", text), ("b.rs", "")]);
            assert!(graph.0["a"].contains_key("b"), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_one() {
        for text in [
            "// crate::b",
            "/// See [`crate::b`].",
            "const X: &str = \"crate::b\";",
            "pub(crate) fn b() {}",
            "use b::C;",
            "use crate::x::b;",
            "use crate::x::{b, c};",
            "use crate::{x::{b, c}, y};",
            "mod tests { use super::b; }",
            "use self::b::C;",
            "use crate::B;",
        ] {
            let graph = graph(&[("lib.rs", "mod a; mod b;"), ("a.rs", text), ("b.rs", "")]);
            assert!(graph.0["a"].is_empty(), "{text}: {graph:?}");
        }
    }

    #[test]
    fn a_circle_is_found_and_named_with_its_files() {
        let graph = graph(&[
            ("lib.rs", "use crate::a::X;"),
            ("a.rs", "use crate::{d, b::Y};"),
            ("b/deep/er.rs", "use super::super::super::c;"),
            ("c.rs", "fn f() { crate::a::g() }"),
            ("d.rs", "use crate::e;"),
            ("e.rs", "use super::f;"),
            ("f.rs", "use crate::e;"),
        ]);
        assert_eq!(graph.cycles(), [vec!["a", "b", "c"], vec!["e", "f"]]);
        assert_eq!(
            graph.told(&["a", "b", "c"]),
            "a imports b (a.rs), b imports c (b/deep/er.rs), c imports a (c.rs)"
        );
        let heights = graph.heights();
        assert_eq!([heights["e"], heights["d"], heights["a"]], [0, 1, 2]);
    }
}
