//! Graphs: the flow, a Parallel's branch, a Map's processor.
//!
//! Finds dangling references, unreachable states and missing ends.

use std::collections::{HashMap, HashSet};

use super::Compiler;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::program::{GraphIdx, StateIdx};
pub(super) use crate::scope::Scope;

/// Longest state name, in characters.
const NAME_CHARS_MAX: usize = 80;

/// The names under which a state holds graphs of its own.
pub(super) fn nested<'c, 't>(state: &'c At<'_, 't>) -> Option<At<'c, 't>> {
    match state.get("Type").map(|t| &t.node.tree) {
        Some(Tree::Text(kind)) if **kind == *"Parallel" => state.get("Branches"),
        Some(Tree::Text(kind)) if **kind == *"Map" => {
            state.get("ItemProcessor").or_else(|| state.get("Iterator"))
        }
        _ => None,
    }
}

/// How many states the graph at `at` has, nested ones included.
pub(super) fn count(at: &At<'_, '_>, field: &str) -> usize {
    let Some(states) = at.get(field) else {
        return 0;
    };
    states
        .members()
        .iter()
        .map(|m| 1 + count_below(&states.member(m)))
        .sum()
}

/// How many states are nested in a state.
fn count_below(state: &At<'_, '_>) -> usize {
    let Some(inner) = nested(state) else {
        return 0;
    };
    match &inner.node.tree {
        Tree::List(branches) => branches
            .iter()
            .enumerate()
            .map(|(i, b)| count(&inner.element(i, b), "States"))
            .sum(),
        _ => count(&inner, "States"),
    }
}

impl<'t> Compiler<'t, '_> {
    /// Compiles `StartAt` and `States` of an object whose first state gets the
    /// index `first`.
    pub(super) fn graph(&mut self, at: &At<'_, 't>, owner: &str, first: u32) -> GraphIdx {
        let apart = std::mem::take(&mut self.apart);
        self.ways.push(super::ways::Ways::new(apart));
        let index = self.graph_of(at, owner, first);
        self.end_ways();
        index
    }

    fn graph_of(&mut self, at: &At<'_, 't>, owner: &str, first: u32) -> GraphIdx {
        let index = GraphIdx(u32::try_from(self.graphs.len()).unwrap_or(u32::MAX));
        self.graphs.push(None);
        let start_at = self.required(at, owner, "StartAt");
        let Some(states) = self.required(at, owner, "States") else {
            return index;
        };
        if !self.is_object(&states) {
            return index;
        }
        let mut scope = self.scope(&states, first);
        if scope.by_name.is_empty() {
            self.report.error(
                &states,
                code::EMPTY,
                format!("{owner} needs at least one state"),
            );
            return index;
        }
        let start = start_at.map(|s| self.target(&s, &mut scope, false));
        self.scopes.push(self.assigned(&states));
        self.states_of(&states, &mut scope);
        self.scopes.pop();
        if !scope.ends && !scope.broken {
            self.report.error_hint(
                &states,
                code::NO_TERMINAL,
                "no state of this graph ends it".to_owned(),
                Some("give a state \"End\": true, or add a Succeed or Fail state".to_owned()),
            );
        }
        if let Some(start) = start {
            if !scope.broken {
                self.unreachable(&states, &scope, start);
            }
            self.note_ways(&states, &scope, start);
            let graph = scope.graph(start, &self.states);
            if let Some(slot) = self.graphs.get_mut(index.0 as usize) {
                *slot = Some(graph);
            }
        }
        index
    }

    /// Collects the names of all states of a graph and of those nested in it,
    /// and reports those that are used in several graphs.
    pub(super) fn names_of(&mut self, at: &At<'_, 't>) {
        let Some(states) = at.get("States") else {
            return;
        };
        let mut here = HashSet::with_capacity(states.members().len());
        for member in states.members() {
            // Twice in one object was reported with the document.
            if !here.insert(&*member.name) {
                continue;
            }
            if let Some(first) = self.names.get(&*member.name) {
                let place = states.member_name(member);
                let message = format!(
                    "the state name {:?} is used twice in the flow: first at line {}, column {}",
                    member.name, first.line, first.column
                );
                self.report.error(&place, code::DUPLICATE_STATE, message);
            } else {
                self.names.insert(&member.name, member.at);
            }
            let state = states.member(member);
            let Some(inner) = nested(&state) else {
                continue;
            };
            self.names_of(&inner);
            for (i, branch) in inner.elements().iter().enumerate() {
                self.names_of(&inner.element(i, branch));
            }
        }
    }

    /// Gives every state of the graph its index.
    fn scope(&mut self, states: &At<'_, 't>, first: u32) -> Scope<'t> {
        let members = states.members();
        let mut by_name = HashMap::with_capacity(members.len());
        let mut next = first;
        for member in members {
            let place = states.member_name(member);
            let length = member.name.chars().count();
            if length == 0 || length > NAME_CHARS_MAX {
                self.report.error(
                    &place,
                    code::BAD_NAME,
                    format!("a state's name has 1 to {NAME_CHARS_MAX} characters, not {length}"),
                );
            }
            by_name.entry(&*member.name).or_insert(StateIdx(next));
            let below = count_below(&states.member(member));
            next = next.saturating_add(u32::try_from(1 + below).unwrap_or(u32::MAX));
        }
        Scope::new(by_name, first)
    }

    fn states_of(&mut self, states: &At<'_, 't>, scope: &mut Scope<'t>) {
        for member in states.members() {
            if let Some(index) = scope.by_name.get(&*member.name) {
                scope.current = *index;
            }
            if let Some(ways) = self.ways.last_mut() {
                ways.current = Some(scope.current);
            }
            let around = std::mem::take(&mut self.report.reads);
            let state = self.state(&states.member(member), &member.name, scope);
            let reads = std::mem::replace(&mut self.report.reads, around);
            if let Some(ways) = self.ways.last_mut() {
                ways.reads
                    .extend(reads.into_iter().map(|read| (scope.current, read)));
            }
            if let Some(slot) = self.states.get_mut(scope.current.0 as usize) {
                *slot = state;
            }
        }
    }

    /// The state that a text names; `edge`: the current state leads to it.
    pub(super) fn target(
        &mut self,
        at: &At<'_, 't>,
        scope: &mut Scope<'t>,
        edge: bool,
    ) -> StateIdx {
        let names = &self.names;
        scope.target(self.report, at, edge, &|name| names.contains_key(name))
    }

    fn unreachable(&mut self, states: &At<'_, 't>, scope: &Scope<'t>, start: StateIdx) {
        let seen = scope.reached(start);
        for member in states.members() {
            let reached = scope
                .by_name
                .get(&*member.name)
                .is_none_or(|index| seen.contains(index));
            if !reached {
                self.report.warning(
                    &states.member_name(member),
                    code::UNREACHABLE,
                    format!("nothing leads to the state {:?}", member.name),
                    None,
                );
            }
        }
        let trapped = scope.trapped(start);
        for member in states.members() {
            let index = scope.by_name.get(&*member.name);
            if index.is_some_and(|index| trapped.contains(index)) {
                scope.no_way_out(self.report, &states.member_name(member), &member.name);
            }
        }
    }
}
