//! JSON text that is shown as it was written.
//!
//! Refuses to read numbers: a value that was parsed has lost `1e3`, and every digit that no float holds.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A member of an object.
pub fn member<'t>(object: &'t str, name: &str) -> Option<&'t str> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object).ok()?;
    members.get(name).copied().map(RawValue::get)
}

/// What is in a list that an object has.
pub fn items<'t>(object: &'t str, name: &str) -> Vec<&'t str> {
    let list = member(object, name);
    let items = list.and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list).ok());
    let items = items.unwrap_or_default().into_iter();
    items.map(RawValue::get).collect()
}

/// An object with the members of another behind its own; neither is empty.
pub fn joined(one: &str, other: &str) -> String {
    let one = one.strip_suffix('}').unwrap_or(one);
    let other = other.strip_prefix('{').unwrap_or(other);
    format!("{one},{other}")
}

/// On one line, without blanks.
pub fn compact(text: &str) -> String {
    laid_out(text, false)
}

/// On many lines.
pub fn indented(text: &str) -> String {
    laid_out(text, true)
}

fn laid_out(text: &str, lines: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut depth: usize = 0;
    let line = |out: &mut String, depth: usize| {
        if lines {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", depth));
        }
    };
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                out.push(c);
                while let Some(c) = rest.next() {
                    out.push(c);
                    match c {
                        '"' => break,
                        '\\' => out.extend(rest.next()),
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(if lines { ": " } else { ":" }),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        r#" {"a": [1.0, 1e3, {} ,[ ]], "b\"]" : "x, \\", "c":12345678901234567890123}"#;

    #[test]
    fn what_is_laid_out_says_the_same() {
        let one_line = r#"{"a":[1.0,1e3,{},[]],"b\"]":"x, \\","c":12345678901234567890123}"#;
        assert_eq!(compact(TEXT), one_line);
        let lines = indented(TEXT);
        let expected = r#"{
  "a": [
    1.0,
    1e3,
    {},
    []
  ],
  "b\"]": "x, \\",
  "c": 12345678901234567890123
}"#;
        assert_eq!(lines, expected);
        assert_eq!(compact(&lines), one_line);
        assert_eq!(indented(" 1.50\n"), "1.50");
    }

    #[test]
    fn parts_are_as_they_are_written() {
        assert_eq!(member(TEXT, "c"), Some("12345678901234567890123"));
        assert_eq!(member(TEXT, "b\"]"), Some(r#""x, \\""#));
        assert_eq!((member(TEXT, "d"), member("[1]", "a")), (None, None));
        assert_eq!(items(TEXT, "a"), ["1.0", "1e3", "{}", "[ ]"]);
        assert!(items(TEXT, "c").is_empty());
        assert_eq!(joined(r#"{"a": 1.0}"#, r#"{"b":2}"#), r#"{"a": 1.0,"b":2}"#);
    }
}
