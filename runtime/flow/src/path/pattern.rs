//! What a regular expression costs: to compile, and for each part of a text it is tried on.
//!
//! Refuses those that take too much memory: both libraries compile them for each use.

use regex_syntax::hir::{Hir, HirKind};

/// Most bytes that a compiled regular expression may take.
pub(crate) const BYTES_MAX: usize = 1 << 19;

/// Fewest places of a pattern that make it slow for more than one in sixteen characters.
const PLACES_MIN: u64 = 16;

/// What one regular expression costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// Operations to compile it: both libraries do so for each use.
    pub compile: u64,
    /// Operations for each 16 bytes of text. At worst each place of the pattern is tried
    /// at each character.
    pub each: u64,
    /// Whether finding all matches may look at the same text again and again.
    pub rescans: bool,
}

impl Pattern {
    /// `None`: it is too costly to compile. What is no pattern at all costs the least.
    #[must_use]
    pub fn of(pattern: &str) -> Option<Pattern> {
        let fits = |bytes: usize| {
            let built = regex::RegexBuilder::new(pattern).size_limit(bytes).build();
            !matches!(built, Err(regex::Error::CompiledTooBig(_)))
        };
        let classes = [
            (1 << 11, 20),
            (1 << 14, 50),
            (1 << 17, 500),
            (BYTES_MAX, 2_000),
        ];
        let (_, compile) = classes.into_iter().find(|(bytes, _)| fits(*bytes))?;
        let places = regex_syntax::parse(pattern).map_or(0, |hir| places(&hir));
        let each = if places < PLACES_MIN {
            1
        } else {
            4 + places / 8
        };
        Some(Pattern {
            compile,
            each,
            rescans: rescans(pattern),
        })
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
            (r"\w+@\w+", 500, 1),
            (r"^\d{4}-\d{2}-\d{2}", 500, 1),
            ("[01]*1[01]{20}", 20, 4 + 22 / 8),
            ("([01]{10}){40}", 500, 4 + 400 / 8),
            ("(", 20, 1),
        ] {
            let found = Pattern::of(pattern).map(|p| (p.compile, p.each));
            assert_eq!(found, Some((compile, each)), "{pattern}");
        }
        assert_eq!(Pattern::of(r"\w{100}"), None);
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
