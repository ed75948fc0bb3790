//! A graph while its states are compiled: names, edges, and what they lead to.
//!
//! Refuses to know how a language writes its states.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::diagnostic::{Report, code};
use crate::document::At;
use crate::program::{Graph, State, StateIdx};
use crate::{check, suggest};

/// Most names among which a misspelt one is looked for.
const SUGGEST_AMONG_MAX: usize = 1_000;

/// A graph while its states are compiled.
pub(crate) struct Scope<'t> {
    pub(crate) by_name: HashMap<&'t str, StateIdx>,
    /// Index of the state that is being compiled.
    pub(crate) current: StateIdx,
    /// From, to.
    pub(crate) edges: Vec<(StateIdx, StateIdx)>,
    /// Whether a state was seen that ends the graph.
    pub(crate) ends: bool,
    /// Those states.
    terminals: Vec<StateIdx>,
    /// Whether a way out of a state could not be followed: what is reachable
    /// is then anybody's guess.
    pub(crate) broken: bool,
    /// How many states have no name that could be read.
    pub(crate) unnamed: usize,
    /// Names that may well be theirs: no state has them.
    missed: HashSet<&'t str>,
    /// What its author calls a state, and the graph.
    words: [&'static str; 2],
}

impl<'t> Scope<'t> {
    /// A scope of these states, of which the first has the index `first`.
    pub(crate) fn new(by_name: HashMap<&'t str, StateIdx>, first: u32) -> Scope<'t> {
        Scope {
            edges: Vec::with_capacity(by_name.len()),
            by_name,
            current: StateIdx(first),
            ends: false,
            terminals: Vec::new(),
            broken: false,
            unnamed: 0,
            missed: HashSet::new(),
            words: ["state", "graph"],
        }
    }

    /// As [`Self::new`], of a list of steps.
    pub(crate) fn of_steps(by_name: HashMap<&'t str, StateIdx>, first: u32) -> Scope<'t> {
        Scope {
            words: ["step", "list of steps"],
            ..Scope::new(by_name, first)
        }
    }

    /// The state that a text names. `edge`: the current state leads to it.
    /// `elsewhere`: whether another graph of the flow has a state of that name.
    pub(crate) fn target(
        &mut self,
        report: &mut Report,
        at: &At<'_, 't>,
        edge: bool,
        elsewhere: &dyn Fn(&str) -> bool,
    ) -> StateIdx {
        let Some(name) = check::text(report, at) else {
            self.broken = true;
            return self.current;
        };
        if let Some(index) = self.by_name.get(name) {
            if edge {
                self.edges.push((self.current, *index));
            }
            return *index;
        }
        self.broken = true;
        if self.missed.contains(name) || self.missed.len() < self.unnamed {
            self.missed.insert(name);
            return self.current;
        }
        let hint = if elsewhere(name) {
            Some("a state of another graph cannot be reached from here".to_owned())
        } else if report.wants_hints() && self.by_name.len() <= SUGGEST_AMONG_MAX {
            suggest::hint(name, self.by_name.keys().copied())
        } else {
            None
        };
        let [state, graph] = self.words;
        report.error_hint(
            at,
            code::UNKNOWN_STATE,
            format!(
                "there is no {state} {:?} in this {graph}",
                crate::path::clip(name)
            ),
            hint,
        );
        self.current
    }

    /// Notes that the current state ends the graph, or may.
    pub(crate) fn end(&mut self) {
        self.ends = true;
        self.terminals.push(self.current);
    }

    /// Where ways from `start` first come to states from which none leads to an end; empty
    /// where the graph has no end at all, which is an error of its own.
    pub(crate) fn trapped(&self, start: StateIdx) -> HashSet<StateIdx> {
        if !self.ends {
            return HashSet::new();
        }
        let backward = self.edges.iter().map(|(from, to)| (*to, *from));
        let ending = closure(backward, self.terminals.clone());
        if self.edges.iter().all(|(from, _)| ending.contains(from)) && ending.contains(&start) {
            return HashSet::new();
        }
        let reached = self.reached(start);
        let into = self.edges.iter().filter(|(from, to)| {
            reached.contains(from) && ending.contains(from) && !ending.contains(to)
        });
        let mut first: HashSet<StateIdx> = into.map(|(_, to)| *to).collect();
        if !ending.contains(&start) {
            first.insert(start);
        }
        first
    }

    /// Warns of a state from which no way leads to an end.
    pub(crate) fn no_way_out(&self, report: &mut Report, at: &At<'_, '_>, name: &str) {
        report.warning(
            at,
            code::NO_WAY_OUT,
            format!("from the {} {name:?} no way leads to an end", self.words[0]),
            Some("it and what follows go round until something fails or time is over; let one of them end, or lead out of the circle".to_owned()),
        );
    }

    /// What the edges lead to from `start`.
    pub(crate) fn reached(&self, start: StateIdx) -> HashSet<StateIdx> {
        closure(self.edges.iter().copied(), vec![start])
    }

    /// The finished graph.
    pub(crate) fn graph(&self, start: StateIdx, states: &[Option<State>]) -> Graph {
        let named = |(name, idx): (&&'t str, &StateIdx)| {
            // One allocation of a name serves the state and the index of names.
            let state = states.get(idx.0 as usize).and_then(Option::as_ref);
            (
                state.map_or_else(|| Arc::from(*name), |s| s.name.clone()),
                *idx,
            )
        };
        Graph {
            start,
            by_name: self.by_name.iter().map(named).collect(),
        }
    }
}

/// What edges lead to from these states, and the states themselves.
fn closure(
    edges: impl Iterator<Item = (StateIdx, StateIdx)>,
    from: Vec<StateIdx>,
) -> HashSet<StateIdx> {
    let mut onward: HashMap<StateIdx, Vec<StateIdx>> = HashMap::new();
    for (from, to) in edges {
        onward.entry(from).or_default().push(to);
    }
    let mut seen: HashSet<StateIdx> = from.iter().copied().collect();
    let mut open = from;
    while let Some(state) = open.pop() {
        // Taking the edges out marks a state as seen.
        for to in onward.remove(&state).unwrap_or_default() {
            if seen.insert(to) {
                open.push(to);
            }
        }
    }
    seen
}
