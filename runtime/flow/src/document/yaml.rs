//! YAML (core schema of YAML 1.2) into the spanned tree.
//!
//! Refuses several documents, tags of its own, keys that are no scalars, merge
//! keys, and aliases that expand to more than a bounded amount.

mod slip;

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use serde_json::Number;
use stepwell_types::limits::JSON_DEPTH_MAX;

use super::{Fault, Member, Node, Position, Tree};
use crate::diagnostic::code;

/// Most that anchors and aliases may copy in one document, in bytes: each node
/// counts 32 and its text. Stops "billion laughs".
const COPY_BYTES_MAX: usize = 4 << 20;

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|e| {
            let at = position(e.marker());
            if e.info().contains("recursion limit") {
                return Fault::too_deep(at);
            }
            let fault = |at| Fault::new(at, code::SYNTAX, sentence(e.info()));
            match slip::of(text, at, e.info()) {
                Some((at, hint)) => fault(at).hint(hint),
                None => fault(at),
            }
        })?;
        builder
            .event(event, position(&span.start))
            .map_err(|f| builder.locate(f))?;
    }
    builder
        .root
        .map(|b| b.node)
        .ok_or_else(|| Fault::new(Position::START, code::SYNTAX, "the definition is empty"))
}

fn position(marker: &Marker) -> Position {
    Position {
        line: u32::try_from(marker.line()).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(marker.col())
            .unwrap_or(u32::MAX)
            .saturating_add(1),
    }
}

fn sentence(info: &str) -> String {
    format!("not readable as YAML: {info}")
}

/// A finished node with what copying it would cost.
#[derive(Clone)]
struct Built {
    node: Node,
    weight: usize,
    /// Levels of nesting, 0 for a scalar.
    height: usize,
}

impl Built {
    fn scalar(node: Node, length: usize) -> Built {
        Built {
            node,
            weight: 32 + length,
            height: 0,
        }
    }
}

/// A list or object that is still open.
struct Frame {
    at: Position,
    anchor: usize,
    weight: usize,
    height: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Object(Vec<Member>, Option<(Box<str>, Position)>),
}

#[derive(Default)]
struct Builder {
    open: Vec<Frame>,
    root: Option<Built>,
    anchors: HashMap<usize, Built>,
    documents: usize,
    copied: usize,
}

impl Builder {
    fn event(&mut self, event: Event<'_>, at: Position) -> Result<(), Fault> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(refuse(at, "the text holds more than one YAML document")
                        .hint("put one flow in a file"));
                }
                Ok(())
            }
            Event::Alias(id) => self.alias(id, at),
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), at)
            }
            Event::SequenceStart(anchor, tag) => {
                core_tag(tag.as_deref(), &["seq"], at)?;
                self.begin(Content::List(Vec::new()), anchor, at)
            }
            Event::MappingStart(anchor, tag) => {
                core_tag(tag.as_deref(), &["map"], at)?;
                self.begin(Content::Object(Vec::new(), None), anchor, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, content: Content, anchor: usize, at: Position) -> Result<(), Fault> {
        if self.awaits_key() {
            return Err(refuse(
                at,
                "a key is a list or a mapping; JSON has only text keys",
            ));
        }
        if self.open.len() >= JSON_DEPTH_MAX {
            return Err(Fault::too_deep(at));
        }
        self.open.push(Frame {
            at,
            anchor,
            weight: 32,
            height: 0,
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        let tree = match frame.content {
            Content::List(items) => Tree::List(items),
            Content::Object(members, _) => Tree::Object(members),
        };
        let built = Built {
            node: Node { at: frame.at, tree },
            weight: frame.weight,
            height: frame.height + 1,
        };
        self.finish(built, frame.anchor)
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.open.last().map(|f| &f.content),
            Some(Content::Object(_, None))
        )
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(), Fault> {
        let plain = style == ScalarStyle::Plain;
        if self.awaits_key() {
            if plain && text == "<<" {
                return Err(refuse(at, "merge keys (<<) are not part of YAML 1.2")
                    .hint("write the fields out, or quote the key if it is meant as text"));
            }
            if plain && text.is_empty() {
                return Err(refuse(at, "a key is missing before the colon"));
            }
        }
        let tree = typed(text, plain, tag, at)?;
        if self.awaits_key() && anchor == 0 {
            // `200:` and `yes:` are the keys "200" and "yes".
            return self.key(text.into(), at);
        }
        self.finish(Built::scalar(Node { at, tree }, text.len()), anchor)
    }

    fn key(&mut self, name: Box<str>, at: Position) -> Result<(), Fault> {
        if let Some(Frame {
            content: Content::Object(_, key),
            weight,
            ..
        }) = self.open.last_mut()
        {
            *weight += 32 + name.len();
            *key = Some((name, at));
        }
        Ok(())
    }

    fn alias(&mut self, id: usize, at: Position) -> Result<(), Fault> {
        let Some(built) = self.anchors.get(&id) else {
            return Err(refuse(at, "an alias refers to a value that contains it"));
        };
        self.copied += built.weight;
        if self.copied > COPY_BYTES_MAX {
            return Err(too_much(at));
        }
        let mut copy = built.clone();
        // Problems inside of it are shown where it is used, next to the alias.
        copy.node.at = at;
        self.finish(copy, 0)
    }

    /// Puts a finished value where it belongs.
    fn finish(&mut self, built: Built, anchor: usize) -> Result<(), Fault> {
        let at = built.node.at;
        if self.open.len() + built.height > JSON_DEPTH_MAX {
            return Err(Fault::too_deep(at));
        }
        if anchor != 0 {
            self.copied += built.weight;
            if self.copied > COPY_BYTES_MAX {
                return Err(too_much(at));
            }
            self.anchors.insert(anchor, built.clone());
        }
        if self.awaits_key() {
            let Tree::Text(name) = built.node.tree else {
                return Err(refuse(at, "a key is not text"));
            };
            return self.key(name, at);
        }
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(built);
            return Ok(());
        };
        frame.weight += built.weight;
        frame.height = frame.height.max(built.height);
        match &mut frame.content {
            Content::List(items) => items.push(built.node),
            Content::Object(members, key) => {
                if let Some((name, at)) = key.take() {
                    members.push(Member {
                        name,
                        at,
                        value: built.node,
                    });
                }
            }
        }
        Ok(())
    }

    /// Adds the pointer of what is open to a fault.
    fn locate(&self, mut fault: Fault) -> Fault {
        for frame in self.open.iter().rev() {
            match &frame.content {
                Content::List(items) => fault = fault.within(items.len()),
                Content::Object(_, Some((name, _))) => fault = fault.within(name),
                Content::Object(_, None) => {}
            }
        }
        fault
    }
}

fn refuse(at: Position, message: &str) -> Fault {
    Fault::new(at, code::YAML, message)
}

fn too_much(at: Position) -> Fault {
    Fault::new(
        at,
        code::TOO_DEEP,
        "the anchors and aliases expand to more than 4 MiB",
    )
}

/// Refuses a tag that is not one of the core schema's `allowed`.
fn core_tag(tag: Option<&Tag>, allowed: &[&str], at: Position) -> Result<(), Fault> {
    match tag {
        None => Ok(()),
        Some(t) if t.is_yaml_core_schema() && allowed.contains(&t.suffix.as_str()) => Ok(()),
        Some(t) => Err(refuse(at, &format!("the tag {t} has no meaning in a flow"))
            .hint("a template tag such as !Sub or !GetAtt must be resolved before publishing")),
    }
}

/// A scalar by the core schema.
/// Source: yaml.org/spec/1.2.2, 10.3.2.
fn typed(text: &str, plain: bool, tag: Option<&Tag>, at: Position) -> Result<Tree, Fault> {
    core_tag(tag, &["str", "int", "float", "bool", "null"], at)?;
    match tag.map(|t| t.suffix.as_str()) {
        Some("str") => Ok(Tree::Text(text.into())),
        Some(wanted) => {
            let tree = resolve(text, at)?;
            let fits = match &tree {
                Tree::Null => wanted == "null",
                Tree::Bool(_) => wanted == "bool",
                Tree::Number(n) => wanted == "float" || (wanted == "int" && !n.is_f64()),
                _ => false,
            };
            if fits {
                Ok(tree)
            } else {
                Err(refuse(
                    at,
                    &format!("{text:?} does not fit its tag !!{wanted}"),
                ))
            }
        }
        None if plain => resolve(text, at),
        None => Ok(Tree::Text(text.into())),
    }
}

fn resolve(text: &str, at: Position) -> Result<Tree, Fault> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let tree = match text {
        "" | "~" | "null" | "Null" | "NULL" => Tree::Null,
        "true" | "True" | "TRUE" => Tree::Bool(true),
        "false" | "False" | "FALSE" => Tree::Bool(false),
        _ if is_special_float(text, digits) => {
            return Err(refuse(at, &format!("JSON has no number {text}")));
        }
        _ => match number(text, digits) {
            Some(number) => Tree::Number(number),
            None => Tree::Text(text.into()),
        },
    };
    Ok(tree)
}

fn is_special_float(text: &str, digits: &str) -> bool {
    matches!(digits, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN")
}

/// A number of the core schema; what is none of its forms is text.
fn number(text: &str, digits: &str) -> Option<Number> {
    let radix = |prefix: &str, radix: u32| {
        let rest = text.strip_prefix(prefix)?;
        let valid = !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix));
        valid
            .then(|| u64::from_str_radix(rest, radix).ok())
            .flatten()
    };
    if let Some(n) = radix("0o", 8).or_else(|| radix("0x", 16)) {
        return Some(n.into());
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        if let Ok(n) = unsigned.parse::<i64>() {
            return Some(n.into());
        }
        if let Ok(n) = unsigned.parse::<u64>() {
            return Some(n.into());
        }
    }
    let form = digits
        .bytes()
        .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = if form {
        text.parse().ok()?
    } else {
        return None;
    };
    Number::from_f64(number)
}
