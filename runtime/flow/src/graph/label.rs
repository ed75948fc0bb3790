//! Conditions and error names in a few characters.

use std::sync::Arc;

use crate::expression::Expression;
use crate::program::{Comparison, Operand, Test};

/// Longest label, in characters.
const CHARS_MAX: usize = 48;

pub(super) fn errors(names: &[Arc<str>]) -> String {
    cut(&names.join(", "))
}

pub(super) fn test(test: &Test) -> String {
    cut(&whole(test))
}

/// Roughly how wide a label is drawn: as wide as the font's letters are at most on average.
#[allow(clippy::cast_precision_loss, reason = "a label is cut to a short text")]
pub(super) fn width(label: &str) -> f64 {
    columns(&cut(label)) as f64 * 6.4
}

/// How many letters wide a text is drawn: those of East Asia, and pictures, take two.
pub(super) fn columns(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c),
            0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0xa4cf | 0xa960..=0xa97f | 0xac00..=0xd7a3
            | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff01..=0xff60 | 0xffe0..=0xffe6
            | 0x1f300..=0x1f64f | 0x1f680..=0x1f6ff | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| 1 + usize::from(wide(c))).sum()
}

pub(super) fn cut(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= CHARS_MAX {
        return text;
    }
    let start: String = text.chars().take(CHARS_MAX - 1).collect();
    start + "…"
}

fn whole(test: &Test) -> String {
    let joined = |all: &[Test], word: &str| {
        let some = all.iter().take(8).map(whole);
        some.collect::<Vec<_>>().join(word)
    };
    match test {
        Test::Condition(Expression::Jsonata(code)) => code.source.to_string(),
        Test::Condition(Expression::Literal(value)) => value.to_string(),
        Test::Condition(Expression::Fdl(condition)) => condition.to_string(),
        Test::Condition(_) => "condition".to_owned(),
        Test::And(all) => joined(all, " and "),
        Test::Or(all) => joined(all, " or "),
        Test::Not(inner) => format!("not ({})", whole(inner)),
        Test::Compare {
            variable,
            operator,
            operand,
        } => {
            let right = match operand {
                Operand::Literal(value) => value.to_string(),
                Operand::Path(path) => path.source.to_string(),
            };
            let left = &variable.source;
            match sign(*operator) {
                Some(sign) => format!("{left} {sign} {right}"),
                None => {
                    let word = format!("{operator:?}");
                    match (word.strip_prefix("Is"), right.as_str()) {
                        (Some(kind), "true") => format!("{left} is {}", kind.to_lowercase()),
                        (Some(kind), "false") => format!("{left} is not {}", kind.to_lowercase()),
                        _ => format!("{left} {word} {right}"),
                    }
                }
            }
        }
    }
}

fn sign(operator: Comparison) -> Option<&'static str> {
    use Comparison as C;
    Some(match operator {
        C::StringEquals | C::NumericEquals | C::BooleanEquals | C::TimestampEquals => "=",
        C::StringLessThan | C::NumericLessThan | C::TimestampLessThan => "<",
        C::StringGreaterThan | C::NumericGreaterThan | C::TimestampGreaterThan => ">",
        C::StringLessThanEquals | C::NumericLessThanEquals | C::TimestampLessThanEquals => "≤",
        C::StringGreaterThanEquals
        | C::NumericGreaterThanEquals
        | C::TimestampGreaterThanEquals => "≥",
        C::StringMatches => "matches",
        _ => return None,
    })
}
