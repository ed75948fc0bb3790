//! The start of a child: it is there already, it waits for room, it begins, or it never will.
//!
//! Refuses to tell who asked: that is the receipt's ([`super::outbox`]).

use std::sync::Arc;

use stepwell_store::Key;
use stepwell_types::{AttemptId, ChildStart, ExecutionId, Failure, FlowRef, Timestamp};

use super::outbox::{Answer, HELD_PAUSE_MS, Held};
use super::{Driver, Output, Reply, Ticket};
use crate::Error;
use crate::api::Started;
use crate::catalog::check_name;
use crate::rows::{self, NameRow};

impl Driver {
    pub(super) fn child_start(
        &mut self,
        sender: ExecutionId,
        number: u64,
        start: ChildStart,
        now: Timestamp,
    ) -> Result<(), Error> {
        let child = start.child;
        let known = match self.hot.get(&child) {
            Some(hot) => Some((hot.started, hot.batch)),
            None => match self.read_summary(child) {
                Ok(row) => Some((row.started, 0)),
                Err(Error::NoExecution(_)) => None,
                Err(e) => return Err(e),
            },
        };
        if known.is_some() && start.again {
            return self.item_again(sender, number, start, now);
        }
        if let Some((at, batch)) = known {
            let link = start.link;
            self.answer(batch, sender, number, Answer::Started { link, child, at });
            return Ok(());
        }
        if self.stopping {
            // The row stays: the next process delivers it again.
            return Ok(());
        }
        if !self.has_room() {
            let flow = self.held.number(&start.flow);
            self.held.push(flow, Held::Row(sender, number));
            return Ok(());
        }
        let (link, name) = (start.link.clone(), start.flow.clone());
        let begun = match self.begin_child(start, now) {
            // Mostly milliseconds, then it is known whether there is such a flow. Steps and starts of
            // other flows begin meanwhile.
            Err(Error::Busy { .. }) => {
                let flow = self.held.number(&name);
                self.held.push(flow, Held::Row(sender, number));
                self.held_until.insert(flow, now.plus_ms(HELD_PAUSE_MS));
                return Ok(());
            }
            begun => begun?,
        };
        let answer = match begun {
            Ok(()) => Answer::Started {
                link,
                child,
                at: now,
            },
            Err(failure) => Answer::Refused { link, failure },
        };
        // A refusal writes nothing: it waits for what it was decided on, and no more.
        self.answer(self.last_batch(), sender, number, answer);
        Ok(())
    }

    /// The batch after which all that was decided so far is durable. With nothing in the open
    /// one that is the one before it: nobody knows when the open one will be sealed.
    pub(super) fn last_batch(&self) -> u64 {
        match self.has_unsealed() {
            true => self.batch,
            false => self.batch.saturating_sub(1),
        }
    }

    /// Starts a child that is not there yet, or says why there will be none.
    fn begin_child(
        &mut self,
        start: ChildStart,
        now: Timestamp,
    ) -> Result<Result<(), Failure>, Error> {
        let missing = |e: &Error| {
            Failure::new(
                "StepFunctions.StateMachineDoesNotExistException",
                format!("State Machine Does Not Exist: '{}' ({e})", start.flow),
            )
        };
        let version = match start.version {
            Some(version) => version,
            None => match self.programs.newest(&start.flow) {
                Ok(version) => version,
                Err(e @ Error::NoFlow(_)) => return Ok(Err(missing(&e))),
                Err(e) => return Err(e),
            },
        };
        let flow = FlowRef {
            name: start.flow.clone(),
            version,
        };
        let begins = match start.link.item {
            // Of its parent's own flow, which cannot be deleted while that runs.
            Some(_) => Ok(()),
            None => self.programs.may_begin(&flow),
        };
        let program = match begins.and_then(|()| self.programs.program(&flow)) {
            Ok(program) => program,
            Err(e @ Error::NoFlow(_)) => return Ok(Err(missing(&e))),
            Err(e) => return Err(e),
        };
        if let Some(name) = &start.name {
            if let Err(e) = check_name("execution", name) {
                let failure = Failure::new("StepFunctions.InvalidNameException", e.to_string());
                return Ok(Err(failure));
            }
            if let Some(taken) = self.named(&flow.name, name)? {
                let cause = format!(
                    "Execution Already Exists: '{name}' of the flow {} is {taken}",
                    flow.name
                );
                let failure = Failure::new("StepFunctions.ExecutionAlreadyExistsException", cause);
                return Ok(Err(failure));
            }
        }
        if let Err(failure) = self.count_descendant(&start)? {
            return Ok(Err(failure));
        }
        let (child, attempt) = (start.child, start.link.attempt);
        self.extra.put(
            Key::Child {
                parent: start.link.execution,
                execution: child,
            },
            Vec::new(),
        );
        self.begin(super::request::Begin {
            program,
            flow,
            name: start.name,
            input: start.input,
            id: child,
            seed: start.seed,
            parent: Some(start.link.into()),
            express: None,
            now,
        });
        self.meet_tombstone(child, attempt, now)?;
        Ok(Ok(()))
    }

    /// Starts an execution that an attempt asked for. Nobody waits for its end.
    pub(super) fn spawn(
        &mut self,
        ticket: Ticket,
        start: ChildStart,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut flow = FlowRef {
            name: start.flow.clone(),
            version: start.version.unwrap_or_default(),
        };
        // First: a flow that was deleted since was started once all the same.
        if let Some(name) = &start.name
            && self.start_again(ticket, &flow, name, &start.input, false)?
        {
            return Ok(());
        }
        if start.version.is_none() {
            flow.version = self.programs.newest(&flow.name)?;
        }
        self.programs.program(&flow)?;
        self.admit()?;
        if !self.has_room_below(self.options.hot_max - self.options.hot_max / 4) {
            return Err(Error::Busy {
                reason: "as many executions of others are active as memory allows",
                retry_after_s: 1,
            });
        }
        let version = flow.version;
        let start = ChildStart {
            version: Some(version),
            ..start
        };
        let (id, name) = (start.child, start.name.clone());
        let reply = match self.begin_child(start, now)? {
            Ok(()) => Reply::Started(Started {
                id,
                name: name.unwrap_or_else(|| id.to_string().into()),
                version,
                started: now,
                new: true,
            }),
            Err(failure) => Reply::NotStarted(failure),
        };
        self.after(self.last_batch(), Output::Reply(ticket, reply));
        Ok(())
    }

    /// What a child of this attempt's execution goes back to.
    pub(super) fn lineage(&mut self, ticket: Ticket, by: AttemptId) -> Result<(), Error> {
        let id = by.execution;
        let hot = self.hot.get(&id);
        let hot = hot.filter(|hot| hot.steps.contains_key(&(by.entry, by.attempt)));
        // Nobody waits for the attempt any more, and its call comes to nothing.
        let hot = hot.ok_or(Error::Ended(id))?;
        let (root, depth) = match hot.state.parent() {
            Some(link) => (link.root, link.depth),
            None => (id, 0),
        };
        let reply = Reply::Lineage { root, depth };
        self.out.push_back(Output::Reply(ticket, reply));
        Ok(())
    }

    /// The execution of this name, durable or not.
    pub(super) fn named(
        &self,
        flow: &Arc<str>,
        name: &Arc<str>,
    ) -> Result<Option<ExecutionId>, Error> {
        let (flow, name) = (Arc::clone(flow), Arc::clone(name));
        let key = (flow, name);
        if let Some(id) = self.names.get(&key) {
            return Ok(Some(*id));
        }
        let (flow, name) = key;
        let row = self.reader.get(&Key::Name { flow, name })?;
        match row {
            Some(row) => Ok(Some(rows::decode::<NameRow>(&row)?.execution)),
            None => Ok(None),
        }
    }
}
