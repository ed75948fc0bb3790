//! What must hold, during the storm and at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepwell_flow::program::{ChildKind, Kind};
use stepwell_interpreter::codec::{self, Logged};
use stepwell_interpreter::{Command, Event, Outcome, State, Timer};
use stepwell_orchestrator::api::Status;
use stepwell_orchestrator::driver::{Answer, Parcel, Post, open_by_flow, read_log, read_state};
use stepwell_orchestrator::ports::Programs as _;
use stepwell_store::{Key, Range, Reader as _};
use stepwell_types::{
    BridgeCall, ChildStart, EntryId, ExecutionId, FlowRef, ParentLink, ShardId, SignalSend,
    TaskToken,
};

use super::express;
use super::faults::{event_of, walk};
use super::items;
use super::kept;
use super::oracle;
use super::signals;
use super::world::World;

pub(super) fn log(world: &World, id: ExecutionId) -> Result<Vec<Logged>, String> {
    read_log(&world.memory, id, 0).map_err(|e| e.to_string())
}

pub(super) fn state(world: &World, id: ExecutionId) -> Result<Option<State>, String> {
    if flow_of(world, id)?.is_none() {
        return Ok(None);
    }
    let found = read_state(&world.memory, &*world.flows, id).map_err(|e| e.to_string())?;
    match found.diverged {
        Some(why) => Err(format!("{id}: {why}")),
        None => Ok(Some(found.state)),
    }
}

pub(super) fn flow_of(world: &World, id: ExecutionId) -> Result<Option<FlowRef>, String> {
    let first = log(world, id)?.into_iter().next();
    Ok(match first.as_ref().and_then(event_of) {
        Some((Event::Started { flow, .. }, ..)) => Some(flow.clone()),
        Some(_) => return Err(format!("{id}: the log does not begin with Started")),
        None => None,
    })
}

/// An answered start is in the store.
pub fn is_durable(world: &World, id: ExecutionId) -> Result<(), String> {
    let row = world
        .memory
        .get(&Key::Summary { execution: id })
        .map_err(|e| e.to_string())?;
    match row {
        Some(_) if express::is_one(world, id) || !log(world, id)?.is_empty() => Ok(()),
        // One that is waited for is never durable.
        None if express::is_one(world, id) => Ok(()),
        _ => Err(format!("{id}: a client heard of it before it was durable")),
    }
}

/// Whether the store knows of it.
pub fn is_there(world: &World, id: ExecutionId) -> Result<bool, String> {
    let row = world.memory.get(&Key::Summary { execution: id });
    Ok(row.map_err(|e| e.to_string())?.is_some())
}

/// Whether an execution is durable and, by what is durable, has not ended.
pub fn is_open(world: &World, id: ExecutionId) -> Result<bool, String> {
    Ok(is_there(world, id)? && state(world, id)?.is_some_and(|s| s.outcome().is_none()))
}

/// An acknowledged redrive is in the log.
pub fn redrive_is_recorded(world: &World, id: ExecutionId, count: u32) -> Result<(), String> {
    let redrives = log(world, id)?
        .into_iter()
        .filter(|l| matches!(l, Logged::Event(r) if matches!(r.event, Event::Redriven { .. })));
    if redrives.count() >= count as usize {
        return Ok(());
    }
    Err(format!(
        "{id}: a redrive was acknowledged before it was durable"
    ))
}

/// Every end that the store knows of, in order: a redrive makes more of them.
pub fn durable_ends(world: &World, id: ExecutionId) -> Result<Vec<Outcome>, String> {
    let Some(flow) = flow_of(world, id)? else {
        return Ok(Vec::new());
    };
    // Here every version of a flow is the same program.
    let program = world.flows.program(&flow).map_err(|e| e.to_string())?;
    let mut state = State::new(id);
    let mut ends = Vec::new();
    for logged in log(world, id)? {
        let mut commands = Vec::new();
        walk(&program, &mut state, &logged, &mut commands)?;
        ends.extend(commands.into_iter().filter_map(|c| match c {
            Command::Finish(outcome) => Some(outcome),
            _ => None,
        }));
    }
    Ok(ends)
}

/// The status of an end.
#[must_use]
pub fn status_of(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Succeeded(_) => Status::Succeeded,
        Outcome::Failed(_) => Status::Failed,
        Outcome::TimedOut(_) => Status::TimedOut,
        Outcome::Aborted(_) => Status::Aborted,
    }
}

/// The tasks of a durable state that wait for their token.
pub fn open_tasks(world: &World, id: ExecutionId) -> Result<Vec<(Arc<str>, TaskToken)>, String> {
    let Some(state) = state(world, id)? else {
        return Ok(Vec::new());
    };
    let Some(flow) = flow_of(world, id)? else {
        return Ok(Vec::new());
    };
    let parked = is_parked(world, id)?;
    if state.outcome().is_some() || parked {
        return Ok(Vec::new());
    }
    let program = world.flows.program(&flow).map_err(|e| e.to_string())?;
    let mut commands = Vec::new();
    stepwell_interpreter::open_tasks(&program, &state, &mut commands);
    Ok(commands
        .into_iter()
        .filter_map(|c| match c {
            Command::Run(step) => step.token.map(|t| (step.state, t)),
            _ => None,
        })
        .collect())
}

/// The token of an attempt, made anew from the durable seed.
pub fn token_of(
    world: &World,
    id: ExecutionId,
    entry: EntryId,
    attempt: u32,
) -> Result<Option<TaskToken>, String> {
    Ok(state(world, id)?.map(|s| s.token(entry, attempt)))
}

/// An acknowledged token answer is in the log.
pub fn token_is_recorded(world: &World, token: &TaskToken) -> Result<(), String> {
    let found = log(world, token.execution)?.into_iter().any(|l| {
        matches!(event_of(&l), Some((Event::TokenEnded { entry, attempt, .. }, ..))
            if (*entry, *attempt) == (token.entry, token.attempt))
    });
    if found {
        return Ok(());
    }
    Err(format!(
        "{}: a token answer was acknowledged before it was durable",
        token.execution
    ))
}

/// A call goes out only after its intent is durable, and never after its outcome is.
pub fn call_may_be_made(world: &World, call: &BridgeCall) -> Result<(), String> {
    if express::is_one(world, call.by.execution) {
        return Ok(());
    }
    let mut intended = false;
    for logged in log(world, call.by.execution)? {
        match logged {
            Logged::CallIntent {
                entry,
                attempt,
                call: number,
                ..
            } if (entry, attempt, number) == (call.by.entry, call.by.attempt, call.call) => {
                intended = true;
            }
            other => {
                if let Some((Event::StepEnded { entry, attempt, .. }, ..)) = event_of(&other)
                    && (*entry, *attempt) == (call.by.entry, call.by.attempt)
                {
                    return Err(format!(
                        "{}: a recorded call was made again",
                        call.by.execution
                    ));
                }
            }
        }
    }
    let again = world
        .made
        .iter()
        .filter(|m| m.call == *call && m.life == world.life);
    if again.count() > 1 {
        return Err(format!(
            "{}: a call was made twice in one life",
            call.by.execution
        ));
    }
    if intended {
        return Ok(());
    }
    Err(format!(
        "{}: a call went out before its intent was durable",
        call.by.execution
    ))
}

/// Every execution that the store knows, clients' and executions' own.
pub fn executions(world: &World) -> Result<Vec<ExecutionId>, String> {
    let range = Range::Summaries { before: None };
    let rows = world.memory.scan(&range, usize::MAX);
    let keys = rows.map_err(|e| e.to_string())?.into_iter();
    Ok(keys
        .filter_map(|(key, _)| match key {
            Key::Summary { execution } => Some(execution),
            _ => None,
        })
        .collect())
}

fn parent(world: &World, id: ExecutionId) -> Result<Option<ExecutionId>, String> {
    Ok(state(world, id)?.and_then(|s| s.parent().map(|p| p.execution)))
}

/// Who started an execution, who started that one, and so on.
pub fn ancestors(world: &World, mut id: ExecutionId) -> Result<Vec<ExecutionId>, String> {
    let mut all = Vec::new();
    while let Some(above) = parent(world, id)? {
        all.push(above);
        id = above;
    }
    Ok(all)
}

/// How many executions were started by executions.
pub fn children(world: &World) -> Result<usize, String> {
    let mut n = 0;
    for id in executions(world)? {
        n += usize::from(parent(world, id)?.is_some());
    }
    Ok(n)
}

/// What an execution wants of others.
#[derive(Default)]
pub(super) struct Wishes {
    pub(super) starts: Vec<ChildStart>,
    /// Whom, and of which attempt.
    pub(super) cancels: Vec<(ExecutionId, u32)>,
    pub(super) signals: Vec<SignalSend>,
}

/// What an execution's durable log wants of others.
pub(super) fn wishes(world: &World, id: ExecutionId) -> Result<Wishes, String> {
    let Some(flow) = flow_of(world, id)? else {
        return Ok(Wishes::default());
    };
    let program = world.flows.program(&flow).map_err(|e| e.to_string())?;
    let mut state = State::new(id);
    let mut commands = Vec::new();
    for logged in log(world, id)? {
        walk(&program, &mut state, &logged, &mut commands)?;
    }
    let mut wishes = Wishes::default();
    for command in commands {
        match command {
            Command::Signal { send, .. } => wishes.signals.push(*send),
            Command::StartChild(start) => wishes.starts.push(*start),
            Command::CancelChild { child, attempt, .. } => wishes.cancels.push((child, attempt)),
            _ => {}
        }
    }
    Ok(wishes)
}

/// A start leaves only after what led to it is durable.
pub fn start_may_leave(
    world: &World,
    sender: ExecutionId,
    start: &ChildStart,
) -> Result<(), String> {
    if wishes(world, sender)?.starts.contains(start) {
        return Ok(());
    }
    Err(format!(
        "{sender}: the start of a child left before it was durable"
    ))
}

/// A receipt leaves only after what it says is durable.
pub fn receipt_is_true(world: &World, post: &Post) -> Result<(), String> {
    let Post::Receipt {
        sender,
        number,
        answer,
    } = post
    else {
        return Ok(());
    };
    if let Answer::Started { child, .. } = &**answer {
        return is_durable(world, *child);
    }
    let key = |id: ExecutionId, number| Key::Outbox {
        shard: id.shard(),
        execution: id,
        number,
    };
    let row = |key| world.memory.get(&key).map_err(|e| e.to_string());
    let Some(bytes) = row(key(*sender, *number))? else {
        return Ok(());
    };
    let parcel = Parcel::read(&bytes).map_err(|e| e.to_string())?;
    match parcel {
        Parcel::Cancel { child, attempt, .. } => {
            let over = state(world, child)?.is_some_and(|s| {
                // A redriven parent may want it again.
                let newer = s.parent().is_some_and(|link| link.attempt > attempt);
                newer || s.outcome().is_some()
            });
            if over || row(key(child, u64::MAX))?.is_some() {
                return Ok(());
            }
            Err(format!("{child}: its cancel was taken, and it lives on"))
        }
        Parcel::Ended { link, child, .. } => {
            let (entry, attempt) = (link.entry, link.attempt);
            let waits = state(world, link.execution)?.is_some_and(|s| {
                s.outcome().is_none()
                    && match link.item {
                        None => s.awaits_child(entry, attempt),
                        Some(slot) => s.awaits_item(entry, attempt, slot, child),
                    }
            });
            // Where its turn panicked, the answer is in the log and the state is as before.
            if waits && !world.flows.1.has(link.execution) {
                return Err(format!(
                    "{}: the answer for it was taken, and it still waits",
                    link.execution
                ));
            }
            Ok(())
        }
        Parcel::Signal { send, .. } => signals::receipt_is_true(world, &send, answer),
        _ => Ok(()),
    }
}

/// Every child that was wished for is there once, every other is not, and every parent
/// that waited had one answer.
fn families_are_whole(world: &World) -> Result<(), String> {
    let mut wished = BTreeMap::new();
    for id in executions(world)? {
        let Wishes {
            starts, cancels, ..
        } = wishes(world, id)?;
        let mut newest = BTreeMap::new();
        for start in &starts {
            newest.insert(start.child, start.link.attempt);
        }
        for start in starts {
            let (child, attempt) = (start.child, start.link.attempt);
            if start.link.express {
                // It leaves a trace only when it fails.
                wished.insert(child, id);
                continue;
            }
            let Some(state) = state(world, child)? else {
                return Err(format!("{id}: its child {child} never started"));
            };
            let known = state.parent().ok_or("a child without a parent")?;
            let same = ParentLink {
                attempt: known.attempt,
                ..start.link.clone()
            };
            if *known != same {
                return Err(format!("{child}: it knows another parent than {id}"));
            }
            if cancels.contains(&(child, known.attempt)) && state.outcome().is_none() {
                return Err(format!("{child}: it outlives its parent's cancel"));
            }
            // A redriven Map wants the same child again, and only what succeeded need not hear.
            if newest.get(&child) != Some(&attempt) {
                continue;
            }
            if known.attempt != attempt && !matches!(state.outcome(), Some(Outcome::Succeeded(_))) {
                return Err(format!("{child}: it never heard that it is wanted again"));
            }
            let begun = log(world, child)?;
            let begun = begun
                .iter()
                .filter(|l| matches!(event_of(l), Some((Event::Started { .. }, ..))));
            if begun.count() != 1 || wished.insert(child, id).is_some() {
                return Err(format!("{child}: it started more than once"));
            }
        }
        let mut answers = BTreeMap::new();
        for logged in log(world, id)? {
            let key = match event_of(&logged) {
                Some((Event::ChildEnded { entry, attempt, .. }, ..)) => (*entry, *attempt, None),
                Some((
                    Event::ItemEnded {
                        entry,
                        attempt,
                        slot,
                        ..
                    },
                    ..,
                )) => (*entry, *attempt, Some(*slot)),
                _ => continue,
            };
            *answers.entry(key).or_insert(0) += 1;
        }
        items::are_done_once(world, id)?;
        if let Some((key, n)) = answers.iter().find(|(_, n)| **n > 1) {
            return Err(format!("{id}: {n} answers for {key:?}"));
        }
    }
    for id in executions(world)? {
        if parent(world, id)?.is_some() && !wished.contains_key(&id) {
            return Err(format!("{id}: a child that nobody's log starts"));
        }
    }
    Ok(())
}

/// Whether an express item below took more than its five minutes, which a simulated clock
/// may well make it do.
fn an_item_timed_out(world: &World, id: ExecutionId) -> Result<bool, String> {
    for below in executions(world)? {
        let Some(state) = state(world, below)? else {
            continue;
        };
        let express = state.parent().is_some_and(|link| link.express);
        let late = matches!(state.outcome(), Some(Outcome::TimedOut(_)));
        if express && late && ancestors(world, below)?.contains(&id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether it, or what it waited for, did not go on by itself.
fn is_disturbed(world: &World, id: ExecutionId) -> Result<bool, String> {
    if world.disturbed.contains(&id) || world.flows.1.has(id) {
        return Ok(true);
    }
    for below in executions(world)? {
        if world.flows.1.has(below) && ancestors(world, below)?.contains(&id) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Parked and not ended.
pub fn is_stuck(world: &World, id: ExecutionId) -> Result<bool, String> {
    let open = state(world, id)?.is_some_and(|s| s.outcome().is_none());
    Ok(open && is_parked(world, id)?)
}

pub(super) fn is_parked(world: &World, id: ExecutionId) -> Result<bool, String> {
    stepwell_orchestrator::driver::is_parked(&world.memory, id).map_err(|e| e.to_string())
}

/// After the calm: everything accepted has ended, once and right.
pub fn at_the_end(world: &World) -> Result<(), String> {
    let mut transitions: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for (id, known) in &world.known {
        if express::is_express(world, &known.flow) {
            express::ended_right(world, *id, known)?;
            continue;
        }
        let Some(state) = state(world, *id)? else {
            if known.accepted {
                return Err(format!("{id}: accepted, and lost"));
            }
            continue;
        };
        let Some(outcome) = state.outcome() else {
            return Err(format!(
                "{id}: accepted, and never ended; parked: {}; its log: {:?}",
                is_parked(world, *id)?,
                log(world, *id)?
            ));
        };
        // A redrive may give another end to what did not succeed, and to nothing else.
        let told = known
            .told
            .as_ref()
            .filter(|told| !known.redrive_sent || matches!(told, Outcome::Succeeded(_)));
        if told.is_some_and(|t| t != outcome) {
            return Err(format!("{id}: ended otherwise than a client was told"));
        }
        if known.cancelled && !known.redrive_sent && !matches!(outcome, Outcome::Aborted(_)) {
            return Err(format!(
                "{id}: a cancel was acknowledged, but it ended {outcome:?}"
            ));
        }
        if matches!(outcome, Outcome::Aborted(_)) {
            if !known.cancel_sent {
                return Err(format!("{id}: aborted, and nobody cancelled it"));
            }
        } else if !is_disturbed(world, *id)? && !an_item_timed_out(world, *id)? {
            let input = known.input.clone().ok_or("a start without an input")?;
            let right = oracle::outcome(world, &known.flow, &input)?;
            if right != *outcome {
                return Err(format!("{id}: ended {outcome:?}, but right is {right:?}"));
            }
        }
        timers_fired_once(world, *id)?;
    }
    for id in executions(world)? {
        if express::is_one(world, id) {
            continue;
        }
        let Some(state) = state(world, id)? else {
            return Err(format!("{id}: a summary without a log"));
        };
        if state.outcome().is_none() {
            return Err(format!("{id}: started by an execution, and never ended"));
        }
        its_log_leads_there(world, id, &state)?;
        if let Some(flow) = state.flow() {
            *transitions.entry(flow.name.clone()).or_default() += state.transitions();
        }
    }
    families_are_whole(world)?;
    signals::each_is_once(world)?;
    names_are_unique(world)?;
    taken_answers_are_there(world)?;
    no_rows_left(world)?;
    kept::is_exact(world)?;
    none_is_counted_open(world)?;
    usage_is_exact(world, &transitions)
}

/// What is read from a checkpoint on is what the whole log leads to.
fn its_log_leads_there(world: &World, id: ExecutionId, read: &State) -> Result<(), String> {
    let key = Key::Checkpoint { execution: id };
    let row = world.memory.get(&key).map_err(|e| e.to_string())?;
    let Some(flow) = flow_of(world, id)?.filter(|_| row.is_some()) else {
        return Ok(());
    };
    let program = world.flows.program(&flow).map_err(|e| e.to_string())?;
    let mut walked = State::new(id);
    for logged in log(world, id)? {
        walk(&program, &mut walked, &logged, &mut Vec::new())?;
    }
    let written = |state: &State| codec::encode_state(state, &mut |_| None);
    if written(&walked) == written(read) {
        return Ok(());
    }
    Err(format!(
        "{id}: its checkpoint is of another state than its log leads to"
    ))
}

fn timers_fired_once(world: &World, id: ExecutionId) -> Result<(), String> {
    let mut waits: Vec<(EntryId, u32)> = Vec::new();
    let (mut ends, mut redrives) = (0, 0);
    let mut last = i64::MIN;
    for logged in log(world, id)? {
        let Some((event, at, _)) = event_of(&logged) else {
            continue;
        };
        if at.0 < last {
            return Err(format!("{id}: its events go back in time"));
        }
        last = at.0;
        match event {
            Event::TimerFired {
                entry,
                timer: Timer::Wait,
            } => {
                if waits.iter().any(|(e, _)| e == entry) {
                    return Err(format!("{id}: the timer of a Wait fired twice"));
                }
                waits.push((*entry, 0));
            }
            Event::Cancelled { .. } => ends += 1,
            Event::Redriven { .. } => redrives += 1,
            _ => {}
        }
    }
    if ends > 1 + redrives {
        return Err(format!("{id}: cancelled twice"));
    }
    Ok(())
}

/// No two executions of one flow have the same name.
fn names_are_unique(world: &World) -> Result<(), String> {
    let mut seen = BTreeMap::new();
    for (id, known) in &world.known {
        let unique = known.accepted && !express::is_express(world, &known.flow);
        let Some(name) = known.name.clone().filter(|_| unique) else {
            continue;
        };
        if let Some(other) = seen.insert((known.flow.clone(), name), *id) {
            return Err(format!("{id} and {other} were both started under one name"));
        }
    }
    Ok(())
}

fn taken_answers_are_there(world: &World) -> Result<(), String> {
    for (id, entry, attempt) in world.taken.keys() {
        if let Some(token) = token_of(world, *id, *entry, *attempt)? {
            token_is_recorded(world, &token)?;
        } else {
            return Err(format!("{id}: its token was answered, and it is lost"));
        }
    }
    Ok(())
}

/// Nothing keeps a wake-up row for an execution that has ended.
fn no_rows_left(world: &World) -> Result<(), String> {
    for shard in 0..64 {
        let shard = ShardId(shard);
        let ranges = [
            Range::Hot { shard, after: None },
            Range::Outbox { shard, after: None },
            Range::Timers {
                shard,
                from: stepwell_types::Timestamp(i64::MIN),
            },
        ];
        for range in ranges {
            let rows = world.memory.scan(&range, 10).map_err(|e| e.to_string())?;
            if let Some((key, _)) = rows.first() {
                return Err(format!("a row is left over: {key:?}"));
            }
        }
    }
    // Results of items are kept for a redrive, and for nothing else.
    for (key, _) in world.memory.snapshot().rows() {
        if let Key::MapResult { execution, .. } = key {
            let ended = state(world, *execution)?;
            if ended.is_none_or(|s| matches!(s.outcome(), Some(Outcome::Succeeded(_)))) {
                return Err(format!("a row is left over: {key:?}"));
            }
        }
    }
    Ok(())
}

/// All have ended, and so do the counts of those that have not, whatever died in between.
fn none_is_counted_open(world: &World) -> Result<(), String> {
    for flow in world.flows.0.keys() {
        let open = open_by_flow(&world.memory, flow).map_err(|e| e.to_string())?;
        if open != 0 {
            return Err(format!(
                "{open} executions of {flow} are counted as not ended"
            ));
        }
    }
    Ok(())
}

/// The usage rows say what the logs say, whatever died in between.
fn usage_is_exact(world: &World, transitions: &BTreeMap<Arc<str>, u64>) -> Result<(), String> {
    let counted = stepwell_orchestrator::driver::usage_transitions(&world.memory)
        .map_err(|e| e.to_string())?;
    for (flow, n) in transitions {
        let got = counted.get(flow).copied().unwrap_or(0);
        // What ran in memory and was forgotten is counted, and has no log.
        let program = world.flows.0.get(flow);
        let forgets = program.is_some_and(|p| {
            let mut maps = p.states.iter().filter_map(|s| match &s.kind {
                Kind::Map(map) => map.distributed.as_ref(),
                _ => None,
            });
            maps.any(|how| how.execution == ChildKind::Express)
        });
        if got != *n && !(forgets && got > *n) {
            return Err(format!(
                "usage of {flow} says {got} transitions, the logs say {n}"
            ));
        }
    }
    Ok(())
}
