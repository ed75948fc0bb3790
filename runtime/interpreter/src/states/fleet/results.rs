//! What a distributed Map yields: its children's results as an array, or the files they are in.
//!
//! Refuses to hold them: they are collected, or written file by file, by whoever has the rows.

use std::sync::Arc;

use serde_json::{Value, json};
use stepwell_flow::program::{MapState, State as Node};
use stepwell_types::items::{ResultChunk, ResultFile, ResultKind, ResultWrite};
use stepwell_types::{Data, EntryId, Failure, StepTarget};

use crate::Error;
use crate::fleet::{Fleet, Stage};
use crate::history::HistoryKind;
use crate::state::State;
use crate::turn::Turn;

/// All children have ended.
pub(super) fn begin(turn: &mut Turn<'_>, id: EntryId, node: &Node) -> Result<(), Error> {
    let next = turn.state.change_fleet(id, |fleet| {
        fleet.stage = match (&fleet.target, fleet.next_slot) {
            (Some(_), _) => files_after(fleet, None),
            (None, 0) => Stage::Items { reading: false },
            (None, _) => Stage::Collecting,
        };
        fleet.stage
    });
    match next {
        Some(Stage::Items { .. }) => succeed(turn, id, Ok(Data::from_valid_text("[]"))),
        _ => {
            super::ask(turn, id, node);
            Ok(())
        }
    }
}

/// Which files follow those of this kind: of what succeeded, then of what failed, then the list.
pub(super) fn files_after(fleet: &Fleet<Data>, kind: Option<ResultKind>) -> Stage {
    let files = |kind| Stage::Writing {
        kind,
        number: 0,
        from: 0,
    };
    match kind {
        None if fleet.succeeded > 0 => files(ResultKind::Succeeded),
        None | Some(ResultKind::Succeeded) if fleet.failed > 0 => files(ResultKind::Failed),
        _ => Stage::Manifest,
    }
}

/// What is asked for.
pub(super) fn wish(
    state: &State,
    id: EntryId,
    (node, map): (&Node, &MapState),
    fleet: &Fleet<Data>,
    stage: Stage,
) -> Option<(StepTarget, Data)> {
    let (chunk, input) = match stage {
        Stage::Collecting => return Some((StepTarget::CollectResults, Data::null())),
        Stage::Writing { kind, number, from } => {
            let records = ResultChunk::Records { kind, number, from };
            (records, Data::null())
        }
        Stage::Manifest => (
            ResultChunk::Manifest,
            manifest(state, id, (node, map), fleet)?,
        ),
        Stage::Items { .. } | Stage::Over => return None,
    };
    let write = ResultWrite {
        target: fleet.target.clone()?,
        run: format!("{}-{}-{}", state.execution(), id.0, fleet.run).into(),
        chunk,
    };
    Some((StepTarget::WriteResults(Arc::new(write)), input))
}

fn manifest(
    state: &State,
    id: EntryId,
    (node, map): (&Node, &MapState),
    fleet: &Fleet<Data>,
) -> Option<Data> {
    let of = |wanted: ResultKind| -> Vec<Value> {
        let files = fleet.files.iter().filter(|(kind, _)| *kind == wanted);
        files
            .map(|(_, file)| json!({ "Key": &*file.key, "Size": file.size }))
            .collect()
    };
    Some(Data::from_value(json!({
        "DestinationBucket": &*fleet.target.as_ref()?.bucket,
        "MapRunArn": super::run_name(state, id, node, map),
        "ResultFiles": {
            "FAILED": of(ResultKind::Failed),
            "PENDING": [],
            "SUCCEEDED": of(ResultKind::Succeeded),
        },
    })))
}

/// A file is written, or the results are collected.
pub(super) fn came(
    turn: &mut Turn<'_>,
    id: EntryId,
    (node, map): (&Node, &MapState),
    stage: Stage,
    result: &Result<Data, Failure>,
) -> Result<(), Error> {
    let answer = match (stage, result) {
        (Stage::Collecting, result) => return succeed(turn, id, result.clone()),
        (_, Err(failure)) => return unwritten(turn, id, failure.clone()),
        (_, Ok(answer)) => answer,
    };
    let Some(file) = file(answer) else {
        let cause = "the answer to a file of results does not say what was written";
        return unwritten(turn, id, Failure::new("States.ResultWriterFailed", cause));
    };
    if stage == Stage::Manifest {
        if let Some(failure) = failing(turn, id) {
            return super::fail(turn, id, failure);
        }
        let run = super::run_name(turn.state, id, node, map);
        let attempt = turn.state.core.entries.get(&id).map_or(0, |e| e.attempt);
        let target = turn.state.fleet(id, attempt).and_then(|f| f.target.clone());
        let bucket = target.map_or_else(|| "".into(), |target| target.bucket);
        let output = json!({
            "MapRunArn": run,
            "ResultWriterDetails": { "Bucket": &*bucket, "Key": &*file.key },
        });
        return succeed(turn, id, Ok(Data::from_value(output)));
    }
    let next = answer.value().get("Next").and_then(Value::as_u64);
    let next = next.and_then(|next| u32::try_from(next).ok());
    turn.state.change_fleet(id, |fleet| {
        let Stage::Writing { kind, number, .. } = stage else {
            return;
        };
        fleet.files.push((kind, file));
        fleet.stage = match next {
            Some(from) => Stage::Writing {
                kind,
                number: number + 1,
                from,
            },
            None => files_after(fleet, Some(kind)),
        };
    });
    turn.state.reweigh(id, 64, 0);
    super::ask(turn, id, node);
    Ok(())
}

/// Why the run fails once its files are written.
fn failing(turn: &Turn<'_>, id: EntryId) -> Option<Failure> {
    let attempt = turn.state.core.entries.get(&id)?.attempt;
    turn.state.fleet(id, attempt)?.failing.clone()
}

/// A file was not written. What makes the run fail already stays its error.
fn unwritten(turn: &mut Turn<'_>, id: EntryId, failure: Failure) -> Result<(), Error> {
    let failure = match failing(turn, id) {
        None => failure,
        Some(first) => Failure::new(
            first.error.clone(),
            format!(
                "{}; nor were all results written: {}",
                first.cause, failure.cause
            ),
        ),
    };
    super::fail(turn, id, failure)
}

fn file(answer: &Data) -> Option<ResultFile> {
    Some(ResultFile {
        key: answer.value().get("Key")?.as_str()?.into(),
        size: answer.value().get("Size")?.as_u64()?,
    })
}

/// The run has its output, or what it came to is too large for one.
fn succeed(turn: &mut Turn<'_>, id: EntryId, output: Result<Data, Failure>) -> Result<(), Error> {
    super::stop(turn, id);
    turn.note_in(id, || HistoryKind::MapRunSucceeded);
    match output {
        Ok(output) => {
            let previous = turn.state.core.entries.get(&id).map_or(0, |e| e.previous);
            turn.note_of(id, previous, || HistoryKind::MapSucceeded);
            turn.joined = Some(id);
            turn.complete(id, output)
        }
        Err(failure) => turn.fail(id, failure),
    }
}
