//! Filters `[?(…)]` in Jayway's spelling, written anew as RFC 9535 has them.
//!
//! Refuses what has no counterpart there: `=~`, `in`, `size` and the like.

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
    loop {
        let Some(c) = scan.peek() else {
            return Err(Fault::new("a filter is not closed"));
        };
        match c {
            ']' if parentheses == 0 => return Ok(out),
            ',' if parentheses == 0 => return Ok(out),
            c if c.is_whitespace() => {
                scan.skip_space();
                out.push(' ');
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
            '@' | '$' => path(scan, &mut out)?,
            '\'' | '"' => {
                scan.bump();
                quote(&scan.quoted(c)?, &mut out);
            }
            _ => token(scan, c, &mut out)?,
        }
    }
}

/// A path inside of a filter, in lenient spelling.
fn path(scan: &mut Scan<'_>, out: &mut String) -> Result<(), Fault> {
    out.extend(scan.bump());
    let mut inner = Scan::new(scan.rest(), Mode::Filter);
    inner.nesting = scan.nesting;
    let pieces = inner.pieces()?;
    let length = scan.rest().len() - inner.rest().len();
    let length_after = scan.rest().len() - length;
    while scan.rest().len() > length_after {
        scan.bump();
    }
    rfc(&pieces, out);
    Ok(())
}

fn token(scan: &mut Scan<'_>, c: char, out: &mut String) -> Result<(), Fault> {
    if scan.rest().starts_with("=~") {
        return Err(Fault::new(
            "regular expressions (=~) in a filter are not supported",
        ));
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
    if c == '-' || c.is_ascii_digit() {
        let number = scan.take_while(|c| matches!(c, '0'..='9' | '.' | 'e' | 'E' | '+' | '-'));
        out.push_str(number);
        return Ok(());
    }
    let word = scan.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'));
    if word.is_empty() {
        return Err(Fault::new(format!("found {c:?} in a filter")));
    }
    let called = scan.peek() == Some('(');
    match word {
        "true" | "false" | "null" => out.push_str(word),
        _ if called && FUNCTIONS.contains(&word) => out.push_str(word),
        _ if called => {
            return Err(Fault::new(format!(
                "a filter has no function {}()",
                clip(word)
            )));
        }
        "in" | "nin" | "subsetof" | "anyof" | "noneof" | "contains" | "size" | "empty" => {
            return Err(Fault::new(format!(
                "the filter operator {word} is not supported"
            )));
        }
        // Jayway takes a bare word for a string.
        _ => quote(word, out),
    }
    Ok(())
}
