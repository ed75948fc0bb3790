//! JSONPath: from what people write to the compiled [`DataPath`].
//!
//! It takes RFC 9535, and what the Jayway library takes (and with it Step Functions).
//! Refuses to evaluate.

mod filter;
mod function;
mod operator;
pub(crate) mod pattern;
mod reading;
mod scan;

use crate::diagnostic::code;
use crate::expression::{DataPath, Indefinite, Merge, Query, Root, Segment, WritePath};
use crate::query::{Called, Selector, Step};

pub(crate) use pattern::Patterns;
pub(crate) use scan::{Mode, Scan, unquote};

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 8_192;

/// Why a path or intrinsic cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The character of the text at which reading stopped.
    pub(crate) offset: Option<usize>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Fault {
        Fault {
            code: code::BAD_PATH,
            message: message.into(),
            hint: None,
            offset: None,
        }
    }

    pub(crate) fn code(mut self, code: &'static str) -> Fault {
        self.code = code;
        self
    }

    /// Says where a scan of `text` without its outer blanks stopped.
    pub(crate) fn at(mut self, text: &str, scan: &Scan<'_>) -> Fault {
        let blanks = text.chars().count() - text.trim_start().chars().count();
        self.offset = Some(blanks + scan.passed());
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

/// Reads a whole string as a path.
pub(crate) fn parse(source: &str, patterns: &Patterns) -> Result<DataPath, Fault> {
    let mut scan = Scan::new(source.trim(), Mode::Whole, patterns);
    let path = read(&mut scan).map_err(|fault| fault.at(source, &scan))?;
    if !scan.rest().is_empty() {
        let fault = Fault::new(format!(
            "{:?} after the path makes no sense",
            clip(scan.rest())
        ));
        return Err(fault.at(source, &scan));
    }
    Ok(path)
}

/// Reads a path where the scan stands, and stops after it.
pub(crate) fn read(scan: &mut Scan<'_>) -> Result<DataPath, Fault> {
    let begin = scan.rest();
    scan.begin();
    if !scan.eat('$') {
        return Err(Fault::new(format!(
            "a path begins with $ or $$, not {:?}",
            clip(begin)
        )));
    }
    let root = if scan.eat('$') {
        Root::Context
    } else if scan.peek().is_some_and(|c| c.is_alphabetic() || c == '_') {
        Root::Variable(scan.take_while(|c| c.is_alphanumeric() || c == '_').into())
    } else {
        Root::Data
    };
    let steps = scan.steps()?;
    let query = match scan.function.take() {
        None => merging(steps),
        Some(function) => Query::Called(Box::new(Called {
            query: query(steps),
            function,
        })),
    };
    let length = begin.len() - scan.rest().len();
    Ok(DataPath {
        source: begin.get(..length).unwrap_or(begin).into(),
        root,
        query,
    })
}

/// Reads what follows a root of CloudFlow's that the caller has read, and stops after it. A
/// list of names at its end yields a list of values, as in RFC 9535.
pub(crate) fn relative(scan: &mut Scan<'_>) -> Result<Query, Fault> {
    scan.cloudflow();
    scan.steps().map(query)
}

/// A query in which a list of names at the end makes an object.
fn merging(mut steps: Vec<Step>) -> Query {
    let Some(names) = steps.last().and_then(names) else {
        return query(steps);
    };
    steps.pop();
    let place = segments(&steps);
    Query::Indefinite(Indefinite {
        steps,
        merge: Some(Merge { names, place }),
    })
}

/// The names of a step that are several, and nothing else.
fn names(step: &Step) -> Option<Vec<Box<str>>> {
    if step.descendant || step.selectors.len() < 2 {
        return None;
    }
    let name = |selector: &Selector| match selector {
        Selector::Name(name) => Some(name.clone()),
        _ => None,
    };
    step.selectors.iter().map(name).collect()
}

fn query(steps: Vec<Step>) -> Query {
    match segments(&steps) {
        Some(none) if none.is_empty() => Query::Whole,
        Some(segments) => Query::Definite(segments),
        None => Query::Indefinite(Indefinite { steps, merge: None }),
    }
}

/// Names and indices; `None` if there is anything else.
fn segments(steps: &[Step]) -> Option<Vec<Segment>> {
    let segment = |step: &Step| match step.selectors.as_slice() {
        _ if step.descendant => None,
        [Selector::Name(name)] => Some(Segment::Name(name.clone())),
        [Selector::Index(index)] => Some(Segment::Index(*index)),
        _ => None,
    };
    steps.iter().map(segment).collect()
}

/// Reads a path that must name one place.
pub(crate) fn parse_single(source: &str, patterns: &Patterns) -> Result<DataPath, Fault> {
    let path = parse(source, patterns)?;
    if matches!(path.query, Query::Indefinite(_) | Query::Called(_)) {
        return Err(not_reference(source));
    }
    Ok(path)
}

/// Reads a path that is written to.
pub(crate) fn parse_write(source: &str, patterns: &Patterns) -> Result<WritePath, Fault> {
    let path = parse(source, patterns)?;
    match path.root {
        Root::Data => {}
        Root::Context => {
            return Err(Fault::new("the Context object ($$) cannot be written to")
                .code(code::NOT_REFERENCE_PATH));
        }
        Root::Variable(_) => {
            return Err(Fault::new("a variable cannot be written to by a path")
                .code(code::NOT_REFERENCE_PATH)
                .hint("set it with Assign"));
        }
    }
    match path.query {
        Query::Whole => Ok(WritePath::Replace),
        Query::Definite(segments) => {
            if segments
                .iter()
                .any(|s| matches!(s, Segment::Index(i) if *i < 0))
            {
                return Err(Fault::new("a place to write to cannot count from the end")
                    .code(code::NOT_REFERENCE_PATH));
            }
            Ok(WritePath::At(segments))
        }
        Query::Indefinite(_) | Query::Called(_) => Err(not_reference(source)),
    }
}

/// What is wrong with a path that may select several places where one is needed.
pub(crate) fn not_reference(source: &str) -> Fault {
    Fault::new(format!(
        "{:?} may select several places; a reference path names one",
        clip(source)
    ))
    .code(code::NOT_REFERENCE_PATH)
    .hint("use names and indices only: no *, .., slices, filters, lists or functions")
}

/// Enough of a text for a message.
pub(crate) fn clip(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests;
