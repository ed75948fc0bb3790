//! The path scanner: characters to [`Piece`]s, in Jayway's lenient spelling.
//!
//! Refuses functions (`.length()`), which Step Functions does not have either.

use super::{Fault, Piece, Selector, clip, filter, quote};

/// Deepest nesting of brackets and parentheses in a path: the query compiler
/// recurses, and tries alternatives at each level.
pub(super) const NESTING_MAX: usize = 8;

/// Largest index, as RFC 9535 sets it (2^53 - 1).
const INDEX_MAX: i64 = (1 << 53) - 1;

/// Where the path stands, which decides what ends an unquoted name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The whole string is the path.
    Whole,
    /// An argument of an intrinsic function: a comma or parenthesis ends it.
    Argument,
    /// Inside of a filter: operators end it as well.
    Filter,
}

/// A place in a text.
#[derive(Debug, Clone)]
pub(crate) struct Scan<'a> {
    text: &'a str,
    next: usize,
    mode: Mode,
    /// Brackets and parentheses around here.
    pub(super) nesting: usize,
    /// Bytes that operators of filters were written out to.
    pub(super) written: usize,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str, mode: Mode) -> Scan<'a> {
        Scan {
            text,
            next: 0,
            mode,
            nesting: 0,
            written: 0,
        }
    }

    pub(crate) fn rest(&self) -> &'a str {
        self.text.get(self.next..).unwrap_or_default()
    }

    /// How many characters were read.
    pub(crate) fn passed(&self) -> usize {
        let passed = self.text.get(..self.next).unwrap_or_default();
        passed.chars().count()
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    pub(crate) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.next += c.len_utf8();
        Some(c)
    }

    pub(crate) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next += wanted.len_utf8();
        }
        found
    }

    pub(crate) fn eat_text(&mut self, wanted: &str) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.next += wanted.len();
        }
        found
    }

    pub(crate) fn skip_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.bump();
        }
    }

    /// Takes characters while `wanted` holds.
    pub(crate) fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
        self.next += end;
        rest.get(..end).unwrap_or_default()
    }

    /// Everything after the root, up to where the path ends.
    pub(crate) fn pieces(&mut self) -> Result<Vec<Piece>, Fault> {
        let mut pieces = Vec::new();
        loop {
            let before = self.next;
            self.skip_space();
            if !matches!(self.peek(), Some('.' | '[')) {
                self.next = before;
                return Ok(pieces);
            }
            let descendant = self.eat_text("..");
            if !descendant {
                self.eat('.');
            }
            match self.peek() {
                Some('[') => {
                    self.bump();
                    let selector = self.bracket()?;
                    pieces.push(Piece {
                        descendant,
                        selector,
                    });
                }
                Some('*') => {
                    self.bump();
                    pieces.push(Piece {
                        descendant,
                        selector: Selector::Many("*".to_owned()),
                    });
                }
                _ => {
                    let selector = Selector::Name(self.name()?);
                    pieces.push(Piece {
                        descendant,
                        selector,
                    });
                }
            }
        }
    }

    fn ends_name(&self, c: char) -> bool {
        c.is_whitespace()
            || c.is_control()
            || matches!(
                c,
                '.' | '[' | ']' | '(' | ')' | ',' | '\'' | '"' | '*' | '?'
            )
            || (self.mode == Mode::Filter
                && matches!(c, '=' | '<' | '>' | '!' | '&' | '|' | '+' | '/'))
    }

    /// An unquoted name, with the backslash escapes of a reference path.
    /// Source: states-language.net, "Reference Paths".
    fn name(&mut self) -> Result<String, Fault> {
        let mut name = String::new();
        loop {
            match self.peek() {
                Some('\\') => {
                    self.bump();
                    name.push(self.escape(false)?);
                }
                Some(c) if !self.ends_name(c) => {
                    name.push(c);
                    self.bump();
                }
                _ => break,
            }
        }
        match self.peek() {
            _ if name.is_empty() => Err(Fault::new(
                "a path cannot end with a dot, nor hold an empty name",
            )
            .hint("quote unusual names: $['name']")),
            Some('(') => Err(Fault::new(format!(
                "functions such as {}() are not part of this path language",
                clip(&name)
            ))
            .hint("use an intrinsic function such as States.ArrayLength in a template")),
            _ => Ok(name),
        }
    }

    /// After `[`, to after `]`.
    fn bracket(&mut self) -> Result<Selector, Fault> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(Fault::new(format!(
                "the path nests brackets deeper than {NESTING_MAX} levels"
            )));
        }
        self.skip_space();
        let mut parts = Vec::new();
        loop {
            self.skip_space();
            parts.push(self.selector()?);
            self.skip_space();
            if self.eat(']') {
                break;
            }
            if !self.eat(',') {
                return Err(match self.peek() {
                    None => Fault::new("a bracket is not closed"),
                    Some(c) => Fault::new(format!("found {c:?} where ] should come")),
                });
            }
        }
        self.nesting -= 1;
        if parts.len() == 1
            && let Some(only) = parts.pop()
        {
            return Ok(only);
        }
        let names = parts.iter().map(|part| match part {
            Selector::Name(name) => Some(name.clone()),
            _ => None,
        });
        Ok(match names.collect() {
            Some(names) => Selector::Names(names),
            None => Selector::Many(union(parts.into_iter())),
        })
    }

    fn selector(&mut self) -> Result<Selector, Fault> {
        match self.peek() {
            Some(mark @ ('\'' | '"')) => {
                self.bump();
                self.quoted(mark).map(Selector::Name)
            }
            Some('*') => {
                self.bump();
                Ok(Selector::Many("*".to_owned()))
            }
            Some('?') => {
                self.bump();
                filter::normalise(self).map(Selector::Many)
            }
            Some('(') => self.end_script(),
            Some(c) if c == '-' || c == ':' || c.is_ascii_digit() => self.index_or_slice(),
            Some(']') => Err(Fault::new("empty brackets select nothing")),
            Some(_) => Err(Fault::new("a name in brackets stands in quotes: ['name']")),
            None => Err(Fault::new("a bracket is not closed")),
        }
    }

    /// `[(@.length-1)]`, the one script expression in use: counts from the end.
    fn end_script(&mut self) -> Result<Selector, Fault> {
        let script = self.take_while(|c| c != ']');
        let plain: String = script.chars().filter(|c| !c.is_whitespace()).collect();
        plain
            .strip_prefix("(@.length-")
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|number| number.parse::<u32>().ok())
            .filter(|back| *back > 0)
            .map(|back| Selector::Index(-i64::from(back)))
            .ok_or_else(|| {
                Fault::new(
                    "script expressions are not supported, but for [(@.length-1)] and the like",
                )
                .hint("[-1] is the last element")
            })
    }

    fn integer(&mut self) -> Result<Option<i64>, Fault> {
        let text = self.take_while(|c| c == '-' || c.is_ascii_digit());
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<i64>() {
            Ok(n) if n.abs() <= INDEX_MAX => Ok(Some(n)),
            _ => Err(Fault::new(format!("{} is not an index", clip(text)))),
        }
    }

    fn index_or_slice(&mut self) -> Result<Selector, Fault> {
        let first = self.integer()?;
        self.skip_space();
        let mut bounds = vec![first];
        while bounds.len() < 3 && self.eat(':') {
            self.skip_space();
            bounds.push(self.integer()?);
            self.skip_space();
        }
        match (first, bounds.len()) {
            (Some(index), 1) => Ok(Selector::Index(index)),
            (None, 1) => Err(Fault::new("an index is missing")),
            _ => Ok(Selector::Many(
                bounds
                    .iter()
                    .map(|b| b.map_or_else(String::new, |n| n.to_string()))
                    .collect::<Vec<_>>()
                    .join(":"),
            )),
        }
    }

    /// After the opening quote, to after the closing one.
    pub(crate) fn quoted(&mut self, mark: char) -> Result<String, Fault> {
        let mut text = String::new();
        loop {
            match self.bump() {
                None => return Err(Fault::new("a quoted name or string is not closed")),
                // No escape in RFC 9535; Step Functions takes both characters as they are.
                Some('\\') if mark == '\'' && self.rest().starts_with('"') => text.push('\\'),
                Some('\\') => text.push(self.escape(true)?),
                Some(c) if c == mark => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    /// After a backslash. An unknown escape stands for its own character.
    fn escape(&mut self, control: bool) -> Result<char, Fault> {
        let c = self
            .bump()
            .ok_or_else(|| Fault::new("a path cannot end with a backslash"))?;
        Ok(match c {
            'n' if control => '\n',
            't' if control => '\t',
            'r' if control => '\r',
            'b' if control => '\u{8}',
            'f' if control => '\u{c}',
            'u' => return self.unicode(),
            c => c,
        })
    }

    /// After `\u`: four hexadecimal digits, or a surrogate pair of escapes.
    fn unicode(&mut self) -> Result<char, Fault> {
        let unit = |scan: &mut Self| {
            let digits = scan.rest().get(..4)?;
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let unit = hex
                .then(|| u16::from_str_radix(digits, 16).ok())
                .flatten()?;
            scan.next += 4;
            Some(unit)
        };
        let bad = || Fault::new("\\u needs four hexadecimal digits, and surrogates come in pairs");
        let first = unit(self).ok_or_else(bad)?;
        let mut units = vec![first];
        if (0xd800..0xdc00).contains(&first) && self.eat_text("\\u") {
            units.push(unit(self).ok_or_else(bad)?);
        }
        match char::decode_utf16(units).next() {
            Some(Ok(c)) => Ok(c),
            _ => Err(bad()),
        }
    }
}

/// Several selectors as one, in RFC 9535 form.
fn union(parts: impl Iterator<Item = Selector>) -> String {
    let texts: Vec<String> = parts
        .map(|part| match part {
            Selector::Many(text) => text,
            Selector::Index(index) => index.to_string(),
            Selector::Name(name) => quoted(&name),
            Selector::Names(names) => {
                let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
                names.join(",")
            }
        })
        .collect();
    texts.join(",")
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(text, &mut out);
    out
}

/// A single-quoted string of an intrinsic function, after its opening quote.
///
/// `\'`, `\\`, `\{` and `\}` stand for their character; any other backslash
/// stays. With `braces_kept`, `\\`, `\{` and `\}` stay too, for `States.Format`.
/// Source: states-language.net, "Intrinsic Functions".
pub(crate) fn unquote(scan: &mut Scan<'_>, braces_kept: bool) -> Result<String, Fault> {
    let mut text = String::new();
    loop {
        match scan.bump() {
            None => return Err(Fault::new("a string is not closed")),
            Some('\'') => return Ok(text),
            Some('\\') => match scan.bump() {
                None => return Err(Fault::new("a string is not closed")),
                Some('\'') => text.push('\''),
                Some(c @ ('\\' | '{' | '}')) if !braces_kept => text.push(c),
                Some(c) => {
                    text.push('\\');
                    text.push(c);
                }
            },
            Some(c) => text.push(c),
        }
    }
}
