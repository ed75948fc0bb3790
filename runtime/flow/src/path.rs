//! JSONPath: from what people write to the compiled [`DataPath`].
//!
//! Definite paths (names and indices) are read by this parser alone. Others are
//! written anew in RFC 9535 form, so that what the Jayway library accepts (and
//! with it Step Functions) means the same here. Refuses to evaluate.

pub mod cost;
mod filter;
mod operator;
pub(crate) mod pattern;
mod scan;

use serde_json_path::JsonPath;

use crate::diagnostic::code;
use crate::expression::{DataPath, Indefinite, Merge, Query, Root, Segment, WritePath};

pub(crate) use scan::{Mode, Scan, unquote};

/// Longest path, in bytes: an indefinite one is compiled by recursion.
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

/// One step of a path as written.
#[derive(Debug, PartialEq)]
pub(crate) struct Piece {
    /// `..` before it.
    pub(crate) descendant: bool,
    pub(crate) selector: Selector,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Selector {
    Name(String),
    Index(i64),
    /// Several names, and nothing else.
    Names(Vec<String>),
    /// In RFC 9535 form, without the brackets.
    Many(String),
}

/// Reads a whole string as a path.
pub(crate) fn parse(source: &str) -> Result<DataPath, Fault> {
    let mut scan = Scan::new(source.trim(), Mode::Whole);
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
    let pieces = scan.pieces()?;
    let length = begin.len() - scan.rest().len();
    if length > PATH_BYTES_MAX {
        return Err(Fault::new(format!(
            "the path has {length} bytes; at most {PATH_BYTES_MAX} are allowed"
        )));
    }
    Ok(DataPath {
        source: begin.get(..length).unwrap_or(begin).into(),
        root,
        query: merging(pieces)?,
    })
}

/// Reads what follows a root that the caller has read, and stops after it. A list of names
/// at its end yields a list of values, as in RFC 9535.
pub(crate) fn relative(scan: &mut Scan<'_>) -> Result<Query, Fault> {
    query(&scan.pieces()?)
}

/// A query in which a list of names at the end makes an object.
fn merging(mut pieces: Vec<Piece>) -> Result<Query, Fault> {
    let last = pieces.pop_if(|p| !p.descendant && matches!(p.selector, Selector::Names(_)));
    let Some(Selector::Names(names)) = last.map(|piece| piece.selector) else {
        return query(&pieces);
    };
    let merge = Merge {
        names: names.into_iter().map(Into::into).collect(),
        place: segments(&pieces),
    };
    indefinite(&pieces, Some(merge))
}

fn query(pieces: &[Piece]) -> Result<Query, Fault> {
    match segments(pieces) {
        Some(none) if none.is_empty() => Ok(Query::Whole),
        Some(segments) => Ok(Query::Definite(segments)),
        None => indefinite(pieces, None),
    }
}

/// Names and indices; `None` if there is anything else.
fn segments(pieces: &[Piece]) -> Option<Vec<Segment>> {
    let segment = |piece: &Piece| match &piece.selector {
        _ if piece.descendant => None,
        Selector::Name(name) => Some(Segment::Name(name.as_str().into())),
        Selector::Index(index) => Some(Segment::Index(*index)),
        Selector::Names(_) | Selector::Many(_) => None,
    };
    pieces.iter().map(segment).collect()
}

fn indefinite(pieces: &[Piece], merge: Option<Merge>) -> Result<Query, Fault> {
    let mut text = String::from("$");
    rfc(pieces, &mut text);
    let query = JsonPath::parse(&text)
        .map_err(|e| Fault::new(format!("the path cannot be read: {}", e.message())))?;
    let cost = cost::Cost::of(&text)?;
    Ok(Query::Indefinite(Indefinite { query, cost, merge }))
}

/// Appends pieces in the form of RFC 9535.
pub(crate) fn rfc(pieces: &[Piece], out: &mut String) {
    for piece in pieces {
        if piece.descendant {
            out.push_str("..");
        }
        out.push('[');
        match &piece.selector {
            Selector::Name(name) => quote(name, out),
            Selector::Index(index) => out.push_str(&index.to_string()),
            Selector::Names(names) => {
                for (i, name) in names.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                }
            }
            Selector::Many(text) => out.push_str(text),
        }
        out.push(']');
    }
}

/// Appends a string literal of RFC 9535.
pub(crate) fn quote(text: &str, out: &mut String) {
    out.push('\'');
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('\'');
}

/// Reads a path that must name one place.
pub(crate) fn parse_single(source: &str) -> Result<DataPath, Fault> {
    let path = parse(source)?;
    if matches!(path.query, Query::Indefinite(_)) {
        return Err(not_reference(source));
    }
    Ok(path)
}

/// Reads a path that is written to.
pub(crate) fn parse_write(source: &str) -> Result<WritePath, Fault> {
    let path = parse(source)?;
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
        Query::Indefinite(_) => Err(not_reference(source)),
    }
}

fn not_reference(source: &str) -> Fault {
    Fault::new(format!(
        "{:?} may select several places; a reference path names one",
        clip(source)
    ))
    .code(code::NOT_REFERENCE_PATH)
    .hint("use names and indices only: no *, .., slices, filters or lists")
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
