//! Filters: `[?(…)]` as the Jayway library has them, and `[?…]` as RFC 9535 has them.
//!
//! Refuses what neither knows: operators without a value before them, values that are not
//! asked anything, and comparisons of what may be several values.

use serde_json::{Number, Value};

use super::operator;
use super::reading::bare;
use super::{Fault, Mode, Scan, clip};
use crate::query::{Comparison, Filter, Inner, Matcher, Operand, Test};

/// Comparisons, longest first.
const COMPARISONS: [(&str, Comparison); 8] = [
    ("===", Comparison::Same),
    ("!==", Comparison::Different),
    ("==", Comparison::Equal),
    ("!=", Comparison::Unequal),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

/// No pattern: it matches nothing, as everything does that is none.
const NONE: &str = "(";

/// After `?`, up to but without the closing `]` or a comma of the same level.
pub(super) fn read(scan: &mut Scan<'_>) -> Result<Filter, Fault> {
    let mode = std::mem::replace(&mut scan.mode, Mode::Filter);
    scan.skip_space();
    let begin = scan.rest();
    let test = any(scan)?;
    let length = begin.len() - scan.rest().len();
    let text = begin.get(..length).unwrap_or_default();
    scan.skip_space();
    match scan.peek() {
        Some(']' | ',') => {}
        None => return Err(Fault::new("a filter is not closed")),
        Some(')') => {
            return Err(Fault::new("a filter closes a parenthesis that is not open"));
        }
        Some(_) => {
            return Err(Fault::new(format!(
                "found {:?} in a filter where an operator or its end should come",
                clip(scan.rest())
            )));
        }
    }
    scan.mode = mode;
    let enclosed = text.starts_with('(') && text.trim_end().ends_with(')');
    Ok(Filter {
        jayway: enclosed && !asks_functions(&test),
        test,
    })
}

/// Whether the filter asks a function of RFC 9535, which the Jayway library has not; filters
/// within its paths are filters of their own.
fn asks_functions(test: &Test) -> bool {
    let function = |operand: &Operand| !matches!(operand, Operand::Literal(_) | Operand::Path(_));
    match test {
        Test::Any(tests) | Test::All(tests) => tests.iter().any(asks_functions),
        Test::Not(test) => asks_functions(test),
        Test::Exists(_) => false,
        Test::Matches(text, matcher) => !matcher.texts || function(text),
        Test::Compare(left, _, right) | Test::Lists(left, _, right) => {
            function(left) || function(right)
        }
    }
}

fn any(scan: &mut Scan<'_>) -> Result<Test, Fault> {
    chain(scan, "||", Test::Any, |scan| {
        chain(scan, "&&", Test::All, basic)
    })
}

/// Tests with an operator between them; one alone stays itself.
fn chain(
    scan: &mut Scan<'_>,
    operator: &str,
    together: fn(Vec<Test>) -> Test,
    each: fn(&mut Scan<'_>) -> Result<Test, Fault>,
) -> Result<Test, Fault> {
    let first = each(scan)?;
    scan.skip_space();
    if !scan.eat_text(operator) {
        return Ok(first);
    }
    let mut all = vec![first];
    loop {
        all.push(each(scan)?);
        scan.skip_space();
        if !scan.eat_text(operator) {
            return Ok(together(all));
        }
    }
}

/// A parenthesis, a comparison, or whether something is there; perhaps with `!` before it.
fn basic(scan: &mut Scan<'_>) -> Result<Test, Fault> {
    scan.within()?;
    scan.skip_space();
    let not = !scan.rest().starts_with("!=") && scan.eat('!');
    scan.skip_space();
    let test = if scan.eat('(') {
        scan.enter()?;
        let test = any(scan)?;
        scan.skip_space();
        if !scan.eat(')') {
            return Err(match scan.peek() {
                None => Fault::new("a filter is not closed"),
                Some(_) => Fault::new(format!(
                    "found {:?} in a filter where an operator or ) should come",
                    clip(scan.rest())
                )),
            });
        }
        scan.leave();
        test
    } else {
        relation(scan, not)?
    };
    Ok(if not { Test::Not(Box::new(test)) } else { test })
}

/// A comparison, or a test alone. `negated`: it must be a test alone.
fn relation(scan: &mut Scan<'_>, negated: bool) -> Result<Test, Fault> {
    if scan.rest().starts_with("=~") {
        return Err(Fault::new("=~ needs a path before it"));
    }
    if let Some(test) = matches(scan)? {
        return Ok(test);
    }
    let left = operand(scan)?;
    scan.skip_space();
    let compared = (!negated)
        .then(|| COMPARISONS.iter().find(|(text, _)| scan.eat_text(text)))
        .flatten();
    if let Some((_, comparison)) = compared {
        scan.skip_space();
        let right = operand(scan)?;
        for side in [&left, &right] {
            comparable(side)?;
        }
        return Ok(Test::Compare(left, *comparison, right));
    }
    if !negated && let Some(operator) = operator::eat(scan) {
        return operator::read(operator, scan, left);
    }
    match left {
        Operand::Path(path) if path.function.is_none() => Ok(Test::Exists(path)),
        _ => Err(Fault::new(
            "a filter compares values, or asks whether a path finds something",
        )),
    }
}

/// Refuses what may be several values.
fn comparable(side: &Operand) -> Result<(), Fault> {
    match side {
        Operand::Path(path) if !path.is_single() => Err(Fault::new(
            "a comparison in a filter needs paths of names and indices: others may find several values",
        )),
        _ => Ok(()),
    }
}

/// `match()` or `search()`, if one stands here.
fn matches(scan: &mut Scan<'_>) -> Result<Option<Test>, Fault> {
    let whole = if scan.eat_text("match(") {
        true
    } else if scan.eat_text("search(") {
        false
    } else {
        return Ok(None);
    };
    scan.enter()?;
    let text = argument(scan)?;
    comparable(&text)?;
    comma(scan)?;
    let pattern = match argument(scan)? {
        Operand::Literal(Value::String(pattern)) => pattern,
        Operand::Literal(_) => NONE.to_owned(),
        _ => {
            return Err(Fault::new(
                "the pattern of match() and search() must be a string in the path itself",
            )
            .hint("a pattern from the data could cost any amount of time"));
        }
    };
    close(scan)?;
    let around = match bare(&pattern, false) {
        Ok(bare) if whole => format!("(?R)^({bare})$"),
        Ok(bare) => format!("(?R)({bare})"),
        Err(_) => NONE.to_owned(),
    };
    let cost = scan.patterns.within(&around, &pattern)?;
    let matcher = Matcher {
        pattern: around.into(),
        cost,
        texts: false,
    };
    Ok(Some(Test::Matches(text, matcher)))
}

fn argument(scan: &mut Scan<'_>) -> Result<Operand, Fault> {
    scan.skip_space();
    let argument = operand(scan)?;
    scan.skip_space();
    Ok(argument)
}

fn comma(scan: &mut Scan<'_>) -> Result<(), Fault> {
    if scan.eat(',') {
        return Ok(());
    }
    Err(Fault::new("a function in a filter lacks an argument"))
}

fn close(scan: &mut Scan<'_>) -> Result<(), Fault> {
    if scan.eat(')') {
        scan.leave();
        return Ok(());
    }
    Err(Fault::new(
        "the arguments of a function in a filter are not closed, or too many",
    ))
}

/// A constant, a path, or a function that yields a value.
pub(super) fn operand(scan: &mut Scan<'_>) -> Result<Operand, Fault> {
    scan.within()?;
    match scan.peek() {
        None => Err(Fault::new("a filter is not closed")),
        Some('@' | '$') => path(scan).map(Operand::Path),
        Some(c) => match literal(scan)? {
            Some(value) => Ok(Operand::Literal(value)),
            None => function(scan, c),
        },
    }
}

/// A path inside of a filter.
pub(super) fn path(scan: &mut Scan<'_>) -> Result<Inner, Fault> {
    let absolute = scan.bump() == Some('$');
    let steps = scan.steps()?;
    Ok(Inner {
        absolute,
        steps,
        function: scan.function.take(),
    })
}

/// A string, a number, `true`, `false`, `null`, or a bare word, which Jayway takes for a
/// string.
fn literal(scan: &mut Scan<'_>) -> Result<Option<Value>, Fault> {
    let mut ahead = scan.clone();
    let value = match scan.peek() {
        Some(mark @ ('\'' | '"')) => {
            ahead.bump();
            ahead.quoted(mark)?.into()
        }
        Some(c) if c == '-' || c.is_ascii_digit() => {
            let text = ahead.take_while(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
            let number = serde_json::from_str::<Number>(text);
            Value::Number(
                number.map_err(|_| Fault::new(format!("{:?} is not a number", clip(text))))?,
            )
        }
        _ => {
            let word = word(&mut ahead);
            if word.is_empty() || ahead.peek() == Some('(') {
                return Ok(None);
            }
            match word {
                "true" => true.into(),
                "false" => false.into(),
                "null" => Value::Null,
                _ => word.into(),
            }
        }
    };
    *scan = ahead;
    Ok(Some(value))
}

/// A constant, or nothing but a fault.
pub(super) fn constant(scan: &mut Scan<'_>) -> Result<Value, Fault> {
    scan.within()?;
    literal(scan)?.ok_or_else(|| match scan.peek() {
        Some(c) => Fault::new(format!("found {c:?} where a filter needs a value")),
        None => Fault::new("a filter is not closed"),
    })
}

/// The letters of a word that stands without quotes.
pub(super) fn word<'a>(scan: &mut Scan<'a>) -> &'a str {
    scan.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

/// A function of RFC 9535 that yields a value.
fn function(scan: &mut Scan<'_>, c: char) -> Result<Operand, Fault> {
    let name = word(scan);
    scan.within()?;
    if name.is_empty() {
        return Err(Fault::new(format!("found {c:?} in a filter")));
    }
    if matches!(name, "match" | "search") {
        return Err(Fault::new(format!(
            "{name}() is not compared: it holds, or not"
        )));
    }
    scan.eat('(');
    scan.enter()?;
    let argument = argument(scan)?;
    let found = match (name, argument) {
        ("length", argument) => {
            comparable(&argument)?;
            Operand::Length(Box::new(argument))
        }
        ("count", Operand::Path(path)) if path.function.is_none() => Operand::Count(path),
        ("value", Operand::Path(path)) if path.function.is_none() => Operand::Only(path),
        ("count" | "value", _) => return Err(Fault::new(format!("{name}() takes a path"))),
        _ => {
            return Err(Fault::new(format!(
                "a filter has no function {}()",
                clip(name)
            )));
        }
    };
    close(scan)?;
    Ok(found)
}
