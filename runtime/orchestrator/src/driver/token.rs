//! Task tokens: an outside program ends, fails or keeps alive a waiting task.
//!
//! The same answer again gets the same reply, also after the task, the execution and
//! the process are gone: the log is the memory of that.

use stepwell_interpreter::Event;
use stepwell_interpreter::codec::Logged;
use stepwell_types::{Data, Digest, Failure, TaskToken, Timestamp};
use subtle::ConstantTimeEq as _;

use super::{Driver, Output, Reply, Ticket, TokenAnswer};
use crate::Error;

impl Driver {
    /// Takes an outside program's answer.
    pub(super) fn token(
        &mut self,
        ticket: Ticket,
        token: &TaskToken,
        answer: TokenAnswer,
        now: Timestamp,
    ) -> Result<(), Error> {
        let id = token.execution;
        match self.wake(id, now) {
            Ok(()) => {}
            Err(Error::Ended(_)) => return self.repeated(ticket, token, &answer),
            // A token of nothing is as bad as a forged one: say no more than that.
            Err(Error::NoExecution(_)) => return Err(Error::BadToken),
            Err(e) => return Err(e),
        }
        let Some(hot) = self.hot.get(&id) else {
            return Err(Error::BadToken);
        };
        let expected = hot.state.token(token.entry, token.attempt).proof;
        if !bool::from(expected.ct_eq(&token.proof)) {
            return Err(Error::BadToken);
        }
        if hot.parked.is_some() {
            return match self.repeated(ticket, token, &answer) {
                Err(Error::TaskOver) => Err(Error::Parked(id)),
                other => other,
            };
        }
        if hot.ended.is_some() || !hot.state.awaits(token.entry, token.attempt) {
            return self.repeated(ticket, token, &answer);
        }
        let (entry, attempt) = (token.entry, token.attempt);
        match answer {
            TokenAnswer::Heartbeat => {
                self.apply(id, Event::Heartbeat { entry, attempt }, now);
            }
            TokenAnswer::Ended(result) => {
                let digest = digest(&result);
                if let Some(hot) = self.hot.get_mut(&id) {
                    hot.answered.insert((entry, attempt), digest);
                }
                let event = Event::TokenEnded {
                    entry,
                    attempt,
                    result,
                };
                self.apply(id, event, now);
            }
        }
        self.after(self.batch, Output::Reply(ticket, Reply::Done));
        Ok(())
    }

    /// Answers for a task that no longer waits.
    fn repeated(
        &mut self,
        ticket: Ticket,
        token: &TaskToken,
        answer: &TokenAnswer,
    ) -> Result<(), Error> {
        let TokenAnswer::Ended(result) = answer else {
            return Err(Error::TaskOver);
        };
        let (id, entry, attempt) = (token.execution, token.entry, token.attempt);
        if let Some(first) = self.answered(id, entry, attempt) {
            if first != digest(result) {
                return Err(Error::TaskOver);
            }
            let batch = self.hot.get(&id).map_or(0, |h| h.batch);
            self.after(batch, Output::Reply(ticket, Reply::Done));
            return Ok(());
        }
        let records = self.read_log(id, 0)?;
        let mut seed = None;
        let mut first = None;
        for logged in &records {
            let event = match logged {
                Logged::Event(record) => &record.event,
                Logged::Troubled { event, .. } => event,
                _ => continue,
            };
            match event {
                Event::Started { seed: s, .. } => seed = Some(*s),
                Event::TokenEnded {
                    entry: e,
                    attempt: a,
                    result,
                } if (*e, *a) == (entry, attempt) => first = first.or(Some(digest(result))),
                _ => {}
            }
        }
        let genuine = seed.is_some_and(|s| TaskToken::derive(&s, id, entry, attempt) == *token);
        if !genuine {
            return Err(Error::BadToken);
        }
        if first != Some(digest(result)) {
            return Err(Error::TaskOver);
        }
        self.out.push_back(Output::Reply(ticket, Reply::Done));
        Ok(())
    }
}

/// Tells one answer from another.
fn digest(result: &Result<Data, Failure>) -> Digest {
    match result {
        Ok(data) => Digest::of(format!("ok {}", data.text()).as_bytes()),
        Err(f) => Digest::of(format!("err {} {}", f.error, f.cause).as_bytes()),
    }
}
