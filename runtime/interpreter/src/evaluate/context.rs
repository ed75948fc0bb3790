//! The Context object, `$$`.
//!
//! Refuses to be built whole unless someone asks for it whole: the execution's
//! input and a Map's items can be large, and every iteration asks.

use std::borrow::Cow;

use serde_json::{Map, Value, json};
use stepwell_flow::Program;
use stepwell_flow::expression::{Query, Segment};
use stepwell_flow::program::{Items, Kind};
use stepwell_types::{Data, EntryId, TaskToken};

use super::path::walk;
use crate::state::{Core, Phase};
use crate::time;

/// Where `$$` reads from.
pub(crate) struct Context<'a> {
    pub core: &'a Core<Data>,
    pub program: &'a Program,
    /// The state entry that asks.
    pub entry: EntryId,
    /// The item that is about to begin, for `ItemSelector`.
    pub item: Option<(u32, &'a Value)>,
    /// Its name, where a distributed Map goes through the fields of an object.
    pub item_key: Option<&'a str>,
    /// Where a distributed Map has that item from.
    pub item_source: Option<String>,
}

impl<'a> Context<'a> {
    /// The value at a definite path below `$$`.
    ///
    /// # Errors
    /// The index of the segment that is missing.
    pub fn at(&self, segments: &[Segment]) -> Result<Cow<'a, Value>, usize> {
        if let Some(rest) = below(segments, &["Execution", "Input"]) {
            let Some(started) = &self.core.started else {
                return Err(0);
            };
            let found = walk(started.input.value(), rest).map_err(|i| i + 2)?;
            return Ok(Cow::Borrowed(found));
        }
        if let Some(rest) = below(segments, &["Map", "Item", "Value"]) {
            let (_, value) = self.current_item().ok_or(0usize)?;
            let found = walk(value, rest).map_err(|i| i + 3)?;
            return Ok(Cow::Borrowed(found));
        }
        // What holds a payload is built with it only where it is asked for whole.
        let whole = |path: &[&str]| below(segments, path).is_some_and(<[_]>::is_empty);
        let input = segments.is_empty() || whole(&["Execution"]);
        let item = segments.is_empty() || whole(&["Map"]) || whole(&["Map", "Item"]);
        let built = self.build(input, item);
        walk(&built, segments).map(|v| Cow::Owned(v.clone()))
    }

    /// Roughly the bytes that the whole object takes.
    pub fn payload_bytes(&self) -> usize {
        let input = self
            .core
            .started
            .as_ref()
            .map_or(0, |s| s.input.len_bytes());
        let item = self
            .current_item()
            .map_or(0, |(_, value)| super::size(value));
        1_024 + input + item
    }

    /// The object, with the execution's `input` and the Map's `item` only if they are asked for.
    pub fn build(&self, input: bool, item: bool) -> Value {
        let mut out = Map::new();
        if let Some(started) = &self.core.started {
            let mut execution = Map::new();
            execution.insert("Id".into(), self.core.execution.to_string().into());
            if input {
                execution.insert("Input".into(), started.input.value().clone());
            }
            execution.insert("Name".into(), (&*started.name).into());
            execution.insert("RoleArn".into(), "".into());
            execution.insert("StartTime".into(), time::print(started.at).into());
            execution.insert("RedriveCount".into(), self.core.redrives.into());
            if let Some(at) = self.core.redriven {
                execution.insert("RedriveTime".into(), time::print(at).into());
            }
            out.insert("Execution".into(), execution.into());
            out.insert(
                "StateMachine".into(),
                json!({
                    "Id": format!("{}:{}", started.flow.name, started.flow.version),
                    "Name": &*started.flow.name,
                }),
            );
        }
        if let Some(entry) = self.core.entries.get(&self.entry)
            && let Some(state) = self.program.states.get(entry.state as usize)
        {
            let mut about = Map::new();
            about.insert("Name".into(), (&*state.name).into());
            about.insert("EnteredTime".into(), time::print(entry.entered_at).into());
            if matches!(
                state.kind,
                Kind::Task(_) | Kind::Parallel { .. } | Kind::Map(_)
            ) {
                let retries = entry.attempt.saturating_sub(entry.first);
                about.insert("RetryCount".into(), retries.into());
            }
            out.insert("State".into(), about.into());
            if let (Kind::Task(task), Some(started)) = (&state.kind, &self.core.started)
                && task.wait_for_token
            {
                let token = TaskToken::derive(
                    &started.seed,
                    self.core.execution,
                    self.entry,
                    entry.attempt,
                );
                out.insert("Task".into(), json!({ "Token": token.to_string() }));
            }
        }
        if let Some((index, value)) = self.current_item() {
            let wanted = item;
            let mut item = Map::new();
            item.insert("Index".into(), index.into());
            if wanted {
                item.insert("Value".into(), value.clone());
            }
            if let Some(key) = self.item_key {
                item.insert("Key".into(), key.into());
            }
            if let Some(source) = &self.item_source {
                item.insert("Source".into(), source.as_str().into());
            }
            out.insert("Map".into(), json!({ "Item": item }));
        }
        out.into()
    }

    /// Index and value of the innermost Map iteration around the entry.
    fn current_item(&self) -> Option<(u32, &'a Value)> {
        if self.item.is_some() {
            return self.item;
        }
        let mut parent = self.core.entries.get(&self.entry)?.parent;
        while let Some(at) = parent {
            let entry = self.core.entries.get(&at.entry)?;
            if let Phase::Map(map) = &entry.phase {
                let state = self.program.states.get(entry.state as usize)?;
                let Kind::Map(kind) = &state.kind else {
                    return None;
                };
                let items = items(&kind.items, &map.source, map.listed)?;
                return Some((at.slot, items.get(at.slot as usize)?));
            }
            parent = entry.parent;
        }
        None
    }
}

/// The array that a Map under way goes through.
pub(crate) fn items<'a>(items: &Items, source: &'a Data, listed: bool) -> Option<&'a Vec<Value>> {
    let source = source.value();
    if listed {
        return source.as_array();
    }
    // What is not listed was read from the data by a path of names.
    let Items::Path(path) = items else {
        return None;
    };
    match &path.query {
        Query::Whole => source.as_array(),
        Query::Definite(segments) => walk(source, segments).ok()?.as_array(),
        Query::Indefinite(_) | Query::Called(_) => None,
    }
}

/// What follows `prefix`, if `segments` begins so.
fn below<'s>(segments: &'s [Segment], prefix: &[&str]) -> Option<&'s [Segment]> {
    let head = segments.get(..prefix.len())?;
    let same = head
        .iter()
        .zip(prefix)
        .all(|(s, p)| matches!(s, Segment::Name(name) if &**name == *p));
    same.then(|| &segments[prefix.len()..])
}
