//! `${NAME}` in a definition's text, filled in before it is read, as CloudFormation's
//! `DefinitionSubstitutions` are.
//!
//! Refuses to touch a name that was not given: `${` may be a step's own text.

use std::collections::BTreeMap;

use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::diagnostic::{Diagnostic, Report, code};
use crate::document::{self, At, Tree};
use crate::{Checked, Resolve, compile};

/// Most substitutions of one definition.
pub const SUBSTITUTIONS_MAX: usize = 1_000;

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
    /// More than [`SUBSTITUTIONS_MAX`].
    #[error("there are more than {SUBSTITUTIONS_MAX} substitutions")]
    TooMany,
    /// Filled in, the definition is longer than it may be.
    #[error("filled in, the definition has more than {DEFINITION_BYTES_MAX} bytes")]
    TooLarge,
    /// The file of values is not readable, or holds more than names and values.
    #[error("{0}")]
    File(String),
}

/// A text with its substitutions filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// What is compiled.
    pub text: String,
    /// In the order of the text.
    marks: Vec<Mark>,
}

/// A value put in, and where: columns count characters.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    line: u32,
    column: u32,
    value: u32,
    placeholder: u32,
}

impl Filled {
    /// Sets places in the filled text back to those in the text as its author wrote it.
    pub fn restore(&self, diagnostics: &mut [Diagnostic]) {
        for d in diagnostics {
            let marks = self.marks.iter().filter(|mark| mark.line == d.line);
            let (mut put, mut taken) = (0, 0);
            for mark in marks {
                if d.column < mark.column {
                    break;
                }
                if d.column < mark.column + mark.value {
                    // Within a value: where its placeholder begins.
                    d.column = mark.column;
                    break;
                }
                put += mark.value;
                taken += mark.placeholder;
            }
            d.column = (d.column + taken).saturating_sub(put);
        }
    }
}

/// As [`compile`], on a definition whose `${NAME}` are filled in first. Places are those in
/// `text`.
///
/// # Errors
/// See [`substitute`].
pub fn compile_filled(
    text: &str,
    values: &BTreeMap<String, String>,
    resolve: &dyn Resolve,
) -> Result<Checked, BadSubstitution> {
    let filled = substitute(text, values)?;
    let mut checked = compile(&filled.text, resolve);
    filled.restore(&mut checked.diagnostics);
    Ok(checked)
}

/// The values of a file: a JSON or YAML object of texts, numbers and booleans.
///
/// # Errors
/// It is not readable, or has another value.
pub fn read(text: &str) -> Result<BTreeMap<String, String>, BadSubstitution> {
    let mut report = Report::default();
    let root = document::parse(text, &mut report);
    let (failed, found) = report.finish();
    let (Some(root), false) = (root, failed) else {
        let first = found.first().map(ToString::to_string);
        return Err(BadSubstitution::File(first.unwrap_or_default()));
    };
    let Tree::Object(members) = root.tree else {
        return Err(BadSubstitution::File(
            "the substitutions must be an object of names and values".to_owned(),
        ));
    };
    let mut values = BTreeMap::new();
    for member in members {
        let value = match member.value.tree {
            Tree::Text(text) => text.into(),
            Tree::Number(number) => number.to_string(),
            Tree::Bool(yes) => yes.to_string(),
            _ => {
                return Err(BadSubstitution::File(format!(
                    "{}:{}: the value of {} is {}, and no text, number or boolean",
                    member.value.at.line,
                    member.value.at.column,
                    member.name,
                    member.value.kind()
                )));
            }
        };
        values.insert(member.name.into(), value);
    }
    Ok(values)
}

/// The text with every `${NAME}` of a given name filled in.
/// # Errors
/// A name or value that cannot be one. Values are put in as they are, so they may hold
/// nothing that JSON or YAML would have to escape. A result longer than a definition may be.
pub fn substitute(
    text: &str,
    values: &BTreeMap<String, String>,
) -> Result<Filled, BadSubstitution> {
    if values.len() > SUBSTITUTIONS_MAX {
        return Err(BadSubstitution::TooMany);
    }
    for (name, value) in values {
        if !is_name(name) {
            return Err(BadSubstitution::Name(name.clone()));
        }
        if value.contains(|c: char| c.is_control() || matches!(c, '"' | '\'' | '\\')) {
            return Err(BadSubstitution::Value(name.clone()));
        }
    }
    let count = |text: &str| u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    let mut out = String::with_capacity(text.len());
    let mut marks = Vec::new();
    let (mut line, mut column) = (1, 1);
    let mut pass = |text: &str| {
        if let Some((lines, last)) = text.rsplit_once('\n') {
            line += 1 + u32::try_from(lines.matches('\n').count()).unwrap_or(u32::MAX);
            column = 1 + count(last);
        } else {
            column += count(text);
        }
        (line, column)
    };
    // A byte order mark is in no column.
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let (line, column) = pass(before);
        let value = from.find('}').and_then(|end| {
            let name = from.get(2..end)?;
            Some((values.get(name)?, end + 1))
        });
        let (put, taken) = match value {
            Some((value, taken)) => (value.as_str(), taken),
            None => ("${", 2),
        };
        if value.is_some() {
            marks.push(Mark {
                line,
                column,
                value: count(put),
                placeholder: count(from.get(..taken).unwrap_or_default()),
            });
        }
        pass(put);
        out.push_str(put);
        if out.len() > DEFINITION_BYTES_MAX {
            return Err(BadSubstitution::TooLarge);
        }
        rest = from.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(Filled { text: out, marks })
}

/// Reports a name of something else that has a placeholder left in it: no such thing is called so.
pub(crate) fn check_filled(at: &At<'_, '_>, report: &mut Report, resolve: &dyn Resolve) {
    if let Tree::Text(text) = &at.node.tree
        && let Some(name) = unfilled(text)
    {
        report.error_hint(
            at,
            code::BAD_VALUE,
            format!("the substitution {name} has no value yet"),
            Some(resolve.advice().set(name)),
        );
    }
}

/// The first `${NAME}` in a string that could be filled in.
#[must_use]
pub fn unfilled(text: &str) -> Option<&str> {
    let mut parts = text.split("${").skip(1);
    parts.find_map(|part| {
        part.split_once('}')
            .map(|(name, _)| name)
            .filter(|n| is_name(n))
    })
}

/// The `${NAME}` that could be filled in and stands at a place of the text, or begins right
/// before it, as where a reader stopped at it; and the column where it begins.
#[must_use]
pub fn unfilled_at(text: &str, line: u32, column: u32) -> Option<(&str, u32)> {
    let line = text.lines().nth((line as usize).checked_sub(1)?)?;
    [column, column.checked_sub(1)?]
        .into_iter()
        .find_map(|column| {
            let (at, _) = line.char_indices().nth((column as usize).checked_sub(1)?)?;
            let (name, _) = line.get(at..)?.strip_prefix("${")?.split_once('}')?;
            is_name(name).then_some((name, column))
        })
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
            let filled = substitute(text, &values).expect("good values");
            assert_eq!(filled.text, expected, "{text}");
        };
        check(r#"{"a": "${Arn}"}"#, r#"{"a": "arn:x"}"#);
        check("a: ${N}${Arn}", "a: 3arn:x");
        check("'${other} ${N'", "'${other} ${N'");
        check("${${N}}", "${3}");
        check("{% $N & '${x}' %}", "{% $N & '${x}' %}");
    }

    #[test]
    fn places_are_those_of_the_author() {
        let text =
            "StartAt: A\nStates:\n  A: {Type: ${T}, Resource: \"${Arn}\", End: true, Retri: 1}\n";
        let values = [("T", "Task"), ("Arn", "arn:aws:lambda:r:1:function:a")];
        let values = values.map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        let checked = compile_filled(text, &values, &crate::AnyModule).expect("good values");
        let d = checked.diagnostics.first().expect("an unknown field");
        let line = text.lines().nth(d.line as usize - 1).expect("the line");
        let from: String = line.chars().skip(d.column as usize - 1).collect();
        assert_eq!((d.code, from.as_str()), ("FLOW0007", "Retri: 1}"), "{d}");
    }

    #[test]
    fn a_file_of_values() {
        let json = read(r#"{"A": "x", "N": 3, "B": true}"#).expect("values");
        let yaml = read("A: x\nN: 3 # three\nB: true\n").expect("values");
        assert_eq!(json, yaml);
        assert_eq!(json.get("N").map(String::as_str), Some("3"));
        assert!(read("A: [1]").is_err() && read("[1]").is_err() && read("A: [").is_err());
    }

    #[test]
    fn what_grows_too_long_is_refused() {
        let values = BTreeMap::from([("A".to_owned(), "x".repeat(100_000))]);
        let bad = substitute(&"${A}".repeat(1_000), &values);
        assert_eq!(bad, Err(BadSubstitution::TooLarge));
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
