//! Variables along the ways through a flow: what is set when a state reads it.
//!
//! A name that no way sets, or that some ways leave out, is a warning: Step Functions takes such
//! a flow and fails it when it gets there. Refuses to follow values: only names count, and every
//! edge may be taken.

use std::collections::{HashMap, HashSet};

use super::Compiler;
use crate::diagnostic::{Read, code};
use crate::document::{At, Tree};
use crate::expression::QueryLanguage;
use crate::program::StateIdx;
use crate::scope::Scope;
use crate::suggest;

/// Most edges times names that are looked at: beyond it, a flow is not checked for this.
const STEPS_MAX: usize = 20_000_000;

/// What a graph says about variables.
#[derive(Default)]
pub(super) struct Ways<'t> {
    start: Option<StateIdx>,
    /// The state that is being compiled.
    pub(super) current: Option<StateIdx>,
    edges: Vec<Edge<'t>>,
    pub(super) reads: Vec<(StateIdx, Read)>,
    /// Graphs within a state, and whether they see the variables around them.
    inner: Vec<(StateIdx, bool, Ways<'t>)>,
    /// A way could not be followed.
    broken: bool,
}

struct Edge<'t> {
    from: StateIdx,
    to: StateIdx,
    sets: Vec<&'t str>,
}

/// Whether a name may be without a value at a place, and whether it may have one.
#[derive(Clone, Copy)]
struct May {
    lack: bool,
    have: bool,
}

impl<'t> Compiler<'t, '_> {
    /// Notes what leads where in a graph, and what is set on the way.
    pub(super) fn note_ways(&mut self, states: &At<'_, 't>, scope: &Scope<'t>, start: StateIdx) {
        let mut edges = Vec::new();
        for member in states.members() {
            let Some(from) = scope.by_name.get(&*member.name).copied() else {
                continue;
            };
            let state = states.member(member);
            let jsonata = self.is_jsonata(&state);
            let mut add = |at: &At<'_, 't>, field: &str| {
                if let Some(target) = at.get(field)
                    && let Tree::Text(name) = &target.node.tree
                    && let Some(to) = scope.by_name.get(&**name).copied()
                {
                    let sets = super::variables::names(at, jsonata).collect();
                    edges.push(Edge { from, to, sets });
                }
            };
            add(&state, "Next");
            add(&state, "Default");
            for list in ["Choices", "Catch"] {
                let Some(list) = state.get(list) else {
                    continue;
                };
                for (i, rule) in list.elements().iter().enumerate() {
                    add(&list.element(i, rule), "Next");
                }
            }
        }
        if let Some(ways) = self.ways.last_mut() {
            ways.edges = edges;
            ways.start = Some(start);
            ways.broken |= scope.broken;
        }
    }

    /// Ends the notes of a graph; `at` is the object that has `States`.
    pub(super) fn end_ways(&mut self, at: &At<'_, 't>) {
        let Some(ways) = self.ways.pop() else { return };
        let Some(around) = self.ways.last_mut() else {
            self.check_reads(&ways);
            return;
        };
        around.broken |= ways.broken || ways.start.is_none();
        if let Some(state) = around.current {
            around.inner.push((state, !distributed(at), ways));
        }
    }

    pub(super) fn is_jsonata(&self, state: &At<'_, 't>) -> bool {
        match state.get("QueryLanguage").map(|l| &l.node.tree) {
            Some(Tree::Text(text)) => **text == *"JSONata",
            _ => self.default_language == QueryLanguage::Jsonata,
        }
    }

    fn check_reads(&mut self, root: &Ways<'t>) {
        if root.broken {
            return;
        }
        let mut names = HashMap::new();
        root.names_read(&mut names);
        if names.len().saturating_mul(root.edge_count()) > STEPS_MAX {
            return;
        }
        let mut set = HashSet::new();
        root.names_set(&mut set);
        let mut names: Vec<_> = names.into_keys().collect();
        names.sort_unstable();
        for name in names {
            let entry = May {
                lack: true,
                have: false,
            };
            root.follow(name, entry, &mut |read, may| self.judge(read, may, &set));
        }
    }

    fn judge(&mut self, read: &Read, may: May, set: &HashSet<&'t str>) {
        let name = &*read.name;
        let shown = crate::path::clip(name);
        if !may.lack {
            return;
        }
        if may.have {
            self.report.warning_of(
                read,
                code::MAYBE_UNSET,
                format!("the variable ${shown} has no value on some of the ways to this state"),
                Some("assign it before the ways part, or on each of them".to_owned()),
            );
            return;
        }
        let hint = if set.contains(name) {
            Some(
                "it is assigned in states that do not lead here, or in a graph of its own"
                    .to_owned(),
            )
        } else if self.report.wants_hints() {
            suggest::hint(name, set.iter().copied()).or_else(|| {
                Some(format!(
                    "assign it in a state before: \"Assign\": {{{name:?}: …}}"
                ))
            })
        } else {
            None
        };
        self.report.warning_of(
            read,
            code::UNSET,
            format!("the variable ${shown} has no value here: no state before assigns it"),
            hint,
        );
    }
}

/// Whether a processor's iterations are executions of their own, which see no variables.
fn distributed(at: &At<'_, '_>) -> bool {
    let config = at.get("ProcessorConfig");
    let mode = config.as_ref().and_then(|c| c.get("Mode"));
    mode.is_some_and(|m| matches!(&m.node.tree, Tree::Text(t) if **t == *"DISTRIBUTED"))
}

impl<'t> Ways<'t> {
    fn edge_count(&self) -> usize {
        let inner = self.inner.iter().map(|(_, _, ways)| ways.edge_count());
        self.edges.len() + inner.sum::<usize>() + 1
    }

    fn names_read<'w>(&'w self, into: &mut HashMap<&'w str, ()>) {
        into.extend(self.reads.iter().map(|(_, read)| (&*read.name, ())));
        self.inner
            .iter()
            .for_each(|(_, _, ways)| ways.names_read(into));
    }

    fn names_set(&self, into: &mut HashSet<&'t str>) {
        into.extend(self.edges.iter().flat_map(|edge| &edge.sets));
        self.inner
            .iter()
            .for_each(|(_, _, ways)| ways.names_set(into));
    }

    /// Tells of every read of a name that can be reached what it may find.
    fn follow(&self, name: &str, entry: May, judge: &mut impl FnMut(&Read, May)) {
        let Some(start) = self.start else { return };
        let mut onward: HashMap<StateIdx, Vec<&Edge<'t>>> = HashMap::new();
        for edge in &self.edges {
            onward.entry(edge.from).or_default().push(edge);
        }
        let walk = |from: Vec<StateIdx>, passes: &dyn Fn(&Edge<'t>) -> bool| {
            let mut seen: HashSet<StateIdx> = from.iter().copied().collect();
            let mut open = from;
            while let Some(state) = open.pop() {
                for edge in onward.get(&state).into_iter().flatten() {
                    if passes(edge) && seen.insert(edge.to) {
                        open.push(edge.to);
                    }
                }
            }
            seen
        };
        let reached = walk(vec![start], &|_| true);
        let lack = match entry.lack {
            true => walk(vec![start], &|edge| !edge.sets.contains(&name)),
            false => HashSet::new(),
        };
        let setting = self.edges.iter().filter(|edge| edge.sets.contains(&name));
        let mut from: Vec<StateIdx> = setting
            .filter(|edge| reached.contains(&edge.from))
            .map(|edge| edge.to)
            .collect();
        from.extend(entry.have.then_some(start));
        let have = walk(from, &|_| true);
        let at = |state: &StateIdx| May {
            lack: lack.contains(state),
            have: have.contains(state),
        };
        for (state, read) in &self.reads {
            if *read.name == *name {
                judge(read, at(state));
            }
        }
        for (state, sees, ways) in &self.inner {
            let entry = match sees {
                true => at(state),
                false => May {
                    lack: reached.contains(state),
                    have: false,
                },
            };
            ways.follow(name, entry, judge);
        }
    }
}
