//! JSON laid out anew: its strings and numbers as they were written.
//!
//! Refuses nothing: the text was read as JSON before.

use super::order::{Language, Role};

/// Longest line on which a list of plain values stands whole, in characters.
const WIDTH: usize = 100;

/// One value as it stands in the text.
enum Raw<'t> {
    Scalar(&'t str),
    List(Vec<Item<'t>>),
    Object(Vec<Item<'t>>),
}

/// An element, or a field with its name as it was written.
struct Item<'t> {
    key: &'t str,
    /// Whether an empty line stood before it.
    blank: bool,
    value: Raw<'t>,
}

/// Lays out what [`crate::document::parse`] has read as JSON.
pub(super) fn format(text: &str, language: Language) -> String {
    let mut reader = Reader { text, next: 0 };
    let root = reader.value();
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    write(&root, Role::Graph, language, 0, &mut out);
    out.push('\n');
    out
}

struct Reader<'t> {
    text: &'t str,
    next: usize,
}

impl<'t> Reader<'t> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.next).copied()
    }

    /// Passes over blanks; says whether an empty line was among them.
    fn space(&mut self) -> bool {
        let mut lines = 0;
        while let Some(b @ (b' ' | b'\t' | b'\n' | b'\r')) = self.peek() {
            lines += usize::from(b == b'\n');
            self.next += 1;
        }
        lines > 1
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.next += usize::from(found);
        found
    }

    fn value(&mut self) -> Raw<'t> {
        self.space();
        match self.peek() {
            Some(b'{') => Raw::Object(self.items(b'}')),
            Some(b'[') => Raw::List(self.items(b']')),
            Some(b'"') => Raw::Scalar(self.string()),
            _ => {
                let rest = self.text.get(self.next..).unwrap_or_default();
                let length = rest
                    .bytes()
                    .take_while(|b| !matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                    .count();
                self.next += length;
                Raw::Scalar(rest.get(..length).unwrap_or_default())
            }
        }
    }

    fn items(&mut self, end: u8) -> Vec<Item<'t>> {
        self.next += 1;
        let mut items = Vec::new();
        loop {
            let blank = self.space();
            if self.take(end) || self.peek().is_none() {
                return items;
            }
            let mut key = "";
            if end == b'}' {
                key = self.string();
                self.space();
                self.take(b':');
            }
            let value = self.value();
            items.push(Item { key, blank, value });
            self.space();
            self.take(b',');
        }
    }

    /// A string with its quotes.
    fn string(&mut self) -> &'t str {
        let begin = self.next;
        self.next += 1;
        while let Some(b) = self.peek() {
            self.next += 1;
            match b {
                b'"' => break,
                b'\\' => self.next += 1,
                _ => {}
            }
        }
        self.text.get(begin..self.next).unwrap_or_default()
    }
}

fn write(raw: &Raw<'_>, role: Role, language: Language, depth: usize, out: &mut String) {
    match raw {
        Raw::Scalar(text) => out.push_str(text),
        Raw::List(items) => {
            let line = out.rsplit('\n').next().unwrap_or_default();
            let column = line.chars().count();
            if let Some(line) = one_line(items, WIDTH.saturating_sub(column)) {
                out.push_str(&line);
                return;
            }
            let below = role.below(language, "");
            lines(items, ['[', ']'], depth, out, |item, out| {
                write(&item.value, below, language, depth + 1, out);
            });
        }
        Raw::Object(items) => {
            if items.is_empty() {
                out.push_str("{}");
                return;
            }
            let mut named: Vec<(String, &Item<'_>)> = items
                .iter()
                .map(|item| (serde_json::from_str(item.key).unwrap_or_default(), item))
                .collect();
            named.sort_by_key(|(name, _)| role.rank(language, name));
            let roles: Vec<Role> = named.iter().map(|(n, _)| role.below(language, n)).collect();
            let mut roles = roles.into_iter();
            let items = named.into_iter().map(|(_, item)| item);
            lines(items, ['{', '}'], depth, out, |item, out| {
                out.push_str(item.key);
                out.push_str(": ");
                let role = roles.next().unwrap_or(Role::Data);
                write(&item.value, role, language, depth + 1, out);
            });
        }
    }
}

/// A list of plain values on one line, if it has that room.
fn one_line(items: &[Item<'_>], room: usize) -> Option<String> {
    let mut texts = Vec::with_capacity(items.len());
    let mut width = 2;
    for item in items {
        let Raw::Scalar(text) = item.value else {
            return None;
        };
        width += text.chars().count() + 2;
        // A value alone is no shorter on a line of its own.
        if width > room && items.len() > 1 {
            return None;
        }
        texts.push(text);
    }
    Some(format!("[{}]", texts.join(", ")))
}

fn lines<'i, 't: 'i>(
    items: impl IntoIterator<Item = &'i Item<'t>>,
    [open, close]: [char; 2],
    depth: usize,
    out: &mut String,
    mut each: impl FnMut(&'i Item<'t>, &mut String),
) {
    let indent = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    out.push(open);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
            if item.blank {
                out.push('\n');
            }
        }
        indent(depth + 1, out);
        each(item, out);
    }
    indent(depth, out);
    out.push(close);
}
