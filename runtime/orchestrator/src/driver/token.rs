//! Task tokens: an outside program ends, fails or keeps alive a waiting task.
//!
//! The same answer again gets the same reply, also after the task, the execution and
//! the process are gone: the log is the memory of that.

use stepwell_interpreter::Event;
use stepwell_interpreter::codec::{self, Logged};
use stepwell_store::{Key, Range, Reader};
use stepwell_types::{Data, Digest, EntryId, ExecutionId, Failure, TaskToken, Timestamp};
use subtle::ConstantTimeEq as _;

use super::recover::{ROWS, blob};
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
        // Who does not hold the token has nothing read for him but the first record.
        let seed = seed_of(&*self.reader, id)?;
        if seed.is_none_or(|seed| TaskToken::derive(&seed, id, entry, attempt) != *token) {
            return Err(Error::BadToken);
        }
        let first = token_end(&*self.reader, id, entry, attempt)?;
        if first.map(|first| digest(&first)) != Some(digest(result)) {
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

/// The secret seed of an execution, from which its tokens are derived; `None`: it has no log. Reads
/// one row, and no payload that lies apart.
fn seed_of(reader: &dyn Reader, id: ExecutionId) -> Result<Option<[u8; 16]>, Error> {
    let key = Key::Log {
        execution: id,
        seq: 0,
    };
    let Some(row) = reader.get(&key)? else {
        return Ok(None);
    };
    let records = decoded(&row, &|_| Ok(Data::null()))?;
    Ok(records.iter().find_map(|logged| match event(logged) {
        Some(Event::Started { seed, .. }) => Some(*seed),
        _ => None,
    }))
}

/// What ended an attempt by its token, if the log has that. A row at a time, and of the payloads
/// that lie apart only those of the row that has it: the whole of a long log would fill the memory.
fn token_end(
    reader: &dyn Reader,
    id: ExecutionId,
    entry: EntryId,
    attempt: u32,
) -> Result<Option<Result<Data, Failure>>, Error> {
    let end = |records: &[Logged]| {
        records.iter().find_map(|logged| match event(logged) {
            Some(Event::TokenEnded {
                entry: e,
                attempt: a,
                result,
            }) if (*e, *a) == (entry, attempt) => Some(result.clone()),
            _ => None,
        })
    };
    let mut from = 0;
    loop {
        let range = Range::Log {
            execution: id,
            from_seq: from,
        };
        let rows = reader.scan(&range, ROWS)?;
        let before = from;
        for (key, row) in &rows {
            let Key::Log { seq, .. } = key else {
                continue;
            };
            let records = decoded(row, &|_| Ok(Data::null()))?;
            if end(&records).is_some() {
                return Ok(end(&decoded(row, &|d: &Digest| blob(reader, d))?));
            }
            from = seq + records.len() as u64;
        }
        if from == before {
            return Ok(None);
        }
    }
}

fn decoded(row: &[u8], fetch: &codec::Fetch<'_>) -> Result<Vec<Logged>, Error> {
    codec::decode(row, fetch).map_err(|e| Error::Store(e.to_string()))
}

/// The event of a record, whether or not it could be walked.
fn event(logged: &Logged) -> Option<&Event> {
    match logged {
        Logged::Event(record) => Some(&record.event),
        Logged::Troubled { event, .. } => Some(event),
        _ => None,
    }
}
