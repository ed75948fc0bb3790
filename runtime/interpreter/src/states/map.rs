//! Map (inline): a graph for each item of an array, joined into an array.
//!
//! Refuses to copy an item before its iteration begins, and to have more than a
//! window of iterations under way: a large Map costs one event O(log n).

use std::sync::Arc;

use serde_json::{Map, Value};
use stepwell_flow::expression::{DataPath, Expression, Query, Root, Template};
use stepwell_flow::program::{Items, Kind, MapState, State as Node};
use stepwell_types::{Data, EntryId};

use super::wait::{seconds, shown, source};
use crate::evaluate::path::Miss;
use crate::evaluate::{
    Env, Fault, bounded, context, excerpt, fdl, flow, jsonata, kind_name, path, template,
};
use crate::history::{HistoryKind, Iteration};
use crate::state::{Join, MapRun, Parent, Phase, Work};
use crate::turn::Turn;
use crate::{Error, cloudflow};

/// Iterations in flight when `MaxConcurrency` is 0: what Step Functions' inline mode grants.
const WINDOW_DEFAULT: u32 = 40;
/// Most items of one inline Map.
const ITEMS_MAX: usize = 10_000_000;

/// Reads the items and begins the first window.
pub(crate) fn begin(
    turn: &mut Turn<'_>,
    id: EntryId,
    node: &Node,
    map: &MapState,
) -> Result<(), Error> {
    let prepared = super::effective_input(turn, id, node).and_then(|input| {
        turn.evaluate(id, &input, |env| {
            let window = window(env, map.max_concurrency.as_ref(), WINDOW_DEFAULT)?;
            // As recorded: an inline Map takes no objects.
            let items = items(env, &map.items, Objects::Refused)?;
            Ok((window, items))
        })
        .map(|found| (input, found))
    });
    let (input, (window, items)) = match prepared {
        Ok(prepared) => prepared,
        Err(fault) => return turn.fault(id, fault),
    };
    let length = items.length;
    turn.note_in(id, || HistoryKind::MapStarted { length });
    let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
    turn.state.set_phase(
        id,
        Phase::Map(MapRun {
            join: Join::new(length),
            source: items.source,
            listed: items.listed,
            input,
            window,
            next: 0,
            filling: true,
        }),
    );
    if length == 0 {
        return succeed(turn, id);
    }
    turn.state.core.work.push(Work::Fill { entry: id, attempt });
    Ok(())
}

/// Begins one iteration, if the window has room, and asks to be called again.
pub(crate) fn fill(turn: &mut Turn<'_>, id: EntryId, attempt: u32) -> Result<(), Error> {
    let Some(entry) = turn.state.core.entries.get_mut(&id) else {
        return Ok(());
    };
    let Phase::Map(map) = &mut entry.phase else {
        return Ok(());
    };
    if entry.attempt != attempt {
        return Ok(());
    }
    let room = map.join.children.len() < map.window as usize;
    map.filling = room && (map.next as usize) < map.join.results.len();
    if !map.filling {
        return Ok(());
    }
    let slot = map.next;
    map.next += 1;
    turn.state.core.work.push(Work::Fill { entry: id, attempt });
    iteration(turn, id, slot)
}

/// Begins the iteration of one item.
pub(crate) fn iteration(turn: &mut Turn<'_>, id: EntryId, slot: u32) -> Result<(), Error> {
    let Some(node) = turn.node_of(id)? else {
        return Ok(());
    };
    let (Kind::Map(kind), Some(entry)) = (&node.kind, turn.state.core.entries.get(&id)) else {
        return Ok(());
    };
    let (previous, variables) = (entry.previous, cloudflow::inherited(node, &entry.variables));
    let started = turn.note_of(id, previous, || HistoryKind::MapIteration {
        what: Iteration::Started,
        name: Arc::clone(&node.name),
        index: slot,
    });
    let parent = Parent { entry: id, slot };
    match item_input(turn, id, kind, slot) {
        Ok(input) => {
            let first = turn
                .program
                .graphs
                .get(kind.processor.0 as usize)
                .ok_or(Error::ForeignProgram("a Map's processor is missing"))?
                .start;
            turn.spawn(Some(parent), first, input, variables, started, 0);
            Ok(())
        }
        Err(fault) => {
            super::branch_failed(turn, parent, started)?;
            turn.fault(id, fault)
        }
    }
}

/// An iteration has its output.
pub(crate) fn joined(
    turn: &mut Turn<'_>,
    parent: Parent,
    previous: u64,
    output: Data,
) -> Result<(), Error> {
    let id = parent.entry;
    let Some(node) = turn.node_of(id)? else {
        return Ok(());
    };
    let succeeded = turn.note_of(id, previous, || HistoryKind::MapIteration {
        what: Iteration::Succeeded,
        name: Arc::clone(&node.name),
        index: parent.slot,
    });
    let Some(entry) = turn.state.core.entries.get_mut(&id) else {
        return Ok(());
    };
    let Phase::Map(map) = &mut entry.phase else {
        return Ok(());
    };
    let bytes = map.join.take(parent.slot, output);
    entry.weight += bytes;
    turn.state.bytes += bytes;
    turn.state.taken_in += bytes as u64;
    if map.join.missing == 0 {
        entry.previous = succeeded;
        return succeed(turn, id);
    }
    // As recorded: the next iteration follows the finished one's last state.
    entry.previous = previous;
    let attempt = entry.attempt;
    if !map.filling && (map.next as usize) < map.join.results.len() {
        map.filling = true;
        turn.state.core.work.push(Work::Fill { entry: id, attempt });
    }
    Ok(())
}

/// All iterations have their outputs.
pub(crate) fn succeed(turn: &mut Turn<'_>, id: EntryId) -> Result<(), Error> {
    let Some(entry) = turn.state.core.entries.get(&id) else {
        return Ok(());
    };
    let Some(join) = entry.join() else {
        return Ok(());
    };
    let (previous, output) = (entry.previous, super::joined_output(join));
    turn.note_of(id, previous, || HistoryKind::MapSucceeded);
    turn.joined = Some(id);
    match output {
        Ok(output) => turn.complete(id, output),
        Err(fault) => turn.fault(id, fault),
    }
}

/// What to keep of a Map's items.
pub(super) struct Listed {
    pub source: Data,
    /// `source` is the list itself.
    pub listed: bool,
    pub length: usize,
    /// They are the fields of an object, each `{"Key", "Value"}`.
    pub keyed: bool,
}

/// Whether a Map goes through an object's fields.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Objects {
    Taken,
    Refused,
}

pub(super) fn items(env: &Env<'_>, items: &Items, objects: Objects) -> Result<Listed, Fault> {
    let list = match items {
        Items::Path(path) => return items_at(env, path, objects),
        Items::Template(template) => flow::shape(env, Some(template))?,
        Items::Input => env.data.clone(),
    };
    let length = match (list.value(), items) {
        (Value::Array(list), _) => list.len(),
        (Value::Object(fields), _) if objects == Objects::Taken => return pairs(env, fields),
        (value, Items::Template(Template::Expression(Expression::Jsonata(query)))) => {
            return Err(jsonata::unexpected(query, "array", value));
        }
        (value, Items::Template(Template::Expression(Expression::Fdl(_)))) => {
            return Err(fdl::failed(format!(
                "The items of a Map must be an array, not {}.",
                kind_name(value)
            )));
        }
        _ => {
            return Err(Fault::query(
                None,
                format!(
                    "Map state input must be an array but was: {}",
                    excerpt(list.text())
                ),
            ));
        }
    };
    if length > ITEMS_MAX {
        return Err(Fault::too_large("The Map's list of items"));
    }
    Ok(Listed {
        source: list,
        listed: true,
        length,
        keyed: false,
    })
}

/// An object's fields as items. Source: the Step Functions guide, "`ItemsPath`" of a
/// distributed Map; the names are those that it gives the fields of a JSON file.
fn pairs(env: &Env<'_>, fields: &Map<String, Value>) -> Result<Listed, Fault> {
    let length = fields.len();
    if length > ITEMS_MAX {
        return Err(Fault::too_large("The Map's list of items"));
    }
    env.count(length as u64)?;
    let mut list = Vec::with_capacity(length);
    for (key, value) in fields {
        // {"Key":"","Value":},
        env.spend(key.len() + 20)?;
        let mut pair = Map::new();
        pair.insert("Key".into(), key.as_str().into());
        pair.insert("Value".into(), env.copy(value)?);
        list.push(pair.into());
    }
    Ok(Listed {
        source: bounded(Value::Array(list))?,
        listed: true,
        length,
        keyed: true,
    })
}

/// `ItemsPath`.
fn items_at(env: &Env<'_>, path: &DataPath, objects: Objects) -> Result<Listed, Fault> {
    let found = path::read(env, path).map_err(|miss| match miss {
        Miss::Absent(_) => Fault::runtime(format!(
            "Reference path \"{}\" must point to array.",
            path.source
        )),
        Miss::Fault(fault) => fault,
    })?;
    if let (Value::Object(fields), Objects::Taken) = (&*found, objects) {
        return pairs(env, fields);
    }
    let Some(length) = found.as_array().map(Vec::len) else {
        return Err(Fault::runtime(format!(
            "Reference path \"{}\" must point to array.",
            path.source
        )));
    };
    if length > ITEMS_MAX {
        return Err(Fault::too_large("The Map's list of items"));
    }
    let (source, listed) = match (&path.root, &path.query) {
        (Root::Data, Query::Whole | Query::Definite(_)) => (env.data.clone(), false),
        (Root::Variable(_), Query::Whole) => {
            let list = path::read_data(env, path).map_err(|miss| miss.invalid_path(path))?;
            (list, true)
        }
        _ => {
            let list = match found {
                std::borrow::Cow::Borrowed(value) => env.copy(value)?,
                std::borrow::Cow::Owned(value) => value,
            };
            (bounded(list)?, true)
        }
    };
    Ok(Listed {
        source,
        listed,
        length,
        keyed: false,
    })
}

/// The item, or what `ItemSelector` makes of it.
fn item_input(turn: &mut Turn<'_>, id: EntryId, kind: &MapState, slot: u32) -> Result<Data, Fault> {
    let Some(Phase::Map(map)) = turn.state.core.entries.get(&id).map(|e| &e.phase) else {
        return Ok(Data::null());
    };
    let (source, input) = (map.source.clone(), map.input.clone());
    let items = context::items(&kind.items, &source, map.listed);
    let item = items.and_then(|items| items.get(slot as usize));
    let item = Item {
        number: slot,
        value: item.unwrap_or(&Value::Null),
        keyed: false,
        source: None,
    };
    select(turn, id, kind, item, &input)
}

/// One item, as the Context object tells of it.
pub(super) struct Item<'a> {
    pub number: u32,
    pub value: &'a Value,
    /// It is a field of an object, `{"Key", "Value"}`.
    pub keyed: bool,
    /// Where a distributed Map has it from.
    pub source: Option<String>,
}

/// What `ItemSelector` makes of one item.
pub(super) fn select(
    turn: &mut Turn<'_>,
    id: EntryId,
    kind: &MapState,
    item: Item<'_>,
    input: &Data,
) -> Result<Data, Fault> {
    let Some(selector) = &kind.item_selector else {
        return Ok(Data::from_value(item.value.clone()));
    };
    let field = item.value.as_object().filter(|_| item.keyed);
    let field = field.and_then(|field| Some((field.get("Key")?.as_str()?, field.get("Value")?)));
    let (key, value) = match field {
        Some((key, value)) => (Some(key), value),
        None => (None, item.value),
    };
    let env = Env::new(&turn.state.core, turn.program, id, input.into(), turn.now);
    let mut env = env.sharing(&turn.library);
    env.context.item = Some((item.number, value));
    env.context.item_key = key;
    env.context.item_source = item.source;
    let result = flow::shape(&env, Some(selector));
    let (draws, used) = (env.draws.get(), env.used());
    turn.state.core.draws = draws;
    turn.spent = turn.spent.saturating_add(used);
    result
}

/// `MaxConcurrency` or `MaxConcurrencyPath`.
pub(super) fn window(
    env: &Env<'_>,
    expression: Option<&Expression>,
    default: u32,
) -> Result<u32, Fault> {
    let Some(expression) = expression else {
        return Ok(default);
    };
    let value = template::evaluate(env, expression, &|path, _| {
        Fault::runtime(format!(
            "The MaxConcurrencyPath field does not reference an input value: {}",
            path.source
        ))
    })?;
    let number = value.as_u64().or_else(|| seconds(&value));
    let number = match expression {
        // JSONata tells numbers from texts.
        Expression::Jsonata(_) => number,
        // As recorded: a number in a string counts.
        _ => number.or_else(|| value.as_str()?.parse().ok()),
    };
    match number {
        Some(0) => Ok(default),
        Some(n) => Ok(u32::try_from(n).unwrap_or(u32::MAX)),
        None if let Expression::Jsonata(query) = expression => {
            Err(jsonata::unexpected(query, "number", &value))
        }
        None if let Some(n) = negative(&value) => Err(Fault::runtime(format!(
            "Expected non-negative integer for MaxConcurrency, but got '{n}' instead."
        ))),
        None => Err(Fault::runtime(format!(
            "The MaxConcurrencyPath field refers to value \"{}\" which is not a valid integer: {}",
            excerpt(&shown(&value)),
            source(expression)
        ))),
    }
}

/// A whole number below 0, or one in a string.
pub(super) fn negative(value: &Value) -> Option<i64> {
    let number = value.as_i64().or_else(|| value.as_str()?.parse().ok());
    number.filter(|n| *n < 0)
}
