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
const STEPS_MAX: usize = 2_000_000;

/// Most variables that an edge is known to leave with because earlier rules asked for them.
const KNOWN_MAX: usize = 32;

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
    /// Its iterations are executions of their own, which see no variables around them.
    apart: bool,
    /// A way could not be followed.
    broken: bool,
}

struct Edge<'t> {
    from: StateIdx,
    to: StateIdx,
    sets: Vec<&'t str>,
    /// What has a value where it is taken, for its rule, or an earlier one, has asked.
    knows: Vec<&'t str>,
}

/// Whether a name may be without a value at a place, and whether it may have one.
#[derive(Clone, Copy)]
struct May {
    lack: bool,
    have: bool,
}

/// A graph made ready to be walked, once for each name.
struct Map<'w, 't> {
    ways: &'w Ways<'t>,
    /// Where it begins; `None`: nothing to walk.
    start: Option<usize>,
    /// By state: its edges, as what they lead to and their number.
    onward: Vec<Vec<(usize, usize)>>,
    /// By edge: where it begins, and what it leads to.
    ends: Vec<(usize, usize)>,
    /// Edges by the names that they set.
    setting: HashMap<&'t str, Vec<usize>>,
    reached: Vec<bool>,
    /// The state of each read and of each inner graph.
    reads: Vec<usize>,
    inner: Vec<(usize, bool, Map<'w, 't>)>,
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
            let mut add = |at: &At<'_, 't>, field: &str, knows: Vec<&'t str>| {
                if let Some(target) = at.get(field)
                    && let Tree::Text(name) = &target.node.tree
                    && let Some(to) = scope.by_name.get(&**name).copied()
                {
                    let sets = super::variables::names(at, jsonata).collect();
                    edges.push(Edge {
                        from,
                        to,
                        sets,
                        knows,
                    });
                }
            };
            add(&state, "Next", Vec::new());
            if let Some(list) = state.get("Catch") {
                for (i, rule) in list.elements().iter().enumerate() {
                    add(&list.element(i, rule), "Next", Vec::new());
                }
            }
            // What has a value because no rule so far holds.
            let mut left = Vec::new();
            if let Some(list) = state.get("Choices") {
                for (i, rule) in list.elements().iter().enumerate() {
                    let rule = list.element(i, rule);
                    let mut knows = known(&rule, true);
                    knows.extend(&left);
                    add(&rule, "Next", knows);
                    left.extend(known(&rule, false));
                    left.truncate(KNOWN_MAX);
                }
            }
            add(&state, "Default", left);
        }
        if let Some(ways) = self.ways.last_mut() {
            ways.edges = edges;
            ways.start = Some(start);
            ways.broken |= scope.broken;
        }
    }

    /// Ends the notes of a graph.
    pub(super) fn end_ways(&mut self) {
        let Some(ways) = self.ways.pop() else { return };
        let Some(around) = self.ways.last_mut() else {
            self.check_reads(&ways);
            return;
        };
        around.broken |= ways.broken || ways.start.is_none();
        if let Some(state) = around.current {
            let sees = !ways.apart;
            around.inner.push((state, sees, ways));
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
        if names.is_empty() || names.len().saturating_mul(root.edge_count()) > STEPS_MAX {
            return;
        }
        let mut set = HashSet::new();
        root.names_set(&mut set);
        let mut names: Vec<_> = names.into_keys().collect();
        names.sort_unstable();
        let map = Map::of(root);
        for name in names {
            let entry = May {
                lack: true,
                have: false,
            };
            map.follow(name, entry, &mut |read, may| self.judge(read, may, &set));
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
            let known = set.iter().copied().chain(["states"]);
            let near =
                suggest::nearest(name, known).map(|near| format!("did you mean \"${near}\"?"));
            near.or_else(|| {
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

/// The variables that have a value if a rule in JSONPath mode holds, or does not: it asks
/// `IsPresent` of them.
pub(super) fn known<'t>(rule: &At<'_, 't>, holds: bool) -> Vec<&'t str> {
    let mut names = Vec::new();
    // All of And hold, and of an Or that does not hold none.
    if let Some(all) = rule.get(if holds { "And" } else { "Or" }) {
        for (i, one) in all.elements().iter().enumerate() {
            names.extend(known(&all.element(i, one), holds));
        }
    }
    if let Some(inner) = rule.get("Not") {
        names.extend(known(&inner, !holds));
    }
    if let (Some(variable), Some(asked)) = (rule.get("Variable"), rule.get("IsPresent"))
        && let (Tree::Text(path), Tree::Bool(there)) = (&variable.node.tree, &asked.node.tree)
        && *there == holds
    {
        names.extend(root(path));
    }
    names
}

/// The variable that a path begins at.
fn root(path: &str) -> Option<&str> {
    let rest = path.trim_start().strip_prefix('$')?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    let name = rest.get(..end.unwrap_or(rest.len()))?;
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        .then_some(name)
}

impl<'t> Ways<'t> {
    pub(super) fn new(apart: bool) -> Ways<'t> {
        Ways {
            apart,
            ..Ways::default()
        }
    }

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
}

impl<'w, 't> Map<'w, 't> {
    fn of(ways: &'w Ways<'t>) -> Map<'w, 't> {
        let mut numbers: HashMap<StateIdx, usize> = HashMap::new();
        let mut number = |state: StateIdx| {
            let next = numbers.len();
            *numbers.entry(state).or_insert(next)
        };
        let start = ways.start.map(&mut number);
        let ends: Vec<_> = ways
            .edges
            .iter()
            .map(|e| (number(e.from), number(e.to)))
            .collect();
        let reads: Vec<_> = ways.reads.iter().map(|(state, _)| number(*state)).collect();
        let inner: Vec<_> = ways
            .inner
            .iter()
            .map(|(state, sees, ways)| (number(*state), *sees, ways))
            .collect();
        let mut onward = vec![Vec::new(); numbers.len()];
        for (i, (from, to)) in ends.iter().enumerate() {
            if let Some(list) = onward.get_mut(*from) {
                list.push((*to, i));
            }
        }
        let mut setting: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, edge) in ways.edges.iter().enumerate() {
            for name in edge.sets.iter().chain(&edge.knows) {
                setting.entry(name).or_default().push(i);
            }
        }
        let mut map = Map {
            ways,
            start,
            onward,
            ends,
            setting,
            reached: Vec::new(),
            reads,
            inner: inner
                .into_iter()
                .map(|(state, sees, ways)| (state, sees, Map::of(ways)))
                .collect(),
        };
        map.reached = map.walk(start.into_iter().collect(), &[]);
        map
    }

    /// The states that edges lead to, without those (in ascending order) that are closed.
    fn walk(&self, from: Vec<usize>, closed: &[usize]) -> Vec<bool> {
        let mut seen = vec![false; self.onward.len()];
        let mut visit = |state: usize, open: &mut Vec<usize>| {
            if let Some(mark @ false) = seen.get_mut(state) {
                *mark = true;
                open.push(state);
            }
        };
        let mut open = Vec::new();
        from.into_iter().for_each(|state| visit(state, &mut open));
        while let Some(state) = open.pop() {
            for (to, edge) in self.onward.get(state).into_iter().flatten() {
                if closed.binary_search(edge).is_err() {
                    visit(*to, &mut open);
                }
            }
        }
        seen
    }

    /// Tells of every read of a name that can be reached what it may find.
    fn follow(&self, name: &str, entry: May, judge: &mut impl FnMut(&Read, May)) {
        let Some(start) = self.start else { return };
        let is = |marks: &[bool], state: usize| marks.get(state).copied().unwrap_or(false);
        let setting = self.setting.get(name).map_or(&[][..], Vec::as_slice);
        let lack = match (entry.lack, setting) {
            (true, []) => self.reached.clone(),
            (true, _) => self.walk(vec![start], setting),
            (false, _) => Vec::new(),
        };
        let taken = setting.iter().filter_map(|edge| self.ends.get(*edge));
        let taken = taken.filter(|(from, _)| is(&self.reached, *from));
        let mut from: Vec<usize> = taken.map(|(_, to)| *to).collect();
        from.extend(entry.have.then_some(start));
        let have = self.walk(from, &[]);
        let at = |state: usize| May {
            lack: is(&lack, state),
            have: is(&have, state),
        };
        for ((_, read), state) in self.ways.reads.iter().zip(&self.reads) {
            if *read.name == *name {
                judge(read, at(*state));
            }
        }
        for (state, sees, map) in &self.inner {
            let entry = match sees {
                true => at(*state),
                false => May {
                    lack: is(&self.reached, *state),
                    have: false,
                },
            };
            map.follow(name, entry, judge);
        }
    }
}
