//! Regular expressions as JavaScript means them, in the syntax of the libraries that match
//! them here.
//!
//! Refuses what JavaScript refuses, and those that take too much memory. One that looks
//! ahead or behind, or refers back, is left to a library that tracks back, within a bound.
//! Source: ECMA-262, "Patterns", with its annex for browsers, without the flag `u`.

use jsonata_core::ast::AstNode;

use super::walk;
use crate::expression::meter::BACKTRACKS;
use crate::path::pattern::{Patterns, backtracking};
use crate::path::{self, clip};

mod read;

use read::read;

/// Longest pattern that may track back, in bytes.
const BACKTRACKING_BYTES_MAX: usize = 2_000;

/// What is wrong with a regular expression.
pub(super) struct Fault {
    pub said: String,
    pub hint: Option<String>,
}

/// Translates every regular expression of a tree.
pub(super) fn translate(tree: &mut AstNode, patterns: &Patterns) -> Vec<Fault> {
    let mut faults = Vec::new();
    visit(tree, patterns, &mut faults);
    faults
}

fn visit(node: &mut AstNode, patterns: &Patterns, faults: &mut Vec<Fault>) {
    if let AstNode::Regex { pattern, flags } = node {
        match checked(pattern, flags, patterns) {
            Ok((translated, backtracks)) => {
                *pattern = translated;
                *flags = match backtracks {
                    true => BACKTRACKS.to_owned(),
                    false => String::new(),
                };
            }
            Err(fault) => faults.push(fault),
        }
    }
    walk::children_mut(node, &mut |child| visit(child, patterns, faults));
}

fn checked(pattern: &str, flags: &str, patterns: &Patterns) -> Result<(String, bool), Fault> {
    let shown = clip(pattern);
    if let Some(flag) = flags.chars().find(|c| !matches!(c, 'i' | 'm')) {
        return Err(Fault {
            said: format!("the regular expression {shown:?} has a flag {flag:?}"),
            hint: Some(
                "JSONata knows the flags i and m; it finds all matches by itself".to_owned(),
            ),
        });
    }
    let (translated, backtracks) = read(pattern, flags).map_err(|why| Fault {
        said: format!("the regular expression {shown:?} cannot be read: {why}"),
        hint: None,
    })?;
    let costly = |fault: path::Fault| Fault {
        said: fault.message,
        hint: fault.hint,
    };
    let unread = |why: String| Fault {
        said: format!("the regular expression {shown:?} cannot be matched: {why}"),
        hint: None,
    };
    if backtracks {
        if translated.len() > BACKTRACKING_BYTES_MAX {
            return Err(unread(format!(
                "one that looks ahead or behind, or refers back, may have {BACKTRACKING_BYTES_MAX} bytes"
            )));
        }
        patterns.backtracks(&translated).map_err(costly)?;
        backtracking(&translated, 1).map_err(unread)?;
    } else {
        patterns.each(&translated).map_err(costly)?;
        regex_syntax::parse(&translated).map_err(|e| match e {
            regex_syntax::Error::Parse(e) => unread(e.kind().to_string()),
            regex_syntax::Error::Translate(e) => unread(e.kind().to_string()),
            _ => unread("it is not understood".to_owned()),
        })?;
    }
    Ok((translated, backtracks))
}

#[cfg(test)]
mod tests {
    use super::{Patterns, read};

    fn checked(pattern: &str, flags: &str) -> Result<(String, bool), super::Fault> {
        super::checked(pattern, flags, &Patterns::default())
    }

    #[track_caller]
    fn check(pattern: &str, flags: &str, expected: &str) {
        let found = read(pattern, flags).expect(pattern);
        assert_eq!(found, (expected.to_owned(), false), "{pattern}");
        assert!(checked(pattern, flags).is_ok(), "{pattern}");
    }

    #[test]
    fn sets_are_those_of_ascii() {
        check(r"\d+", "", "[0-9]+");
        check(r"\W", "", "[^0-9A-Z_a-z]");
        check(r"[\w.-]", "", r"[0-9A-Z_a-z\x2e\x2d]");
        check(r"[^\D]", "", "[^[^0-9]]");
        check(r"\bx", "", r"(?-u:\b)x");
        check("a.", "", "a[^\\n\\r\u{2028}\u{2029}]");
    }

    #[test]
    fn what_other_syntaxes_mean_otherwise_is_text() {
        check("[a&&b]", "", r"[a\x26\x26b]");
        check("[]", "", "[a&&b]");
        check("[^]", "", "(?s:.)");
        check("[[a]", "", r"[\x5ba]");
        check("a{,2}", "", r"a\{,2\}");
        check("a{2,}?", "", "a{2,}?");
        check("]}", "", r"\]\}");
        check(r"\p{L}", "", r"p\{L\}");
        check(r"\/\-\x41\u00e9\0", "", "/-A\u{e9}\0");
        check(r"\ud83d\ude00", "", "\u{1f600}");
        check("(?<year>a)(?:b)", "", "(a)(?:b)");
    }

    #[test]
    fn case_is_ignored_within_ascii_as_within_other_letters() {
        check("k[a-c]", "i", "[kK][a-cA-C]");
        check("\u{e9}[\u{e9}]", "i", "(?i:\u{e9})(?i:[\u{e9}])");
        // To ignore the case of all characters that there are would take long.
        let (all, _) = read(r"[\s\S]", "i").expect("read");
        assert!(!all.contains("(?i"), "{all}");
        check("^a$", "m", "(?mR:^)a(?mR:$)");
    }

    #[test]
    fn some_must_track_back() {
        for (pattern, expected) in [
            ("(?=a)b", "(?=a)b"),
            (r"(a)\1", r"(a)(?(1)\1|)"),
            (r"(?<n>a)\k<n>", r"(a)(?(1)\1|)"),
            ("(?<!x)^", r"(?<!x)\A"),
        ] {
            let found = read(pattern, "").expect(pattern);
            assert_eq!(found, (expected.to_owned(), true), "{pattern}");
            let taken = checked(pattern, "").map_err(|fault| fault.said);
            assert_eq!(taken, Ok((expected.to_owned(), true)));
        }
        // A number that is no group's is a character.
        check(r"(a)\2", "", "(a)\u{2}");
    }

    /// Each name is read once, however much follows it: what grows with its square takes minutes here.
    #[test]
    fn names_take_no_longer_than_they_are() {
        for pattern in [
            format!("(?<n>a){}", r"\k<n>".repeat(40_000)),
            format!("{}(?<n>a){}", "()".repeat(40_000), r"\k<n>".repeat(40_000)),
            "(?<".repeat(70_000),
        ] {
            assert!(checked(&pattern, "").is_err());
        }
    }

    #[test]
    fn what_javascript_refuses_is_refused() {
        for (pattern, flags, said) in [
            ("a**", "", "nothing to repeat"),
            ("(a", "", "a ( has no )"),
            ("a)", "", "a ) has no ("),
            ("[a", "", "a [ has no ]"),
            ("[b-a]", "", "out of order"),
            ("a{3,2}", "", "out of order"),
            ("(?>a)", "", "unknown kind of group"),
            ("a", "g", "a flag 'g'"),
            ("(?:a{1000}){1000}", "", "when compiled"),
            ("(?=(?:a{1000}){1000})", "", "cannot be matched"),
        ] {
            let fault = checked(pattern, flags).err().map(|fault| fault.said);
            let fault = fault.unwrap_or_else(|| panic!("{pattern} is taken"));
            assert!(fault.contains(said), "{pattern}: {fault}");
        }
    }
}
