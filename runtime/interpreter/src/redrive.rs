//! Redrive: an execution that failed, timed out or was cancelled goes on from where it was.
//!
//! Its end keeps the entries that were under way ([`crate::state::Core::halted`]). A Parallel
//! or Map with results goes on as the entry that it was; every other state is entered anew, so
//! that tokens and idempotency keys are new ones. Refuses to touch what succeeded, and a flow
//! version in which the states to resume in are not where they were.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_flow::program::{GraphIdx, Items, Kind, State as Node};
use stepwell_types::limits::{REDRIVES_MAX, TRANSITIONS_MAX};
use stepwell_types::{Data, EntryId, FlowRef};

use crate::history::{HistoryKind, Iteration};
use crate::state::{Entry, Parent, Phase, State, Work};
use crate::turn::{Turn, state_type};
use crate::{Error, Event, Outcome, cloudflow, states};

/// Names of states in a message, at most.
const SHOWN: usize = 8;

/// Why an execution cannot be redriven, or not so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has not ended.
    #[error("execution is RUNNING and cannot be redriven")]
    Running,
    /// An express execution keeps nothing to go on from.
    #[error("execution is an express one and cannot be redriven; start it again")]
    Express,
    /// There is nothing to redo.
    #[error("execution is SUCCEEDED and cannot be redriven")]
    Succeeded,
    /// Nobody can start its flow any more, nor what is left of it.
    #[error("its flow was deleted; publish it anew, and redrive with that version")]
    FlowGone,
    /// Its start, or its end, could not be walked.
    #[error("it kept no state to go on from; start it again")]
    Nothing,
    /// It used up its transitions.
    #[error(
        "it has made {TRANSITIONS_MAX} state transitions, the most that one execution may make"
    )]
    Transitions,
    /// It was redriven too often.
    #[error("it was redriven {REDRIVES_MAX} times, the most for one execution")]
    TooOften,
    /// No state of this name is entered anew.
    #[error("state '{name}' is not one that is entered anew; those are {known}")]
    NoState {
        /// As asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The new input could be meant for more than one state.
    #[error("{count} states are entered anew, and the input is for one; name it: {known}")]
    WhichState {
        /// How many.
        count: usize,
        /// Their names.
        known: String,
    },
    /// Several entries of the named state halted, and none of them is the one that failed.
    #[error(
        "state '{name}' was under way {count} times; a new input for one of them cannot be given"
    )]
    ManyEntries {
        /// The state.
        name: String,
        /// How often it was under way.
        count: usize,
    },
    /// The other flow version does not fit the state that the execution would resume in.
    #[error("it cannot go on with the other version: {0}")]
    Misfit(String),
}

impl State {
    /// Whether a redrive would find something to do.
    /// # Errors
    /// Why not.
    pub fn redrivable(&self) -> Result<(), Refusal> {
        match &self.outcome {
            None => Err(Refusal::Running),
            Some(Outcome::Succeeded(_)) => Err(Refusal::Succeeded),
            Some(_) if self.core.halted.is_empty() => Err(Refusal::Nothing),
            Some(_) if self.core.transitions >= TRANSITIONS_MAX => Err(Refusal::Transitions),
            Some(_) if self.core.redrives >= REDRIVES_MAX => Err(Refusal::TooOften),
            Some(_) => Ok(()),
        }
    }

    /// The event that redrives this execution, to be recorded and fed to [`crate::step`].
    ///
    /// `state` names the state that gets `input` instead of its own; without a name it is the
    /// one that failed, or the only one that was under way. Give `version` to go on with
    /// another program than `old`: it is checked here, and taken by [`State::rebase`].
    /// # Errors
    /// What stands in the way.
    pub fn redrive(
        &self,
        old: &Program,
        version: Option<(&Program, u32)>,
        state: Option<&str>,
        input: Option<Data>,
    ) -> Result<Event, Refusal> {
        self.redrivable()?;
        let mut flow = self.flow().cloned().ok_or(Refusal::Running)?;
        if let Some((new, number)) = version {
            if self.parent().is_some_and(|link| link.item.is_some()) {
                let why =
                    "an item of a distributed Map runs the version of the execution around it";
                return Err(Refusal::Misfit(why.into()));
            }
            flow.version = number;
            self.places(old, new).map_err(Refusal::Misfit)?;
        }
        let target = match (state, &input) {
            (None, None) => None,
            _ => Some(self.target(old, state)?),
        };
        Ok(Event::Redriven {
            flow,
            input: target.zip(input),
            attempt: None,
        })
    }

    /// As [`State::redrive`], of an item whose distributed Map was redriven: the parent's
    /// `attempt` waits for it now. Give `version` if the parent runs another program than `old`.
    /// One that still runs keeps its own.
    /// # Errors
    /// What stands in the way; that it succeeded is one.
    pub fn redrive_item(
        &self,
        old: &Program,
        version: Option<(&Program, u32)>,
        attempt: u32,
    ) -> Result<Event, Refusal> {
        let mut flow = self.flow().cloned().ok_or(Refusal::Running)?;
        match (self.redrivable(), version) {
            (Err(Refusal::Running), _) | (Ok(()), None) => {}
            (Ok(()), Some((new, number))) => {
                self.places(old, new).map_err(Refusal::Misfit)?;
                flow.version = number;
            }
            (Err(other), _) => return Err(other),
        }
        Ok(Event::Redriven {
            flow,
            input: None,
            attempt: Some(attempt),
        })
    }

    /// Makes this state one of another program. Before [`Event::Redriven`] names it only.
    /// # Errors
    /// `RUN0103` when the halted states are not in it: [`State::redrive`] would have refused.
    pub fn rebase(&mut self, old: &Program, new: &Program) -> Result<(), Error> {
        let places = self.places(old, new);
        let places =
            places.map_err(|_| Error::ForeignProgram("a redriven state is not in the version"))?;
        for (id, state) in places {
            if let Some(entry) = self.core.halted.get_mut(&id) {
                entry.state = state;
            }
        }
        Ok(())
    }

    /// The halted entry that a new input is for.
    fn target(&self, program: &Program, name: Option<&str>) -> Result<EntryId, Refusal> {
        let halted = &self.core.halted;
        let anew: Vec<(EntryId, &str)> = halted
            .iter()
            .filter(|(id, entry)| self.core.failed == Some(**id) || !self.goes_on(**id, entry))
            .filter_map(|(id, entry)| Some((*id, &*program.states.get(entry.state as usize)?.name)))
            .collect();
        let failed = |id: EntryId| self.core.failed == Some(id);
        let Some(name) = name else {
            return match (anew.as_slice(), anew.iter().find(|(id, _)| failed(*id))) {
                (_, Some((id, _))) | ([(id, _)], None) => Ok(*id),
                _ => Err(Refusal::WhichState {
                    count: anew.len(),
                    known: names(&anew),
                }),
            };
        };
        let of_name: Vec<EntryId> = anew
            .iter()
            .filter(|(_, known)| *known == name)
            .map(|(id, _)| *id)
            .collect();
        match (of_name.as_slice(), of_name.iter().find(|id| failed(**id))) {
            (_, Some(id)) | ([id], None) => Ok(*id),
            ([], None) => Err(Refusal::NoState {
                name: name.chars().take(80).collect(),
                known: names(&anew),
            }),
            (several, None) => Err(Refusal::ManyEntries {
                name: name.to_owned(),
                count: several.len(),
            }),
        }
    }

    /// Whether a halted entry keeps its results and goes on as it was.
    fn goes_on(&self, id: EntryId, entry: &Entry<Data>) -> bool {
        let missing = match &entry.phase {
            Phase::Parallel(run) => run.join.missing,
            Phase::Map(map) => map.join.missing,
            // Its results are there, and only a smaller number of them would help.
            Phase::Fleet(_) => 0,
            _ => return false,
        };
        // All branches succeeded and were too much together: only other results can help.
        let too_large = matches!(&self.outcome, Some(Outcome::Failed(f))
            if &*f.error == "States.DataLimitExceeded");
        !(missing == 0 && too_large && self.core.failed == Some(id))
    }

    /// Where the halted entries are in another program: the same names along the same graphs.
    fn places(&self, old: &Program, new: &Program) -> Result<BTreeMap<EntryId, u32>, String> {
        let mut places: BTreeMap<EntryId, u32> = BTreeMap::new();
        for (id, entry) in &self.core.halted {
            let was = node(old, entry.state)?;
            let graph = match entry.parent {
                None => GraphIdx(self.parent().map_or(0, |link| link.graph)),
                Some(parent) => {
                    let around = places.get(&parent.entry).copied();
                    let around = around.ok_or("its entries do not form a tree")?;
                    graph_of(node(new, around)?, parent.slot)?
                }
            };
            let graph = new.graphs.get(graph.0 as usize);
            let found = graph.and_then(|g| g.by_name.get(&was.name));
            let found = *found.ok_or_else(|| missing(new, &was.name))?;
            let is = node(new, found.0)?;
            fits(was, is, self.goes_on(*id, entry))?;
            places.insert(*id, found.0);
        }
        Ok(places)
    }
}

fn node(program: &Program, state: u32) -> Result<&Node, String> {
    let found = program.states.get(state as usize);
    found.ok_or_else(|| "a state is missing".to_owned())
}

/// A branch of a Parallel or the processor of a Map, in the other program.
fn graph_of(around: &Node, slot: u32) -> Result<GraphIdx, String> {
    match &around.kind {
        Kind::Parallel { branches } => branches.get(slot as usize).copied(),
        Kind::Map(map) => Some(map.processor),
        _ => None,
    }
    .ok_or_else(|| format!("state '{}' has no such branch", around.name))
}

fn missing(new: &Program, name: &str) -> String {
    if new.states.iter().any(|s| &*s.name == name) {
        format!("state '{name}' is in another branch, or nested otherwise, there")
    } else {
        format!("it has no state '{name}'; rename it back, or start a new execution")
    }
}

/// Whether an entry of `was` can be one of `is`.
fn fits(was: &Node, is: &Node, goes_on: bool) -> Result<(), String> {
    let (a, b) = (state_type(&was.kind), state_type(&is.kind));
    if a != b {
        let (a, b) = (a.as_str(), b.as_str());
        return Err(format!(
            "state '{}' is of type {a}, and of type {b} there",
            was.name
        ));
    }
    if !goes_on {
        return Ok(());
    }
    match (&was.kind, &is.kind) {
        (Kind::Parallel { branches: a }, Kind::Parallel { branches: b }) if a.len() != b.len() => {
            Err(format!(
                "state '{}' had {} branches and has {} there; its finished branches keep their results",
                was.name,
                a.len(),
                b.len()
            ))
        }
        (Kind::Map(a), Kind::Map(b)) if a.distributed.is_some() != b.distributed.is_some() => {
            Err(format!(
                "state '{}' is of another ProcessorConfig.Mode there; its finished items keep their results",
                was.name
            ))
        }
        // The items are read from the input that is kept, by the path of the program.
        (Kind::Map(a), Kind::Map(b)) if !same_items(&a.items, &b.items) => Err(format!(
            "state '{}' reads its items from another ItemsPath there; its finished iterations keep their results",
            was.name
        )),
        _ => Ok(()),
    }
}

/// Whether a Map under way may go on with other items' origin. Items that were not read by
/// a path are kept with it.
fn same_items(was: &Items, is: &Items) -> bool {
    match (was, is) {
        (Items::Path(was), Items::Path(is)) => was.source == is.source,
        (Items::Path(_), _) | (_, Items::Path(_)) => false,
        _ => true,
    }
}

fn names(entries: &[(EntryId, &str)]) -> String {
    let mut out = String::new();
    let mut unique: Vec<&str> = entries.iter().map(|(_, name)| *name).collect();
    unique.dedup();
    for name in unique.iter().take(SHOWN) {
        let comma = if out.is_empty() { "" } else { ", " };
        let _ = write!(out, "{comma}'{name}'");
    }
    if unique.len() > SHOWN {
        out.push_str(", …");
    }
    out
}

/// Takes note of which attempt of the parent's entry waits for this item now.
pub(crate) fn relink(turn: &mut Turn<'_>, event: &Event) {
    if let Event::Redriven {
        attempt: Some(attempt),
        ..
    } = event
        && let Some(started) = &mut turn.state.core.started
        && let Some(link) = &mut started.parent
    {
        Arc::make_mut(link).attempt = *attempt;
    }
}

/// [`Event::Redriven`]: nothing else happens unless the execution ended without success.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    flow: &FlowRef,
    input: Option<&(EntryId, Data)>,
) -> Result<(), Error> {
    if turn.state.redrivable().is_err() {
        return Ok(());
    }
    let edited = |id: EntryId| input.filter(|(e, _)| *e == id).map(|(_, data)| data);
    let halted = std::mem::take(&mut turn.state.core.halted);
    let (on, anew): (Vec<_>, Vec<_>) = halted
        .into_iter()
        .partition(|(id, entry)| edited(*id).is_none() && turn.state.goes_on(*id, entry));
    let core = &mut turn.state.core;
    core.failed = None;
    core.redrives += 1;
    core.redriven = Some(turn.now);
    let (count, last) = (core.redrives, core.events);
    if let Some(started) = &mut core.started {
        started.flow = flow.clone();
        turn.state.bytes = 256 + started.input.len_bytes() + core.inbox.weight();
    }
    turn.state.outcome = None;
    turn.set_deadline();
    let event = turn.note(last, || HistoryKind::ExecutionRedriven {
        count,
        version: flow.version,
    });
    let on: Vec<EntryId> = on
        .into_iter()
        .map(|(id, entry)| go_on(turn, event, id, entry).map(|went| went.then_some(id)))
        .filter_map(Result::transpose)
        .collect::<Result<_, _>>()?;
    let from = turn.state.core.work.len();
    for (id, entry) in anew {
        turn.out.extend(entry.forget(id));
        if let Some(before) = again(turn, event, entry.parent)? {
            let state = stepwell_flow::program::StateIdx(entry.state);
            let (data, variables) = match edited(id) {
                Some(input) => (input.clone(), cloudflow::with_input(turn, &entry, input)?),
                None => (entry.input, entry.variables),
            };
            turn.spawn(entry.parent, state, data, variables, before, 0);
        }
    }
    // The stack is done from its end: what halted first goes on first.
    if let Some(pushed) = turn.state.core.work.get_mut(from..) {
        pushed.reverse();
    }
    let mut whole = Vec::new();
    for id in &on {
        if begin_missing(turn, *id) {
            whole.push(*id);
        }
    }
    for id in whole {
        match turn.node_of(id)?.map(|node| &node.kind) {
            Some(Kind::Parallel { .. }) => states::parallel::succeed(turn, id)?,
            Some(Kind::Map(_)) => states::map::succeed(turn, id)?,
            _ => {}
        }
    }
    Ok(())
}

/// The event that a redone state follows: its iteration begins again. `None`: what is
/// around it begins anew as a whole.
fn again(turn: &mut Turn<'_>, event: u64, parent: Option<Parent>) -> Result<Option<u64>, Error> {
    let Some(parent) = parent else {
        return Ok(Some(event));
    };
    let Some(around) = turn.state.core.entries.get(&parent.entry) else {
        return Ok(None);
    };
    let previous = around.previous;
    let around = turn.node(around.state)?;
    if !matches!(around.kind, Kind::Map(_)) {
        return Ok(Some(previous));
    }
    let iteration = || HistoryKind::MapIteration {
        what: Iteration::Started,
        name: Arc::clone(&around.name),
        index: parent.slot,
    };
    Ok(Some(turn.note_of(parent.entry, previous, iteration)))
}

/// Puts a Parallel or Map back as it was, its branches apart. `false`: what is around it
/// begins anew as a whole.
fn go_on(turn: &mut Turn<'_>, event: u64, id: EntryId, entry: Entry<Data>) -> Result<bool, Error> {
    let Some(before) = again(turn, event, entry.parent)? else {
        return Ok(false);
    };
    if let Some(parent) = entry.parent
        && let Some(around) = turn.state.core.entries.get_mut(&parent.entry)
        && let Some(join) = around.join_mut()
    {
        join.children.insert(parent.slot, id);
    }
    let mut phase = entry.phase;
    let mut attempt = 0;
    let (length, map) = match &mut phase {
        Phase::Fleet(fleet) => {
            states::fleet::again(fleet);
            // Answers to what was asked before the end must find nobody.
            attempt = entry.attempt + 1;
            (fleet.length as usize, true)
        }
        Phase::Parallel(run) => {
            run.join.children.clear();
            (run.join.results.len(), false)
        }
        Phase::Map(map) => {
            map.join.children.clear();
            map.filling = false;
            (map.join.results.len(), true)
        }
        _ => return Ok(false),
    };
    let entry = Entry {
        previous: before,
        spin: 0,
        attempt,
        first: attempt,
        retries: Vec::new(),
        phase: Phase::Ready,
        weight: 0,
        ..entry
    };
    turn.state.core.entries.insert(id, entry);
    turn.state.set_phase(id, phase);
    turn.note_in(id, || {
        if map {
            HistoryKind::MapStarted { length }
        } else {
            HistoryKind::ParallelStarted
        }
    });
    if let Some(node) = turn.node_of(id)?
        && let Kind::Map(map) = &node.kind
        && map.distributed.is_some()
    {
        let run = states::fleet::run_name(turn.state, id, node, map).into();
        let count = turn.state.redrives();
        turn.note_in(id, || HistoryKind::MapRunRedriven { run, count });
    }
    Ok(true)
}

/// Queues the branches and iterations that have neither a result nor a state that is entered
/// anew. `true`: there is nothing left to do but to join.
fn begin_missing(turn: &mut Turn<'_>, id: EntryId) -> bool {
    let core = &mut turn.state.core;
    let Some(entry) = core.entries.get_mut(&id) else {
        return false;
    };
    let attempt = entry.attempt;
    if let Phase::Fleet(fleet) = &mut entry.phase {
        fleet.filling = true;
        core.work.insert(0, Work::Fill { entry: id, attempt });
        return false;
    }
    let (join, begun) = match &mut entry.phase {
        Phase::Parallel(run) => (&run.join, run.join.results.len()),
        Phase::Map(map) => {
            map.filling = (map.next as usize) < map.join.results.len();
            if map.filling {
                core.work.insert(0, Work::Fill { entry: id, attempt });
            }
            (&map.join, map.next as usize)
        }
        _ => return false,
    };
    let missing = join.results.iter().take(begun).enumerate().rev();
    for (slot, result) in missing {
        let slot = u32::try_from(slot).unwrap_or(u32::MAX);
        if result.is_none() && !join.children.contains_key(&slot) {
            core.work.push(Work::Branch {
                entry: id,
                attempt,
                slot,
            });
        }
    }
    join.missing == 0
}
