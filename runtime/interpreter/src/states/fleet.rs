//! Map (distributed): each item, or batch of items, is an execution of its own that runs
//! the processor's graph of this very program.
//!
//! Refuses to hold an item longer than needed: a page is read when the last one is used up,
//! and what a child ended with is a row of the store.

use stepwell_flow::Program;
use stepwell_flow::program::{ChildKind, Distributed, Kind, MapState, State as Node};
use stepwell_types::items::{PAGE_BYTES_MAX, PAGE_ITEMS_MAX};
use stepwell_types::{ChildStart, Data, EntryId, ExecutionId, Failure, ParentLink, ShardId};

use crate::evaluate::Fault;
use crate::fleet::{Away, Fleet, Place, Stage};
use crate::history::HistoryKind;
use crate::state::{Entry, Phase, State, Work};
use crate::turn::Turn;
use crate::{Command, Error, random};

mod items;
mod plan;
mod results;

/// Operations that the start of a child counts for, of those that a turn may do.
const START_OPERATIONS: u64 = 600;

/// Finds out what is wanted, and begins the first children or reads the first page.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    map: &MapState,
    how: &Distributed,
) -> Result<(), Error> {
    let prepared = super::effective_input(turn, id, node).and_then(|input| {
        turn.evaluate(id, &input, |env| plan::plan(env, map, how))
            .map(|plan| (input, plan))
    });
    let (input, plan) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => return turn.fault(id, fault),
    };
    let (attempt, entered) = match turn.state.core.entries.get(&id) {
        Some(entry) => (entry.attempt, entry.previous),
        None => (0, 0),
    };
    let length = plan.length;
    // As recorded: the length of what is read is not known, and told as 0.
    let started = turn.note_of(id, entered, || HistoryKind::MapStarted {
        length: length as usize,
    });
    // What fails now follows the entering: only from here on the start of the Map.
    let tolerated = match plan.tolerated {
        Ok(tolerated) => tolerated,
        Err(fault) => return turn.fault(id, fault),
    };
    if let Some(entry) = turn.state.core.entries.get_mut(&id) {
        entry.previous = started;
    }
    let fleet = Fleet {
        run: attempt,
        begun: turn.now,
        again: false,
        stage: Stage::Items { reading: false },
        source: plan.source,
        listed: plan.listed,
        keyed: plan.keyed,
        input,
        reading: plan.reading,
        first: 0,
        length,
        next_item: 0,
        next_slot: 0,
        items_max: plan.items_max,
        window: plan.window,
        batch: plan.batch,
        tolerated,
        away: std::collections::BTreeMap::new(),
        express: how.execution == ChildKind::Express,
        succeeded: 0,
        failed: 0,
        filling: true,
        transformation: how.writer.as_ref().map(|writer| writer.transformation),
        target: plan.target,
        files: Vec::new(),
        failing: None,
    };
    turn.state.set_phase(id, Phase::Fleet(Box::new(fleet)));
    let run = run_name(turn.state, id, node, map);
    turn.note_in(id, || HistoryKind::MapRunStarted { run: run.into() });
    if let Some(failure) = plan.refused {
        return fail(turn, id, failure);
    }
    turn.state.core.work.push(Work::Fill { entry: id, attempt });
    Ok(())
}

/// What the history and the output call a run.
pub(crate) fn run_name(state: &State, id: EntryId, node: &Node, map: &MapState) -> String {
    let label = map.label.as_ref().unwrap_or(&node.name);
    let run = match state.core.entries.get(&id).map(|e| &e.phase) {
        Some(Phase::Fleet(fleet)) => fleet.run,
        _ => 0,
    };
    format!("{}/{label}:{}-{run}", state.execution(), id.0)
}

/// Starts one child, asks for a page, or ends the run: what is next. Asks to be called
/// again as long as there is room.
pub(crate) fn fill(turn: &mut Turn<'_>, id: EntryId, attempt: u32) -> Result<(), Error> {
    let Some(fleet) = turn.state.fleet(id, attempt) else {
        return Ok(());
    };
    let going = fleet.stage == Stage::Items { reading: false };
    let room = fleet.away.len() < fleet.window as usize;
    turn.state.change_fleet(id, |fleet| fleet.filling = false);
    if !going || !room {
        return Ok(());
    }
    let Some((node, map)) = map_of(turn, id)? else {
        return Ok(());
    };
    match items::next(turn, id, map) {
        Err(fault) => broke(turn, id, node, fault),
        Ok(items::Next::Child(input, items)) => {
            start(turn, id, map, input, items)?;
            refill(turn, id);
            Ok(())
        }
        Ok(items::Next::Again) => {
            refill(turn, id);
            Ok(())
        }
        Ok(items::Next::Page) => {
            turn.state.change_fleet(id, |fleet| {
                fleet.stage = Stage::Items { reading: true };
            });
            ask(turn, id, node);
            Ok(())
        }
        Ok(items::Next::End) => {
            let idle = turn.state.fleet(id, attempt);
            if idle.is_some_and(|fleet| fleet.away.is_empty()) {
                results::begin(turn, id, node)?;
            }
            Ok(())
        }
    }
}

/// Sees to it that [`fill`] is called.
fn refill(turn: &mut Turn<'_>, id: EntryId) {
    let was = turn
        .state
        .change_fleet(id, |fleet| std::mem::replace(&mut fleet.filling, true));
    if was == Some(false)
        && let Some(attempt) = turn.state.core.entries.get(&id).map(|e| e.attempt)
    {
        turn.state.core.work.push(Work::Fill { entry: id, attempt });
    }
}

/// Starts the next child.
fn start(
    turn: &mut Turn<'_>,
    id: EntryId,
    map: &MapState,
    input: Data,
    items: u32,
) -> Result<(), Error> {
    if let Err(failure) = super::child::depth_below(turn.state) {
        return fail(turn, id, failure);
    }
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return Ok(());
    };
    let Phase::Fleet(fleet) = &entry.phase else {
        return Ok(());
    };
    let (slot, express) = (fleet.next_slot, fleet.express);
    // A redriven run finds the executions of the one before it. Those in memory are no more,
    // and what may be kept of one that failed is not written over.
    let (attempt, at) = match express {
        true => (entry.attempt, turn.now),
        false => (fleet.run, fleet.begun),
    };
    let drawn = draw(turn.state, id, attempt, slot, "item");
    let shard = ShardId(drawn[0] & 63);
    let child = ExecutionId::new(at, shard, u128::from_be_bytes(drawn));
    let away = Away {
        child,
        items,
        input: (express || fleet.again).then(|| input.clone()),
    };
    let Some(start) = child_start(turn.state, id, entry, map, (slot, &away), input) else {
        return Ok(());
    };
    let weight = away.weight();
    turn.state.change_fleet(id, |fleet| {
        fleet.next_slot += 1;
        fleet.away.insert(slot, away);
    });
    turn.state.reweigh(id, weight, 0);
    waits(turn, id);
    turn.spent = turn.spent.saturating_add(START_OPERATIONS);
    turn.out.push(Command::StartChild(Box::new(start)));
    Ok(())
}

/// The Map waits for the outside: it is no endless loop.
fn waits(turn: &mut Turn<'_>, id: EntryId) {
    if let Some(entry) = turn.state.core.entries.get_mut(&id) {
        entry.spin = 0;
        let parent = entry.parent;
        turn.state.reset_spin(parent);
    }
}

fn draw(state: &State, id: EntryId, attempt: u32, slot: u32, purpose: &str) -> [u8; 16] {
    let seed = state.seed().copied().unwrap_or_default();
    let purpose = format!("{purpose} {attempt}");
    random::draw(&seed, &purpose, id.0, u64::from(slot))
}

/// The wish for a child that is away, or about to be.
fn child_start(
    state: &State,
    id: EntryId,
    entry: &Entry<Data>,
    map: &MapState,
    (slot, away): (u32, &Away<Data>),
    input: Data,
) -> Option<ChildStart> {
    let Phase::Fleet(fleet) = &entry.phase else {
        return None;
    };
    let flow = state.flow()?;
    Some(ChildStart {
        child: away.child,
        flow: flow.name.clone(),
        version: Some(flow.version),
        name: None,
        input,
        seed: draw(state, id, entry.attempt, slot, "item's seed"),
        link: ParentLink {
            execution: state.execution(),
            entry: id,
            attempt: entry.attempt,
            depth: super::child::depth_below(state).ok()?,
            wants: fleet.wants(),
            item: Some(slot),
            run: fleet.run,
            graph: map.processor.0,
            express: fleet.express,
            root: super::child::root_of(state),
        },
        again: fleet.again,
    })
}

/// A child has ended: another may begin, or a failure too many ends the run.
pub(crate) fn item_ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    attempt: u32,
    slot: u32,
    failed: bool,
) -> Result<(), Error> {
    if turn.state.fleet(id, attempt).is_none() {
        return Ok(());
    }
    let ended = turn.state.change_fleet(id, |fleet| {
        let away = fleet.away.remove(&slot)?;
        let count = if failed {
            &mut fleet.failed
        } else {
            &mut fleet.succeeded
        };
        *count += u64::from(away.items);
        Some(away.weight())
    });
    let Some(weight) = ended.flatten() else {
        return Ok(());
    };
    turn.state.reweigh(id, 0, weight);
    if failed && too_many(turn.state, id) {
        return exceeded(turn, id);
    }
    refill(turn, id);
    Ok(())
}

/// Whether more items have failed than may.
fn too_many(state: &State, id: EntryId) -> bool {
    match state.core.entries.get(&id).map(|e| &e.phase) {
        Some(Phase::Fleet(fleet)) => fleet.tolerated.exceeded(fleet.failed, fleet.total()),
        _ => false,
    }
}

fn threshold() -> Failure {
    Failure::new(
        "States.ExceedToleratedFailureThreshold",
        "The specified tolerated failure threshold was exceeded",
    )
}

/// Too many items have failed: the run fails, and where results are written, those that there
/// are come first.
fn exceeded(turn: &mut Turn<'_>, id: EntryId) -> Result<(), Error> {
    let node = turn.node_of(id)?;
    let stage = turn.state.change_fleet(id, |fleet| {
        fleet.target.as_ref()?;
        fleet.failing = Some(threshold());
        Some(fleet.stage)
    });
    let (Some(stage), Some(node)) = (stage.flatten(), node) else {
        return fail(turn, id, threshold());
    };
    cancel_children(turn, id);
    if !matches!(stage, Stage::Items { reading: true }) {
        write_what_there_is(turn, id, node);
    }
    // The page that was asked for comes first: its answer would be taken for that to a file.
    Ok(())
}

fn write_what_there_is(turn: &mut Turn<'_>, id: EntryId, node: &Node) {
    turn.state.change_fleet(id, |fleet| {
        fleet.stage = results::files_after(fleet, None);
    });
    ask(turn, id, node);
}

/// What the run asked for has come: a page, a file, the results.
pub(crate) fn step_ended(
    turn: &mut Turn<'_>,
    id: EntryId,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    let (Some((node, map)), Some(entry)) = (map_of(turn, id)?, turn.state.core.entries.get(&id))
    else {
        return Ok(());
    };
    let Phase::Fleet(fleet) = &entry.phase else {
        return Ok(());
    };
    let (stage, failing) = (fleet.stage, fleet.failing.is_some());
    turn.state.change_fleet(id, |fleet| {
        if fleet.asks() {
            fleet.stage = Stage::Items { reading: false };
        }
    });
    match (stage, result) {
        (Stage::Items { reading: true }, _) if failing => {
            write_what_there_is(turn, id, node);
            Ok(())
        }
        (Stage::Items { reading: true }, Err(failure)) => fail(turn, id, failure.clone()),
        (Stage::Items { reading: true }, Ok(page)) => {
            if let Err(failure) = items::take(turn, id, node, page) {
                return fail(turn, id, failure);
            }
            // Now that it is known how many there are, it may be too many that failed.
            if too_many(turn.state, id) {
                return exceeded(turn, id);
            }
            refill(turn, id);
            Ok(())
        }
        (Stage::Items { reading: false } | Stage::Over, _) => Ok(()),
        (stage, result) => results::came(turn, id, (node, map), stage, result),
    }
}

/// The run failed: its children are ended, and so is the state, unless that is caught.
fn fail(turn: &mut Turn<'_>, id: EntryId, failure: Failure) -> Result<(), Error> {
    stop(turn, id);
    let mut failure = crate::turn::limited(&failure);
    if let Some(node) = turn.node_of(id)? {
        failure = crate::cloudflow::named(node, failure);
    }
    turn.note_in(id, || HistoryKind::MapRunFailed(failure.clone()));
    turn.fail(id, failure)
}

/// An item, or what is made of it, could not be evaluated.
fn broke(turn: &mut Turn<'_>, id: EntryId, node: &Node, fault: Fault) -> Result<(), Error> {
    let failure = turn.failure_of(id, &node.name, fault);
    fail(turn, id, failure)
}

/// Ends whatever of the run is under way.
fn stop(turn: &mut Turn<'_>, id: EntryId) {
    let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
    let stopped = turn.state.change_fleet(id, |fleet| {
        let asked = fleet.asks();
        fleet.stage = Stage::Over;
        asked
    });
    if stopped == Some(true) {
        turn.out.push(Command::Abort { entry: id, attempt });
    }
    cancel_children(turn, id);
}

fn cancel_children(turn: &mut Turn<'_>, id: EntryId) {
    let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
    let away = turn
        .state
        .change_fleet(id, |fleet| (fleet.express, std::mem::take(&mut fleet.away)));
    let Some((express, away)) = away else {
        return;
    };
    let weight = away.values().map(Away::weight).sum();
    turn.state.reweigh(id, 0, weight);
    for away in away.into_values() {
        turn.out.push(Command::CancelChild {
            child: away.child,
            attempt,
            express,
        });
    }
}

/// What is around it ends, or it failed.
pub(crate) fn halt(turn: &mut Turn<'_>, id: EntryId) {
    let Some(Phase::Fleet(fleet)) = turn.state.core.entries.get(&id).map(|e| &e.phase) else {
        return;
    };
    if fleet.stage != Stage::Over {
        stop(turn, id);
        turn.note_in(id, || HistoryKind::MapRunAborted);
    }
}

/// Asks for what the run's stage wants.
fn ask(turn: &mut Turn<'_>, id: EntryId, node: &Node) {
    waits(turn, id);
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return;
    };
    let command = wish(turn.state, id, entry, node);
    turn.out.extend(command.map(Command::Run));
}

/// The step that a run waits for.
fn wish(state: &State, id: EntryId, entry: &Entry<Data>, node: &Node) -> Option<crate::RunStep> {
    let (Phase::Fleet(fleet), Kind::Map(map)) = (&entry.phase, &node.kind) else {
        return None;
    };
    let (target, input) = match fleet.stage {
        Stage::Items { reading: true } => (items::read(fleet)?, Data::null()),
        Stage::Items { reading: false } | Stage::Over => return None,
        stage => results::wish(state, id, (node, map), fleet, stage)?,
    };
    Some(crate::RunStep {
        state: node.name.clone(),
        entry: id,
        attempt: entry.attempt,
        target,
        input,
        deadline: None,
        token: None,
        seed: 0,
    })
}

/// What a resumed execution still wants of this entry: its step, and the children whose
/// start is nowhere else.
pub(crate) fn outstanding(
    program: &Program,
    state: &State,
    id: EntryId,
    entry: &Entry<Data>,
    out: &mut Vec<Command>,
) {
    let (Phase::Fleet(fleet), Some(node)) =
        (&entry.phase, program.states.get(entry.state as usize))
    else {
        return;
    };
    let Kind::Map(map) = &node.kind else {
        return;
    };
    out.extend(wish(state, id, entry, node).map(Command::Run));
    for (slot, away) in &fleet.away {
        if let Some(input) = &away.input {
            let start = child_start(state, id, entry, map, (*slot, away), input.clone());
            out.extend(start.map(|start| Command::StartChild(Box::new(start))));
        }
    }
}

/// Goes through all items again: those that succeeded are answered from their rows, and the
/// executions of others go on.
pub(crate) fn again(fleet: &mut Fleet<Data>) {
    fleet.again = true;
    fleet.stage = Stage::Items { reading: false };
    if let Some(reading) = &mut fleet.reading {
        reading.place = Place::First;
        fleet.source = Data::from_valid_text("[]");
        (fleet.first, fleet.length) = (0, 0);
    }
    (fleet.next_item, fleet.next_slot) = (0, 0);
    (fleet.succeeded, fleet.failed) = (0, 0);
    fleet.away.clear();
    fleet.files.clear();
    fleet.failing = None;
    fleet.filling = false;
    if let Some(batch) = &mut fleet.batch {
        batch.items.clear();
    }
}

/// How much of a source one page is to hold.
fn page(fleet: &Fleet<Data>) -> (u32, u32) {
    let left = fleet.items_max.saturating_sub(fleet.at_hand());
    (left.clamp(1, PAGE_ITEMS_MAX), PAGE_BYTES_MAX)
}

fn map_of<'a>(turn: &Turn<'a>, id: EntryId) -> Result<Option<(&'a Node, &'a MapState)>, Error> {
    let node = turn.node_of(id)?;
    Ok(node.and_then(|node| match &node.kind {
        Kind::Map(map) => Some((node, map)),
        _ => None,
    }))
}
