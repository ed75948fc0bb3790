//! Rule: every `allow` and `expect` attribute says why.

use anyhow::Result;

use super::code::line_of;
use super::tree::{Breach, Tree};

/// Looks for lint attributes without `reason`.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        let text = &file.code().with_strings;
        for opening in ["#[allow(", "#![allow(", "#[expect(", "#![expect("] {
            for (at, _) in text.match_indices(opening) {
                // Inside a string the opening is somebody's text, as here.
                if text[..at].ends_with('"') {
                    continue;
                }
                let attribute = text[at..].split(")]").next().unwrap_or_default();
                if !attribute.contains("reason =") {
                    let line = line_of(text, at);
                    breaches.push(Breach::at(
                        &file.path,
                        line,
                        "a lint is allowed without a reason",
                    ));
                }
            }
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_lint_allowed_without_a_reason_is_found() {
        let bad = "//! A.\n#[allow(dead_code)]\nfn a() {}\n";
        let good = "//! A.\n#[allow(\n    dead_code,\n    reason = \"b\"\n)]\nfn a() {}\n";
        assert_eq!(
            planted(check, &[("a.rs", bad), ("b.rs", good)]),
            ["a.rs:2: a lint is allowed without a reason"]
        );
    }
}
