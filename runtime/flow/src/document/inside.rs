//! The place of a character of a string, in the text that the string was read from.
//!
//! Follows escapes, doubled quotes, and the line breaks and indentation of YAML's scalars.
//! Refuses to guess: where the two texts cannot be laid side by side, there is no place.

use super::Position;

/// Where the character with this number (from 0) of `value` stands in `text`, if the string
/// begins at `begin`; the number of its characters: right behind it.
pub(crate) fn inside(text: &str, begin: Position, value: &str, offset: usize) -> Option<Position> {
    let rest = from(text, begin)?;
    let first = rest.chars().next()?;
    let mut cursor = Cursor {
        rest,
        at: begin,
        quote: Some(first).filter(|c| matches!(c, '"' | '\'')),
    };
    if cursor.quote.is_some() {
        cursor.bump();
    }
    let mut wanted = value.chars();
    for _ in 0..offset {
        cursor.pass(wanted.next()?)?;
    }
    if let Some(next) = wanted.next() {
        cursor.skip_to(next);
    }
    Some(cursor.at)
}

/// Where `$name` first stands in `text` from `begin` on, as a whole word.
pub(crate) fn variable(text: &str, begin: Position, name: &str) -> Option<Position> {
    let mut cursor = Cursor {
        rest: from(text, begin)?,
        at: begin,
        quote: None,
    };
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    while !cursor.rest.is_empty() {
        if let Some(after) = cursor.rest.strip_prefix('$')
            && let Some(after) = after.strip_prefix(name)
            && !after.starts_with(goes_on)
        {
            return Some(cursor.at);
        }
        cursor.bump();
    }
    None
}

/// The character at a place.
pub(crate) fn character(text: &str, at: Position) -> Option<char> {
    from(text, at)?.chars().next()
}

/// The text from a place on.
fn from(text: &str, begin: Position) -> Option<&str> {
    let lines = begin.line.checked_sub(1)? as usize;
    let line: usize = text.split_inclusive('\n').take(lines).map(str::len).sum();
    let line = text.get(line..)?;
    let column = begin.column.checked_sub(1)? as usize;
    let (byte, _) = line.char_indices().nth(column)?;
    line.get(byte..)
}

struct Cursor<'t> {
    rest: &'t str,
    at: Position,
    quote: Option<char>,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) {
        let mut chars = self.rest.chars();
        match chars.next() {
            Some('\n') => {
                self.at.line += 1;
                self.at.column = 1;
            }
            Some(_) => self.at.column += 1,
            None => {}
        }
        self.rest = chars.as_str();
    }

    /// Passes blanks that stand for nothing before this character.
    fn skip_to(&mut self, wanted: char) {
        while let Some(c) = self.peek() {
            if c == wanted || !c.is_whitespace() {
                return;
            }
            self.bump();
        }
    }

    /// Passes what stands for one character of the value.
    fn pass(&mut self, wanted: char) -> Option<()> {
        // An escaped line break stands for nothing.
        while self.quote == Some('"') && self.rest.starts_with("\\\n") {
            self.bump();
            self.bump();
            self.skip_to('\n');
        }
        if self.quote == Some('"') && self.peek() == Some('\\') {
            let length = match self.rest.chars().nth(1)? {
                'x' => 4,
                'u' if wanted.len_utf16() == 2 => 12,
                'u' => 6,
                'U' => 10,
                _ => 2,
            };
            (0..length).for_each(|_| self.bump());
            return Some(());
        }
        if self.quote == Some('\'') && self.rest.starts_with("''") {
            self.bump();
            self.bump();
            return Some(());
        }
        if self.peek() != Some(wanted) && wanted.is_whitespace() {
            // A folded line break; the blanks around it are no part of the value.
            while self.peek().is_some_and(char::is_whitespace) {
                self.bump();
            }
            return Some(());
        }
        self.skip_to(wanted);
        if self.peek() != Some(wanted) {
            return None;
        }
        self.bump();
        Some(())
    }
}
