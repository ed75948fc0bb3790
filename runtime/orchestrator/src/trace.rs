//! One attempt of a module's step as its log tells it: enough to run it again anywhere.
//!
//! Refuses to run it. The interpreter walks the recorded events once more, up to the attempt.

use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_interpreter::codec::Logged;
use stepwell_interpreter::{Command, Event, NoHistory, RunStep, State};
use stepwell_store::Reader;
use stepwell_types::{
    AttemptId, Data, ExecutionId, Failure, Recorded, Spent, StepRequest, StepTarget, Timestamp,
};

use crate::Error;
use crate::driver::{each_row, moved, read_recorded};
use crate::ports::Programs;
use crate::walk::walk;

/// Which attempt of a state is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The state's name.
    pub state: Arc<str>,
    /// The state entry; `None`: the last one.
    pub entry: Option<u64>,
    /// The attempt, from 0; `None`: the last one.
    pub attempt: Option<u32>,
}

/// An attempt, what it recorded, and how it ended.
#[derive(Debug, Clone)]
pub struct Trace {
    /// What ran, with the journal.
    pub request: StepRequest,
    /// When it was decided on. When its clock began is in its notes, if it looked.
    pub at: Timestamp,
    /// How it ended and what it used; `None`: it has not, or nobody waited for its end.
    pub ended: Option<(Result<Data, Failure>, Spent)>,
}

/// Finds an attempt in the log of an execution.
/// # Errors
/// `RUN0002`, `RUN0012`, `RUN0025`.
pub(crate) fn find(
    reader: &dyn Reader,
    programs: &dyn Programs,
    id: ExecutionId,
    wanted: &Wanted,
) -> Result<Trace, Error> {
    let mut walk = Walk {
        programs,
        wanted,
        program: None,
        state: State::new(id),
        found: None,
        others: Vec::new(),
    };
    let mut trouble = None;
    each_row(reader, id, 0, &mut |seq, records| {
        for logged in records {
            if trouble.is_none() {
                trouble = walk.take(seq, &logged).err();
            }
        }
    })?;
    if let Some(e) = trouble {
        return Err(e);
    }
    let Walk {
        state,
        found,
        others,
        program,
        ..
    } = walk;
    let Some(Found {
        step,
        at,
        from,
        ended,
    }) = found
    else {
        return Err(Error::NoAttempt {
            id,
            state: wanted.state.to_string(),
            others,
        });
    };
    let by = AttemptId {
        execution: id,
        entry: step.entry,
        attempt: step.attempt,
    };
    let recorded: Recorded = read_recorded(reader, by, from)?;
    let flow = state.flow().map(|flow| flow.name.clone());
    let request = StepRequest {
        execution: id,
        execution_name: state.name().cloned().unwrap_or_else(|| "".into()),
        flow: flow.unwrap_or_else(|| "".into()),
        state: step.state,
        entry: step.entry,
        attempt: step.attempt,
        grants: program.and_then(|p| p.grants.of(&step.target)),
        target: step.target,
        input: step.input,
        deadline: step.deadline,
        token: step.token,
        seed: step.seed,
        recorded: Some(Arc::new(recorded)),
        entered: None,
    };
    Ok(Trace { request, at, ended })
}

struct Found {
    step: RunStep,
    at: Timestamp,
    /// The log row that decided on it: its journal begins there or later.
    from: u64,
    ended: Option<(Result<Data, Failure>, Spent)>,
}

struct Walk<'a> {
    programs: &'a dyn Programs,
    wanted: &'a Wanted,
    program: Option<Arc<Program>>,
    state: State,
    found: Option<Found>,
    /// States with steps that were met, for a name that is wrong.
    others: Vec<String>,
}

impl Walk<'_> {
    fn take(&mut self, row: u64, logged: &Logged) -> Result<(), Error> {
        let (event, at, troubled) = match logged {
            Logged::Event(record) => (&record.event, record.at, false),
            Logged::Troubled { at, event } => (event, *at, true),
            _ => return Ok(()),
        };
        let program = match (self.program.take(), event) {
            (None, Event::Started { flow, .. }) => self.programs.program(flow)?,
            (None, _) => return Err(Error::Store("a log does not begin with a start".into())),
            (Some(program), event) => {
                let other = moved(self.programs, &program, &mut self.state, event)?;
                other.unwrap_or(program)
            }
        };
        let mut commands = Vec::new();
        let (state, seen) = (&mut self.state, &mut NoHistory);
        if troubled {
            stepwell_interpreter::troubled(state, event, at, seen, &mut commands);
        } else {
            walk(
                self.programs,
                &program,
                state,
                (event, at),
                seen,
                &mut commands,
            )
            .map_err(Error::Store)?;
        }
        self.program = Some(program);
        if let Event::StepEnded {
            entry,
            attempt,
            result,
            spent,
        } = event
            && let Some(found) = &mut self.found
            && (found.step.entry, found.step.attempt) == (*entry, *attempt)
        {
            found.ended = Some((result.clone(), *spent));
        }
        for command in commands {
            if let Command::Run(step) = command
                && matches!(step.target, StepTarget::Wasm { .. })
            {
                self.meet(step, at, row);
            }
        }
        Ok(())
    }

    fn meet(&mut self, step: RunStep, at: Timestamp, row: u64) {
        let wanted = self.wanted;
        if step.state != wanted.state {
            let name = step.state.to_string();
            if !self.others.contains(&name) && self.others.len() < 20 {
                self.others.push(name);
            }
            return;
        }
        let fits = wanted.entry.is_none_or(|entry| entry == step.entry.0)
            && wanted.attempt.is_none_or(|attempt| attempt == step.attempt);
        if fits {
            self.found = Some(Found {
                step,
                at,
                from: row,
                ended: None,
            });
        }
    }
}
