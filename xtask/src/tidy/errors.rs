//! Rule: an error code is a page, and a page is a code; no two variants share one.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::code::line_of;
use super::tree::{Breach, Source, Tree};

const ROOMS: &[&str] = &[
    "FLOW", "RUN", "BOX", "HOST", "STORE", "API", "BUCKET", "CONF",
];
const FOLDER: &str = "docs/errors/";

/// Compares the codes in the house's sources with the pages.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut used: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    let mut breaches = Vec::new();
    let house = tree.rust().filter(|file| {
        (file.path.starts_with("runtime/") || file.path.starts_with("host-api/"))
            && file.path.contains("/src/")
    });
    let mut variants: BTreeMap<String, (&str, usize)> = BTreeMap::new();
    for file in house {
        for (code, line) in codes(file) {
            used.entry(code).or_insert((&file.path, line));
        }
        for (code, line, alternatives) in arms(file) {
            let first = variants.insert(code.clone(), (&file.path, line));
            if first.is_some() || alternatives {
                let why = format!("{code} is used by two variants: a code has one meaning");
                breaches.push(Breach::at(&file.path, line, why));
            }
        }
    }
    let mut pages = BTreeSet::new();
    for file in &tree.files {
        let page = file
            .path
            .strip_prefix(FOLDER)
            .and_then(|n| n.strip_suffix(".md"));
        let Some(code) = page.filter(|name| !["README", "names"].contains(name)) else {
            continue;
        };
        pages.insert(code.to_owned());
        if !used.contains_key(code) {
            breaches.push(Breach::at(&file.path, 0, "no code of this name is in use"));
        }
        if !file.text.starts_with(&format!("# {code}")) {
            breaches.push(Breach::at(&file.path, 1, format!("opens with `# {code}`")));
        }
    }
    for (code, (path, line)) in used {
        if !pages.contains(&code) {
            breaches.push(Breach::at(
                path,
                line,
                format!("{code} has no page {FOLDER}{code}.md"),
            ));
        }
    }
    Ok(breaches)
}

/// String literals that are error codes, with their lines.
fn codes(file: &Source) -> Vec<(String, usize)> {
    let text = &file.code().with_strings;
    let mut found = Vec::new();
    for (at, _) in text.match_indices('"') {
        if let Some(code) = code_at(&text[at + 1..]) {
            found.push((code, line_of(text, at)));
        }
    }
    found
}

/// A whole literal `CODE"` at the start of `rest`.
fn code_at(rest: &str) -> Option<String> {
    let literal = rest.split('"').next()?;
    let digits = literal.len().checked_sub(4)?;
    let (room, number) = (literal.get(..digits)?, literal.get(digits..)?);
    let is_code = ROOMS.contains(&room) && number.bytes().all(|b| b.is_ascii_digit());
    is_code.then(|| literal.to_owned())
}

/// Arms `Pattern => "CODE"` of an `error.rs`: code, line, and whether the pattern
/// has alternatives.
fn arms(file: &Source) -> Vec<(String, usize, bool)> {
    if !file.path.ends_with("/error.rs") {
        return Vec::new();
    }
    let text = &file.code().with_strings;
    let mut found = Vec::new();
    for (at, _) in text.match_indices("=> \"") {
        if let Some(code) = code_at(&text[at + 4..]) {
            let before = &text[..at];
            let start = before.rfind([',', ';']).map_or(0, |found| found + 1);
            // A pattern's own fields may hold commas, its alternatives a bar.
            let pattern = before.get(start..).unwrap_or_default();
            let pattern = pattern.rsplit('{').next().unwrap_or(pattern);
            found.push((code, line_of(text, at), pattern.contains('|')));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    const ERROR: &str = "runtime/store/src/error.rs";

    #[test]
    fn codes_and_pages_must_match() {
        let code = "fn code() { match self { Error::A { .. } => \"STORE0001\", } }";
        let page = ("docs/errors/STORE0001.md", "# STORE0001: a\n");
        let other = ("docs/errors/STORE0002.md", "# STORE0002: b\n");
        assert_eq!(planted(check, &[(ERROR, code), page]), [""; 0]);
        assert_eq!(
            planted(check, &[(ERROR, code)]),
            ["runtime/store/src/error.rs:1: STORE0001 has no page docs/errors/STORE0001.md"]
        );
        assert_eq!(
            planted(check, &[(ERROR, code), page, other]),
            ["docs/errors/STORE0002.md: no code of this name is in use"]
        );
    }

    #[test]
    fn a_code_of_two_variants_is_found() {
        let page = ("docs/errors/STORE0001.md", "# STORE0001: a\n");
        let twice = "match self {\n A => \"STORE0001\",\n B => \"STORE0001\",\n}";
        let either = "match self {\n A | B(_) => \"STORE0001\",\n}";
        assert_eq!(planted(check, &[(ERROR, twice), page]).len(), 1);
        assert_eq!(planted(check, &[(ERROR, either), page]).len(), 1);
    }
}
