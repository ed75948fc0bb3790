//! Which item is next, what a child is given of it, and the pages that are read.
//!
//! Refuses a page that is larger than was asked for, and a cursor that is too long to keep.

use std::sync::Arc;

use serde_json::Value;
use stepwell_flow::program::{DataFlow, MapState, State as Node};
use stepwell_types::items::{CURSOR_BYTES_MAX, ItemCursor, ItemPlace, ItemRead, PAGE_ITEMS_MAX};
use stepwell_types::{Data, EntryId, Failure, StepTarget};

use crate::evaluate::{Fault, context};
use crate::fleet::{Batch, Fleet, Place};
use crate::state::Phase;
use crate::states::map::{Item, select};
use crate::turn::Turn;

/// Operations that an item which joins a batch counts for.
const ITEM_OPERATIONS: u64 = 20;
/// Items of one batch that are taken before others get their turn.
const ITEMS_AT_ONCE: usize = 1_000;

/// What is to be done next.
pub(super) enum Next {
    /// A child of this input, made of so many items, may begin.
    Child(Data, u32),
    /// A batch is not full yet.
    Again,
    /// The items at hand are used up, and there are more.
    Page,
    /// There are no more items.
    End,
}

/// Takes the next items.
pub(super) fn next(turn: &mut Turn<'_>, id: EntryId, map: &MapState) -> Result<Next, Fault> {
    let Some(fleet) = fleet(turn, id) else {
        return Ok(Next::End);
    };
    if fleet.batch.is_some() {
        return batched(turn, id, map);
    }
    if let Some(input) = one(turn, id, map)? {
        return Ok(Next::Child(input, 1));
    }
    Ok(after_last(turn, id))
}

fn fleet<'t>(turn: &'t Turn<'_>, id: EntryId) -> Option<&'t Fleet<Data>> {
    match turn.state.core.entries.get(&id).map(|e| &e.phase) {
        Some(Phase::Fleet(fleet)) => Some(fleet),
        _ => None,
    }
}

fn after_last(turn: &Turn<'_>, id: EntryId) -> Next {
    match fleet(turn, id).is_some_and(Fleet::more_pages) {
        true => Next::Page,
        false => Next::End,
    }
}

/// The next item at hand, as the child gets it.
fn one(turn: &mut Turn<'_>, id: EntryId, map: &MapState) -> Result<Option<Data>, Fault> {
    let Some(fleet) = fleet(turn, id).filter(|fleet| fleet.next_item < fleet.at_hand()) else {
        return Ok(None);
    };
    let (number, first, keyed) = (fleet.next_item, fleet.first, fleet.keyed);
    let (source, listed, input) = (fleet.source.clone(), fleet.listed, fleet.input.clone());
    let from = map.item_selector.as_ref().map(|_| source_of(fleet));
    let items = context::items(&map.items, &source, listed);
    let item = items.and_then(|items| items.get((number - first) as usize));
    let item = Item {
        number,
        value: item.unwrap_or(&Value::Null),
        keyed,
        source: from,
    };
    let given = select(turn, id, map, item, &input)?;
    turn.state.change_fleet(id, |fleet| fleet.next_item += 1);
    Ok(Some(given))
}

/// What `Map.Item.Source` says. Source: the Step Functions guide, "Context object".
fn source_of(fleet: &Fleet<Data>) -> String {
    let Some(reading) = &fleet.reading else {
        return "STATE_DATA".to_owned();
    };
    let bucket = &reading.source.bucket;
    match &reading.source.place {
        ItemPlace::Object { key, .. } => format!("S3://{bucket}/{key}"),
        ItemPlace::Listing { .. } => format!("S3://{bucket}"),
    }
}

/// Fills the batch under way, and hands it out when it is full or nothing else comes.
fn batched(turn: &mut Turn<'_>, id: EntryId, map: &MapState) -> Result<Next, Fault> {
    for _ in 0..ITEMS_AT_ONCE {
        let batch = fleet(turn, id).and_then(|fleet| fleet.batch.as_ref());
        let Some(batch) = batch else {
            return Ok(Next::End);
        };
        if batch.items.len() >= batch.items_max as usize || bytes(batch) >= batch.bytes_max {
            return Ok(hand_out(turn, id));
        }
        turn.spent = turn.spent.saturating_add(ITEM_OPERATIONS);
        let Some(item) = one(turn, id, map)? else {
            let empty = fleet(turn, id)
                .and_then(|fleet| fleet.batch.as_ref())
                .is_none_or(|batch| batch.items.is_empty());
            return Ok(match after_last(turn, id) {
                Next::End if !empty => hand_out(turn, id),
                other => other,
            });
        };
        let full = fleet(turn, id)
            .and_then(|fleet| fleet.batch.as_ref())
            .is_some_and(|batch| {
                !batch.items.is_empty() && bytes(batch) + size(&item) > batch.bytes_max
            });
        let child = full.then(|| hand_out(turn, id));
        turn.state.reweigh(id, item.len_bytes(), 0);
        turn.state.change_fleet(id, |fleet| {
            if let Some(batch) = &mut fleet.batch {
                batch.bytes += size(&item);
                batch.items.push(item);
            }
        });
        if let Some(child) = child {
            return Ok(child);
        }
    }
    Ok(Next::Again)
}

fn size(item: &Data) -> u64 {
    item.len_bytes() as u64 + 1
}

/// Bytes of the input that the batch is so far.
fn bytes(batch: &Batch<Data>) -> u64 {
    // {"Items":[…]} without the comma that is not there, and "BatchInput":…, before it.
    let shared = batch
        .input
        .as_ref()
        .map_or(0, |input| input.len_bytes() + 14);
    11 + shared as u64 + batch.bytes
}

/// The batch as a child's input; the next one is empty.
fn hand_out(turn: &mut Turn<'_>, id: EntryId) -> Next {
    let taken = turn.state.change_fleet(id, |fleet| {
        let batch = fleet.batch.as_mut()?;
        batch.bytes = 0;
        Some((std::mem::take(&mut batch.items), batch.input.clone()))
    });
    let Some((items, shared)) = taken.flatten() else {
        return Next::End;
    };
    let weight: usize = items.iter().map(Data::len_bytes).sum();
    turn.state.reweigh(id, 0, weight);
    let mut text = String::with_capacity(weight + items.len() + 64);
    text.push('{');
    if let Some(shared) = &shared {
        text.push_str("\"BatchInput\":");
        text.push_str(shared.text());
        text.push(',');
    }
    text.push_str("\"Items\":[");
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            text.push(',');
        }
        text.push_str(item.text());
    }
    text.push_str("]}");
    let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
    Next::Child(Data::from_valid_text(text), count)
}

/// The request for the next page.
pub(super) fn read(fleet: &Fleet<Data>) -> Option<StepTarget> {
    let reading = fleet.reading.as_ref()?;
    let (items_max, bytes_max) = super::page(fleet);
    Some(StepTarget::ReadItems(Arc::new(ItemRead {
        source: reading.source.clone(),
        cursor: match &reading.place {
            Place::At(cursor) => Some(cursor.clone()),
            Place::First | Place::End => None,
        },
        items_max,
        bytes_max,
    })))
}

/// Takes a page in.
pub(super) fn take(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    page: &Data,
) -> Result<(), Failure> {
    let broken = |why: &str| {
        Failure::new(
            "States.ItemReaderFailed",
            format!("the page of items cannot be used: {why}"),
        )
    };
    let items = page.value().get("items").and_then(Value::as_array);
    let items = items.ok_or_else(|| broken("it has no list of items"))?;
    if items.len() > PAGE_ITEMS_MAX as usize {
        return Err(broken("it holds more items than were asked for"));
    }
    let place = match page.value().get("next") {
        None | Some(Value::Null) => Place::End,
        Some(Value::String(next)) if next.len() <= CURSOR_BYTES_MAX => {
            Place::At(ItemCursor(next.as_str().into()))
        }
        Some(_) => return Err(broken("it does not say where the next one begins")),
    };
    // CloudFlow has no name for a field's name: there its items are the pairs.
    let keyed = page.value().get("keyed") == Some(&Value::Bool(true))
        && !matches!(node.data, DataFlow::CloudFlow(_));
    let version = page.value().get("version").and_then(Value::as_str);
    same_version(turn, id, version)?;
    let length = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let source = Data::from_value(Value::Array(items.clone()));
    let more = source.len_bytes();
    let less = turn.state.change_fleet(id, |fleet| {
        let less = fleet.source.len_bytes();
        fleet.first = fleet.first.saturating_add(fleet.length);
        fleet.length = length;
        fleet.keyed = keyed;
        fleet.source = source;
        if let Some(reading) = &mut fleet.reading {
            reading.place = place;
        }
        less
    });
    turn.state.reweigh(id, more, less.unwrap_or(0));
    let all = fleet(turn, id).map(|fleet| fleet.first.checked_add(fleet.length));
    if all == Some(None) {
        return Err(broken("no Map has more than 4,294,967,295 items"));
    }
    Ok(())
}

/// Refuses the first page of another object than the one that a run before the redrive read:
/// what it would yield belongs to other items. The pages after it are the reader's to compare.
fn same_version(turn: &mut Turn<'_>, id: EntryId, version: Option<&str>) -> Result<(), Failure> {
    let changed = turn.state.change_fleet(id, |fleet| {
        let reading = fleet.reading.as_mut()?;
        if reading.place != Place::First {
            return None;
        }
        match (&reading.version, version) {
            (Some(was), Some(is)) if **was != *is => return Some(reading.source.clone()),
            (None, Some(is)) => reading.version = Some(is.into()),
            _ => {}
        }
        None
    });
    match changed.flatten() {
        None => Ok(()),
        Some(source) => Err(Failure::new(
            "States.ItemReaderFailed",
            format!(
                "{source} is another than the one that the Map read before the redrive, and items that ended are of that one; \
                 to run all items of the new one, redrive with an input (`stepwell redrive ID --input JSON`): the Map then begins anew"
            ),
        )),
    }
}
