//! Functions at the end of a path, `$.list.length()`, as the Jayway library has them.
//!
//! Refuses unknown ones, and arguments that they do not take.

use super::{Fault, Mode, Scan, clip, filter};
use crate::query::{Function, FunctionKind as Kind, Operand};
use crate::suggest;

/// Name, fewest and most arguments.
const FUNCTIONS: [(&str, Kind, usize, usize); 13] = [
    ("length", Kind::Length, 0, 1),
    ("size", Kind::Length, 0, 1),
    ("sum", Kind::Sum, 0, usize::MAX),
    ("min", Kind::Min, 0, usize::MAX),
    ("max", Kind::Max, 0, usize::MAX),
    ("avg", Kind::Average, 0, usize::MAX),
    ("stddev", Kind::Deviation, 0, usize::MAX),
    ("concat", Kind::Concat, 0, usize::MAX),
    ("keys", Kind::Keys, 0, 0),
    ("append", Kind::Append, 1, usize::MAX),
    ("first", Kind::First, 0, 0),
    ("last", Kind::Last, 0, 0),
    ("index", Kind::Index, 1, 1),
];

/// Said of a function at the end of a path of CloudFlow.
pub(super) fn misplaced() -> Fault {
    Fault::new("a path has no functions here")
        .hint("write the function before its argument: length($Input.list)")
}

/// Reads the arguments of a function whose name was read, to after the parenthesis.
pub(super) fn read(scan: &mut Scan<'_>, name: &str) -> Result<Function, Fault> {
    let Some((_, kind, least, most)) = FUNCTIONS.iter().find(|f| f.0 == name) else {
        let known = FUNCTIONS.iter().map(|f| f.0);
        let fault = Fault::new(format!("a path has no function {}()", clip(name)));
        return Err(match suggest::hint(name, known) {
            Some(hint) => fault.hint(hint),
            None if scan.is_cloudflow() => fault,
            None => fault.hint("intrinsic functions such as States.ArrayLength($.list) do more"),
        });
    };
    scan.eat('(');
    scan.enter()?;
    let mode = std::mem::replace(&mut scan.mode, Mode::Filter);
    let mut arguments = Vec::new();
    loop {
        scan.skip_space();
        if scan.eat(')') {
            break;
        }
        if !arguments.is_empty() {
            if !scan.eat(',') {
                return Err(Fault::new(format!(
                    "the arguments of {name}() are not closed"
                )));
            }
            scan.skip_space();
        }
        arguments.push(argument(scan, name, *kind)?);
    }
    scan.mode = mode;
    scan.leave();
    if arguments.len() < *least || arguments.len() > *most {
        return Err(Fault::new(format!(
            "{name}() does not take {} arguments",
            arguments.len()
        )));
    }
    Ok(Function {
        kind: *kind,
        arguments,
    })
}

fn argument(scan: &mut Scan<'_>, name: &str, kind: Kind) -> Result<Operand, Fault> {
    let argument = filter::operand(scan)?;
    let fits = match (kind, &argument) {
        (Kind::Index, Operand::Literal(value)) => value.is_i64(),
        (Kind::Length, Operand::Path(path)) => path.function.is_none(),
        (Kind::Index | Kind::Length, _) => false,
        (_, argument) => matches!(argument, Operand::Literal(_) | Operand::Path(_)),
    };
    if fits {
        return Ok(argument);
    }
    Err(Fault::new(format!(
        "{name}() takes {}",
        match kind {
            Kind::Index => "a whole number",
            Kind::Length => "a path",
            _ => "constants and paths",
        }
    )))
}
