//! A YAML text's outline: which block collection begins where, and which lines each value fills.
//!
//! Made from the events of the parser that reads definitions; comments and blanks lie between
//! what it names. Refuses nothing: the text was read before.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// A place: line from 0, column from 0 in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// A value.
#[derive(Debug)]
pub(super) struct Value {
    /// Where its text begins: for a block collection its first key or element.
    pub(super) begin: Place,
    /// The first line after it (for a block collection: after its last value).
    pub(super) end_line: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Nothing is written.
    Empty,
    /// A plain or quoted scalar, an alias, or a flow collection: text that keeps its words.
    Text,
    /// A block scalar: the place is that of its content.
    BlockScalar,
    Map(Vec<Entry>),
    List(Vec<Value>),
}

/// A field of a block mapping.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) key: Place,
    /// The column after the key, on the same line.
    pub(super) key_end: usize,
    pub(super) value: Value,
}

/// A document's outline.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) root: Value,
    /// Character ranges of all scalars: what looks like a comment within is none.
    pub(super) scalars: Vec<(usize, usize)>,
    /// Whether a value is used in a second place.
    pub(super) aliases: bool,
    /// The line of `...`, where the document ends before the text does.
    pub(super) document_end: Option<usize>,
}

/// Reads the outline; `None` if the parser stops.
pub(super) fn read(text: &str) -> Option<Outline> {
    let mut open: Vec<Open> = Vec::new();
    let mut outline = Outline {
        root: Value {
            begin: Place { line: 0, column: 0 },
            end_line: 0,
            kind: Kind::Empty,
        },
        scalars: Vec::new(),
        aliases: false,
        document_end: None,
    };
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.ok()?;
        let done = match event {
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                open.push(Open {
                    begin: place(&span.start),
                    map: matches!(event, Event::MappingStart(..)),
                    key: None,
                    entries: Vec::new(),
                    items: Vec::new(),
                });
                continue;
            }
            Event::MappingEnd | Event::SequenceEnd => open.pop()?.close(&span),
            Event::Scalar(content, style, ..) => {
                outline.scalars.push((span.start.index(), span.end.index()));
                if let Some(Open {
                    map: true,
                    key: key @ None,
                    ..
                }) = open.last_mut()
                {
                    *key = Some((content.into_owned(), span));
                    continue;
                }
                scalar(style, &span)
            }
            Event::Alias(_) => {
                outline.aliases = true;
                if let Some(Open {
                    map: true,
                    key: key @ None,
                    ..
                }) = open.last_mut()
                {
                    *key = Some((String::new(), span));
                    continue;
                }
                scalar(ScalarStyle::Plain, &span)
            }
            Event::DocumentEnd if !span.is_empty() => {
                outline.document_end = Some(place(&span.start).line);
                continue;
            }
            _ => continue,
        };
        match open.last_mut() {
            Some(around) => around.add(done),
            None => outline.root = done,
        }
    }
    Some(outline)
}

/// A collection that is not closed yet.
struct Open {
    begin: Place,
    map: bool,
    key: Option<(String, Span)>,
    entries: Vec<Entry>,
    items: Vec<Value>,
}

impl Open {
    fn add(&mut self, value: Value) {
        if !self.map {
            self.items.push(value);
        } else if let Some((name, span)) = self.key.take() {
            self.entries.push(Entry {
                name,
                key: place(&span.start),
                key_end: place(&span.end).column,
                value,
            });
        }
    }

    fn close(self, span: &Span) -> Value {
        // A flow collection's end is a bracket, a block collection's is nothing.
        let flow = !span.is_empty();
        let last = if self.map {
            let last = self.entries.last();
            last.map(|e| e.value.end_line.max(e.key.line + 1))
        } else {
            self.items.last().map(|i| i.end_line)
        };
        let begin = match self.entries.first() {
            Some(entry) if !flow => entry.key,
            _ => self.begin,
        };
        Value {
            begin,
            end_line: if flow {
                place(&span.end).line + 1
            } else {
                last.unwrap_or(self.begin.line + 1)
            },
            kind: if flow {
                Kind::Text
            } else if self.map {
                Kind::Map(self.entries)
            } else {
                Kind::List(self.items)
            },
        }
    }
}

fn scalar(style: ScalarStyle, span: &Span) -> Value {
    let (begin, end) = (place(&span.start), place(&span.end));
    let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
    // A block scalar ends before the next word, which stands further out.
    let before_word = block && end.column <= begin.column;
    let after = end.line + usize::from(!before_word);
    Value {
        begin,
        // Where a missing value lies is chance: its key or dash says the line.
        end_line: if span.is_empty() { 0 } else { after },
        kind: match (block, span.is_empty()) {
            (true, _) => Kind::BlockScalar,
            (false, true) => Kind::Empty,
            (false, false) => Kind::Text,
        },
    }
}

fn place(marker: &Marker) -> Place {
    Place {
        line: marker.line().saturating_sub(1),
        column: marker.col(),
    }
}
