//! The library's error texts in the words of JSONata's own list, which Step Functions shows.
//!
//! Refuses to invent: a text that lacks what the list's words need stays as it is.
//! Source: the table `errorCodes` of jsonata-js.

use std::borrow::Cow;

/// Codes whose words hold nothing of the data.
const FIXED: [(&str, &str); 9] = [
    (
        "T2003",
        "The left side of the range operator (..) must evaluate to an integer",
    ),
    (
        "T2004",
        "The right side of the range operator (..) must evaluate to an integer",
    ),
    ("T1006", "Attempted to invoke a non-function"),
    ("T1008", "Attempted to partially apply a non-function"),
    (
        "D3001",
        "Attempting to invoke string function on Infinity or NaN",
    ),
    (
        "D3010",
        "Second argument of replace function cannot be an empty string",
    ),
    (
        "D3020",
        "Third argument of split function must evaluate to a positive number",
    ),
    (
        "D3138",
        "The $single() function expected exactly 1 matching result.  Instead it matched more.",
    ),
    (
        "D3139",
        "The $single() function expected exactly 1 matching result.  Instead it matched 0.",
    ),
];

/// An error's text, `T2002: The right side of the "+" operator must evaluate to a number`.
pub(super) fn words(message: &str) -> Cow<'_, str> {
    let Some((code, text)) = message.split_once(": ") else {
        return message.into();
    };
    if let Some((_, fixed)) = FIXED.iter().find(|(known, _)| *known == code) {
        return format!("{code}: {fixed}").into();
    }
    let worded = match code {
        "T2001" | "T2002" => quoted(text, " side of the ", " operator must evaluate to a number"),
        "T0410" => quoted(text, " of function ", " does not match function signature"),
        "T0411" if text.contains(" of function ") => quoted(text, " of function ", ""),
        "T0412" => array_of(text),
        "D3030" => between(text, "Cannot convert '", "' to number").map(|(_, value, _)| {
            let value = serde_json::Value::from(value);
            format!("Unable to cast value to a number: {value}")
        }),
        _ => None,
    };
    worded.map_or(message.into(), |text| format!("{code}: {text}").into())
}

/// Puts what is between `before` and `after` in quotes: an operator, or a function without
/// its `$`. One without a name stays what it is.
fn quoted(text: &str, before: &str, after: &str) -> Option<String> {
    let (start, name, _) = between(text, before, after)?;
    let name = name.trim_matches('"').trim_start_matches('$');
    if name.is_empty() || name == "undefined" {
        return None;
    }
    Some(format!("{start}{before}\"{name}\"{after}"))
}

/// `Argument 1 of function "join" must be an array of "String"`.
fn array_of(text: &str) -> Option<String> {
    const MUST: &str = " must be an array of ";
    let (start, kind) = text.split_once(MUST)?;
    let start = quoted(start, " of function ", "")?;
    let kind = kind.trim_matches('"');
    Some(format!("{start}{MUST}\"{}\"", kind.to_lowercase()))
}

/// What is before, within and behind two marks; without the second, all that follows the first.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let (start, rest) = text.split_once(before)?;
    if after.is_empty() {
        return Some((start, rest, ""));
    }
    let (middle, end) = rest.split_once(after)?;
    Some((start, middle, end))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn errors_are_worded_by_their_code() {
        let check = |said: &str, expected: &str| assert_eq!(words(said), expected);
        check(
            "T2002: The right side of the + operator must evaluate to a number",
            "T2002: The right side of the \"+\" operator must evaluate to a number",
        );
        check(
            "T2001: The left side of the \"-\" operator must evaluate to a number",
            "T2001: The left side of the \"-\" operator must evaluate to a number",
        );
        check(
            "T1006: Attempted to invoke a non-function: $f",
            "T1006: Attempted to invoke a non-function",
        );
        check(
            "T0410: Argument 1 of function length does not match function signature",
            "T0410: Argument 1 of function \"length\" does not match function signature",
        );
        check(
            "T0410: Argument 2 of function $join does not match function signature (expected String)",
            "T0410: Argument 2 of function \"join\" does not match function signature",
        );
        check(
            "T0412: Argument 1 of function $join must be an array of String",
            "T0412: Argument 1 of function \"join\" must be an array of \"string\"",
        );
        check(
            "T0411: Context value is not a compatible type with argument 2 of function substringBefore",
            "T0411: Context value is not a compatible type with argument 2 of function \"substringBefore\"",
        );
        check(
            "D3030: Cannot convert 'a\"b' to number",
            "D3030: Unable to cast value to a number: \"a\\\"b\"",
        );
        check(
            "T2003: Left operand of range operator must be an integer",
            "T2003: The left side of the range operator (..) must evaluate to an integer",
        );
    }

    #[test]
    fn what_lacks_a_name_stays() {
        for text in [
            "no code",
            "T0410: Argument 1 of function undefined does not match function signature",
            "T0410: Argument 1 must be String",
            "T2010: Cannot compare string and number",
            "D3137: T2002: of function x",
        ] {
            assert_eq!(words(text), text);
        }
    }
}
