//! A definition's text as a small tree that remembers where everything stood.
//!
//! Refuses to know what the fields mean.

mod inside;
mod json;
mod yaml;

use std::collections::HashMap;
use std::fmt;

use serde_json::{Number, Value};
use stepwell_types::limits;

use crate::diagnostic::{Report, code};

pub(crate) use inside::{character, inside, variable};

/// A place in the text, both from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Position {
    pub(crate) const START: Position = Position { line: 1, column: 1 };
}

/// One value and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) tree: Tree,
}

/// The six kinds of JSON value.
#[derive(Debug, Clone)]
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(Box<str>),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// One field of an object. Names may repeat until [`parse`] has refused that.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: Box<str>,
    pub(crate) at: Position,
    pub(crate) value: Node,
}

/// Where a node hangs, as a chain on the stack: made into text only on trouble.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pointer<'p> {
    Root,
    Name(&'p Pointer<'p>, &'p str),
    Index(&'p Pointer<'p>, usize),
}

/// A node with its pointer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'p, 't> {
    pub(crate) node: &'t Node,
    pub(crate) pointer: Pointer<'p>,
    /// The field's name when the problem is the field and not its value.
    name_at: Option<Position>,
}

impl<'t> At<'_, 't> {
    pub(crate) fn root(node: &'t Node) -> At<'static, 't> {
        At {
            node,
            pointer: Pointer::Root,
            name_at: None,
        }
    }

    pub(crate) fn position(&self) -> Position {
        self.name_at.unwrap_or(self.node.at)
    }

    /// The member's value.
    pub(crate) fn member<'c>(&'c self, member: &'t Member) -> At<'c, 't> {
        At {
            node: &member.value,
            pointer: Pointer::Name(&self.pointer, &member.name),
            name_at: None,
        }
    }

    /// The member itself, for problems with its name.
    pub(crate) fn member_name<'c>(&'c self, member: &'t Member) -> At<'c, 't> {
        At {
            name_at: Some(member.at),
            ..self.member(member)
        }
    }

    pub(crate) fn element<'c>(&'c self, index: usize, node: &'t Node) -> At<'c, 't> {
        At {
            node,
            pointer: Pointer::Index(&self.pointer, index),
            name_at: None,
        }
    }

    /// The field of this name, if this is an object that has it.
    pub(crate) fn get<'c>(&'c self, name: &str) -> Option<At<'c, 't>> {
        self.members()
            .iter()
            .find(|m| *m.name == *name)
            .map(|m| self.member(m))
    }

    /// The fields, none if this is no object.
    pub(crate) fn members(&self) -> &'t [Member] {
        match &self.node.tree {
            Tree::Object(members) => members,
            _ => &[],
        }
    }

    /// The elements, none if this is no array.
    pub(crate) fn elements(&self) -> &'t [Node] {
        match &self.node.tree {
            Tree::List(items) => items,
            _ => &[],
        }
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pointer::Root => Ok(()),
            Pointer::Name(parent, name) => {
                write!(f, "{parent}/{}", escape(name))
            }
            Pointer::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// A name as a JSON pointer's token.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Node {
    /// The value without places.
    pub(crate) fn value(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(b) => Value::Bool(*b),
            Tree::Number(n) => Value::Number(n.clone()),
            Tree::Text(t) => Value::String(t.to_string()),
            Tree::List(items) => items.iter().map(Node::value).collect(),
            Tree::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|m| (m.name.to_string(), m.value.value()))
                    .collect(),
            ),
        }
    }

    /// The kind, for messages: `a string`, `an object`.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.tree {
            Tree::Null => "null",
            Tree::Bool(_) => "a boolean",
            Tree::Number(_) => "a number",
            Tree::Text(_) => "a string",
            Tree::List(_) => "an array",
            Tree::Object(_) => "an object",
        }
    }
}

/// Reads JSON or YAML, recognised by its first character.
///
/// `None` when no tree could be made; repeated fields are reported as well.
pub(crate) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > limits::DEFINITION_BYTES_MAX {
        report.error_at(
            Position::START,
            String::new(),
            code::TOO_LARGE,
            format!(
                "the definition has {} bytes; at most {} are allowed",
                text.len(),
                limits::DEFINITION_BYTES_MAX
            ),
            Some("move large data out of the definition, or split the flow".to_owned()),
        );
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    report.source = text.into();
    let root = if is_json(text) {
        json::parse(text)
    } else {
        yaml::parse(text)
    };
    match root {
        Ok(root) => {
            duplicates(&At::root(&root), report);
            Some(root)
        }
        Err(mut fault) => {
            let Position { line, column } = fault.at;
            if let Some((name, _)) = crate::substitute::unfilled_at(text, line, column) {
                fault.hint = Some(report.advice.set(name));
            }
            report.error_at(
                fault.at,
                fault.pointer(),
                fault.code,
                fault.message,
                fault.hint,
            );
            None
        }
    }
}

/// Whether a text (without a byte order mark) is read as JSON.
pub(crate) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Reports every field name that occurs twice in its object, with both places.
fn duplicates(at: &At<'_, '_>, report: &mut Report) {
    let members = at.members();
    let mut seen: HashMap<&str, Position> = HashMap::with_capacity(members.len());
    for member in members {
        if let Some(first) = seen.get(&*member.name) {
            report.error(
                &at.member_name(member),
                code::DUPLICATE_FIELD,
                format!(
                    "the field {:?} occurs twice: first at line {}, column {}",
                    member.name, first.line, first.column
                ),
            );
        } else {
            seen.insert(&member.name, member.at);
        }
        duplicates(&at.member(member), report);
    }
    for (index, item) in at.elements().iter().enumerate() {
        duplicates(&at.element(index, item), report);
    }
}

/// Why there is no tree.
#[derive(Debug)]
struct Fault {
    at: Position,
    /// Pointer tokens from the innermost outwards.
    tokens: Vec<String>,
    code: &'static str,
    message: String,
    hint: Option<String>,
}

impl Fault {
    fn new(at: Position, code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            at,
            tokens: Vec::new(),
            code,
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }

    fn too_deep(at: Position) -> Fault {
        Fault::new(
            at,
            code::TOO_DEEP,
            format!(
                "the definition is nested deeper than {} levels",
                limits::JSON_DEPTH_MAX
            ),
        )
    }

    /// Says that the fault lies inside of this field or element.
    fn within(mut self, token: impl fmt::Display) -> Fault {
        self.tokens.push(escape(&token.to_string()));
        self
    }

    fn pointer(&self) -> String {
        self.tokens.iter().rev().fold(String::new(), |mut all, t| {
            all.push('/');
            all.push_str(t);
            all
        })
    }
}
