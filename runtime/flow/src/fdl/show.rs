//! An expression as text, for pictures and messages: as it would be written, not always as it was.

use std::fmt::{self, Display, Formatter};

use super::parse::LEVELS;
use super::{Fdl, Operator};

impl Display for Fdl {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Fdl::Literal(value) => write!(f, "{value}"),
            Fdl::List(items) => {
                f.write_str("[")?;
                list(items, f)?;
                f.write_str("]")
            }
            // What no definition can write stands for what is in it.
            Fdl::Field(_, inner) | Fdl::First(inner, _) => inner.fmt(f),
            Fdl::Path(place) => f.write_str(&place.source),
            Fdl::Not(inner) => {
                f.write_str("!")?;
                operand(inner, LEVELS.len(), f)
            }
            Fdl::Negate(inner) => {
                f.write_str("-")?;
                operand(inner, LEVELS.len(), f)
            }
            Fdl::Binary { operator, operands } => {
                let (level, sign) = sign(*operator);
                operand(&operands.0, level, f)?;
                write!(f, " {sign} ")?;
                // Chains lean to the left.
                operand(&operands.1, level + 1, f)
            }
            Fdl::Call {
                function,
                arguments,
            } => {
                write!(f, "{}(", function.name())?;
                list(arguments, f)?;
                f.write_str(")")
            }
        }
    }
}

fn list(items: &[Fdl], f: &mut Formatter<'_>) -> fmt::Result {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            f.write_str(", ")?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// In parentheses if it binds less tightly than this level.
fn operand(e: &Fdl, least: usize, f: &mut Formatter<'_>) -> fmt::Result {
    match e {
        Fdl::Binary { operator, .. } if sign(*operator).0 < least => write!(f, "({e})"),
        _ => e.fmt(f),
    }
}

/// How tightly an operator binds, and how it is written.
fn sign(operator: Operator) -> (usize, &'static str) {
    let levels = LEVELS.iter().enumerate();
    let mut all = levels.flat_map(|(level, list)| list.iter().map(move |(s, o)| (level, *s, *o)));
    let found = all.find(|(_, _, o)| *o == operator);
    found.map_or((0, ""), |(level, sign, _)| (level, sign))
}
