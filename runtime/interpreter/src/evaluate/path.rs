//! Reading by path and writing by reference path.
//!
//! Refuses to guess: a definite path that leads nowhere is a [`Miss`], an
//! indefinite one yields a list.

mod filter;
mod function;
mod steps;

use std::borrow::Cow;

use serde_json::{Map, Value};
use stepwell_flow::expression::{DataPath, Indefinite, Query, Root, Segment};
use stepwell_types::Data;

use steps::Walk;

use super::{Env, Fault, bounded, size};

/// Why a path yielded nothing.
#[derive(Debug)]
pub(crate) enum Miss {
    /// A definite path's segment is not there; worded as Step Functions' library words it.
    Absent(String),
    /// Something else.
    Fault(Fault),
}

impl Miss {
    /// As the data-flow fields report it.
    pub fn invalid_path(self, path: &DataPath) -> Fault {
        match self {
            Miss::Absent(why) => Fault::runtime(format!("Invalid path '{}' : {why}", path.source)),
            Miss::Fault(fault) => fault,
        }
    }
}

/// Reads without copying where that can be.
pub(crate) fn read<'e>(env: &'e Env<'_>, path: &DataPath) -> Result<Cow<'e, Value>, Miss> {
    env.count(1).map_err(Miss::Fault)?;
    match (&path.root, &path.query) {
        (Root::Variable(name), query) => below(env, variable(env, name)?.value(), query),
        (Root::Data, query) => below(env, env.data.value(), query),
        (Root::Context, Query::Whole) => whole_context(env).map(Cow::Owned).map_err(Miss::Fault),
        (Root::Context, Query::Definite(segments)) => {
            let found = env
                .context
                .at(segments)
                .map_err(|missing| Miss::Absent(absent(segments, missing)))?;
            // What was put together for this is a copy already.
            if let Cow::Owned(value) = &found {
                env.spend(size(value)).map_err(Miss::Fault)?;
            }
            Ok(found)
        }
        (Root::Context, query) => {
            let whole = whole_context(env).map_err(Miss::Fault)?;
            below(env, &whole, query).map(|c| Cow::Owned(c.into_owned()))
        }
    }
}

/// Follows a query from a value that was read already.
pub(super) fn below<'e>(
    env: &Env<'_>,
    value: &'e Value,
    query: &Query,
) -> Result<Cow<'e, Value>, Miss> {
    match query {
        Query::Whole => Ok(Cow::Borrowed(value)),
        Query::Definite(segments) => single(value, segments).map(Cow::Borrowed),
        Query::Indefinite(query) => select(env, value, query).map(Cow::Owned),
        Query::Called(called) => function::call(env, value, called).map(Cow::Owned),
    }
}

/// Follows names and indices.
fn single<'v>(value: &'v Value, segments: &[Segment]) -> Result<&'v Value, Miss> {
    walk(value, segments).map_err(|missing| Miss::Absent(absent(segments, missing)))
}

/// As [`read`], as shared data: `$` itself is passed on unparsed.
pub(crate) fn read_data(env: &Env<'_>, path: &DataPath) -> Result<Data, Miss> {
    match (&path.root, &path.query) {
        (Root::Data, Query::Whole) => return Ok(env.data.clone()),
        (Root::Variable(name), Query::Whole) => return variable(env, name).cloned(),
        _ => {}
    }
    let value = match read(env, path)? {
        Cow::Borrowed(value) => env.copy(value).map_err(Miss::Fault)?,
        Cow::Owned(value) => value,
    };
    bounded(value).map_err(Miss::Fault)
}

/// The value of a variable; without one the state fails.
pub(crate) fn variable<'e>(env: &Env<'e>, name: &str) -> Result<&'e Data, Miss> {
    let found = env.variables.and_then(|variables| variables.get(name));
    found.ok_or_else(|| {
        Miss::Fault(Fault::runtime(format!(
            "The variable '${name}' has not been assigned a value before it is read."
        )))
    })
}

/// Whether a path begins at a variable without a value.
pub(crate) fn is_unset(env: &Env<'_>, path: &DataPath) -> bool {
    matches!(&path.root, Root::Variable(name) if variable(env, name).is_err())
}

/// Follows names and indices.
///
/// # Errors
/// The index of the segment that is missing.
pub(crate) fn walk<'v>(value: &'v Value, segments: &[Segment]) -> Result<&'v Value, usize> {
    let mut at = value;
    for (i, segment) in segments.iter().enumerate() {
        at = match segment {
            Segment::Name(name) => at.as_object().and_then(|map| map.get(&**name)),
            Segment::Index(index) => at
                .as_array()
                .and_then(|items| items.get(position(*index, items.len())?)),
        }
        .ok_or(i)?;
    }
    Ok(at)
}

/// Puts `value` at a reference path, making objects on the way.
///
/// # Errors
/// The target's own unfitness: not an object, no such element.
pub(crate) fn write(into: &mut Value, segments: &[Segment], value: Value) -> Result<(), ()> {
    let mut at = into;
    for segment in segments {
        at = match segment {
            Segment::Name(name) => {
                // Step Functions lets a path grow out of `null`, as out of nothing.
                if at.is_null() {
                    *at = Value::Object(Map::new());
                }
                at.as_object_mut()
                    .ok_or(())?
                    .entry(&**name)
                    .or_insert(Value::Null)
            }
            Segment::Index(index) => {
                let items = at.as_array_mut().ok_or(())?;
                let i = position(*index, items.len()).ok_or(())?;
                items.get_mut(i).ok_or(())?
            }
        };
    }
    *at = value;
    Ok(())
}

/// A path's text, `$['a'][0]`.
pub(crate) fn print(segments: &[Segment]) -> String {
    segments
        .iter()
        .fold(String::from("$"), |out, segment| match segment {
            Segment::Name(name) => out + "['" + name + "']",
            Segment::Index(index) => out + "[" + &index.to_string() + "]",
        })
}

/// A path's text as people write it, `$.a[0]`.
pub(crate) fn print_short(segments: &[Segment]) -> String {
    segments
        .iter()
        .fold(String::from("$"), |out, segment| match segment {
            Segment::Name(name) => out + "." + name,
            Segment::Index(index) => out + "[" + &index.to_string() + "]",
        })
}

fn position(index: i64, len: usize) -> Option<usize> {
    if index < 0 {
        len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)
    } else {
        usize::try_from(index).ok()
    }
}

/// What Step Functions' library says of a missing segment: of a name in the midst of a path
/// that it is missing, and else that the path has no results.
pub(super) fn absent(segments: &[Segment], missing: usize) -> String {
    if let Some(Segment::Index(_)) = segments.get(missing) {
        return format!("No results for path: {}", print(segments));
    }
    let upto = print(segments.get(..=missing).unwrap_or(segments));
    if missing + 1 < segments.len() {
        format!("Missing property in path {upto}")
    } else {
        format!("No results for path: {upto}")
    }
}

/// `$$` with its payloads, as far as they fit.
fn whole_context(env: &Env<'_>) -> Result<Value, Fault> {
    env.spend(env.context.payload_bytes())?;
    Ok(env.context.build(true, true))
}

fn select(env: &Env<'_>, value: &Value, query: &Indefinite) -> Result<Value, Miss> {
    if let Some(merge) = &query.merge
        && let Some(place) = &merge.place
    {
        let object = merged(env, single(value, place)?, &merge.names).map_err(Miss::Fault)?;
        return object
            .ok_or_else(|| Miss::Absent(format!("No results for path: {}", print(place))));
    }
    let found = Walk::new(env, value).steps(value, &query.steps);
    let mut list = Vec::new();
    for node in found.map_err(Miss::Fault)? {
        let one = match &query.merge {
            None => env.copy(node).map(Some),
            Some(merge) => merged(env, node, &merge.names),
        };
        list.extend(one.map_err(Miss::Fault)?);
    }
    Ok(Value::Array(list))
}

/// An object of those members that are there; `None`: the value is no object.
fn merged(env: &Env<'_>, value: &Value, names: &[Box<str>]) -> Result<Option<Value>, Fault> {
    let Some(map) = value.as_object() else {
        return Ok(None);
    };
    env.count(names.len() as u64)?;
    env.spend(2)?;
    let mut out = Map::new();
    for name in names {
        if let Some(member) = map.get(&**name) {
            env.spend(name.len() + 4)?;
            out.insert(name.to_string(), env.copy(member)?);
        }
    }
    Ok(Some(Value::Object(out)))
}
