//! What serde says of a value that does not fit a type, in words of JSON.
//!
//! Refuses to guess: what it does not know stays as it is said.

/// The same in plain words.
pub(super) fn said(error: &str) -> String {
    translated(error).unwrap_or_else(|| error.to_owned())
}

fn translated(error: &str) -> Option<String> {
    if let Some(rest) = error.strip_prefix("unknown field `") {
        return Some(format!("there is no field {:?}", rest.split_once('`')?.0));
    }
    if let Some(rest) = error.strip_prefix("missing field `") {
        return Some(format!(
            "the field {:?} is missing",
            rest.split_once('`')?.0
        ));
    }
    if let Some(rest) = error.strip_prefix("invalid type: ") {
        let (found, wanted) = rest.rsplit_once(", expected ")?;
        return Some(format!(
            "{} is needed, not {}",
            type_of(wanted)?,
            kind(found)?
        ));
    }
    let (found, wanted) = error
        .strip_prefix("invalid value: ")?
        .rsplit_once(", expected ")?;
    // A number of the right kind that is out of its range.
    let number = found.split('`').nth(1)?;
    let range = match wanted {
        "u8" => "from 0 to 255",
        "u16" => "from 0 to 65535",
        "u32" => "from 0 to 4294967295",
        "u64" | "usize" => "from 0",
        _ => return None,
    };
    Some(format!("a whole number {range} is needed, not {number}"))
}

fn type_of(wanted: &str) -> Option<&'static str> {
    Some(match wanted {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i8" | "i16" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" => "a string",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        "a map" => "an object",
        wanted if wanted.starts_with("struct ") => "an object",
        _ => return None,
    })
}

fn kind(found: &str) -> Option<&'static str> {
    Some(match found.split([' ', '`']).next()? {
        "string" => "a string",
        "integer" | "floating" => "a number",
        "boolean" => "a boolean",
        "null" | "unit" => "null",
        "sequence" => "an array",
        "map" => "an object",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn words() {
        let check = |error: &str, expected: &str| assert_eq!(said(error), expected);
        check(
            "invalid type: string \"5s, expected x\", expected u64",
            "a whole number is needed, not a string",
        );
        check(
            "invalid type: sequence, expected a map",
            "an object is needed, not an array",
        );
        check(
            "invalid type: null, expected a string",
            "a string is needed, not null",
        );
        check(
            "invalid value: integer `-5`, expected u64",
            "a whole number from 0 is needed, not -5",
        );
        check(
            "unknown field `user`, expected `secret`",
            "there is no field \"user\"",
        );
        check("missing field `secret`", "the field \"secret\" is missing");
        check("a b is no name", "a b is no name");
        check(
            "invalid type: map, expected a colour",
            "invalid type: map, expected a colour",
        );
    }
}
