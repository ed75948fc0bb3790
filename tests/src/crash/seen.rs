//! What clients were told, kept until the end: none of it may turn out untrue.
//!
//! Refuses to forget: a promise heard once is compared with the last state.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// All that the clients of one run saw.
#[derive(Debug, Default)]
pub struct Seen(Mutex<Notes>);

/// The notes themselves.
#[derive(Debug, Default)]
pub struct Notes {
    /// Accepted executions: id to case number.
    pub accepted: HashMap<String, u64>,
    /// Starts without a name whose answer never came: case numbers.
    pub unsure: Vec<u64>,
    /// Executions as they were shown after their end, without input, by id.
    pub ended: HashMap<String, Value>,
    /// Histories as far as they were seen: id, event number, event as JSON.
    pub events: HashMap<String, BTreeMap<u64, Value>>,
    /// Tokens that were handed out: execution, state, token.
    pub tokens: Vec<(String, String, String)>,
    /// Answers that were acknowledged: execution, token, answer.
    pub answers: Vec<(String, String, Value)>,
    /// Cancels that were acknowledged.
    pub cancels: Vec<String>,
}

impl Seen {
    /// The notes, for reading and writing. Not to be held over a wait.
    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An accepted start. `Err`: the name led to another execution before.
    ///
    /// # Errors
    /// The text of the breach.
    pub fn accept(&self, id: &str, case: u64) -> Result<(), String> {
        match self.notes().accepted.insert(id.to_owned(), case) {
            Some(before) if before != case => Err(format!(
                "{id} was accepted for the cases {before} and {case}"
            )),
            _ => Ok(()),
        }
    }

    /// An execution as it was shown. Only an ended one is kept.
    ///
    /// # Errors
    /// It was shown otherwise before.
    pub fn show(&self, id: &str, shown: &Value) -> Result<(), String> {
        let mut notes = self.notes();
        let mut shown = shown.clone();
        // The answer to a start-and-wait leaves it out.
        if let Some(members) = shown.as_object_mut() {
            members.shift_remove("input");
        }
        let before = notes.ended.get(id);
        if shown["status"] == "RUNNING" {
            return match before {
                Some(ended) => Err(format!("{id} runs again after {}", ended["status"])),
                None => Ok(()),
            };
        }
        match before {
            Some(ended) if *ended != shown => {
                Err(format!("{id} ended as {ended}, then as {shown}"))
            }
            Some(_) => Ok(()),
            None => {
                notes.ended.insert(id.to_owned(), shown);
                Ok(())
            }
        }
    }

    /// An event of a history.
    ///
    /// # Errors
    /// Its number was another event before.
    pub fn event(&self, id: &str, number: u64, event: Value) -> Result<(), String> {
        let mut notes = self.notes();
        let events = notes.events.entry(id.to_owned()).or_default();
        match events.get(&number) {
            Some(before) if *before != event => {
                Err(format!("event {number} of {id} was {before}, then {event}"))
            }
            Some(_) => Ok(()),
            None => {
                events.insert(number, event);
                Ok(())
            }
        }
    }

    /// The highest number of an event seen: clients read in order, so it is the place to go on.
    #[must_use]
    pub fn last_event(&self, id: &str) -> u64 {
        let notes = self.notes();
        let events = notes.events.get(id);
        events.map_or(0, |events| events.keys().copied().max().unwrap_or(0))
    }
}
