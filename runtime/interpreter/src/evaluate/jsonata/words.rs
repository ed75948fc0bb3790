//! The library's error texts in the words of JSONata's own list, which Step Functions shows.
//!
//! Refuses to invent: a text that lacks what the list's words need stays as it is.
//! Source: the table `errorCodes` of jsonata-js.

use std::borrow::Cow;

use super::notes::Notes;

/// Codes whose words hold nothing of the data. A number out of range is none of JSON's, so
/// that JavaScript writes `null`.
const FIXED: [(&str, &str); 36] = [
    ("D1001", "Number out of range: null"),
    ("D1004", "Regular expression matches zero length string"),
    (
        "D3001",
        "Attempting to invoke string function on Infinity or NaN",
    ),
    (
        "D3010",
        "Second argument of replace function cannot be an empty string",
    ),
    (
        "D3011",
        "Fourth argument of replace function must evaluate to a positive number",
    ),
    (
        "D3012",
        "Attempted to replace a matched string with a non-string value",
    ),
    (
        "D3020",
        "Third argument of split function must evaluate to a positive number",
    ),
    (
        "D3040",
        "Third argument of match function must evaluate to a positive number",
    ),
    (
        "D3050",
        "The second argument of reduce function must be a function with at least two arguments",
    ),
    (
        "D3070",
        "The single argument form of the sort function can only be applied to an array of strings or an array of numbers.  Use the second argument to specify a comparison function",
    ),
    (
        "D3080",
        "The picture string must only contain a maximum of two sub-pictures",
    ),
    (
        "D3081",
        "The sub-picture must not contain more than one instance of the 'decimal-separator' character",
    ),
    (
        "D3082",
        "The sub-picture must not contain more than one instance of the 'percent' character",
    ),
    (
        "D3083",
        "The sub-picture must not contain more than one instance of the 'per-mille' character",
    ),
    (
        "D3084",
        "The sub-picture must not contain both a 'percent' and a 'per-mille' character",
    ),
    (
        "D3085",
        "The mantissa part of a sub-picture must contain at least one character that is either an 'optional digit character' or a member of the 'decimal digit family'",
    ),
    (
        "D3086",
        "The sub-picture must not contain a passive character that is preceded by an active character and that is followed by another active character",
    ),
    (
        "D3087",
        "The sub-picture must not contain a 'grouping-separator' character that appears adjacent to a 'decimal-separator' character",
    ),
    (
        "D3088",
        "The sub-picture must not contain a 'grouping-separator' at the end of the integer part",
    ),
    (
        "D3089",
        "The sub-picture must not contain two adjacent instances of the 'grouping-separator' character",
    ),
    (
        "D3090",
        "The integer part of the sub-picture must not contain a member of the 'decimal digit family' that is followed by an instance of the 'optional digit character'",
    ),
    (
        "D3091",
        "The fractional part of the sub-picture must not contain an instance of the 'optional digit character' that is followed by a member of the 'decimal digit family'",
    ),
    (
        "D3092",
        "A sub-picture that contains a 'percent' or 'per-mille' character must not contain a character treated as an 'exponent-separator'",
    ),
    (
        "D3093",
        "The exponent part of the sub-picture must comprise only of one or more characters that are members of the 'decimal digit family'",
    ),
    (
        "D3131",
        "In a decimal digit pattern, all digits must be from the same decimal group",
    ),
    (
        "D3134",
        "The timezone integer format specifier cannot have more than four digits",
    ),
    (
        "D3135",
        "No matching closing bracket ']' in date/time picture string",
    ),
    (
        "D3136",
        "The date/time picture string is missing specifiers required to parse the timestamp",
    ),
    (
        "D3138",
        "The $single() function expected exactly 1 matching result.  Instead it matched more.",
    ),
    (
        "D3139",
        "The $single() function expected exactly 1 matching result.  Instead it matched 0.",
    ),
    ("T1006", "Attempted to invoke a non-function"),
    ("T1008", "Attempted to partially apply a non-function"),
    (
        "T2003",
        "The left side of the range operator (..) must evaluate to an integer",
    ),
    (
        "T2004",
        "The right side of the range operator (..) must evaluate to an integer",
    ),
    (
        "T2006",
        "The right side of the function application operator ~> must be a function",
    ),
    (
        "T2008",
        "The expressions within an order-by clause must evaluate to numeric or string values",
    ),
];

/// The code and words of an error for which the library has none: it joins no text with a
/// number that JSON cannot hold, and says so without a code.
pub(super) fn without_code(message: &str) -> Option<(String, String)> {
    (message == "Cannot concatenate complex types").then(|| {
        let said = words("D3001: ", None);
        ("D3001".to_owned(), said.into_owned())
    })
}

/// An error's text from its code on: where a function of the expression's own has a signature,
/// the library says first what it did.
pub(super) fn coded(message: &str) -> &str {
    message
        .strip_prefix("Signature validation failed: ")
        .unwrap_or(message)
}

/// Whether the library's text lacks what the words of a code need.
pub(super) fn lacking(code: &str) -> bool {
    matches!(
        code,
        "T0410"
            | "T0411"
            | "T0412"
            | "T2001"
            | "T2002"
            | "T2007"
            | "T2009"
            | "T2010"
            | "T2011"
            | "T2012"
            | "D1002"
    )
}

/// An error's text, `T2002: The right side of the "+" operator must evaluate to a number`.
/// `notes`: what the expression was doing, if that is known.
pub(super) fn words<'m>(message: &'m str, notes: Option<&Notes>) -> Cow<'m, str> {
    let Some((code, text)) = message.split_once(": ") else {
        return message.into();
    };
    if let Some((_, fixed)) = FIXED.iter().find(|(known, _)| *known == code) {
        return format!("{code}: {fixed}").into();
    }
    let worded = match code {
        "T2001" | "T2002" => operator(text, notes),
        "T0410" | "T0411" | "T0412" => argument(code, text, notes),
        "T1010" => between(text, " function $", " does not").map(|(start, name, end)| {
            format!("{start} function \"{name}\" does not{end}")
        }),
        "T2009" | "T2010" => notes.and_then(|n| compared(code, n)),
        "T2007" => notes.and_then(Notes::mismatched).map(|(left, right)| {
            format!("Type mismatch when comparing values {left} and {right} in order-by clause")
        }),
        "T2011" => notes.and_then(Notes::updated).map(|value| {
            format!(
                "The insert/update clause of the transform expression must evaluate to an object: {value}"
            )
        }),
        "T2012" => notes.and_then(Notes::deleted).map(|value| {
            format!(
                "The delete clause of the transform expression must evaluate to a string or array of strings: {value}"
            )
        }),
        "D1002" => {
            let value = notes.and_then(Notes::negated);
            value.map(|value| format!("Cannot negate a non-numeric value: {value}"))
        }
        "D3030" => between(text, "Cannot convert '", "' to number")
            .map(|(_, value, _)| format!("Unable to cast value to a number: {}", json(value))),
        "D3100" => text.rsplit_once(" got ").map(|(_, value)| {
            format!("The radix of the formatBase function must be between 2 and 36.  It was given {value}")
        }),
        "D3130" => Some(format!(
            "Formatting or parsing an integer as a sequence starting with {} is not supported by this implementation",
            json(text)
        )),
        "D3132" => Some(format!(
            "Unknown component specifier {} in date/time picture string",
            json(text)
        )),
        "D3133" => Some(format!(
            "The 'name' modifier can only be applied to months and days in the date/time picture string, not {}",
            json(text)
        )),
        "D3137" if text.is_empty() => Some("$error() function evaluated".to_owned()),
        "D3141" if text.is_empty() => Some("$assert() statement failed".to_owned()),
        _ => None,
    };
    worded.map_or(message.into(), |text| format!("{code}: {text}").into())
}

fn json(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}

fn compared(code: &str, notes: &Notes) -> Option<String> {
    let (sign, left, right) = notes.compared()?;
    let sign = notes.within().unwrap_or(sign);
    Some(match code {
        "T2009" => format!(
            "The values {left} and {right} either side of operator \"{sign}\" must be of the same data type"
        ),
        _ => format!(
            "The expressions either side of operator \"{sign}\" must evaluate to numeric or string values"
        ),
    })
}

/// An argument that a function does not take. The library names the function at times only.
fn argument(code: &str, text: &str, notes: Option<&Notes>) -> Option<String> {
    let called = notes.and_then(Notes::called);
    let most = called.as_deref().and_then(most);
    let named = |notes: &Notes| notes.within().or_else(|| notes.called());
    let name = match notes.and_then(named) {
        // A call by a value that has no name.
        Some(name) if name.is_empty() => "undefined".to_owned(),
        Some(name) => format!("\"{name}\""),
        None => {
            let said = text.split_once(" of function ")?.1;
            let name = said.split(' ').next()?.trim_matches('"');
            let name = name.trim_start_matches('$');
            match name {
                "does" | "must" | "undefined" | "" => return None,
                name => format!("\"{name}\""),
            }
        }
    };
    let index = index(text, most);
    match code {
        "T0410" => Some(format!(
            "Argument {} of function {name} does not match function signature",
            index?
        )),
        "T0411" => Some(format!(
            "Context value is not a compatible type with argument {} of function {name}",
            // The one argument that the value at hand may stand for is the first.
            index.unwrap_or(1)
        )),
        _ => {
            let (_, kind) = text.split_once(" must be an array of ")?;
            let kind = kind.trim_matches('"').to_lowercase();
            Some(format!(
                "Argument {} of function {name} must be an array of \"{kind}s\"",
                index?
            ))
        }
    }
}

/// Which argument it is: the first that is wrong, missing, or too many for a function that
/// takes `most`.
fn index(text: &str, most: Option<usize>) -> Option<usize> {
    if let Some((_, needed, given)) = between(text, "mismatch: expected ", ", got ") {
        let (needed, given): (usize, usize) = (needed.parse().ok()?, given.parse().ok()?);
        return Some(match most {
            _ if given < needed => given + 1,
            Some(most) => most.min(given) + 1,
            // How many it takes is not told: as a rule it is given one more.
            None => given,
        });
    }
    let at = text.find("rgument ")? + "rgument ".len();
    let digits = text
        .get(at..)?
        .split(|c: char| !c.is_ascii_digit())
        .next()?;
    digits.parse().ok()
}

/// Most arguments of a function, by its signature in JSONata's own implementation.
fn most(name: &str) -> Option<usize> {
    Some(match name {
        "millis" => 0,
        "abs" | "average" | "base64decode" | "base64encode" | "boolean" | "ceil" | "clone"
        | "count" | "decodeUrl" | "decodeUrlComponent" | "distinct" | "encodeUrl"
        | "encodeUrlComponent" | "error" | "exists" | "floor" | "keys" | "length" | "lowercase"
        | "max" | "merge" | "min" | "not" | "number" | "reverse" | "shuffle" | "spread"
        | "sqrt" | "sum" | "trim" | "type" | "uppercase" => 1,
        "append" | "assert" | "contains" | "each" | "filter" | "formatBase" | "formatInteger"
        | "join" | "lookup" | "map" | "now" | "parseInteger" | "power" | "round" | "sift"
        | "single" | "sort" | "string" | "substringAfter" | "substringBefore" | "toMillis" => 2,
        "formatNumber" | "fromMillis" | "match" | "pad" | "reduce" | "split" | "substring" => 3,
        "replace" => 4,
        _ => return None,
    })
}

/// `The right side of the "+" operator must evaluate to a number`.
fn operator(text: &str, notes: Option<&Notes>) -> Option<String> {
    const BEFORE: &str = " side of the ";
    const AFTER: &str = " operator must evaluate to a number";
    let (start, sign, _) = between(text, BEFORE, AFTER)?;
    let within = notes.and_then(Notes::within);
    let sign = within.as_deref().unwrap_or(sign).trim_matches('"');
    Some(format!("{start}{BEFORE}\"{sign}\"{AFTER}"))
}

/// What is before, within and behind two marks.
fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<(&'t str, &'t str, &'t str)> {
    let (start, rest) = text.split_once(before)?;
    let (middle, end) = rest.split_once(after)?;
    Some((start, middle, end))
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn errors_are_worded_by_their_code() {
        let check = |said: &str, expected: &str| assert_eq!(words(said, None), expected);
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
            "T0412: Argument 1 of function \"join\" must be an array of \"strings\"",
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
            "D1002: Cannot negate non-number value",
            "D3137: T2002: of function x",
        ] {
            assert_eq!(words(text, None), text);
        }
    }
}
