//! A list of steps: the flow, a branch, an iteration, a branch of a Choice.
//!
//! Finds `goto`s that lead nowhere, names used twice and steps that nothing leads to.

use std::collections::HashMap;
use std::sync::Arc;

use super::Compiler;
use crate::check;
use crate::diagnostic::code;
use crate::document::{At, Tree};
use crate::fdl::FlowMappings;
use crate::program::{GraphIdx, Next, StateIdx};
use crate::scope::Scope;

/// A list while its steps are compiled.
pub(super) struct Steps<'t, 's> {
    pub(super) scope: Scope<'t>,
    /// Where the current step leads when it says nothing.
    pub(super) after: Next,
    /// The flow's own mappings, if this is the flow's own list.
    pub(super) flow: Option<&'s Arc<FlowMappings>>,
}

impl<'t> Compiler<'_> {
    /// Compiles a list of steps into a graph of its own.
    pub(super) fn list(&mut self, list: &At<'_, 't>, flow: Option<&Arc<FlowMappings>>) -> GraphIdx {
        let graph = GraphIdx(u32::try_from(self.graphs.len()).unwrap_or(u32::MAX));
        self.graphs.push(None);
        if !check::is_filled_list(self.report, list) {
            return graph;
        }
        let mut by_name = HashMap::with_capacity(list.elements().len());
        let mut indices = Vec::with_capacity(list.elements().len());
        let mut places = HashMap::new();
        let mut unnamed = 0;
        for (i, step) in list.elements().iter().enumerate() {
            let at = list.element(i, step);
            let index = self.slot(&at);
            indices.push(index);
            let Some(field) = at.get("name") else {
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
                        "the name {:?} is used twice in this list of steps: first at line {line}",
                        crate::path::clip(name)
                    ),
                );
            }
        }
        let first = indices.first().copied().unwrap_or(StateIdx(0));
        let mut steps = Steps {
            scope: Scope::of_steps(by_name, first.0),
            after: Next::End,
            flow,
        };
        steps.scope.unnamed = unnamed;
        for (i, step) in list.elements().iter().enumerate() {
            let at = list.element(i, step);
            let Some(index) = indices.get(i) else {
                continue;
            };
            steps.scope.current = *index;
            steps.after = indices.get(i + 1).map_or(Next::End, |n| Next::State(*n));
            let around = std::mem::take(&mut self.report.reads);
            let state = self.step(&at, &mut steps);
            let reads = std::mem::replace(&mut self.report.reads, around);
            self.reads
                .extend(reads.into_iter().map(|read| (Some(*index), read)));
            self.put(*index, state);
        }
        if !steps.scope.ends && !steps.scope.broken {
            self.report.error_hint(
                list,
                code::NO_TERMINAL,
                "no step of this list ends it".to_owned(),
                Some("give a step end: true, or add a succeed or fail step".to_owned()),
            );
        }
        self.unreachable(list, &indices, &steps.scope, first);
        let finished = steps.scope.graph(first, &self.states);
        if let Some(slot) = self.graphs.get_mut(graph.0 as usize) {
            *slot = Some(finished);
        }
        graph
    }

    /// The step that a `goto` names.
    pub(super) fn target(&mut self, at: &At<'_, 't>, scope: &mut Scope<'t>) -> StateIdx {
        scope.target(self.report, at, true, &|_| false)
    }

    fn unreachable(
        &mut self,
        list: &At<'_, 't>,
        indices: &[StateIdx],
        scope: &Scope<'t>,
        first: StateIdx,
    ) {
        if scope.broken {
            return;
        }
        let seen = scope.reached(first);
        let trapped = scope.trapped(first);
        for ((i, step), index) in list.elements().iter().enumerate().zip(indices) {
            let at = list.element(i, step);
            let Some(name) = at.get("name") else { continue };
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
                    format!("nothing leads to the step {text:?}"),
                    None,
                );
            }
        }
    }
}
