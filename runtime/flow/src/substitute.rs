//! `${NAME}` in a definition's text, filled in before it is read, as CloudFormation's
//! `DefinitionSubstitutions` are.
//!
//! Refuses to touch a name that was not given: `${` may be a step's own text.

use std::collections::BTreeMap;

/// Why a substitution cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSubstitution {
    /// Not letters, digits and `_`, or empty.
    #[error("{0:?} is no name of a substitution: letters, digits and _ only")]
    Name(String),
    /// It would end the string that it stands in.
    #[error(
        "the value of {0} has a quote, a backslash or a control character, which a definition's string cannot take"
    )]
    Value(String),
}

/// The text with every `${NAME}` of a given name filled in.
/// # Errors
/// A name or value that cannot be one. Values are put in as they are, so they may hold
/// nothing that JSON or YAML would have to escape.
pub fn substitute(
    text: &str,
    values: &BTreeMap<String, String>,
) -> Result<String, BadSubstitution> {
    for (name, value) in values {
        if !is_name(name) {
            return Err(BadSubstitution::Name(name.clone()));
        }
        if value.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
            return Err(BadSubstitution::Value(name.clone()));
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let value = from.find('}').and_then(|end| {
            let name = from.get(2..end)?;
            Some((values.get(name)?, end + 1))
        });
        let (put, taken) = match value {
            Some((value, taken)) => (value.as_str(), taken),
            None => ("${", 2),
        };
        out.push_str(put);
        rest = from.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

/// The name, if a whole string is one placeholder.
pub(crate) fn placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    is_name(name).then_some(name)
}

fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.chars().all(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_names_are_filled_in_and_others_left() {
        let check = |text: &str, expected: &str| {
            let values = [("Arn", "arn:x"), ("N", "3")];
            let values = values.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
            assert_eq!(substitute(text, &values).as_deref(), Ok(expected), "{text}");
        };
        check(r#"{"a": "${Arn}"}"#, r#"{"a": "arn:x"}"#);
        check("a: ${N}${Arn}", "a: 3arn:x");
        check("'${other} ${N'", "'${other} ${N'");
        check("${${N}}", "${3}");
        check("{% $N & '${x}' %}", "{% $N & '${x}' %}");
    }

    #[test]
    fn values_that_would_break_out_are_refused() {
        let check = |name: &str, value: &str| {
            let values = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert!(substitute("", &values).is_err(), "{name} {value}");
        };
        check("a b", "x");
        check("", "x");
        check("a", "x\"y");
        check("a", "x\ny");
    }
}
