//! Strict JSON (RFC 8259) into the spanned tree.
//!
//! Refuses comments, trailing commas, lone surrogates and deep nesting.

use serde_json::Number;
use stepwell_types::limits::JSON_DEPTH_MAX;

use super::{Fault, Member, Node, Position, Tree};
use crate::diagnostic::code;

/// Reads one JSON document.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut parser = Parser {
        text,
        next: 0,
        mark: 0,
        mark_at: Position::START,
    };
    let root = parser.value(0)?;
    parser.skip_space();
    if parser.next < text.len() {
        return Err(parser.fault("there is text after the end of the definition"));
    }
    Ok(root)
}

struct Parser<'a> {
    text: &'a str,
    /// Byte offset of the next character.
    next: usize,
    /// Byte offset up to which lines and columns were counted.
    mark: usize,
    mark_at: Position,
}

impl Parser<'_> {
    /// The place of the next character; counts on from the last place asked for.
    fn here(&mut self) -> Position {
        let passed = self.text.get(self.mark..self.next).unwrap_or_default();
        for c in passed.chars() {
            if c == '\n' {
                self.mark_at.line += 1;
                self.mark_at.column = 1;
            } else {
                self.mark_at.column += 1;
            }
        }
        self.mark = self.mark.max(self.next);
        self.mark_at
    }

    fn fault(&mut self, message: impl Into<String>) -> Fault {
        Fault::new(self.here(), code::SYNTAX, message)
    }

    /// A fault at the next character, which is named.
    fn unexpected(&mut self, wanted: &str) -> Fault {
        let found = self.rest().chars().next();
        let fault = match found {
            None => self.fault(format!("the text ends where {wanted} should come")),
            Some(c) => self.fault(format!("found {c:?} where {wanted} should come")),
        };
        match found {
            Some('/' | '#') => fault.hint("JSON has no comments; use the Comment field"),
            Some('\'') => fault.hint("JSON strings stand in double quotes"),
            Some(c) if c.is_alphabetic() => fault.hint(
                "a text that begins with { or [ is JSON: names and strings stand in double quotes",
            ),
            _ => fault,
        }
    }

    fn rest(&self) -> &str {
        self.text.get(self.next..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.next).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.next += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.next += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        self.skip_space();
        let at = self.here();
        let tree = match self.peek() {
            Some(b'{' | b'[') if depth >= JSON_DEPTH_MAX => return Err(Fault::too_deep(at)),
            Some(b'{') => self.object(depth + 1)?,
            Some(b'[') => self.list(depth + 1)?,
            Some(b'"') => Tree::Text(self.string()?.into()),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { at, tree })
    }

    fn word(&mut self) -> Result<Tree, Fault> {
        for (word, tree) in [
            ("null", Tree::Null),
            ("true", Tree::Bool(true)),
            ("false", Tree::Bool(false)),
        ] {
            if self.rest().starts_with(word) {
                self.next += word.len();
                return Ok(tree);
            }
        }
        Err(self.unexpected("a value"))
    }

    fn object(&mut self, depth: usize) -> Result<Tree, Fault> {
        self.next += 1;
        let mut members = Vec::new();
        self.skip_space();
        if self.take(b'}') {
            return Ok(Tree::Object(members));
        }
        loop {
            self.skip_space();
            let at = self.here();
            if self.peek() != Some(b'"') {
                let comma = !members.is_empty() && self.peek() == Some(b'}');
                let fault = self.unexpected("a field name in double quotes");
                return Err(if comma {
                    fault.hint("remove the comma before it")
                } else {
                    fault
                });
            }
            let name = self.string()?.into_boxed_str();
            self.skip_space();
            if !self.take(b':') {
                return Err(self.unexpected("a colon").within(&name));
            }
            let value = self.value(depth).map_err(|f| f.within(&name))?;
            members.push(Member { name, at, value });
            self.skip_space();
            if self.take(b'}') {
                return Ok(Tree::Object(members));
            }
            if !self.take(b',') {
                return Err(self.unexpected("a comma or the end of the object"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Tree, Fault> {
        self.next += 1;
        let mut items = Vec::new();
        self.skip_space();
        if self.take(b']') {
            return Ok(Tree::List(items));
        }
        loop {
            let index = items.len();
            self.skip_space();
            if index > 0 && self.peek() == Some(b']') {
                let fault = self.unexpected("a value").within(index);
                return Err(fault.hint("remove the comma before it"));
            }
            items.push(self.value(depth).map_err(|f| f.within(index))?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Tree::List(items));
            }
            if !self.take(b',') {
                return Err(self.unexpected("a comma or the end of the array"));
            }
        }
    }

    fn number(&mut self) -> Result<Tree, Fault> {
        let length = self
            .rest()
            .bytes()
            .take_while(|b| matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
            .count();
        let text = self.rest().get(..length).unwrap_or_default();
        match serde_json::from_str::<Number>(text) {
            Ok(number) => {
                self.next += length;
                Ok(Tree::Number(number))
            }
            Err(_) => {
                let shown: String = text.chars().take(40).collect();
                Err(self.fault(format!("{shown} is not a JSON number, or out of range")))
            }
        }
    }

    /// The text between the quotes, escapes resolved.
    fn string(&mut self) -> Result<String, Fault> {
        let opened = self.here();
        self.next += 1;
        let mut out = String::new();
        loop {
            let plain = self
                .rest()
                .bytes()
                .take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f))
                .count();
            out.push_str(self.rest().get(..plain).unwrap_or_default());
            self.next += plain;
            match self.peek() {
                Some(b'"') => {
                    self.next += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape()?),
                Some(_) => {
                    return Err(self
                        .fault("a string holds a raw control character or line break")
                        .hint("write it as an escape, such as \\n or \\t"));
                }
                None => {
                    return Err(Fault::new(
                        opened,
                        code::SYNTAX,
                        "a string is not closed before the end of the text",
                    ));
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let bytes = self.text.as_bytes();
        let simple = match bytes.get(self.next + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => {
                return Err(self
                    .fault("unknown escape in a string")
                    .hint("write a backslash as \\\\"));
            }
        };
        self.next += 2;
        Ok(simple)
    }

    fn unicode_escape(&mut self) -> Result<char, Fault> {
        let unit = |from: usize| {
            let digits = self.text.get(from..from + 6)?.strip_prefix("\\u")?;
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            hex.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
        };
        let Some(first) = unit(self.next) else {
            return Err(self.fault("\\u needs four hexadecimal digits"));
        };
        let pair = (0xd800..0xdc00).contains(&first);
        let units = [
            first,
            if pair {
                unit(self.next + 6).unwrap_or(0)
            } else {
                0
            },
        ];
        match char::decode_utf16(units).next() {
            Some(Ok(c)) => {
                self.next += if pair { 12 } else { 6 };
                Ok(c)
            }
            _ => Err(self.fault("half of a surrogate pair stands alone in a string")),
        }
    }
}
