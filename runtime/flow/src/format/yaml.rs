//! YAML laid out anew, line by line: indentation, order of fields, empty lines.
//!
//! Words, quotes, comments and the insides of scalars and flow collections stay as they
//! are written. Refuses what it cannot move whole: explicit keys, and properties on a line of their own.

use super::order::{Language, Role};
use super::outline::{Entry, Kind, Outline, Place, Value};
use crate::document::Position;

/// Why a text stays as it is: the place, and what stands there.
pub(super) type Refused = (Position, &'static str);

/// Lines of a field or an element, with the comments above it.
#[derive(Default)]
struct Chunk {
    /// Whether an empty line stood before it.
    blank: bool,
    lines: Vec<String>,
    /// Whether an empty line after it would be part of its value (`|+`).
    open_ended: bool,
}

/// Lays out a text whose lines end in `\n` alone.
pub(super) fn format(text: &str, outline: &Outline, language: Language) -> Result<String, Refused> {
    let lines: Vec<&str> = text.split('\n').collect();
    // A text that ends its last line has an empty piece behind it.
    let count = lines.len() - usize::from(lines.last().is_some_and(|l| l.is_empty()));
    let lines = lines.get(..count).unwrap_or_default();
    let end = outline.document_end.unwrap_or(count).min(count);
    let layout = Layout {
        lines,
        end,
        language,
        // An alias must stay behind its anchor.
        sorts: !outline.aliases,
    };
    let root = &outline.root;
    let Kind::Map(entries) = &root.kind else {
        // A flow mapping at the top: nothing to indent.
        return Ok(lines.iter().flat_map(|line| [line, "\n"]).collect());
    };
    let mut all = vec![Chunk::default()];
    layout.comments(0, root.begin.line, 0, true, &mut all[0])?;
    let (mut chunks, next) = layout.map(entries, root.begin.line, 0, Role::Graph)?;
    all.append(&mut chunks);
    let mut tail = Chunk::default();
    layout.comments(next, end, 0, false, &mut tail)?;
    // From the document's end on all is kept as it is: its mark, and what is said after it.
    layout.comments(next.max(end), count, 0, true, &mut tail)?;
    while tail.lines.last().is_some_and(String::is_empty) {
        tail.lines.pop();
    }
    all.push(tail);
    all.retain(|chunk| !chunk.lines.is_empty());
    let lines = join(all).lines;
    Ok(lines.iter().flat_map(|line| [line, "\n"]).collect())
}

/// Chunks one after the other, with the empty lines that stood between them.
fn join(chunks: Vec<Chunk>) -> Chunk {
    let mut all = Chunk::default();
    for chunk in chunks {
        if chunk.blank && !all.lines.is_empty() && !all.open_ended {
            all.lines.push(String::new());
        }
        all.open_ended = chunk.open_ended;
        all.lines.extend(chunk.lines);
    }
    all
}

fn spaces(count: usize, rest: &str) -> String {
    if rest.is_empty() {
        return String::new();
    }
    let mut line = " ".repeat(count);
    line.push_str(rest);
    line
}

fn indent_of(line: &str) -> usize {
    line.bytes().take_while(|b| *b == b' ').count()
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line from this column on, in characters.
fn from_column(line: &str, column: usize) -> &str {
    let at = line.char_indices().nth(column);
    at.and_then(|(at, _)| line.get(at..)).unwrap_or_default()
}

fn at(line: usize, column: usize) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1);
    Position {
        line: number(line),
        column: number(column),
    }
}

/// Whether what follows a key or dash opens a block scalar; its indentation indicator.
fn block_header(rest: &str) -> Option<Option<usize>> {
    let words = rest.split(" #").next().unwrap_or_default().trim_end();
    let last = words.split([' ', '\t']).next_back()?;
    let signs = last.strip_prefix(['|', '>'])?;
    let fits = signs.len() <= 2
        && signs
            .bytes()
            .all(|b| matches!(b, b'+' | b'-' | b'1'..=b'9'));
    let digit = signs.bytes().find(u8::is_ascii_digit);
    fits.then(|| digit.map(|b| usize::from(b - b'0')))
}

/// Whether a block scalar keeps the empty lines after it.
fn keeps(rest: &str) -> bool {
    let words = rest.split(" #").next().unwrap_or_default();
    words
        .trim_end()
        .trim_end_matches(|c: char| c.is_ascii_digit())
        .ends_with('+')
}

struct Layout<'t> {
    lines: &'t [&'t str],
    /// The line at which the document ends.
    end: usize,
    language: Language,
    sorts: bool,
}

/// A key with its colon, or a dash: what stands before a value.
struct Opener<'t> {
    line: usize,
    /// Its column, as it was.
    column: usize,
    /// `key:` or `-`.
    words: String,
    /// What follows on the line.
    rest: &'t str,
    dash: bool,
}

impl<'t> Layout<'t> {
    fn line(&self, line: usize) -> &'t str {
        self.lines.get(line).copied().unwrap_or_default()
    }

    /// Comments of lines `from..to`, indented anew; what is neither comment nor blank is
    /// refused, unless `all`.
    fn comments(
        &self,
        from: usize,
        to: usize,
        column: usize,
        all: bool,
        into: &mut Chunk,
    ) -> Result<(), Refused> {
        let mut blank = false;
        for line in from..to {
            let text = self.line(line);
            if is_blank(text) {
                blank = true;
                continue;
            }
            if !is_comment(text) && !all {
                return Err((
                    at(line, indent_of(text)),
                    "an anchor, a tag or a mark stands on a line of its own",
                ));
            }
            if into.lines.is_empty() {
                into.blank |= blank;
            } else if blank {
                into.lines.push(String::new());
            }
            blank = false;
            into.lines.push(spaces(column, text.trim()));
        }
        if into.lines.is_empty() {
            into.blank |= blank;
        } else if blank {
            into.lines.push(String::new());
        }
        Ok(())
    }

    /// The line after the comments that stand further in than `column`.
    fn inner_comments(&self, from: usize, column: usize) -> usize {
        let mut after = from;
        for line in from..self.end {
            let text = self.line(line);
            if is_comment(text) && indent_of(text) > column {
                after = line + 1;
            } else if !is_blank(text) {
                break;
            }
        }
        after
    }

    /// A block mapping at its new column, and the line after its last value.
    fn map(
        &self,
        entries: &[Entry],
        from: usize,
        column: usize,
        role: Role,
    ) -> Result<(Vec<Chunk>, usize), Refused> {
        let mut chunks = Vec::with_capacity(entries.len());
        let mut next = from;
        for (i, entry) in entries.iter().enumerate() {
            let (line, old) = (entry.key.line, entry.key.column);
            let text = self.line(line);
            let mut before = text.chars().take(old);
            // The first key may stand behind a dash.
            if line < next || !before.all(|c| c.is_whitespace() || (i == 0 && c == '-')) {
                return Err((at(line, old), "a key does not begin its line"));
            }
            let mut chunk = Chunk::default();
            self.comments(next, line, column, false, &mut chunk)?;
            let key: String = text.chars().skip(old).take(entry.key_end - old).collect();
            let rest = from_column(text, entry.key_end).trim_start();
            let Some(rest) = rest.strip_prefix(':') else {
                return Err((at(line, old), "a key's colon stands elsewhere"));
            };
            let opener = Opener {
                line,
                column: old,
                words: format!("{key}:"),
                rest,
                dash: false,
            };
            let below = role.below(self.language, &entry.name);
            next = self.value(&entry.value, &opener, column, below, &mut chunk)?;
            chunks.push((role.rank(self.language, &entry.name), chunk));
        }
        if self.sorts {
            chunks.sort_by_key(|(rank, _)| *rank);
        }
        if let Some((_, first)) = chunks.first_mut() {
            first.blank = false;
        }
        Ok((chunks.into_iter().map(|(_, chunk)| chunk).collect(), next))
    }

    /// A block list at its new column, whose first dash is at `first`.
    fn list(
        &self,
        items: &[Value],
        first: Place,
        from: usize,
        column: usize,
        role: Role,
    ) -> Result<(Vec<Chunk>, usize), Refused> {
        let mut chunks = Vec::with_capacity(items.len());
        let mut next = from;
        let below = role.below(self.language, "");
        for (i, item) in items.iter().enumerate() {
            let line = if i == 0 {
                first.line
            } else {
                self.first_word(next)
            };
            let text = self.line(line);
            let rest = from_column(text, first.column).strip_prefix('-');
            let (Some(rest), true) = (rest, i == 0 || indent_of(text) == first.column) else {
                return Err((at(line, indent_of(text)), "a list's dash stands elsewhere"));
            };
            let mut chunk = Chunk::default();
            self.comments(next, line, column, false, &mut chunk)?;
            chunk.blank &= i > 0;
            let opener = Opener {
                line,
                column: first.column,
                words: "-".to_owned(),
                rest,
                dash: true,
            };
            next = self.value(item, &opener, column, below, &mut chunk)?;
            chunks.push(chunk);
        }
        Ok((chunks, next))
    }

    /// The first line from here on that is neither blank nor a comment.
    fn first_word(&self, from: usize) -> usize {
        let mut lines = from..self.end;
        lines
            .find(|line| !is_blank(self.line(*line)) && !is_comment(self.line(*line)))
            .unwrap_or(self.end)
    }

    /// An opener and its value, and the line after it.
    fn value(
        &self,
        value: &Value,
        opener: &Opener<'t>,
        column: usize,
        role: Role,
        chunk: &mut Chunk,
    ) -> Result<usize, Refused> {
        let after = opener.rest.trim_start();
        let here = !after.is_empty() && !after.starts_with('#');
        let first = if here {
            format!("{} {}", opener.words, after)
        } else {
            // Blanks before a comment may line it up with others.
            format!("{}{}", opener.words, opener.rest.trim_end())
        };
        match &value.kind {
            Kind::Empty => {
                chunk.lines.push(spaces(column, first.trim_end()));
                Ok(opener.line + 1)
            }
            Kind::Text => Ok(self.text(value, opener, column, &first, chunk)),
            Kind::BlockScalar => {
                chunk.lines.push(spaces(column, first.trim_end()));
                self.scalar(value, opener, column, chunk)
            }
            Kind::Map(_) | Kind::List(_) => {
                let inner = self.block(value, opener, column + 2, role)?;
                let (mut chunks, next, compact) = inner;
                let end = self.inner_comments(next, opener.column);
                let mut tail = Chunk::default();
                self.comments(next, end, column + 2, false, &mut tail)?;
                if !tail.lines.is_empty() {
                    chunks.push(tail);
                }
                let mut inner = join(chunks);
                chunk.open_ended = inner.open_ended;
                if let (true, [first, second, ..]) = (compact, inner.lines.as_slice())
                    && is_comment(first)
                    && second.is_empty()
                {
                    // A comment beside the dash stands right above what it is about.
                    inner.lines.remove(1);
                }
                match inner.lines.first_mut() {
                    Some(line) if compact => {
                        let words = format!("- {}", line.trim_start());
                        *line = spaces(column, &words);
                    }
                    _ => chunk.lines.push(spaces(column, first.trim_end())),
                }
                chunk.lines.append(&mut inner.lines);
                Ok(end)
            }
        }
    }

    /// A block collection's chunks, the line after it, and whether it begins on its dash's line.
    fn block(
        &self,
        value: &Value,
        opener: &Opener<'t>,
        column: usize,
        role: Role,
    ) -> Result<(Vec<Chunk>, usize, bool), Refused> {
        let after = opener.rest.trim_start();
        let gap = opener.rest.chars().count() - after.chars().count();
        let text = Place {
            line: opener.line,
            column: opener.column + opener.words.chars().count() + gap,
        };
        let nested = after == "-" || after.starts_with("- ") || after.starts_with("-\t");
        match &value.kind {
            Kind::Map(entries) => {
                let same_line = opener.dash && value.begin == text;
                let from = opener.line + usize::from(!same_line);
                let (chunks, next) = self.map(entries, from, column, role)?;
                Ok((chunks, next, same_line || (opener.dash && after.is_empty())))
            }
            Kind::List(items) => {
                let same_line = opener.dash && nested;
                let from = opener.line + usize::from(!same_line);
                let first = if same_line {
                    text
                } else {
                    let line = self.first_word(from);
                    Place {
                        line,
                        column: indent_of(self.line(line)),
                    }
                };
                let (chunks, next) = self.list(items, first, from, column, role)?;
                Ok((chunks, next, same_line || (opener.dash && after.is_empty())))
            }
            Kind::Empty | Kind::Text | Kind::BlockScalar => {
                Ok((Vec::new(), opener.line + 1, false))
            }
        }
    }

    /// A scalar or flow collection: its lines move together.
    fn text(
        &self,
        value: &Value,
        opener: &Opener<'t>,
        column: usize,
        first: &str,
        chunk: &mut Chunk,
    ) -> usize {
        let end = value.end_line.max(opener.line + 1);
        let single = end == opener.line + 1;
        // Blanks may be part of a quoted scalar that goes on.
        chunk.lines.push(spaces(
            column,
            if single { first.trim_end() } else { first },
        ));
        let here = value.begin.line == opener.line;
        let (old, new) = match (here, opener.dash) {
            (true, false) => (opener.column, column),
            (true, true) | (false, _) => (value.begin.column, column + 2),
        };
        for line in opener.line + 1..end {
            let text = self.line(line);
            if is_blank(text) {
                chunk.lines.push(String::new());
                continue;
            }
            let indent = indent_of(text);
            let words = text.get(indent..).unwrap_or_default();
            let words = if line + 1 == end {
                words.trim_end()
            } else {
                words
            };
            let indent = if line < value.begin.line {
                column + 2
            } else {
                (indent + new).saturating_sub(old)
            };
            chunk.lines.push(spaces(indent, words));
        }
        end
    }

    /// The lines of a block scalar, each with what it has beyond the scalar's indentation.
    fn scalar(
        &self,
        value: &Value,
        opener: &Opener<'t>,
        column: usize,
        chunk: &mut Chunk,
    ) -> Result<usize, Refused> {
        let Some(digit) = block_header(opener.rest) else {
            return Err((
                at(opener.line, opener.column),
                "a block scalar's | or > stands on a line of its own",
            ));
        };
        let begin = opener.line + 1;
        let kept = keeps(opener.rest);
        let mut end = value.end_line.max(begin);
        // One that keeps empty lines and has no others: where it ends is not told.
        while kept && value.end_line == 0 && end < self.end && is_blank(self.line(end)) {
            end += 1;
        }
        let text = (begin..end)
            .map(|line| self.line(line))
            .find(|l| !is_blank(l));
        let (old, new) = match (digit, text) {
            (Some(digit), _) => (opener.column + digit, column + digit),
            (None, Some(text)) => (indent_of(text), column + 2),
            (None, None) => (usize::MAX, 0),
        };
        let mut last = end;
        while !kept && last > begin {
            let text = self.line(last - 1);
            if !is_blank(text) || text.len() > old {
                break;
            }
            last -= 1;
        }
        for line in begin..last {
            let text = self.line(line);
            if !is_blank(text) && indent_of(text) < old {
                return Err((
                    at(line, 0),
                    "a block scalar's text stands further out than its first line",
                ));
            }
            chunk
                .lines
                .push(spaces(new, text.get(old..).unwrap_or_default()));
        }
        chunk.open_ended = kept;
        Ok(last)
    }
}
