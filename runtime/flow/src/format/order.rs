//! In which order the fields of a flow stand: what a reader asks first comes first,
//! where it goes next comes last, and all between stays as its author put it.
//!
//! Refuses to order data: `Parameters`, `Result` and all that a flow passes on keep their order.

use crate::document::{Node, Position, Tree};

/// Which of the three languages a definition is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Asl,
    CloudFlow,
    Steps,
}

impl Language {
    pub(super) fn of(root: &Node) -> Language {
        if crate::steps::is(root) {
            Language::Steps
        } else if crate::cloudflow::is(root) {
            Language::CloudFlow
        } else {
            Language::Asl
        }
    }
}

/// What an object or a list is for in its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// The flow, or a flow within it: a branch, a processor.
    Graph,
    /// Its states: an object in ASL, a list elsewhere. In their author's order.
    States,
    State,
    /// A list of graphs or of rules: CloudFlow calls both `Branches`.
    Parts,
    /// A rule of a Choice.
    Rule,
    /// A list of retriers or catchers.
    Handlers,
    Handler,
    /// Whatever the flow only passes on.
    Data,
}

impl Role {
    /// The role of a field's value, or of an element when `name` is empty.
    pub(super) fn below(self, language: Language, name: &str) -> Role {
        match (self, name) {
            (Role::Graph, "States" | "steps") => Role::States,
            (Role::States, _) => Role::State,
            (Role::Handlers, _) => Role::Handler,
            (Role::Parts, _) => Role::Rule,
            (Role::State, "Retry" | "Catch" | "retry" | "catch") => Role::Handlers,
            (Role::State, "Branches" | "branches" | "Choices" | "choices")
            | (Role::Rule, "And" | "Or") => Role::Parts,
            (Role::State, "ItemProcessor" | "Iterator" | "Processor") => Role::Graph,
            (Role::Rule, "States") => Role::States,
            (Role::State | Role::Rule, "steps") if language == Language::Steps => Role::States,
            (Role::State, "default") | (Role::Rule, "Not") => Role::Rule,
            _ => Role::Data,
        }
    }

    /// Fields that stand first, and those that stand last, each in this order.
    fn ends(self, language: Language) -> (&'static [&'static str], &'static [&'static str]) {
        match (self, language) {
            (Role::Graph, Language::Asl) => (
                &[
                    "Comment",
                    "Version",
                    "QueryLanguage",
                    "ProcessorConfig",
                    "StartAt",
                    "TimeoutSeconds",
                ],
                &["States"],
            ),
            (Role::Graph, Language::CloudFlow) => (
                &["Type", "SpecVersion", "Name", "Description", "StartAt"],
                &["States"],
            ),
            (Role::Graph, Language::Steps) => {
                (&["version", "type", "name", "description"], &["steps"])
            }
            (Role::State, Language::Asl) => (
                &["Type", "Comment", "QueryLanguage"],
                &["Retry", "Catch", "Default", "Next", "End"],
            ),
            (Role::State, Language::CloudFlow) => (
                &["Type", "Name", "Description"],
                &["Retry", "Catch", "Default", "Next", "End"],
            ),
            (Role::State, Language::Steps) => (
                &["type", "name", "description"],
                &["retry", "catch", "steps", "default", "end"],
            ),
            // A branch of a Parallel is a rule here: both lists have the same name.
            (Role::Rule, Language::Asl) => (
                &["Comment", "ProcessorConfig", "StartAt"],
                &["States", "Next"],
            ),
            (Role::Rule, Language::CloudFlow) => (
                &["Condition", "Description", "StartAt"],
                &["States", "Next"],
            ),
            (Role::Rule, Language::Steps) => (&["condition"], &["steps", "goto"]),
            (Role::Handler, Language::Asl) => (&["Comment", "ErrorEquals"], &["Next"]),
            (Role::Handler, Language::CloudFlow) => (&["Errors", "Description"], &["Next"]),
            (Role::Handler, Language::Steps) => (&["errors"], &["goto"]),
            (Role::States | Role::Parts | Role::Handlers | Role::Data, _) => (&[], &[]),
        }
    }

    /// Where a field belongs: sorting stably by this puts all in order.
    pub(super) fn rank(self, language: Language, name: &str) -> usize {
        let (first, last) = self.ends(language);
        let place = |names: &[&str]| names.iter().position(|n| *n == name);
        match (place(first), place(last)) {
            (Some(i), _) => i,
            (None, None) => first.len(),
            (None, Some(i)) => first.len() + 1 + i,
        }
    }
}

/// Where the second tree differs first, but for the order of fields and the places; the place
/// is that in the first.
pub(super) fn difference(a: &Node, b: &Node) -> Option<Position> {
    let equal = match (&a.tree, &b.tree) {
        (Tree::List(x), Tree::List(y)) if x.len() == y.len() => {
            return x.iter().zip(y).find_map(|(x, y)| difference(x, y));
        }
        (Tree::Object(x), Tree::Object(y)) if x.len() == y.len() => {
            let mut x: Vec<_> = x.iter().collect();
            let mut y: Vec<_> = y.iter().collect();
            x.sort_by(|p, q| p.name.cmp(&q.name));
            y.sort_by(|p, q| p.name.cmp(&q.name));
            return x.iter().zip(&y).find_map(|(p, q)| {
                if p.name == q.name {
                    difference(&p.value, &q.value)
                } else {
                    Some(p.at)
                }
            });
        }
        (Tree::Text(x), Tree::Text(y)) => x == y,
        (Tree::Number(x), Tree::Number(y)) => x == y,
        (Tree::Bool(x), Tree::Bool(y)) => x == y,
        (Tree::Null, Tree::Null) => true,
        _ => false,
    };
    (!equal).then_some(a.at)
}
