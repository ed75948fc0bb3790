//! The path scanner: characters to [`Step`]s, in Jayway's lenient spelling.
//!
//! Refuses a path that is too long as soon as it is, before more is made of it.

use super::pattern::Patterns;
use super::{Fault, PATH_BYTES_MAX, clip, filter, function};
use crate::query::{Function, Selector, Step};

/// Deepest nesting of brackets and parentheses in a path: reading and evaluating recurse.
pub(super) const NESTING_MAX: usize = 8;

/// Largest index, as RFC 9535 sets it (2^53 - 1).
const INDEX_MAX: u64 = (1 << 53) - 1;

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
    pub(super) mode: Mode,
    /// Brackets and parentheses around here.
    nesting: usize,
    /// Where the path that is read begins.
    pub(super) begin: usize,
    /// The path is CloudFlow's, and begins inside of so many: there a function takes a path,
    /// and does not end it.
    cloudflow: Option<usize>,
    /// What ended the last [`Self::steps`], if it was a function.
    pub(super) function: Option<Function>,
    /// The regular expressions of the definition.
    pub(super) patterns: &'a Patterns,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(text: &'a str, mode: Mode, patterns: &'a Patterns) -> Scan<'a> {
        Scan {
            text,
            next: 0,
            mode,
            nesting: 0,
            begin: 0,
            cloudflow: None,
            function: None,
            patterns,
        }
    }

    /// Notes that a path begins here.
    pub(super) fn begin(&mut self) {
        self.begin = self.next;
    }

    /// Notes that the path that is read next is CloudFlow's.
    pub(super) fn cloudflow(&mut self) {
        self.cloudflow = Some(self.nesting);
    }

    pub(super) fn is_cloudflow(&self) -> bool {
        self.cloudflow.is_some()
    }

    /// Whether the path is no longer than it may be, up to here.
    pub(super) fn within(&self) -> Result<(), Fault> {
        if self.next - self.begin > PATH_BYTES_MAX {
            return Err(Fault::new(format!(
                "the path is longer than {PATH_BYTES_MAX} bytes, which are allowed at most"
            )));
        }
        Ok(())
    }

    /// Goes into a bracket or parenthesis; [`Self::leave`] is its end.
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(Fault::new(format!(
                "the path nests brackets and parentheses deeper than {NESTING_MAX} levels"
            )));
        }
        Ok(())
    }

    pub(super) fn leave(&mut self) {
        self.nesting -= 1;
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

    /// Everything after the root, up to where the path ends. A function ends it.
    pub(crate) fn steps(&mut self) -> Result<Vec<Step>, Fault> {
        let mut steps = Vec::new();
        loop {
            self.within()?;
            let before = self.next;
            self.skip_space();
            if !matches!(self.peek(), Some('.' | '[')) {
                self.next = before;
                return Ok(steps);
            }
            let descendant = self.eat_text("..");
            if !descendant {
                self.eat('.');
            }
            let selectors = match self.peek() {
                Some('[') => {
                    self.bump();
                    self.bracket()?
                }
                Some('*') => {
                    self.bump();
                    vec![Selector::All]
                }
                _ => {
                    let name = self.name()?;
                    self.within()?;
                    if self.peek() == Some('(') {
                        if self.cloudflow == Some(self.nesting) {
                            return Err(function::misplaced());
                        }
                        self.function = Some(function::read(self, &name)?);
                        return Ok(steps);
                    }
                    vec![Selector::Name(name.into())]
                }
            };
            steps.push(Step {
                descendant,
                selectors,
            });
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
            // `-` is a part of many names there, `%` of few.
            || (self.cloudflow.is_some() && c == '%')
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
        if name.is_empty() {
            return Err(
                Fault::new("a path cannot end with a dot, nor hold an empty name")
                    .hint("quote unusual names: $['name']"),
            );
        }
        Ok(name)
    }

    /// After `[`, to after `]`.
    fn bracket(&mut self) -> Result<Vec<Selector>, Fault> {
        self.enter()?;
        let mut all = Vec::new();
        loop {
            self.within()?;
            self.skip_space();
            all.push(self.selector()?);
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
        self.leave();
        Ok(all)
    }

    fn selector(&mut self) -> Result<Selector, Fault> {
        match self.peek() {
            Some(mark @ ('\'' | '"')) => {
                self.bump();
                let name = self.quoted(mark)?;
                Ok(Selector::Name(name.into()))
            }
            Some('*') => {
                self.bump();
                Ok(Selector::All)
            }
            Some('?') => {
                self.bump();
                filter::read(self).map(Selector::Filter)
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
            Ok(n) if n.unsigned_abs() <= INDEX_MAX => Ok(Some(n)),
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
            _ => Ok(Selector::Slice {
                start: first,
                end: bounds.get(1).copied().flatten(),
                step: bounds.get(2).copied().flatten().unwrap_or(1),
            }),
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

/// A single-quoted string of an intrinsic function, after its opening quote.
///
/// `\'`, `\\`, `\{` and `\}` stand for their character; a backslash before any other is an
/// error. With `braces_kept`, `\\`, `\{` and `\}` stay as they are, for `States.Format`.
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
                Some(c @ ('\\' | '{' | '}')) => {
                    if braces_kept {
                        text.push('\\');
                    }
                    text.push(c);
                }
                Some(c) => return Err(bad_escape(c)),
            },
            Some(c) => text.push(c),
        }
    }
}

fn bad_escape(c: char) -> Fault {
    let hint = match c {
        '"' => "a quote needs no backslash of its own there; in JSON it is written \\\" once",
        _ => "for a backslash write two, which are four in JSON",
    };
    Fault::new(format!(
        "\\{c} means nothing in an intrinsic function: \\', \\{{, \\}} and \\\\ are its escapes"
    ))
    .hint(hint)
}
