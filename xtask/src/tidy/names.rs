//! Rule: a name by which something fails has a row in the table of names, and a row is a name in use.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::code::Code;
use super::tree::{Breach, Source, Tree};

const PAGE: &str = "docs/errors/names.md";
const PREFIX: &str = "Stepwell.";
/// Where names are put together of a kind and a word: the folders, and the kinds.
const COMPOSED: &[(&str, &[&str])] = &[
    ("host-api/src/job", &["Container", "Machine"]),
    ("host-api/src/container", &["Container"]),
    ("host-api/src/machine", &["Machine"]),
];

/// Compares the names in running code with the page.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let page = tree.files.iter().find(|file| file.path == PAGE);
    let rows = page.map(rows).unwrap_or_default();
    let mut breaches = Vec::new();
    let mut used = BTreeSet::new();
    for file in tree.rust().filter(|file| runs(&file.path)) {
        for (literal, line) in literals(file.code()) {
            let names = names(&file.path, &literal);
            if !names.is_empty() && !names.iter().any(|name| rows.contains_key(name)) {
                let why = format!("{PREFIX}{} has no row in {PAGE}", names.join(" or "));
                breaches.push(Breach::at(&file.path, line, why));
            }
            used.extend(names);
        }
    }
    for (name, line) in &rows {
        if !used.contains(name) {
            let why = format!("no code names {PREFIX}{name}");
            breaches.push(Breach::at(PAGE, *line, why));
        }
    }
    Ok(breaches)
}

/// Whether it is code that runs for users. Unit tests in files of their own are not.
fn runs(path: &str) -> bool {
    let house = ["runtime/", "host-api/", "guest-sdk/"];
    house.iter().any(|room| path.starts_with(room))
        && path.contains("/src/")
        && !path.ends_with("/tests.rs")
        && !path.contains("/tests/")
}

/// The names in the rows' first cells, without their prefix, and their lines.
fn rows(page: &Source) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for (number, line) in page.text.lines().enumerate() {
        let cell = line
            .strip_prefix('|')
            .and_then(|rest| rest.split('|').next());
        let quoted = cell.unwrap_or_default().split('`').skip(1).step_by(2);
        let names = quoted.filter_map(|text| text.strip_prefix(PREFIX));
        rows.extend(names.map(|name| (name.to_owned(), number + 1)));
    }
    rows
}

/// The names, without their prefix, that a literal stands for: none, one, or one for each kind.
fn names(path: &str, literal: &str) -> Vec<String> {
    if let Some(rest) = literal.strip_prefix(PREFIX) {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric());
        let name = &rest[..end.unwrap_or(rest.len())];
        return if name.is_empty() {
            Vec::new()
        } else {
            vec![name.to_owned()]
        };
    }
    let composed = COMPOSED.iter().find(|(folder, _)| path.starts_with(folder));
    match composed {
        Some((_, kinds)) if is_word(literal) => {
            let whole = kinds.iter().map(|kind| format!("{kind}{literal}"));
            whole.chain([literal.to_owned()]).collect()
        }
        _ => Vec::new(),
    }
}

/// `PullFailed`: a name's last part, and no other text.
fn is_word(literal: &str) -> bool {
    literal.starts_with(|c: char| c.is_ascii_uppercase())
        && literal.chars().all(|c| c.is_ascii_alphanumeric())
        && literal.chars().any(|c| c.is_ascii_lowercase())
}

/// The insides of string literals, and the lines on which they begin.
///
/// Quotes stand in the plain text only where a string begins or ends, and both texts have the
/// same characters.
fn literals(code: &Code) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize)> = None;
    let mut line = 1;
    for (plain, c) in code.plain.chars().zip(code.with_strings.chars()) {
        if plain == '"' {
            match open.take() {
                Some(literal) => found.push(literal),
                None => open = Some((String::new(), line)),
            }
        } else if let Some((text, _)) = &mut open {
            text.push(c);
        }
        line += usize::from(c == '\n');
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    const CODE: &str = "host-api/src/http.rs";

    #[test]
    fn names_and_rows_must_match() {
        let code = "fn f() { Failure::new(\"Stepwell.Odd\", \"why\") }";
        let row = (PAGE, "| `Stepwell.Odd` | seldom | no |\n");
        let both = (PAGE, "| `Stepwell.Odd`, `Stepwell.Even` | a | no |\n");
        assert_eq!(planted(check, &[(CODE, code), row]), [""; 0]);
        assert_eq!(
            planted(check, &[(CODE, code)]),
            ["host-api/src/http.rs:1: Stepwell.Odd has no row in docs/errors/names.md"]
        );
        assert_eq!(
            planted(check, &[(CODE, code), both]),
            ["docs/errors/names.md:1: no code names Stepwell.Even"]
        );
    }

    #[test]
    fn only_running_code_names_them() {
        let row = (PAGE, "| `Stepwell.Odd` | seldom | no |\n");
        let said = "// \"Stepwell.Odd\"\n#[cfg(test)]\nmod tests {\n \"Stepwell.Odd\" }";
        assert_eq!(planted(check, &[(CODE, said), row]).len(), 1);
        let tests = ("host-api/src/http/tests.rs", "f(\"Stepwell.Odd\")");
        assert_eq!(planted(check, &[tests, row]).len(), 1);
        let quote = "if c == '\"' || s == r\"\\\" { f(\"Stepwell.Odd: \") }";
        assert_eq!(planted(check, &[(CODE, quote), row]), [""; 0]);
    }

    #[test]
    fn names_of_parts_are_found() {
        let run = "host-api/src/container/run.rs";
        let code = "kind.failure(\n \"PullFailed\", \"a cause\", \"ALL\")";
        let row = (PAGE, "| `Stepwell.ContainerPullFailed` | a | no |\n");
        let other = (PAGE, "| `Stepwell.MachinePullFailed` | a | no |\n");
        assert_eq!(planted(check, &[(run, code), row]), [""; 0]);
        assert_eq!(planted(check, &[(run, code), other]).len(), 2);
    }
}
