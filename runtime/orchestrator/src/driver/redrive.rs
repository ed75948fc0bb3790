//! Redrive: an execution that ended without success goes on from where it was.
//!
//! Refuses one that runs or succeeded: of two redrives at once the second meets a running
//! execution. What it goes on from is in its log, read as for any sleeper that wakes.

use std::sync::Arc;

use stepwell_interpreter::redrive::Refusal;
use stepwell_types::{Data, ExecutionId, Failure, FlowRef, Timestamp};

use super::errand::Begun;
use super::{Driver, Output, Reply, Ticket};
use crate::Error;
use crate::api::Redriven;

/// How to redrive.
#[derive(Debug, Clone, Default)]
pub struct Redrive {
    /// Go on with this version of the flow; `None`: with the one that it ran.
    pub version: Option<u32>,
    /// The state that gets `input`; `None`: the one that failed.
    pub state: Option<String>,
    /// Instead of the state's own.
    pub input: Option<Data>,
}

impl Driver {
    pub(super) fn redrive(
        &mut self,
        ticket: Ticket,
        id: ExecutionId,
        wish: Redrive,
        now: Timestamp,
    ) -> Result<(), Error> {
        if !self.hot.contains_key(&id) {
            let summary = self.read_summary(id)?;
            if summary.express {
                return Err(refused(id, &Refusal::Express));
            }
            if summary.status == 0 {
                return Err(running(id, summary.parked.as_ref()));
            }
            self.admit()?;
            self.load(id, now)?;
        } else {
            self.admit()?;
        }
        let answer = self.redrive_hot(id, wish, now);
        match answer {
            Ok(redriven) => {
                self.after(self.batch, Output::Reply(ticket, Reply::Redriven(redriven)));
                Ok(())
            }
            Err(e) => {
                // It may have come into memory for this only.
                self.settle(id, now);
                Err(e)
            }
        }
    }

    fn redrive_hot(
        &mut self,
        id: ExecutionId,
        wish: Redrive,
        now: Timestamp,
    ) -> Result<Redriven, Error> {
        let Some(hot) = self.hot.get_mut(&id) else {
            return Err(Error::NoExecution(id.to_string()));
        };
        if hot.express.is_some() {
            return Err(refused(id, &Refusal::Express));
        }
        if hot.ended.is_none() {
            return Err(running(id, hot.parked.as_ref()));
        }
        // Which items succeeded is looked up: what is not durable cannot be seen yet.
        if hot.batch > self.durable && hot.state.has_halted_fleet() {
            return Err(refused(id, &Refusal::Running));
        }
        if let Some(why) = &hot.parked {
            return Err(Error::NotRedrivable {
                id,
                reason: why.cause.to_string(),
            });
        }
        let other = match wish.version.filter(|v| *v != hot.flow.version) {
            None => None,
            Some(version) => {
                let flow = FlowRef {
                    name: hot.flow.name.clone(),
                    version,
                };
                Some((self.programs.program(&flow)?, flow))
            }
        };
        let version = other.as_ref().map(|(p, flow)| (&**p, flow.version));
        let event = hot
            .state
            .redrive(&hot.program, version, wish.state.as_deref(), wish.input)
            .map_err(|e| refused(id, &e))?;
        // Walked on a copy, unless it was walked elsewhere: one that cannot be leaves it as it is.
        let at = now.max(hot.last_at);
        let fits = |w: &super::errand::Walk| w.fits(id, &event, at, &hot.state);
        let walked = self.walked.take().filter(fits).unwrap_or_else(|| {
            let begun = Begun {
                program: hot.program.clone(),
                base: hot.state.clone(),
                rebase: other.as_ref().map(|(program, _)| program.clone()),
                event: event.clone(),
                at,
            };
            begun.walk(id, &*self.programs)
        });
        if let Some(why) = walked.trouble() {
            let reason = why.to_owned();
            return Err(Error::NotRedrivable { id, reason });
        }
        self.walked = Some(walked);
        if let Some((program, flow)) = other {
            Arc::make_mut(&mut hot.state)
                .rebase(&hot.program, &program)
                .map_err(|e| Error::Store(e.to_string()))?;
            hot.program = program;
            hot.flow = flow;
        }
        hot.ended = None;
        hot.summary_stale = true;
        // A step that kills the process must find the redrive there when it comes again.
        hot.first_batch = self.batch;
        let (version, redriven) = (hot.flow.version, now.max(hot.last_at));
        self.open += 1;
        self.uncounted.entry(self.batch).or_default().redriven += 1;
        self.apply(id, event, now);
        Ok(Redriven {
            id,
            version,
            count: self.hot.get(&id).map_or(0, |hot| hot.state.redrives()),
            redriven,
        })
    }
}

/// It has not ended: it runs, or is parked.
fn running(id: ExecutionId, parked: Option<&Failure>) -> Error {
    match parked {
        None => refused(id, &Refusal::Running),
        Some(why) => Error::NotRedrivable {
            id,
            reason: format!(
                "it is parked ({}: {}); cancel it, then redrive it",
                why.error, why.cause
            ),
        },
    }
}

fn refused(id: ExecutionId, why: &Refusal) -> Error {
    let reason = why.to_string();
    match why {
        Refusal::Misfit(_)
        | Refusal::NoState { .. }
        | Refusal::WhichState { .. }
        | Refusal::ManyEntries { .. } => Error::BadRedrive { id, reason },
        Refusal::Running
        | Refusal::Express
        | Refusal::Succeeded
        | Refusal::Nothing
        | Refusal::Transitions
        | Refusal::TooOften => Error::NotRedrivable { id, reason },
    }
}
