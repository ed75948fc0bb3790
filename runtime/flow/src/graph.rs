//! A program as a picture: Mermaid, DOT or SVG.
//!
//! Works on the checked program, so that it serves every language that compiles to one.
//! Refuses to show data: a condition or error name that is long is cut.

mod dot;
mod label;
mod layout;
mod mermaid;
mod svg;

use crate::Program;
use crate::program::{GraphIdx, Kind, Next, StateIdx};

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;

/// One end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum End {
    Start,
    State(StateIdx),
    Stop,
}

/// A way from one state to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: End,
    pub(crate) to: End,
    pub(crate) label: String,
    /// It is taken when something failed.
    pub(crate) caught: bool,
}

/// The states of one graph, in the order of the source.
pub(crate) fn states(program: &Program, graph: GraphIdx) -> Vec<StateIdx> {
    let graph = program.graphs.get(graph.0 as usize);
    let mut all: Vec<StateIdx> =
        graph.map_or_else(Vec::new, |g| g.by_name.values().copied().collect());
    all.sort_unstable();
    all
}

/// The ways of one graph, in the order of its states.
pub(crate) fn edges(program: &Program, graph: GraphIdx) -> Vec<Edge> {
    let mut all = Vec::new();
    let Some(start) = program.graphs.get(graph.0 as usize).map(|g| g.start) else {
        return all;
    };
    let mut add = |from, to, label: String, caught| {
        all.push(Edge {
            from,
            to,
            label,
            caught,
        });
    };
    add(End::Start, End::State(start), String::new(), false);
    for index in states(program, graph) {
        let Some(state) = program.states.get(index.0 as usize) else {
            continue;
        };
        let from = End::State(index);
        match (&state.kind, state.next) {
            (Kind::Choice { rules, default }, _) => {
                for rule in rules {
                    add(from, End::State(rule.next), label::test(&rule.test), false);
                }
                if let Some(default) = default {
                    add(from, End::State(*default), "otherwise".to_owned(), false);
                }
            }
            (Kind::Succeed | Kind::Fail { .. }, _) | (_, Next::End) => {
                add(from, End::Stop, String::new(), false);
            }
            (_, Next::State(next)) => add(from, End::State(next), String::new(), false),
            (_, Next::ByKind) => {}
        }
        for rule in &state.catch {
            add(
                from,
                End::State(rule.next),
                label::errors(&rule.errors),
                true,
            );
        }
    }
    all
}

/// The graphs inside of a state, each with its title.
pub(crate) fn inner(program: &Program, state: StateIdx) -> Vec<(String, GraphIdx)> {
    match program.states.get(state.0 as usize).map(|s| &s.kind) {
        Some(Kind::Parallel { branches }) => {
            let numbered = branches.iter().enumerate();
            numbered
                .map(|(i, g)| (format!("branch {}", i + 1), *g))
                .collect()
        }
        Some(Kind::Map(map)) => vec![("for each item".to_owned(), map.processor)],
        _ => Vec::new(),
    }
}

/// Name and kind of a state.
pub(crate) fn names(program: &Program, state: StateIdx) -> (&str, &'static str) {
    let Some(state) = program.states.get(state.0 as usize) else {
        return ("", "");
    };
    let kind = match &state.kind {
        Kind::Task(_) => "Task",
        Kind::Pass { .. } => "Pass",
        Kind::Choice { .. } => "Choice",
        Kind::Parallel { .. } => "Parallel",
        Kind::Map(_) => "Map",
        Kind::Wait(_) => "Wait",
        Kind::Succeed => "Succeed",
        Kind::Fail { .. } => "Fail",
    };
    (&state.name, kind)
}
