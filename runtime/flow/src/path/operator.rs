//! Jayway's filter operators that RFC 9535 has not: `=~`, and words such as `in`.
//!
//! Refuses a right side of a kind that the operator cannot use.

use serde_json::Value;

use super::filter::{constant, path, word};
use super::reading::bare;
use super::{Fault, Scan};
use crate::query::{ListOperator, Matcher, Operand, Test};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Matches,
    Word(ListOperator),
}

const WORDS: [(&str, ListOperator); 9] = [
    ("in", ListOperator::In),
    ("nin", ListOperator::Nin),
    ("subsetof", ListOperator::SubsetOf),
    ("anyof", ListOperator::AnyOf),
    ("noneof", ListOperator::NoneOf),
    ("all", ListOperator::All),
    ("contains", ListOperator::Contains),
    ("size", ListOperator::Size),
    ("empty", ListOperator::Empty),
];

/// Reads an operator, if one stands here.
pub(super) fn eat(scan: &mut Scan<'_>) -> Option<Operator> {
    if scan.eat_text("=~") {
        return Some(Operator::Matches);
    }
    let mut ahead = scan.clone();
    let word = word(&mut ahead);
    let mut known = WORDS.iter();
    let (_, operator) = known.find(|(name, _)| name.eq_ignore_ascii_case(word))?;
    *scan = ahead;
    Some(Operator::Word(*operator))
}

/// Reads what follows the operator.
pub(super) fn read(operator: Operator, scan: &mut Scan<'_>, left: Operand) -> Result<Test, Fault> {
    scan.skip_space();
    let is_value = matches!(left, Operand::Literal(_));
    let word = match operator {
        Operator::Matches if is_value => return Err(Fault::new("=~ needs a path before it")),
        Operator::Matches => return Ok(Test::Matches(left, pattern(scan)?)),
        Operator::Word(word) => word,
    };
    let found = WORDS.iter().find(|(_, known)| *known == word);
    let name = found.map_or("", |(name, _)| name);
    let bad = |why: &str| Err(Fault::new(format!("the filter operator {name} {why}")));
    if is_value && !matches!(word, ListOperator::In | ListOperator::Nin) {
        return bad("needs a path before it");
    }
    let right = right(scan)?;
    match (word, &right) {
        (_, Operand::Path(_)) | (ListOperator::Contains, _) => {}
        (ListOperator::Size, Operand::Literal(Value::Number(_)))
        | (ListOperator::Empty, Operand::Literal(Value::Bool(_))) => {}
        (ListOperator::Size, _) => return bad("needs a number behind it"),
        (ListOperator::Empty, _) => return bad("needs true or false behind it"),
        (_, Operand::Literal(Value::Array(_))) => {}
        _ => return bad("needs a list ['a', 'b'] or a path behind it"),
    }
    Ok(Test::Lists(left, word, right))
}

fn right(scan: &mut Scan<'_>) -> Result<Operand, Fault> {
    match scan.peek() {
        Some('@' | '$') => path(scan).map(Operand::Path),
        Some('[') => {
            scan.bump();
            let mut list = Vec::new();
            loop {
                scan.skip_space();
                if scan.eat(']') {
                    return Ok(Operand::Literal(Value::Array(list)));
                }
                if !list.is_empty() {
                    if !scan.eat(',') {
                        return Err(Fault::new("a list in a filter is not closed"));
                    }
                    scan.skip_space();
                }
                list.push(constant(scan)?);
            }
        }
        _ => constant(scan).map(Operand::Literal),
    }
}

/// `/pattern/flags`, which the whole text must match.
fn pattern(scan: &mut Scan<'_>) -> Result<Matcher, Fault> {
    let open = || Fault::new("=~ needs a regular expression between slashes: /…/");
    if !scan.eat('/') {
        return Err(open());
    }
    let mut text = String::new();
    loop {
        match scan.bump() {
            None => return Err(open()),
            Some('/') => break,
            Some('\\') => {
                text.push('\\');
                text.extend(scan.bump());
            }
            Some(c) => text.push(c),
        }
    }
    scan.within()?;
    let mut flags = String::new();
    for flag in scan.take_while(|c| c.is_ascii_alphabetic()).chars() {
        match flag {
            'i' | 'm' | 's' | 'x' if !flags.contains(flag) => flags.push(flag),
            // Case and classes go by Unicode here anyway.
            'd' | 'u' | 'U' | 'i' | 'm' | 's' | 'x' => {}
            other => {
                return Err(Fault::new(format!(
                    "a regular expression has no flag {other:?}"
                )));
            }
        }
    }
    let bare = bare(&text, flags.contains('x')).map_err(|why| unreadable(&why.to_string()))?;
    let pattern = match flags.is_empty() {
        true => format!("(?R)^({bare})$"),
        false => format!("(?R)^(?{flags}:{bare})$"),
    };
    let cost = scan.patterns.within(&pattern, &text)?;
    // Classes that there are not are found out only now, when the work is bounded.
    regex_syntax::parse(&pattern).map_err(|why| unreadable(&why.to_string()))?;
    Ok(Matcher {
        pattern: pattern.into(),
        cost,
        texts: true,
    })
}

fn unreadable(why: &str) -> Fault {
    let why = why.lines().last().unwrap_or_default();
    Fault::new(format!(
        "the regular expression cannot be read: {}",
        why.strip_prefix("error: ").unwrap_or(why)
    ))
    .hint("looking ahead or behind and back references are not supported: they could take any amount of time")
}
