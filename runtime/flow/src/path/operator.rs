//! Jayway's filter operators that RFC 9535 has not, each written out in what that has.
//!
//! Refuses a right side that only the data knows, where the written form needs to know it.

use super::filter::{literal, path};
use super::pattern::BYTES_MAX;
use super::{Fault, Scan, quote};

/// Most bytes that the operators of one path are written out to: a list repeats what is
/// before its operator for each of its values.
const WRITTEN_MAX: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Matches,
    In,
    Nin,
    SubsetOf,
    AnyOf,
    NoneOf,
    Contains,
    Size,
    Empty,
}

const WORDS: [(&str, Operator); 8] = [
    ("in", Operator::In),
    ("nin", Operator::Nin),
    ("subsetof", Operator::SubsetOf),
    ("anyof", Operator::AnyOf),
    ("noneof", Operator::NoneOf),
    ("contains", Operator::Contains),
    ("size", Operator::Size),
    ("empty", Operator::Empty),
];

/// What stands behind an operator, in RFC 9535 form.
enum Right {
    List(Vec<String>),
    Path(String),
    Value(String),
}

impl Operator {
    /// Reads an operator, if one stands here.
    pub(super) fn eat(scan: &mut Scan<'_>) -> Option<Operator> {
        if scan.eat_text("=~") {
            return Some(Operator::Matches);
        }
        let mut ahead = scan.clone();
        let word = ahead.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
        let mut known = WORDS.iter();
        let (_, operator) = known.find(|(name, _)| name.eq_ignore_ascii_case(word))?;
        *scan = ahead;
        Some(*operator)
    }

    fn name(self) -> &'static str {
        let found = WORDS.iter().find(|(_, operator)| *operator == self);
        found.map_or("=~", |(name, _)| name)
    }

    fn bad(self, why: &str) -> Fault {
        Fault::new(format!("the filter operator {} {why}", self.name()))
    }

    /// Reads what follows, and gives the whole in RFC 9535 form.
    pub(super) fn write(self, scan: &mut Scan<'_>, left: &str) -> Result<String, Fault> {
        scan.skip_space();
        // It may be written out several times.
        if left.contains("[?") {
            return Err(self.bad("takes no path with a filter of its own before it"));
        }
        let text = if self == Operator::Matches {
            format!("match({left},{})", pattern(scan)?)
        } else {
            let right = right(scan)?;
            self.meaning(left, right)?
        };
        scan.written += text.len();
        if scan.written > WRITTEN_MAX {
            return Err(self.bad("has too long a list behind it"));
        }
        Ok(text)
    }

    fn meaning(self, left: &str, right: Right) -> Result<String, Fault> {
        let is_path = left.starts_with(['@', '$']);
        if !is_path && !matches!(self, Operator::In | Operator::Nin) {
            return Err(self.bad("needs a path before it"));
        }
        // Only an array has a first element.
        let array = format!("({left}[0]||length({left})==0)");
        Ok(match (self, right) {
            (Operator::In, Right::List(list)) => any(left, &list),
            (Operator::Nin, Right::List(list)) => format!("!{}", any(left, &list)),
            // Within the list, @ would no longer be the item around it.
            (Operator::In | Operator::Nin, Right::Path(list)) if !left.starts_with('@') => {
                let no = if self == Operator::Nin { "!" } else { "" };
                format!("{no}({list}[0]&&{list}[?@=={left}])")
            }
            (Operator::AnyOf, Right::List(list)) => {
                format!("({left}[0]&&{left}[?{}])", any("@", &list))
            }
            (Operator::NoneOf, Right::List(list)) => {
                format!("({array}&&!{left}[?{}])", any("@", &list))
            }
            (Operator::SubsetOf, Right::List(list)) => {
                format!("({array}&&!{left}[?!{}])", any("@", &list))
            }
            (Operator::Contains, Right::Value(value)) => {
                let mut text = format!("({left}[0]&&{left}[?@=={value}]");
                if value.starts_with('\'') {
                    text.push_str(&format!("||search({left},{})", escaped(&value)));
                }
                text.push(')');
                text
            }
            (Operator::Size, Right::Value(size) | Right::Path(size)) => {
                format!("length({left})=={size}")
            }
            (Operator::Empty, Right::Value(value)) if value == "true" => {
                format!("length({left})==0")
            }
            (Operator::Empty, Right::Value(value)) if value == "false" => {
                format!("length({left})>0")
            }
            (Operator::Empty, _) => return Err(self.bad("needs true or false behind it")),
            (Operator::Size, _) => return Err(self.bad("needs a number behind it")),
            (Operator::Contains, _) => return Err(self.bad("needs a value in the path itself")),
            _ => return Err(self.bad("needs a list ['a', 'b'] in the path itself")),
        })
    }
}

/// Whether `what` is one of the values.
fn any(what: &str, list: &[String]) -> String {
    if list.is_empty() {
        return "(1==2)".to_owned();
    }
    let each: Vec<_> = list
        .iter()
        .map(|value| format!("{what}=={value}"))
        .collect();
    format!("({})", each.join("||"))
}

/// A pattern that finds the text of a literal.
fn escaped(literal: &str) -> String {
    let mut scan = Scan::new(literal, super::Mode::Filter);
    scan.bump();
    let text = scan.quoted('\'').unwrap_or_default();
    let mut out = String::new();
    quote(&regex::escape(&text), &mut out);
    out
}

fn right(scan: &mut Scan<'_>) -> Result<Right, Fault> {
    match scan.peek() {
        Some('@' | '$') => {
            let mut out = String::new();
            path(scan, &mut out)?;
            Ok(Right::Path(out))
        }
        Some('[') => {
            scan.bump();
            let mut list = Vec::new();
            loop {
                scan.skip_space();
                if scan.eat(']') {
                    return Ok(Right::List(list));
                }
                if !list.is_empty() {
                    if !scan.eat(',') {
                        return Err(Fault::new("a list in a filter is not closed"));
                    }
                    scan.skip_space();
                }
                list.push(value(scan)?);
            }
        }
        _ => value(scan).map(Right::Value),
    }
}

fn value(scan: &mut Scan<'_>) -> Result<String, Fault> {
    let mut out = String::new();
    if literal(scan, &mut out)? {
        return Ok(out);
    }
    Err(match scan.peek() {
        Some(c) => Fault::new(format!("found {c:?} where a filter needs a value")),
        None => Fault::new("a filter is not closed"),
    })
}

/// `/pattern/flags` as the pattern of RFC 9535's `match()`.
fn pattern(scan: &mut Scan<'_>) -> Result<String, Fault> {
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
    if flags.contains('x') {
        // A comment at the end must not go on.
        text.push('\n');
    }
    if !flags.is_empty() {
        text = format!("(?{flags}:{text})");
    }
    let built = regex::RegexBuilder::new(&text)
        .size_limit(BYTES_MAX)
        .build();
    if let Err(regex::Error::Syntax(why)) = built {
        let why = why.lines().last().unwrap_or_default();
        return Err(Fault::new(format!(
            "the regular expression cannot be read: {}",
            why.strip_prefix("error: ").unwrap_or(why)
        ))
        .hint("looking ahead or behind and back references are not supported: they could take any amount of time"));
    }
    let mut out = String::new();
    quote(&text, &mut out);
    Ok(out)
}
