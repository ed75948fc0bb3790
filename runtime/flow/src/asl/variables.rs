//! `Assign`: the names of variables, and the scopes in which they may be set.
//!
//! Refuses a name that a scope around has: Step Functions does, so that an inner
//! state never seems to change what it cannot.
//! Source: states-language.net, "Variables".

use std::collections::HashSet;

use super::Compiler;
use crate::diagnostic::code;
use crate::document::At;
use crate::expression::{QueryLanguage, Template};
use crate::program::GraphIdx;

/// Longest name of a variable, in characters.
const NAME_CHARS_MAX: usize = 80;

impl<'t> Compiler<'t, '_> {
    /// The `Assign` of a state, rule or catcher; `prefix`: where that is in its state.
    pub(super) fn assign(&mut self, at: &At<'_, 't>, prefix: &str) -> Option<Template> {
        let field = at.get("Assign")?;
        if !self.is_object(&field) {
            return None;
        }
        for member in field.members() {
            let name = self.variable_name(&member.name);
            let place = field.member_name(member);
            if let Some(why) = bad_name(name) {
                self.report.error_hint(
                    &place,
                    code::BAD_VARIABLE,
                    format!("{:?} cannot be a variable: {why}", crate::path::clip(name)),
                    Some("write a letter or _, then letters, digits or _, at most 80".to_owned()),
                );
            }
            let around = self.scopes.len().saturating_sub(1);
            if self.scopes.iter().take(around).any(|s| s.contains(name)) {
                self.report.error_hint(
                    &place,
                    code::BAD_VARIABLE,
                    format!("the variable {name:?} is assigned around this graph, and cannot be assigned in it"),
                    Some("use another name inside of the Parallel or Map".to_owned()),
                );
            }
        }
        self.template_at(at, "Assign", &format!("{prefix}Assign"))
    }

    /// Compiles a branch or processor: a scope of its own, with the flow's language.
    pub(super) fn inner_graph(&mut self, at: &At<'_, 't>, owner: &str, first: u32) -> GraphIdx {
        let outer = self.language;
        let index = self.graph(at, owner, first);
        self.language = outer;
        index
    }

    /// The names that the states of a graph assign, not those of graphs nested in it.
    pub(super) fn assigned(&self, states: &At<'_, 't>) -> HashSet<&'t str> {
        let mut names = HashSet::new();
        for member in states.members() {
            let state = states.member(member);
            let jsonata = self.is_jsonata(&state);
            let mut add = |at: &At<'_, 't>| names.extend(self::names(at, jsonata));
            add(&state);
            for list in ["Choices", "Catch"] {
                let Some(list) = state.get(list) else {
                    continue;
                };
                for (i, rule) in list.elements().iter().enumerate() {
                    add(&list.element(i, rule));
                }
            }
        }
        names
    }

    fn variable_name(&self, field: &'t str) -> &'t str {
        match self.language {
            QueryLanguage::JsonPath => plain(field),
            QueryLanguage::Jsonata => field,
        }
    }
}

/// The names that the `Assign` of a state, rule or catcher sets.
pub(super) fn names<'t>(at: &At<'_, 't>, jsonata: bool) -> impl Iterator<Item = &'t str> {
    let field = at.get("Assign");
    let members = field.as_ref().map_or(&[][..], At::members);
    members.iter().map(move |member| {
        let name: &'t str = &member.name;
        if jsonata { name } else { plain(name) }
    })
}

/// The name without the `.$` of an expression.
fn plain(field: &str) -> &str {
    field.strip_suffix(".$").unwrap_or(field)
}

fn bad_name(name: &str) -> Option<&'static str> {
    let mut chars = name.chars();
    if !chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') {
        return Some("it does not begin with a letter");
    }
    if !chars.all(|c| c.is_alphanumeric() || c == '_') {
        return Some("it holds more than letters, digits and _");
    }
    if name.chars().count() > NAME_CHARS_MAX {
        return Some("it is too long");
    }
    (name == "states").then_some("that name is reserved")
}
