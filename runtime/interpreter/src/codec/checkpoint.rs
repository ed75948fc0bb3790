//! A checkpoint: the state from which an execution resumes.
//!
//! A table of payloads, each once, and the state with indices into it. Refuses a
//! state whose entries do not form a tree.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stepwell_types::{Data, Digest, EntryId, Failure};

use super::{Fetch, Payload, append_postcard, damaged, open, payload};
use crate::fleet::{Away, Batch, Fleet};
use crate::state::{
    Core, Entry, Inbox, Join, MapRun, ParallelRun, Phase, Received, Running, Started, State,
    Variables,
};
use crate::{Error, Outcome};

const WHAT: &str = "checkpoint";
/// Format of a checkpoint.
const VERSION: u8 = 10;
/// Deepest nesting of Parallel and Map states: more than a definition can hold.
const NESTING_MAX: usize = 256;

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    payloads: Vec<Payload<'a>>,
    /// Maps of variables, each once.
    variables: Vec<Variables<u32>>,
    core: Core<u32, u32>,
    ended: Option<Ended>,
}

#[derive(Serialize, Deserialize)]
enum Ended {
    Succeeded(u32),
    Failed(Failure),
    TimedOut(Failure),
    Aborted(Failure),
}

/// The state as bytes. `blobs` is asked for every payload above `INLINE_BYTES_MAX`, as in [`super::append`].
#[must_use]
pub fn encode_state(state: &State, blobs: &mut dyn FnMut(&Data) -> Option<Digest>) -> Vec<u8> {
    let mut table: Vec<Data> = Vec::new();
    let mut known: HashMap<usize, u32> = HashMap::new();
    let mut index = |data: &Data| -> u32 {
        *known.entry(data.address()).or_insert_with(|| {
            table.push(data.clone());
            u32::try_from(table.len() - 1).unwrap_or(u32::MAX)
        })
    };
    let mut variables: Vec<Variables<u32>> = Vec::new();
    let mut known_maps: HashMap<usize, u32> = HashMap::new();
    for entry in state
        .core
        .entries
        .values()
        .chain(state.core.halted.values())
    {
        known_maps
            .entry(address(&entry.variables))
            .or_insert_with(|| {
                let of = entry.variables.iter().map(|(n, v)| (n.clone(), index(v)));
                variables.push(of.collect());
                u32::try_from(variables.len() - 1).unwrap_or(u32::MAX)
            });
    }
    let core = convert(
        &state.core,
        &mut |data| Ok(index(data)),
        &mut |map: &Arc<Variables>| Ok(known_maps.get(&address(map)).copied().unwrap_or(u32::MAX)),
    );
    let ended = state.outcome.as_ref().map(|outcome| match outcome {
        Outcome::Succeeded(output) => Ended::Succeeded(index(output)),
        Outcome::Failed(failure) => Ended::Failed(failure.clone()),
        Outcome::TimedOut(failure) => Ended::TimedOut(failure.clone()),
        Outcome::Aborted(failure) => Ended::Aborted(failure.clone()),
    });
    let payloads = table.iter().map(|data| payload(data, blobs)).collect();
    let mut out = vec![VERSION];
    // The conversion above has no way to fail.
    if let Ok(core) = core {
        append_postcard(
            &mut out,
            &Wire {
                payloads,
                variables,
                core,
                ended,
            },
        );
    }
    out
}

/// A state from its bytes: it continues exactly as the encoded one would.
///
/// # Errors
/// `RUN0104` for damaged bytes, `RUN0105` for a newer format, `RUN0106` for a missing blob.
pub fn decode_state(bytes: &[u8], fetch: &Fetch<'_>) -> Result<State, Error> {
    let (version, rest) = bytes.split_first().ok_or_else(|| damaged(WHAT, "empty"))?;
    if *version != VERSION {
        return Err(Error::Version {
            what: WHAT,
            found: *version,
            known: VERSION,
        });
    }
    let wire: Wire<'_> = postcard::from_bytes(rest).map_err(|e| damaged(WHAT, e))?;
    let mut table = Vec::with_capacity(wire.payloads.len());
    for payload in wire.payloads {
        table.push(open(WHAT, payload, fetch)?);
    }
    let mut find = |index: &u32| -> Result<Data, Error> {
        let found: Option<&Data> = table.get(*index as usize);
        found
            .cloned()
            .ok_or_else(|| damaged(WHAT, "no such payload"))
    };
    let mut maps = Vec::with_capacity(wire.variables.len());
    for map in &wire.variables {
        let named = map.iter().map(|(n, v)| Ok((n.clone(), find(v)?)));
        maps.push(Arc::new(named.collect::<Result<Variables, Error>>()?));
    }
    let core = convert(&wire.core, &mut find, &mut |index: &u32| {
        let found: Option<&Arc<Variables>> = maps.get(*index as usize);
        found
            .cloned()
            .ok_or_else(|| damaged(WHAT, "no such variables"))
    })?;
    let outcome = match wire.ended {
        None => None,
        Some(Ended::Succeeded(output)) => Some(Outcome::Succeeded(find(&output)?)),
        Some(Ended::Failed(failure)) => Some(Outcome::Failed(failure)),
        Some(Ended::TimedOut(failure)) => Some(Outcome::TimedOut(failure)),
        Some(Ended::Aborted(failure)) => Some(Outcome::Aborted(failure)),
    };
    check(&core.entries, core.last_entry)?;
    check_tree(&core.halted, core.last_entry)?;
    Ok(State::restore(core, outcome))
}

/// What the interpreter relies on: live entries form a tree, and joins know their branches.
fn check(entries: &BTreeMap<EntryId, Entry<Data>>, last_entry: u64) -> Result<(), Error> {
    check_tree(entries, last_entry)?;
    for (id, entry) in entries {
        if let Some(join) = entry.join() {
            let ours = join.children.iter().all(|(slot, child)| {
                entries
                    .get(child)
                    .is_some_and(|c| c.parent.is_some_and(|p| p.entry == *id && p.slot == *slot))
            });
            if !ours {
                return Err(damaged(WHAT, "a join does not fit its branches"));
            }
        }
    }
    Ok(())
}

/// Parents come before their children, and a join counts its results.
fn check_tree(entries: &BTreeMap<EntryId, Entry<Data>>, last_entry: u64) -> Result<(), Error> {
    let mut depth: BTreeMap<EntryId, usize> = BTreeMap::new();
    for (id, entry) in entries {
        if id.0 > last_entry {
            return Err(damaged(WHAT, "an entry is numbered beyond the last"));
        }
        let around = match entry.parent {
            None => 0,
            Some(parent) => *depth
                .get(&parent.entry)
                .ok_or_else(|| damaged(WHAT, "an entry has no parent"))?,
        };
        if around >= NESTING_MAX {
            return Err(damaged(WHAT, "entries are nested too deep"));
        }
        depth.insert(*id, around + 1);
        if let Some(join) = entry.join() {
            let missing = join.results.iter().filter(|r| r.is_none()).count();
            if missing != join.missing as usize {
                return Err(damaged(WHAT, "a join does not fit its branches"));
            }
        }
    }
    Ok(())
}

/// The same state with every payload exchanged.
fn convert<A, B, V, W>(
    core: &Core<A, V>,
    f: &mut impl FnMut(&A) -> Result<B, Error>,
    variables: &mut impl FnMut(&V) -> Result<W, Error>,
) -> Result<Core<B, W>, Error> {
    let started = match &core.started {
        None => None,
        Some(started) => Some(Started {
            flow: started.flow.clone(),
            name: started.name.clone(),
            input: f(&started.input)?,
            seed: started.seed,
            at: started.at,
            parent: started.parent.clone(),
        }),
    };
    let mut entries = BTreeMap::new();
    for (id, entry) in &core.entries {
        entries.insert(*id, convert_entry(entry, f, variables)?);
    }
    let mut halted = BTreeMap::new();
    for (id, entry) in &core.halted {
        halted.insert(*id, convert_entry(entry, f, variables)?);
    }
    Ok(Core {
        execution: core.execution,
        started,
        entries,
        work: core.work.clone(),
        cut: core.cut,
        last_entry: core.last_entry,
        transitions: core.transitions,
        events: core.events,
        draws: core.draws,
        deadline: core.deadline,
        halted,
        failed: core.failed,
        redrives: core.redrives,
        redriven: core.redriven,
        global: match &core.global {
            None => None,
            Some(global) => Some(f(global)?),
        },
        inbox: convert_inbox(&core.inbox, f)?,
    })
}

fn convert_inbox<A, B>(
    inbox: &Inbox<A>,
    f: &mut impl FnMut(&A) -> Result<B, Error>,
) -> Result<Inbox<B>, Error> {
    let mut signals = VecDeque::with_capacity(inbox.signals.len());
    for signal in &inbox.signals {
        signals.push_back(Received {
            name: Arc::clone(&signal.name),
            data: f(&signal.data)?,
            sender: signal.sender,
            at: signal.at,
        });
    }
    Ok(Inbox {
        signals,
        waits: inbox.waits,
    })
}

/// Where a shared map is in memory.
fn address(map: &Arc<Variables>) -> usize {
    Arc::as_ptr(map).addr()
}

fn convert_entry<A, B, V, W>(
    entry: &Entry<A, V>,
    f: &mut impl FnMut(&A) -> Result<B, Error>,
    variables: &mut impl FnMut(&V) -> Result<W, Error>,
) -> Result<Entry<B, W>, Error> {
    let phase = match &entry.phase {
        Phase::Ready => Phase::Ready,
        Phase::Backoff(at) => Phase::Backoff(*at),
        Phase::Waiting(at) => Phase::Waiting(*at),
        Phase::Running(run) => Phase::Running(Running {
            step: run.step,
            child: run.child,
            input: f(&run.input)?,
            timeout: run.timeout,
            heartbeat: run.heartbeat,
            heartbeat_ms: run.heartbeat_ms,
            signals: run.signals.clone(),
        }),
        Phase::Parallel(run) => Phase::Parallel(ParallelRun {
            join: convert_join(&run.join, f)?,
            input: f(&run.input)?,
        }),
        Phase::Map(map) => Phase::Map(MapRun {
            join: convert_join(&map.join, f)?,
            source: f(&map.source)?,
            listed: map.listed,
            input: f(&map.input)?,
            window: map.window,
            next: map.next,
            filling: map.filling,
        }),
        Phase::Fleet(fleet) => Phase::Fleet(Box::new(convert_fleet(fleet, f)?)),
    };
    Ok(Entry {
        state: entry.state,
        parent: entry.parent,
        entered_at: entry.entered_at,
        entered_event: entry.entered_event,
        before: entry.before,
        previous: entry.previous,
        spin: entry.spin,
        input: f(&entry.input)?,
        variables: variables(&entry.variables)?,
        attempt: entry.attempt,
        first: entry.first,
        retries: entry.retries.clone(),
        phase,
        weight: 0,
        held: 0,
    })
}

fn convert_join<A, B>(
    join: &Join<A>,
    f: &mut impl FnMut(&A) -> Result<B, Error>,
) -> Result<Join<B>, Error> {
    let mut results = Vec::with_capacity(join.results.len());
    for result in &join.results {
        results.push(match result {
            None => None,
            Some(data) => Some(f(data)?),
        });
    }
    Ok(Join {
        results,
        missing: join.missing,
        children: join.children.clone(),
    })
}

fn convert_fleet<A, B>(
    fleet: &Fleet<A>,
    f: &mut impl FnMut(&A) -> Result<B, Error>,
) -> Result<Fleet<B>, Error> {
    let mut away = BTreeMap::new();
    for (slot, child) in &fleet.away {
        let child = Away {
            child: child.child,
            items: child.items,
            input: child.input.as_ref().map(&mut *f).transpose()?,
        };
        away.insert(*slot, child);
    }
    let batch = match &fleet.batch {
        None => None,
        Some(batch) => Some(Batch {
            items_max: batch.items_max,
            bytes_max: batch.bytes_max,
            input: batch.input.as_ref().map(&mut *f).transpose()?,
            items: batch.items.iter().map(&mut *f).collect::<Result<_, _>>()?,
            bytes: batch.bytes,
        }),
    };
    Ok(Fleet {
        run: fleet.run,
        begun: fleet.begun,
        again: fleet.again,
        stage: fleet.stage,
        source: f(&fleet.source)?,
        listed: fleet.listed,
        keyed: fleet.keyed,
        input: f(&fleet.input)?,
        reading: fleet.reading.clone(),
        first: fleet.first,
        length: fleet.length,
        next_item: fleet.next_item,
        next_slot: fleet.next_slot,
        items_max: fleet.items_max,
        window: fleet.window,
        batch,
        tolerated: fleet.tolerated,
        away,
        express: fleet.express,
        succeeded: fleet.succeeded,
        failed: fleet.failed,
        filling: fleet.filling,
        transformation: fleet.transformation,
        target: fleet.target.clone(),
        files: fleet.files.clone(),
        failing: fleet.failing.clone(),
    })
}
