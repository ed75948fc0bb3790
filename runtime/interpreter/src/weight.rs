//! How much a turn will read, told beforehand: a hint for who must not be held up.
//!
//! Refuses to decide anything by it: a turn gives the same wherever it is walked.

use stepwell_types::{Data, EntryId};

use crate::state::{Core, Entry, Phase, Work};
use crate::{Event, State};

/// Entries of the work stack that are looked at.
const WORK_MAX: usize = 64;

/// Roughly the bytes of JSON that the turn of this event begins with: the event's own, the
/// inputs of the entries that go on, the results that are joined. What expressions make of
/// them, and how often they read them, is not in it. Costs little, whatever the state holds.
#[must_use]
pub fn weight(state: &State, event: &Event) -> usize {
    let core = &state.core;
    match event {
        Event::Started { input, .. } => input.len_bytes(),
        Event::StepEnded { entry, result, .. }
        | Event::TokenEnded { entry, result, .. }
        | Event::ChildEnded { entry, result, .. } => {
            result.as_ref().map_or(0, Data::len_bytes) + of_entry(core, *entry)
        }
        Event::TimerFired { entry, .. } => of_entry(core, *entry),
        Event::Signalled { signal } => {
            let taker = state.waits_for(&signal.name);
            signal.data.len_bytes() + taker.map_or(0, |entry| of_entry(core, entry))
        }
        Event::Continued => {
            let next = core.work.iter().rev().take(WORK_MAX);
            next.map(|work| of_work(core, work)).sum()
        }
        Event::Redriven { input, .. } => {
            let given = input.as_ref().map_or(0, |(_, data)| data.len_bytes());
            let halted = core.halted.values().take(WORK_MAX);
            given + halted.map(|entry| entry.input.len_bytes()).sum::<usize>()
        }
        Event::Heartbeat { .. }
        | Event::ItemEnded { .. }
        | Event::Cancelled { .. }
        | Event::Broken { .. }
        | Event::ActivityStarted { .. }
        | Event::ActivityReturned { .. } => 0,
    }
}

fn of_work(core: &Core<Data>, work: &Work) -> usize {
    let (Work::Enter(id) | Work::Branch { entry: id, .. } | Work::Fill { entry: id, .. }) = work;
    let Some(entry) = core.entries.get(id) else {
        return 0;
    };
    match work {
        Work::Enter(_) | Work::Branch { .. } => entry.input.len_bytes() + entry.held,
        Work::Fill { .. } => filled(entry, 0),
    }
}

/// The entry goes on, and those around it whose last branch it is.
fn of_entry(core: &Core<Data>, id: EntryId) -> usize {
    let Some(entry) = core.entries.get(&id) else {
        return 0;
    };
    let mut bytes = entry.input.len_bytes() + entry.held;
    let mut parent = entry.parent;
    while let Some(at) = parent {
        let Some(around) = core.entries.get(&at.entry) else {
            break;
        };
        if around.join().is_some_and(|join| join.missing > 1) {
            bytes += filled(around, 1);
            break;
        }
        bytes += around.weight;
        parent = around.parent;
    }
    bytes
}

/// Roughly the items that a Map takes up next, when so many of its iterations end.
fn filled<V>(entry: &Entry<Data, V>, ended: usize) -> usize {
    let Phase::Map(map) = &entry.phase else {
        return 0;
    };
    let slots = map.join.results.len();
    let room = (map.window as usize + ended).saturating_sub(map.join.children.len());
    let count = room.min(slots.saturating_sub(map.next as usize));
    map.source.len_bytes() / slots.max(1) * count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NoHistory, step};
    use stepwell_types::{ExecutionId, FlowRef, ShardId, Spent, Timestamp};

    /// A Map over `items` bytes; a step each.
    fn begun(items: &str) -> (stepwell_flow::Program, State) {
        let text = r#"{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 2, "End": true,
            "ItemProcessor": {"StartAt": "T", "States": {
                "T": {"Type": "Task", "Resource": "wasm:any", "End": true}}}}}}"#;
        let checked = stepwell_flow::compile(text, &stepwell_flow::AnyModule);
        let program = checked.program.expect("it compiles");
        let mut state = State::new(ExecutionId::new(Timestamp(0), ShardId(0), 1));
        let event = started(items);
        assert_eq!(weight(&state, &event), items.len());
        let mut out = Vec::new();
        step(
            &program,
            &mut state,
            &event,
            Timestamp(1),
            &mut NoHistory,
            &mut out,
        )
        .expect("a turn");
        (program, state)
    }

    fn started(input: &str) -> Event {
        Event::Started {
            flow: FlowRef {
                name: "f".into(),
                version: 1,
            },
            name: "n".into(),
            input: Data::from_valid_text(input),
            seed: [0; 16],
            parent: None,
        }
    }

    fn ended(entry: u64, result: &str) -> Event {
        Event::StepEnded {
            entry: EntryId(entry),
            attempt: 0,
            result: Ok(Data::from_valid_text(result)),
            spent: Spent::default(),
        }
    }

    #[test]
    fn the_last_of_a_map_weighs_all_its_results() {
        let long = format!("\"{}\"", "x".repeat(998));
        let (program, mut state) = begun("[1,2,3]");
        let mut out = Vec::new();
        for entry in 2..4 {
            let event = ended(entry, &long);
            assert!(weight(&state, &event) < 1_100, "{}", weight(&state, &event));
            step(
                &program,
                &mut state,
                &event,
                Timestamp(entry.cast_signed()),
                &mut NoHistory,
                &mut out,
            )
            .expect("a turn");
        }
        let last = weight(&state, &ended(4, &long));
        assert!(last >= 3_000, "{last}");
    }

    #[test]
    fn an_item_weighs_what_it_brings_and_its_successor() {
        let item = format!("\"{}\"", "x".repeat(998));
        let items = format!("[{item},{item},{item},{item}]");
        let (_, state) = begun(&items);
        let got = weight(&state, &ended(2, "1"));
        assert!((2_000..2_100).contains(&got), "{got}");
    }
}
