//! What a regular expression costs: to compile, and for each part of a text it is tried on.
//!
//! Refuses those that take too much memory, and more than a definition may have together.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use super::Fault;
use super::reading::reading;
use regex_syntax::hir::{Hir, HirKind};

/// Most bytes that a compiled regular expression may take.
pub(crate) const BYTES_MAX: usize = 1 << 19;

/// Fewest places of a pattern that make it slow for more than one in sixteen characters.
const PLACES_MIN: u64 = 16;

/// Most operations of compiling the regular expressions of one definition, each different one
/// counted once: finding out what one costs is reading and compiling it. About a second of a
/// processor.
const COMPILE_MAX: u64 = 200_000;

/// The regular expressions of one definition.
#[derive(Debug, Default)]
pub(crate) struct Patterns {
    /// What is known of them by their texts; `None`: too large.
    known: RefCell<HashMap<String, Option<Pattern>>>,
    /// Operations of compiling them.
    spent: Cell<u64>,
}

impl Patterns {
    /// What a regular expression costs.
    pub(crate) fn of(&self, pattern: &str) -> Result<Pattern, Fault> {
        self.within(pattern, pattern)
    }

    /// What a regular expression costs that is written as `shown`, with something around it.
    pub(crate) fn within(&self, pattern: &str, shown: &str) -> Result<Pattern, Fault> {
        let known = self.known.borrow().get(pattern).copied();
        let found = match known {
            Some(found) => found,
            None => {
                // Even to read one can take long: it is taken off before.
                let read = reading(pattern);
                self.spend(read)?;
                let found = Pattern::of(pattern);
                self.known.borrow_mut().insert(pattern.to_owned(), found);
                self.spend(found.map_or(TOO_LARGE, |found| found.compile - read))?;
                found
            }
        };
        found.ok_or_else(|| {
            Fault::new(format!(
                "the regular expression {:?} takes more than {BYTES_MAX} bytes when compiled",
                super::clip(shown)
            ))
            .hint("use fewer and smaller counts such as {1000}")
        })
    }

    /// As [`Self::of`], of one that is looked at once more wherever it stands.
    pub(crate) fn each(&self, pattern: &str) -> Result<Pattern, Fault> {
        let found = self.of(pattern)?;
        self.spend(found.compile)?;
        Ok(found)
    }

    /// Counts one that tracks back, which is compiled in another way.
    pub(crate) fn backtracks(&self, pattern: &str) -> Result<(), Fault> {
        self.spend(backtracking_cost(pattern))
    }

    fn spend(&self, operations: u64) -> Result<(), Fault> {
        self.spent.set(self.spent.get() + operations);
        if self.spent.get() > COMPILE_MAX {
            return Err(Fault::new(
                "the regular expressions of the definition take too much to compile, all together",
            )
            .hint("use fewer different ones, fewer classes such as \\w, or smaller counts such as {1000}"));
        }
        Ok(())
    }
}

/// Operations to find out that a pattern is too large.
const TOO_LARGE: u64 = 2_000;

/// Bytes of a compiled regular expression, and the operations to compile it once it is read.
const CLASSES: [(usize, u64); 4] = [
    (1 << 11, 20),
    (1 << 14, 50),
    (1 << 17, 500),
    (BYTES_MAX, TOO_LARGE),
];

/// What one regular expression costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// Operations to read and compile it. JSONata's library does so for each use.
    pub compile: u64,
    /// Operations for each 16 bytes of text. At worst each place of the pattern is tried
    /// at each character.
    pub each: u64,
    /// Whether finding all matches may look at the same text again and again.
    pub rescans: bool,
}

impl Pattern {
    /// Operations to read a pattern, which is part of compiling it. To ask [`Self::of`] takes
    /// as many: whose pattern comes from data counts them before.
    #[must_use]
    pub fn reading(pattern: &str) -> u64 {
        reading(pattern)
    }

    /// `None`: it is too costly to compile. What is no pattern at all costs the least.
    #[must_use]
    pub fn of(pattern: &str) -> Option<Pattern> {
        let fits = |bytes: usize| {
            let built = regex::RegexBuilder::new(pattern).size_limit(bytes).build();
            !matches!(built, Err(regex::Error::CompiledTooBig(_)))
        };
        let (_, compile) = CLASSES.into_iter().find(|(bytes, _)| fits(*bytes))?;
        let places = regex_syntax::parse(pattern).map_or(0, |hir| places(&hir));
        let each = if places < PLACES_MIN {
            1
        } else {
            4 + places / 8
        };
        Some(Pattern {
            compile: reading(pattern) + compile,
            each,
            rescans: rescans(pattern),
        })
    }

    /// Compiles a pattern of which [`Self::of`] is known; `None`: it is no pattern.
    #[must_use]
    pub fn build(pattern: &str) -> Option<regex::Regex> {
        let mut builder = regex::RegexBuilder::new(pattern);
        builder.size_limit(BYTES_MAX).build().ok()
    }
}

/// Characters and classes of a pattern, each as often as it is repeated.
fn places(hir: &Hir) -> u64 {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 0,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => 1,
        HirKind::Repetition(repeated) => {
            let times = repeated.max.unwrap_or(repeated.min).max(1);
            places(&repeated.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(group) => places(&group.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => {
            all.iter().map(places).fold(0, u64::saturating_add)
        }
    }
}

/// Whether finding all matches may look at the same text again and again: a loop stands in
/// an alternative, or in a group that may be left out, so that a short match is settled for
/// only when a long one has been looked for to the end. It may say so needlessly.
fn rescans(pattern: &str) -> bool {
    // Of each open group: whether a loop, whether an alternative is in it.
    let mut open = vec![(false, false)];
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            _ if class => class = c != ']',
            '[' => {
                class = true;
                // A bracket that comes first is itself one of the class.
                chars.next_if_eq(&'^');
                chars.next_if_eq(&']');
            }
            '(' => {
                open.push((false, false));
                // What follows says of which kind the group is, and repeats nothing.
                chars.next_if_eq(&'?');
            }
            '|' => {
                if let Some((_, alternative)) = open.last_mut() {
                    *alternative = true;
                }
            }
            ')' if open.len() > 1 => {
                let (loops, alternative) = open.pop().unwrap_or_default();
                let repeats = matches!(chars.peek(), Some('*' | '+' | '?' | '{'));
                if loops && (alternative || repeats) {
                    return true;
                }
                if let Some((around, _)) = open.last_mut() {
                    *around |= loops;
                }
            }
            '*' | '+' | '{' => {
                if let Some((loops, _)) = open.last_mut() {
                    *loops = true;
                }
            }
            _ => {}
        }
    }
    matches!(open.first(), Some((true, true))) || class
}

/// Operations to compile one that tracks back, as JSONata's are written here: its classes have
/// no names, and case is ignored in `(?i:…)` alone.
pub(crate) fn backtracking_cost(pattern: &str) -> u64 {
    let classes = pattern.bytes().filter(|b| *b == b'[').count() as u64;
    let class = if pattern.contains("(?i") { 200 } else { 5 };
    200 + 2 * pattern.len() as u64 + classes * class
}

/// A regular expression that looks ahead or behind, or refers back; it gives up after
/// `limit` ways that led to nothing.
///
/// # Errors
/// It cannot be read, or takes too much memory: why.
pub fn backtracking(pattern: &str, limit: usize) -> Result<fancy_regex::Regex, String> {
    fancy_regex::RegexBuilder::new(pattern)
        .backtrack_limit(limit)
        .delegate_size_limit(BYTES_MAX)
        .delegate_dfa_size_limit(BYTES_MAX)
        .build()
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_grow_with_the_pattern() {
        for (pattern, compile, each) in [
            ("a+", 20, 1),
            (r"\w+@\w+", 500 + 10, 1),
            (r"^\d{4}-\d{2}-\d{2}", 500 + 15 + 1, 1),
            ("[01]*1[01]{20}", 20 + 10, 4 + 22 / 8),
            ("([01]{10}){40}", 500 + 5, 4 + 400 / 8),
            ("(", 20, 1),
            // Compiled it is small, but each class is read.
            (&r"\w{0}".repeat(32), 20 + 32 * 5 + 10, 1),
        ] {
            let found = Pattern::of(pattern).map(|p| (p.compile, p.each));
            assert_eq!(found, Some((compile, each)), "{pattern}");
        }
        assert_eq!(Pattern::of(r"\w{100}"), None);
    }

    #[test]
    fn all_of_a_definition_are_bounded_together() {
        let all = |text: fn(usize) -> String| {
            let patterns = Patterns::default();
            (0..100_000).find(|i| patterns.of(&text(*i)).is_err())
        };
        assert_eq!(all(|_| r"\w+@\w+".into()), None);
        let some = |n: Option<usize>| n.is_some_and(|n| (300..5_000).contains(&n));
        assert!(some(all(|i| format!(r"{i}\w+@\w+"))));
        assert!(some(all(|i| format!(r"(?i)\p{{Lu}}{{0}}{i}"))));
        let hidden = |i| format!(r"(?x)( ?i:\p{{Lu}}{{0}}{i})");
        assert!(some(all(hidden)));
        let patterns = Patterns::default();
        let refused = (0..1_000).filter(|i| patterns.of(&format!(r"\w{{100}}{i}")).is_err());
        assert_eq!(refused.count(), 1_000);
        // Those behind the bound were not looked at.
        assert!(patterns.known.borrow().len() < 150);
        let patterns = Patterns::default();
        assert!((0..1_000).any(|_| patterns.each(r"\w+@\w+").is_err()));
    }

    #[test]
    fn patterns_that_read_a_text_again() {
        for (pattern, expected) in [
            (",", false),
            (r"\s+", false),
            ("(a|b)", false),
            ("(ab)+", false),
            (r"(\w+)\s*,\s*(\w+)", false),
            ("[*|]x+", false),
            (".*[^A-Z]|[A-Z]", true),
            ("(a.*b)?a", true),
            (r"(\w+\s)+", true),
            ("(?:x|a+b)", true),
        ] {
            assert_eq!(rescans(pattern), expected, "{pattern}");
        }
    }
}
