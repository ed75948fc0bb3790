//! What nothing has set where an expression reads it: `$Global` of the new language, `$local`
//! of the old one.
//!
//! A name is a warning if no state that may end before sets it: CloudFlow takes such a flow,
//! and fails it there. Refuses to follow values: only names count, and every edge may be taken.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::Constructors;
use crate::diagnostic::{Read, Report, code};
use crate::expression::Template;
use crate::program::{DataFlow, GraphIdx, Kind, Next, Program, State, StateIdx};
use crate::suggest;

/// Most reads times states that set something: beyond it, a flow is not checked for this.
const STEPS_MAX: usize = 1_000_000;

/// Where the names live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// `$Global`: in an execution, whichever graph sets them.
    Global,
    /// `$local`: in one list of steps.
    Local,
}

/// Reports the reads that find nothing; without a state, they come at the end of the flow.
pub(crate) fn unset(
    program: &Program,
    reads: &[(Option<StateIdx>, Read)],
    kept: Kept,
    report: &mut Report,
) {
    if reads.is_empty() {
        return;
    }
    let map = Map::of(program, kept);
    if reads.len().saturating_mul(map.setters.len()) > STEPS_MAX {
        return;
    }
    for (state, read) in reads {
        // What cannot be reached has no place.
        if state.is_some_and(|s| !map.places.contains_key(&s)) {
            continue;
        }
        let mut elsewhere = false;
        let set = map.setters.iter().any(|(setter, names)| {
            let has = match names {
                Some(names) => names.contains(&*read.name),
                None => true,
            };
            elsewhere |= names.is_some() && has;
            has && map.precedes(*setter, *state)
        });
        if !set {
            map.judge(read, elsewhere, report);
        }
    }
}

/// A program, as far as it matters what comes before what.
struct Map<'p> {
    program: &'p Program,
    kept: Kept,
    /// The graph of each state that can be reached.
    places: HashMap<StateIdx, GraphIdx>,
    /// The state that runs a graph within the same execution.
    owners: HashMap<GraphIdx, StateIdx>,
    /// What a state sets; `None`: nobody knows.
    setters: Vec<(StateIdx, Option<HashSet<&'p str>>)>,
    after: RefCell<HashMap<StateIdx, HashSet<StateIdx>>>,
}

impl<'p> Map<'p> {
    fn of(program: &'p Program, kept: Kept) -> Map<'p> {
        let mut map = Map {
            program,
            kept,
            places: HashMap::new(),
            owners: HashMap::new(),
            setters: Vec::new(),
            after: RefCell::default(),
        };
        for (i, graph) in program.graphs.iter().enumerate() {
            let graph_index = GraphIdx(u32::try_from(i).unwrap_or(u32::MAX));
            for state in map.walk(vec![graph.start]) {
                map.places.insert(state, graph_index);
            }
        }
        let mut states: Vec<StateIdx> = map.places.keys().copied().collect();
        states.sort_unstable();
        for index in states {
            let Some(state) = program.states.get(index.0 as usize) else {
                continue;
            };
            match &state.kind {
                Kind::Parallel { branches } => {
                    map.owners.extend(branches.iter().map(|g| (*g, index)));
                }
                Kind::Map(inner) if inner.distributed.is_none() => {
                    map.owners.insert(inner.processor, index);
                }
                _ => {}
            }
            let DataFlow::CloudFlow(data) = &state.data else {
                continue;
            };
            let names = match kept {
                Kept::Global => data.global.as_ref().and_then(names),
                Kept::Local => local(state, data),
            };
            let sets_none = names.as_ref().is_some_and(HashSet::is_empty);
            let silent = kept == Kept::Global && data.global.is_none();
            if !sets_none && !silent {
                map.setters.push((index, names));
            }
        }
        map
    }

    fn onward(&self, state: StateIdx) -> Vec<StateIdx> {
        let Some(state) = self.program.states.get(state.0 as usize) else {
            return Vec::new();
        };
        let mut to: Vec<StateIdx> = state.catch.iter().map(|rule| rule.next).collect();
        if let Next::State(next) = state.next {
            to.push(next);
        }
        if let Kind::Choice { rules, default } = &state.kind {
            to.extend(rules.iter().map(|rule| rule.next));
            to.extend(*default);
        }
        to
    }

    /// These states and all that they lead to.
    fn walk(&self, from: Vec<StateIdx>) -> HashSet<StateIdx> {
        let mut seen: HashSet<StateIdx> = from.iter().copied().collect();
        let mut open = from;
        while let Some(state) = open.pop() {
            open.extend(self.onward(state).into_iter().filter(|to| seen.insert(*to)));
        }
        seen
    }

    /// Whether a way leads from the one to the other.
    fn leads(&self, from: StateIdx, to: StateIdx) -> bool {
        let mut after = self.after.borrow_mut();
        let reached = after
            .entry(from)
            .or_insert_with(|| self.walk(self.onward(from)));
        reached.contains(&to)
    }

    /// A state, then those around it that belong to the same execution (or list).
    fn chain(&self, state: StateIdx) -> Vec<StateIdx> {
        let mut chain = vec![state];
        let mut current = state;
        while self.kept == Kept::Global
            && let Some(owner) = self.places.get(&current).and_then(|g| self.owners.get(g))
        {
            chain.push(*owner);
            current = *owner;
        }
        chain
    }

    /// Whether the one may have ended when the other begins, or in the middle of it.
    fn precedes(&self, setter: StateIdx, reader: Option<StateIdx>) -> bool {
        let Some(reader) = reader else {
            return self.places.get(&setter) == Some(&GraphIdx(0));
        };
        let (before, after) = (self.chain(setter), self.chain(reader));
        let graph = |state| self.places.get(state);
        before.iter().enumerate().any(|(i, a)| {
            let Some((j, b)) = after.iter().enumerate().find(|(_, b)| graph(a) == graph(b)) else {
                return false;
            };
            if self.leads(*a, *b) {
                return true;
            }
            // Both are within the same state, or the setter is within the reader.
            let (Some(inner), true) = (i.checked_sub(1).and_then(|i| before.get(i)), a == b) else {
                return false;
            };
            match j.checked_sub(1).and_then(|j| after.get(j)) {
                None => true,
                Some(other) => self.is_map(*a) || graph(inner) != graph(other),
            }
        })
    }

    fn is_map(&self, state: StateIdx) -> bool {
        let state = self.program.states.get(state.0 as usize);
        state.is_some_and(|s| matches!(s.kind, Kind::Map(_)))
    }

    fn judge(&self, read: &Read, elsewhere: bool, report: &mut Report) {
        let shown = crate::path::clip(&read.name);
        let (root, field) = match self.kept {
            Kept::Global => ("$Global", "the GlobalConstructor of a state before"),
            Kept::Local => ("$local", "the outputMappings of a step before"),
        };
        let hint = if elsewhere {
            Some("it is set in states that do not lead here".to_owned())
        } else if report.wants_hints() {
            let known = self.setters.iter().filter_map(|(_, names)| names.as_ref());
            let near = suggest::nearest(&read.name, known.flatten().copied());
            let near = near.map(|near| format!("did you mean \"{root}.{near}\"?"));
            near.or_else(|| Some(format!("set it in {field}")))
        } else {
            None
        };
        report.warning_of(
            read,
            code::UNSET,
            format!("{root}.{shown} has no value here: nothing before sets it"),
            hint,
        );
    }
}

/// The names of an object; `None`: it comes from an expression.
fn names(template: &Template) -> Option<HashSet<&str>> {
    match template {
        Template::Object(fields) => Some(fields.iter().map(|(name, _)| &**name).collect()),
        Template::Literal(Value::Object(map)) => Some(map.keys().map(String::as_str).collect()),
        _ => None,
    }
}

/// What a step leaves in the `$local` of its list.
fn local<'p>(state: &'p State, data: &'p Constructors) -> Option<HashSet<&'p str>> {
    // A task that failed leaves its error there, under names that errorMappings may add.
    if !state.catch.is_empty() {
        return None;
    }
    names(data.output.as_ref().or(data.result.as_ref())?)
}
