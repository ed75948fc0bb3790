//! Redrive: an execution that ended without success goes on from where it was.
//!
//! Refuses one that runs or succeeded: of two redrives at once the second meets a running
//! execution. What it goes on from is in its log, read as for any sleeper that wakes.

use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_interpreter::redrive::Refusal;
use stepwell_interpreter::{Event, Outcome, child};
use stepwell_types::{ChildStart, Data, ExecutionId, Failure, FlowRef, Timestamp};

use super::errand::{Begun, Walk};
use super::outbox::{Answer, Held};
use super::{Driver, Hot, Output, Post, Reply, Ticket};
use crate::Error;
use crate::api::Redriven;
use crate::ports::Programs;

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
        let other = other_version(&*self.programs, hot, wish.version)?;
        // A deleted flow, or version, starts no work.
        let flow = other.as_ref().map_or(&hot.flow, |(_, flow)| flow);
        self.programs.may_begin(flow)?;
        let version = other.as_ref().map(|(p, flow)| (&**p, flow.version));
        let event = hot
            .state
            .redrive(&hot.program, version, wish.state.as_deref(), wish.input)
            .map_err(|e| refused(id, &e))?;
        let redriven = now.max(hot.last_at);
        self.go_on(id, event, other, now)?;
        let hot = self.hot.get(&id);
        Ok(Redriven {
            id,
            version: hot.map_or(0, |hot| hot.flow.version),
            count: hot.map_or(0, |hot| hot.state.redrives()),
            redriven,
        })
    }

    /// An execution in memory that had ended is one that runs. Walked on a copy, unless it was
    /// walked elsewhere: one that cannot be leaves it as it is.
    fn go_on(
        &mut self,
        id: ExecutionId,
        event: Event,
        other: Option<(Arc<Program>, FlowRef)>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(hot) = self.hot.get_mut(&id) else {
            return Err(Error::NoExecution(id.to_string()));
        };
        let at = now.max(hot.last_at);
        let fits = |w: &Walk| w.fits(id, &event, at, &hot.state);
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
        self.count_open(id, 1);
        self.uncounted.entry(self.batch).or_default().redriven += 1;
        self.apply(id, event, now);
        Ok(())
    }

    /// A redriven distributed Map wants this child again: one that failed goes on from where
    /// it was, one that runs takes note, and of one that succeeded it is told.
    pub(super) fn item_again(
        &mut self,
        sender: ExecutionId,
        number: u64,
        start: ChildStart,
        now: Timestamp,
    ) -> Result<(), Error> {
        if self.stopping {
            // The row stays: the next process delivers it again.
            return Ok(());
        }
        if !self.has_room() {
            let flow = self.held.number(&start.flow);
            self.held.push(flow, Held::Row(sender, number));
            return Ok(());
        }
        let child = start.child;
        self.recall(child, now)?;
        if self.is_blocked(child) {
            self.keep_for(child, Post::start(sender, number, start));
            return Ok(());
        }
        if let Some(hot) = self.hot.get(&child)
            && hot.batch > self.durable
            && hot.state.has_halted_fleet()
        {
            // As for any other: which of its own items succeeded must be seen.
            let batch = hot.batch;
            self.after(batch, Output::Send(Post::start(sender, number, start)));
            return Ok(());
        }
        let answer = self.item_again_here(&start, now)?;
        if !matches!(answer, Answer::Started { .. }) {
            // It does not begin, and nobody has to cancel it.
            self.take_tombstone(child, start.link.attempt)?;
        }
        self.answer(self.batch_of(child), sender, number, answer);
        self.settle(child, now);
        Ok(())
    }

    fn item_again_here(&mut self, start: &ChildStart, now: Timestamp) -> Result<Answer, Error> {
        let (child, link) = (start.child, start.link.clone());
        let Some(hot) = self.hot.get(&child) else {
            return Err(Error::NoExecution(child.to_string()));
        };
        let at = hot.started;
        if self.wanted_by(child).is_some_and(|of| of >= link.attempt) {
            return Ok(Answer::Started { link, child, at });
        }
        if let Some(Outcome::Succeeded(_)) = hot.state.outcome() {
            let result = child::ended(child::Ended {
                state: &hot.state,
                at: hot.ended.unwrap_or(hot.last_at),
                wants: link.wants,
            });
            return Ok(Answer::Over { link, result });
        }
        let refused = |reason: String| {
            let failure = Failure::new("Stepwell.ItemNotRedriven", reason);
            let link = link.clone();
            Ok(Answer::Refused { link, failure })
        };
        if let Some(why) = &hot.parked {
            return refused(why.cause.to_string());
        }
        let other = match other_version(&*self.programs, hot, start.version) {
            Ok(other) => other,
            Err(e @ Error::NoFlow(_)) => return refused(e.to_string()),
            Err(e) => return Err(e),
        };
        let version = other.as_ref().map(|(p, flow)| (&**p, flow.version));
        let event = match hot.state.redrive_item(&hot.program, version, link.attempt) {
            Ok(event) => event,
            Err(why) => return refused(why.to_string()),
        };
        if hot.ended.is_some() {
            match self.go_on(child, event, other, now) {
                Err(Error::NotRedrivable { reason, .. }) => return refused(reason),
                done => done?,
            }
        } else {
            self.apply(child, event, now);
        }
        self.meet_tombstone(child, link.attempt, now)?;
        Ok(Answer::Started { link, child, at })
    }
}

/// The program of another version than the one that an execution runs.
pub(super) fn other_version(
    programs: &dyn Programs,
    hot: &Hot,
    version: Option<u32>,
) -> Result<Option<(Arc<Program>, FlowRef)>, Error> {
    let Some(version) = version.filter(|v| *v != hot.flow.version) else {
        return Ok(None);
    };
    let name = hot.flow.name.clone();
    let flow = FlowRef { name, version };
    Ok(Some((programs.program(&flow)?, flow)))
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
        | Refusal::FlowGone
        | Refusal::Transitions
        | Refusal::TooOften => Error::NotRedrivable { id, reason },
    }
}
