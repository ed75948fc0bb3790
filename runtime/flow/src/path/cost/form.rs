//! A path in RFC 9535 form, read once more for what decides its cost.
//!
//! Refuses patterns that the path does not hold itself. That all else is in order, the
//! query library has seen before.

use super::Cost;
use crate::expression::Segment;
use crate::path::Fault;
use crate::path::pattern::{BYTES_MAX, Pattern};

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Step {
    pub(super) descendant: bool,
    /// Names and indices in the brackets, and the operations to look one value up for all.
    pub(super) singles: u64,
    pub(super) single_cost: u64,
    /// `*` and slices.
    pub(super) many: u64,
    pub(super) filters: Vec<Filter>,
    /// The only selector, if it is a name or an index.
    pub(super) single: Option<Segment>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Filter {
    pub(super) terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Term {
    Test(Operand),
    Compare(Operand, Operand),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    /// The bytes of its text.
    Literal(usize),
    Path {
        /// It begins with `$`.
        absolute: bool,
        cost: Cost,
        /// Names and indices, if there is nothing else.
        single: Option<Vec<Segment>>,
    },
    Call {
        function: Call,
        arguments: Vec<Operand>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Call {
    Length,
    Match(Pattern),
    /// `value()`: what its path finds.
    Value,
    /// It yields a number.
    Other,
}

impl Cost {
    /// Reads a path in the form that [`crate::path::rfc`] writes: nothing but brackets and `..`.
    pub(in crate::path) fn of(text: &str) -> Result<Cost, Fault> {
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        path(&mut rest)
    }

    fn single(&self) -> Option<Vec<Segment>> {
        self.steps.iter().map(|step| step.single.clone()).collect()
    }
}

/// The steps of a path, up to what is none.
fn path(rest: &mut &str) -> Result<Cost, Fault> {
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
            ..Step::default()
        };
        bracket(rest, &mut step)?;
        steps.push(step);
    }
    Ok(Cost { steps })
}

/// After `[`, to after the `]` that closes it.
fn bracket(rest: &mut &str, step: &mut Step) -> Result<(), Fault> {
    while let Some(c) = first(rest) {
        match c {
            ']' => {
                skip(rest, c);
                break;
            }
            '\'' | '"' => {
                let name = quoted(rest, c);
                step.single_cost += 1 + (name.len() / super::PER_OPERATION) as u64;
                step.singles += 1;
                step.single = Some(Segment::Name(name.into()));
            }
            '?' => {
                skip(rest, c);
                let terms = terms(rest)?;
                step.filters.push(Filter { terms });
            }
            ',' => skip(rest, c),
            c if c.is_whitespace() => skip(rest, c),
            _ => {
                let word = word(rest, |c| matches!(c, '*' | ':' | '-' | ' ' | '0'..='9'));
                if word.is_empty() {
                    skip(rest, c);
                }
                match word.trim().parse() {
                    Ok(index) => {
                        step.single_cost += 1;
                        step.singles += 1;
                        step.single = Some(Segment::Index(index));
                    }
                    Err(_) => step.many += 1,
                }
            }
        }
    }
    let selectors = step.singles + step.many + step.filters.len() as u64;
    if step.descendant || selectors != 1 {
        step.single = None;
    }
    Ok(())
}

/// A filter after its `?`, or the arguments of a function: up to the bracket, parenthesis
/// or comma that ends it.
fn terms(rest: &mut &str) -> Result<Vec<Term>, Fault> {
    let (mut all, mut level) = (Vec::new(), 0usize);
    while let Some(c) = first(rest) {
        match c {
            ']' | ',' => break,
            ')' if level == 0 => break,
            ')' => level -= 1,
            '(' => level += 1,
            '!' | '&' | '|' => {}
            c if c.is_whitespace() => {}
            _ => {
                let left = operand(rest)?;
                space(rest);
                let compares = word(rest, |c| matches!(c, '=' | '!' | '<' | '>'));
                space(rest);
                all.push(if compares.is_empty() {
                    Term::Test(left)
                } else {
                    Term::Compare(left, operand(rest)?)
                });
                continue;
            }
        }
        skip(rest, c);
    }
    Ok(all)
}

fn operand(rest: &mut &str) -> Result<Operand, Fault> {
    let Some(c) = first(rest) else {
        return Ok(Operand::Literal(0));
    };
    match c {
        '\'' | '"' => return Ok(Operand::Literal(quoted(rest, c).len())),
        '@' | '$' => {
            skip(rest, c);
            let cost = path(rest)?;
            return Ok(Operand::Path {
                absolute: c == '$',
                single: cost.single(),
                cost,
            });
        }
        _ => {}
    }
    let name = word(rest, |c| {
        c.is_alphanumeric() || matches!(c, '_' | '.' | '+' | '-')
    });
    if name.is_empty() {
        // Nothing of a path in order.
        skip(rest, c);
        return Ok(Operand::Literal(0));
    }
    space(rest);
    if first(rest) != Some('(') {
        return Ok(Operand::Literal(name.len()));
    }
    skip(rest, '(');
    call(name, rest)
}

/// After the `(` of a function.
fn call(name: &str, rest: &mut &str) -> Result<Operand, Fault> {
    let mut arguments = Vec::new();
    let mut literals = Vec::new();
    while let Some(c) = first(rest) {
        match c {
            ')' => {
                skip(rest, c);
                break;
            }
            ',' => skip(rest, c),
            c if c.is_whitespace() => skip(rest, c),
            _ => {
                let text = matches!(c, '\'' | '"').then(|| quoted(&mut { *rest }, c));
                arguments.push(operand(rest)?);
                literals.push(text);
            }
        }
    }
    let function = match name {
        "length" => Call::Length,
        "match" | "search" => Call::Match(pattern(arguments.get(1), literals.get(1))?),
        "value" => Call::Value,
        _ => Call::Other,
    };
    Ok(Operand::Call {
        function,
        arguments,
    })
}

/// What the second argument of `match(` or `search(` costs: it must be there to be known.
fn pattern(argument: Option<&Operand>, text: Option<&Option<String>>) -> Result<Pattern, Fault> {
    let text = match (argument, text) {
        (_, Some(Some(text))) => text,
        // No string at all: it matches nothing.
        (None | Some(Operand::Literal(_)), _) => "",
        _ => {
            return Err(Fault::new(
                "the pattern of match() and search() must be a string in the path itself",
            )
            .hint("a pattern from the data could cost any amount of time"));
        }
    };
    Pattern::of(text).ok_or_else(|| {
        Fault::new(format!(
            "a regular expression takes more than {BYTES_MAX} bytes when compiled"
        ))
        .hint("use fewer and smaller counts such as {1000}")
    })
}

fn first(rest: &str) -> Option<char> {
    rest.chars().next()
}

fn skip(rest: &mut &str, c: char) {
    *rest = rest.get(c.len_utf8()..).unwrap_or_default();
}

fn space(rest: &mut &str) {
    *rest = rest.trim_start();
}

fn word<'a>(rest: &mut &'a str, wanted: impl Fn(char) -> bool) -> &'a str {
    let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *rest = after;
    word
}

/// Reads a string literal.
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
