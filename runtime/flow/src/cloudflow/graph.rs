//! Graphs: the flow, a Parallel's branch, a Map's processor. States are a list here.
//!
//! Finds dangling references, unreachable states, names used twice and missing ends.

use std::collections::HashMap;

use super::Compiler;
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::program::{GraphIdx, StateIdx};
use crate::scope::Scope;

/// How many states the graph at `at` has, nested ones included.
pub(super) fn count(at: &At<'_, '_>) -> usize {
    let Some(states) = at.get("States") else {
        return 0;
    };
    states
        .elements()
        .iter()
        .enumerate()
        .map(|(i, s)| 1 + count_below(&states.element(i, s)))
        .sum()
}

/// How many states are nested in a state.
fn count_below(state: &At<'_, '_>) -> usize {
    let Some(kind) = state.get("Type") else {
        return 0;
    };
    let Tree::Text(kind) = &kind.node.tree else {
        return 0;
    };
    match &**kind {
        "Parallel" => state.get("Branches").map_or(0, |list| {
            let branches = list.elements().iter().enumerate();
            branches.map(|(i, b)| count(&list.element(i, b))).sum()
        }),
        "Map" => state.get("Processor").map_or(0, |p| count(&p)),
        _ => 0,
    }
}

impl<'t> Compiler<'_> {
    /// Compiles `StartAt` and `States` of an object whose first state gets the
    /// index `first`.
    pub(super) fn graph(&mut self, at: &At<'_, 't>, owner: &str, first: u32) -> GraphIdx {
        let index = GraphIdx(u32::try_from(self.graphs.len()).unwrap_or(u32::MAX));
        self.graphs.push(None);
        let start_at = check::required(self.report, at, owner, "StartAt");
        let Some(states) = check::required(self.report, at, owner, "States") else {
            return index;
        };
        if !check::is_filled_list(self.report, &states) {
            return index;
        }
        let (mut scope, indices) = self.scope(&states, first);
        let start = start_at.map(|s| self.target(&s, &mut scope, false));
        for (i, state) in states.elements().iter().enumerate() {
            let at = states.element(i, state);
            scope.current = indices.get(i).copied().unwrap_or(StateIdx(first));
            let around = std::mem::take(&mut self.report.reads);
            let state = self.state(&at, &mut scope);
            let reads = std::mem::replace(&mut self.report.reads, around);
            let current = Some(scope.current);
            self.reads
                .extend(reads.into_iter().map(|read| (current, read)));
            if let Some(slot) = self.states.get_mut(scope.current.0 as usize) {
                *slot = state;
            }
        }
        if !scope.ends && !scope.broken {
            self.report.error_hint(
                &states,
                code::NO_TERMINAL,
                "no state of this graph ends it".to_owned(),
                Some("give a state `End: true`, or add a Succeed or Fail state".to_owned()),
            );
        }
        if let Some(start) = start {
            self.unreachable(&states, &indices, &scope, start);
            let graph = scope.graph(start, &self.states);
            if let Some(slot) = self.graphs.get_mut(index.0 as usize) {
                *slot = Some(graph);
            }
        }
        index
    }

    /// Gives every state of the graph its index, and finds names used twice.
    fn scope(&mut self, states: &At<'_, 't>, first: u32) -> (Scope<'t>, Vec<StateIdx>) {
        let mut by_name = HashMap::with_capacity(states.elements().len());
        let mut indices = Vec::with_capacity(states.elements().len());
        let mut places = HashMap::new();
        let mut next = first;
        let mut unnamed = 0;
        for (i, state) in states.elements().iter().enumerate() {
            let at = states.element(i, state);
            let index = StateIdx(next);
            indices.push(index);
            let below = count_below(&at);
            next = next.saturating_add(u32::try_from(1 + below).unwrap_or(u32::MAX));
            let Some(field) = at.get("Name") else {
                unnamed += 1;
                continue;
            };
            let Tree::Text(name) = &field.node.tree else {
                unnamed += 1;
                continue;
            };
            by_name.entry(&**name).or_insert(index);
            if let Some(line) = places.insert(&**name, field.position().line) {
                self.report.error(
                    &field,
                    code::DUPLICATE_STATE,
                    format!(
                        "the name {:?} is used twice in this list of states: first at line {line}",
                        crate::path::clip(name)
                    ),
                );
            }
        }
        let mut scope = Scope::new(by_name, first);
        scope.unnamed = unnamed;
        (scope, indices)
    }

    /// The state that a text names; `edge`: the current state leads to it.
    pub(super) fn target(
        &mut self,
        at: &At<'_, 't>,
        scope: &mut Scope<'t>,
        edge: bool,
    ) -> StateIdx {
        scope.target(self.report, at, edge, &|_| false)
    }

    fn unreachable(
        &mut self,
        states: &At<'_, 't>,
        indices: &[StateIdx],
        scope: &Scope<'t>,
        start: StateIdx,
    ) {
        if scope.broken {
            return;
        }
        let seen = scope.reached(start);
        let trapped = scope.trapped(start);
        for ((i, state), index) in states.elements().iter().enumerate().zip(indices) {
            let at = states.element(i, state);
            let Some(name) = at.get("Name") else { continue };
            let Tree::Text(text) = &name.node.tree else {
                continue;
            };
            if trapped.contains(index) {
                scope.no_way_out(self.report, &name, text);
            }
            // Of two of one name that was said already.
            let named = scope.by_name.get(&**text) == Some(index);
            if named && !seen.contains(index) {
                self.report.warning(
                    &name,
                    code::UNREACHABLE,
                    format!("nothing leads to the state {text:?}"),
                    None,
                );
            }
        }
    }
}
