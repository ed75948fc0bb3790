//! Filters `[?(…)]` in Jayway's spelling, written anew as RFC 9535 has them.
//!
//! Refuses what has no counterpart there, and operators without a value before them.

use super::operator::Operator;
use super::scan::NESTING_MAX;
use super::{Fault, Mode, Scan, clip, quote, rfc};

/// Operators that are copied, longest first.
const OPERATORS: [(&str, &str); 10] = [
    ("===", "=="),
    ("!==", "!="),
    ("==", "=="),
    ("!=", "!="),
    ("<=", "<="),
    (">=", ">="),
    ("&&", "&&"),
    ("||", "||"),
    ("<", "<"),
    (">", ">"),
];

/// Functions of RFC 9535.
const FUNCTIONS: [&str; 5] = ["length", "count", "match", "search", "value"];

/// After `?`, up to but without the closing `]` or a comma of the same level.
pub(super) fn normalise(scan: &mut Scan<'_>) -> Result<String, Fault> {
    let mut out = String::from("?");
    let mut parentheses = 0usize;
    // Where a value begins in what is written, as long as nothing but blanks is behind it.
    let mut value = None;
    loop {
        let Some(c) = scan.peek() else {
            return Err(Fault::new("a filter is not closed"));
        };
        let begin = out.len();
        match c {
            ']' if parentheses == 0 => return Ok(out),
            ',' if parentheses == 0 => return Ok(out),
            c if c.is_whitespace() => {
                scan.skip_space();
                out.push(' ');
                continue;
            }
            '(' => {
                parentheses += 1;
                if parentheses + scan.nesting > NESTING_MAX {
                    return Err(Fault::new(format!(
                        "the filter nests deeper than {NESTING_MAX} levels"
                    )));
                }
                scan.bump();
                out.push('(');
            }
            ')' => {
                parentheses = parentheses
                    .checked_sub(1)
                    .ok_or_else(|| Fault::new("a filter closes a parenthesis that is not open"))?;
                scan.bump();
                out.push(')');
            }
            '@' | '$' => {
                path(scan, &mut out)?;
                value = Some(begin);
                continue;
            }
            _ => {
                if let Some(at) = value
                    && let Some(operator) = Operator::eat(scan)
                {
                    let left = out.split_off(at);
                    out.push_str(&operator.write(scan, left.trim_end())?);
                } else if literal(scan, &mut out)? {
                    value = Some(begin);
                    continue;
                } else {
                    token(scan, c, &mut out)?;
                }
            }
        }
        value = None;
    }
}

/// A path inside of a filter, in lenient spelling.
pub(super) fn path(scan: &mut Scan<'_>, out: &mut String) -> Result<(), Fault> {
    out.extend(scan.bump());
    let mut inner = Scan::new(scan.rest(), Mode::Filter);
    inner.nesting = scan.nesting;
    inner.written = scan.written;
    let pieces = inner.pieces()?;
    scan.written = inner.written;
    let length = scan.rest().len() - inner.rest().len();
    let length_after = scan.rest().len() - length;
    while scan.rest().len() > length_after {
        scan.bump();
    }
    rfc(&pieces, out);
    Ok(())
}

/// A string, a number, `true`, `false`, `null`, or a bare word, which Jayway takes for a
/// string; whether there was one.
pub(super) fn literal(scan: &mut Scan<'_>, out: &mut String) -> Result<bool, Fault> {
    let mut ahead = scan.clone();
    match scan.peek() {
        Some(mark @ ('\'' | '"')) => {
            ahead.bump();
            quote(&ahead.quoted(mark)?, out);
        }
        Some(c) if c == '-' || c.is_ascii_digit() => {
            let number = ahead.take_while(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
            out.push_str(number);
        }
        _ => {
            let word = bare(&mut ahead);
            if word.is_empty() || ahead.peek() == Some('(') {
                return Ok(false);
            }
            match word {
                "true" | "false" | "null" => out.push_str(word),
                _ => quote(word, out),
            }
        }
    }
    *scan = ahead;
    Ok(true)
}

fn bare<'a>(scan: &mut Scan<'a>) -> &'a str {
    scan.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

/// What is no value: operators, and the names of functions.
fn token(scan: &mut Scan<'_>, c: char, out: &mut String) -> Result<(), Fault> {
    if scan.rest().starts_with("=~") {
        return Err(Fault::new("=~ needs a path before it"));
    }
    for (written, meant) in OPERATORS {
        if scan.eat_text(written) {
            out.push_str(meant);
            return Ok(());
        }
    }
    if c == '!' || c == ',' {
        scan.bump();
        out.push(c);
        return Ok(());
    }
    let word = bare(scan);
    if word.is_empty() {
        return Err(Fault::new(format!("found {c:?} in a filter")));
    }
    if FUNCTIONS.contains(&word) {
        out.push_str(word);
        return Ok(());
    }
    Err(Fault::new(format!(
        "a filter has no function {}()",
        clip(word)
    )))
}
