//! How much an indefinite path can cost, before it is evaluated.
//!
//! The query library does not count what it does, so the work is bounded from the path's
//! form and the size of the data. Refuses to be exact: the bound is never too low.

use serde_json::Value;

use super::Fault;

/// Most bytes that a compiled regular expression of a filter may take.
pub(crate) const REGEX_BYTES_MAX: usize = 1 << 19;

/// The size and form of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// Values in it, itself included.
    pub nodes: u64,
    /// How many values are around one, at most.
    pub depth: u64,
    /// How many values are around one, on average, rounded up.
    pub average: u64,
}

impl Measure {
    /// Looks at every value once.
    #[must_use]
    pub fn of(value: &Value) -> Measure {
        let (mut nodes, mut sum, mut depth) = (0u64, 0u64, 0u64);
        let mut open = vec![(value, 1u64)];
        while let Some((value, level)) = open.pop() {
            nodes += 1;
            sum += level;
            depth = depth.max(level);
            match value {
                Value::Array(items) => open.extend(items.iter().map(|v| (v, level + 1))),
                Value::Object(map) => open.extend(map.values().map(|v| (v, level + 1))),
                _ => {}
            }
        }
        Measure {
            nodes,
            depth,
            average: sum.div_ceil(nodes.max(1)),
        }
    }
}

/// The form of a path, as far as it decides the cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Step {
    descendant: bool,
    /// It names one child.
    single: bool,
    /// Selectors in the brackets.
    selectors: u64,
    /// Paths within its filters.
    inner: Vec<Cost>,
    filters: u64,
    /// What its regular expressions cost: the library compiles them for each value.
    regexes: u64,
}

impl Cost {
    /// Reads a path in the form that [`super::rfc`] writes: nothing but brackets and `..`.
    pub(super) fn of(text: &str) -> Result<Cost, Fault> {
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        read(&mut rest)
    }

    /// A bound of the values that an evaluation on such data visits.
    #[must_use]
    pub fn bound(&self, data: Measure) -> u64 {
        // How often one value can be selected, and how many values there are to select.
        let (mut times, mut total) = (1u64, 0u64);
        let mut descended = false;
        let mut single = true;
        for step in &self.steps {
            if step.descendant {
                let around = if descended { data.depth } else { data.average };
                times = times.saturating_mul(around);
                descended = true;
            }
            single &= step.single && !step.descendant;
            times = times.saturating_mul(step.selectors.max(1));
            let visited = if single { 1 } else { data.nodes };
            let each = step
                .inner
                .iter()
                .map(|inner| inner.bound(data))
                .fold(1 + step.filters, u64::saturating_add)
                .saturating_add(step.regexes);
            let each = if step.filters > 0 { each } else { 1 };
            let visited = if step.filters > 0 {
                data.nodes
            } else {
                visited
            };
            total = total.saturating_add(times.saturating_mul(visited).saturating_mul(each));
        }
        total
    }
}

/// The steps of a path, up to what is none.
fn read(rest: &mut &str) -> Result<Cost, Fault> {
    let mut steps = Vec::new();
    loop {
        let descendant = rest.starts_with("..");
        let Some(inner) = rest.get(if descendant { 2 } else { 0 }..) else {
            break;
        };
        let Some(inner) = inner.strip_prefix('[') else {
            break;
        };
        *rest = inner;
        let mut step = Step {
            descendant,
            single: true,
            selectors: 1,
            ..Step::default()
        };
        bracket(rest, &mut step)?;
        steps.push(step);
    }
    Ok(Cost { steps })
}

/// After `[`, to after the `]` that closes it.
fn bracket(rest: &mut &str, step: &mut Step) -> Result<(), Fault> {
    let mut level = 0usize;
    while let Some(c) = rest.chars().next() {
        match c {
            '\'' | '"' => {
                quoted(rest, c);
                continue;
            }
            ']' if level == 0 => {
                *rest = rest.get(1..).unwrap_or_default();
                break;
            }
            '(' => level += 1,
            ')' => level = level.saturating_sub(1),
            ',' if level == 0 => step.selectors += 1,
            '*' | ':' => step.single = false,
            '?' => {
                step.filters += 1;
                step.single = false;
            }
            '@' | '$' => {
                *rest = rest.get(1..).unwrap_or_default();
                step.inner.push(read(rest)?);
                continue;
            }
            _ if rest.starts_with("match(") || rest.starts_with("search(") => {
                step.regexes = step.regexes.saturating_add(pattern(rest)?);
            }
            _ => {}
        }
        *rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    step.single &= step.selectors == 1;
    Ok(())
}

/// Skips a string literal.
fn quoted(rest: &mut &str, mark: char) -> String {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            text.extend(chars.next().map(|(_, c)| c));
        } else if c == mark {
            *rest = rest.get(at + 1..).unwrap_or_default();
            return text;
        } else {
            text.push(c);
        }
    }
    *rest = "";
    text
}

/// What the second argument of `match(` or `search(` costs: it must be there to be known.
fn pattern(rest: &str) -> Result<u64, Fault> {
    let mut at = rest;
    let mut level = 0usize;
    let mut second = false;
    while let Some(c) = at.chars().next() {
        match c {
            '\'' | '"' => {
                let text = quoted(&mut at, c);
                if second && level == 1 {
                    return regex(&text);
                }
                continue;
            }
            '(' | '[' => level += 1,
            ')' | ']' => {
                level = level.saturating_sub(1);
                if level == 0 {
                    break;
                }
            }
            ',' if level == 1 => second = true,
            // A query or a function: what it yields is known too late.
            '@' | '$' if second => break,
            _ => {}
        }
        at = at.get(c.len_utf8()..).unwrap_or_default();
    }
    if !at.starts_with(['@', '$']) {
        // No string at all: it matches nothing.
        return Ok(1);
    }
    Err(
        Fault::new("the pattern of match() and search() must be a string in the path itself")
            .hint("a pattern from the data could cost any amount of time"),
    )
}

/// What a pattern costs. That it is one at all is the library's to check.
fn regex(pattern: &str) -> Result<u64, Fault> {
    regex_cost(pattern).ok_or_else(|| {
        Fault::new(format!(
            "a regular expression takes more than {REGEX_BYTES_MAX} bytes when compiled"
        ))
        .hint("use fewer and smaller counts such as {1000}")
    })
}

/// Operations for one use of a regular expression; `None`: it is too costly to compile.
pub(crate) fn regex_cost(pattern: &str) -> Option<u64> {
    let fits = |bytes: usize| {
        let built = regex::RegexBuilder::new(pattern).size_limit(bytes).build();
        !matches!(built, Err(regex::Error::CompiledTooBig(_)))
    };
    let costs = [(1 << 14, 50), (1 << 17, 300), (REGEX_BYTES_MAX, 2_000)];
    costs
        .into_iter()
        .find(|(bytes, _)| fits(*bytes))
        .map(|(_, cost)| cost)
}

/// Whether finding all matches may look at the same text again and again: a loop stands in
/// an alternative, or in a group that may be left out, so that a short match is settled for
/// only when a long one has been looked for to the end. It may say so needlessly.
pub(crate) fn rescans(pattern: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: u64) {
        let data = Measure {
            nodes: 1_000,
            depth: 5,
            average: 4,
        };
        let crate::expression::Query::Indefinite(found) =
            super::super::parse(path).expect("a path").query
        else {
            panic!("{path} is definite");
        };
        assert_eq!(found.cost.bound(data), expected, "{path}");
    }

    #[test]
    fn bounds_grow_with_the_form() {
        check("$.a[*]", 1 + 1_000);
        check("$.a[*].b", 1 + 1_000 + 1_000);
        check("$..a", 4 * 1_000);
        check("$..a..b", 4 * 1_000 + 4 * 5 * 1_000);
        check("$..*..*..*", 4_000 + 20_000 + 100_000);
        check("$[?(@.a == 1)]", 1_000 * (2 + 1));
        check("$[?(@..a)]", 1_000 * (2 + 4_000));
        check("$['a','b'][*]", 2 * 1_000 + 2 * 1_000);
        check("$[?match(@.a, 'x')]", 1_000 * (2 + 1 + 50));
    }

    #[test]
    fn measures_count_every_value() {
        let value = serde_json::json!({"a": [1, {"b": 2}], "c": "x"});
        let expected = Measure {
            nodes: 6,
            depth: 4,
            average: 3,
        };
        assert_eq!(Measure::of(&value), expected);
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

    #[test]
    fn patterns_are_bounded() {
        for (path, ok) in [
            ("$[?match(@.a, 'x')]", true),
            ("$[?search(@['a,'], \"x{5}\")]", true),
            ("$[?match(@.a, $.pattern)]", false),
            ("$[?match(@.a, 'a{1000}{1000}')]", false),
        ] {
            assert_eq!(super::super::parse(path).is_ok(), ok, "{path}");
        }
    }
}
