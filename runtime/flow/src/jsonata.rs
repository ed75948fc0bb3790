//! JSONata: from the text between `{%` and `%}` to a parsed tree.
//!
//! Refuses to evaluate.
//! Source: docs.jsonata.org; states-language.net, "JSONata".

mod free;
mod meter;
mod needs;
mod notes;
mod place;
mod regex;
mod sorted;
mod value;
mod walk;

use std::sync::OnceLock;

use jsonata_core::ast::AstNode;
use jsonata_core::parser::{self, ParserError};

use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::expression::Jsonata;
use crate::given;
use crate::path::Patterns;

/// Longest expression, in bytes.
const SOURCE_BYTES_MAX: usize = 65_536;

/// What stands between the marks, if the text is an expression.
pub(crate) fn marked(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("{%")?.strip_suffix("%}")?;
    Some(inner.trim())
}

/// Reports a string that has one of the marks only: Step Functions takes it for a slip.
pub(crate) fn half_marked(at: &At<'_, '_>, text: &str, report: &mut Report) {
    if text.starts_with("{%") && text.trim_end().ends_with("%}") {
        report.error_hint(
            at,
            code::BAD_JSONATA,
            "after the mark %} the string goes on with a blank or line break".to_owned(),
            Some("nothing may stand around {% … %}; in YAML `|` and `>` add a line break, and `|-` and `>-` don't".to_owned()),
        );
    } else if text.starts_with("{%") || text.ends_with("%}") {
        report.error_hint(
            at,
            code::BAD_JSONATA,
            format!(
                "the string {:?} is marked as a JSONata expression at one end only",
                crate::path::clip(text)
            ),
            Some("write \"{% expression %}\", without anything around it".to_owned()),
        );
    }
}

/// Parses an expression; what is wrong is reported at its string.
pub(crate) fn compile(
    at: &At<'_, '_>,
    source: &str,
    location: &str,
    report: &mut Report,
) -> Jsonata {
    let tree = if source.len() > SOURCE_BYTES_MAX {
        report.error(
            at,
            code::BAD_JSONATA,
            format!(
                "the expression has {} bytes; at most {SOURCE_BYTES_MAX} are allowed",
                source.len()
            ),
        );
        AstNode::Null
    } else {
        match parser::parse(source) {
            Ok(mut tree) => {
                sorted::rebind(&mut tree);
                for fault in regex::translate(&mut tree, &report.patterns) {
                    report.error_hint(at, code::BAD_JSONATA, fault.said, fault.hint);
                }
                tree
            }
            Err(error) => {
                let offset = report.wants_hints().then(|| place::of(at, source, &error));
                report.error_inside(
                    at,
                    offset.flatten(),
                    code::BAD_JSONATA,
                    format!(
                        "the JSONata expression {:?} cannot be read: {}",
                        crate::path::clip(source),
                        said(&error).chars().take(300).collect::<String>()
                    ),
                    hint(source),
                );
                AstNode::Null
            }
        }
    };
    for name in free::of(&tree) {
        report.read(at, &name);
    }
    for name in free::calls(&tree) {
        given::check_function(at, &name, report);
    }
    for name in free::without_context(&tree) {
        given::check_unqualified(at, &name, report);
    }
    for path in free::below_states(&tree) {
        let names: Vec<_> = path.iter().map(String::as_str).collect();
        given::check_states(at, &names, location, report);
    }
    Jsonata {
        source: source.into(),
        location: location.into(),
        needs: needs::of(&tree),
        plain: plain(&tree),
        tree: meter::instrument(tree),
        noted: OnceLock::new(),
    }
}

impl Jsonata {
    /// The tree once more, in a form that notes what it does by the functions of
    /// [`crate::expression::notes`]: for the words of an error. Made when it is first asked
    /// for, and once: it takes as long as to compile the expression.
    #[must_use]
    pub fn noting(&self) -> Option<&AstNode> {
        let made = self.noted.get_or_init(|| {
            let mut tree = parser::parse(&self.source).ok()?;
            sorted::rebind(&mut tree);
            // What could be said of them was said when it was compiled.
            let _ = regex::translate(&mut tree, &Patterns::default());
            notes::add(&mut tree);
            Some(meter::instrument(tree))
        });
        made.as_ref()
    }
}

/// What the parser says, with the code and words of JSONata's own where it has none.
fn said(error: &ParserError) -> String {
    match error {
        ParserError::UnclosedComment => "S0106: Comment has no closing tag".to_owned(),
        other => other.display_message(),
    }
}

/// The names of a plain path `$a.b.c`; of anything else, `None`.
fn plain(tree: &AstNode) -> Option<Vec<Box<str>>> {
    let steps = match tree {
        AstNode::Variable(name) if !name.is_empty() => return Some(vec![name.as_str().into()]),
        AstNode::Path { steps } => steps,
        _ => return None,
    };
    let names = steps.iter().enumerate().map(|(i, step)| {
        let bare = step.stages.is_empty()
            && step.focus.is_none()
            && step.index_var.is_none()
            && step.ancestor_label.is_none()
            && !step.is_tuple;
        match &step.node {
            AstNode::Variable(name) if i == 0 && bare && !name.is_empty() => Some(name),
            AstNode::Name(name) if i > 0 && bare => Some(name),
            _ => None,
        }
    });
    names.map(|name| Some(name?.as_str().into())).collect()
}

/// For what people write who come from JSONPath.
fn hint(source: &str) -> Option<String> {
    let has = |text: &str| source.contains(text);
    let said = if has("[?") || has("@.") {
        "this looks like JSONPath: its filter [?(@.a > 1)] is [a > 1] in JSONata"
    } else if source.starts_with("$$.") {
        "this looks like JSONPath: the Context object is $states.context in JSONata"
    } else if has("..") && !has("[") {
        "this looks like JSONPath: its $..a is **.a in JSONata"
    } else if has("[*]") {
        "this looks like JSONPath: a path of JSONata goes through arrays by itself, without [*]"
    } else if has("States.") {
        "this looks like JSONPath: its intrinsic functions have others in their place in JSONata, such as $sum and $uuid"
    } else if source.starts_with("$.") {
        "the state's input is $states.input in JSONata"
    } else if has("==") {
        "equality is = in JSONata"
    } else if has("&&") || has("||") {
        "in JSONata && is and, and || is or"
    } else {
        return None;
    };
    Some(said.to_owned())
}
