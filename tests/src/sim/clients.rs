//! What the simulated clients do: start, start again, cancel, answer, repeat, forge.

use std::sync::Arc;

use stepwell_orchestrator::driver::{Redrive, Request, TokenAnswer};
use stepwell_types::{Data, EntryId, ExecutionId, Failure, FlowRef, ShardId, TaskToken};

use super::world::{Asked, Known, World};
use super::{checks, flows};

impl World {
    pub(super) fn client_starts(&mut self) {
        // Sometimes again what was started before, as a client that heard nothing does.
        let again: Vec<_> = self
            .known
            .iter()
            .filter(|(_, k)| k.name.is_some())
            .collect();
        let (flow, name, input) = if !again.is_empty() && self.random.chance(35) {
            let at = self.random.index(again.len());
            let k = again[at].1;
            (k.flow.clone(), k.name.clone(), k.input.clone())
        } else {
            let names: Vec<_> = self
                .flows
                .0
                .keys()
                .filter(|n| ***n != *flows::SLEEPER_NAME)
                .cloned()
                .collect();
            let flow = names[self.random.index(names.len())].clone();
            let name = self
                .random
                .chance(50)
                .then(|| Arc::from(format!("run{}", self.random.index(40))));
            (flow, name, None)
        };
        let input = input.unwrap_or_else(|| {
            let items: Vec<String> = (0..self.random.index(4)).map(|i| i.to_string()).collect();
            Data::from_valid_text(format!(r#"{{"items":[{}]}}"#, items.join(",")))
        });
        let id = ExecutionId::new(
            self.now,
            match &name {
                Some(name) => ShardId::of_name(&flow, name),
                None => ShardId(self.random.index(64) as u8),
            },
            u128::from(self.random.draw()) << 8,
        );
        let request = Request::Start {
            flow: FlowRef {
                name: flow.clone(),
                version: 1,
            },
            name: name.clone(),
            input: input.clone(),
            id,
            seed: self.random.bytes(),
            wait: self.random.chance(40),
        };
        self.known.insert(
            id,
            Known {
                flow,
                name,
                input: Some(input),
                ..Known::default()
            },
        );
        let ticket = self.ticket(Asked::Start(id));
        let now = self.now;
        self.driver_of(id).request(ticket, request, now);
        self.note("start");
    }

    pub(super) fn some_execution(&mut self) -> Option<ExecutionId> {
        let ids: Vec<_> = self.known.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[self.random.index(ids.len())])
    }

    /// Cancels also what is not durable yet, or never arrived.
    pub(super) fn client_cancels(&mut self) {
        let Some(id) = self.some_execution() else {
            return;
        };
        self.tally.cancels += 1;
        if let Some(k) = self.known.get_mut(&id) {
            k.cancel_sent = true;
        }
        let ticket = self.ticket(Asked::Cancel(id));
        let failure = Failure::new("Sim.Cancelled", "by a client");
        let now = self.now;
        self.driver_of(id)
            .request(ticket, Request::Cancel(id, failure), now);
        self.note("cancel");
    }

    /// Redrives what ended badly, what runs, what succeeded and what never arrived.
    pub(super) fn client_redrives(&mut self) {
        let cancelled: Vec<_> = self
            .known
            .iter()
            .filter(|(_, k)| k.cancel_sent)
            .map(|(id, _)| *id)
            .collect();
        let id = if cancelled.is_empty() || self.random.chance(20) {
            self.some_execution()
        } else {
            Some(cancelled[self.random.index(cancelled.len())])
        };
        let Some(id) = id else {
            return;
        };
        if let Some(k) = self.known.get_mut(&id) {
            k.redrive_sent = true;
        }
        self.redriven.insert(id, self.life);
        let wish = Redrive {
            // Here every version of a flow is the same program.
            version: self
                .random
                .chance(30)
                .then(|| 1 + self.random.index(3) as u32),
            ..Redrive::default()
        };
        let ticket = self.ticket(Asked::Redrive(id));
        let now = self.now;
        self.driver_of(id)
            .request(ticket, Request::Redrive(id, wish), now);
        self.note("redrive");
    }

    /// Tokens that a client can see: those of durable states.
    pub(super) fn open_tokens(
        &self,
        id: ExecutionId,
    ) -> Result<Vec<(Arc<str>, TaskToken)>, String> {
        checks::open_tasks(self, id)
    }

    pub(super) fn client_answers(&mut self) -> Result<(), String> {
        // A repeat of an earlier answer, or another answer for the same task.
        if !self.taken.is_empty() && self.random.chance(25) {
            let keys: Vec<_> = self.taken.keys().copied().collect();
            let (id, entry, attempt) = keys[self.random.index(keys.len())];
            if let Some(token) = checks::token_of(self, id, entry, attempt)? {
                let first = self.taken[&(id, entry, attempt)].clone();
                let other = Ok(Data::from_valid_text("\"another answer\""));
                let result = if self.random.chance(60) { first } else { other };
                self.send_token(token, result);
            }
            return Ok(());
        }
        let all = checks::executions(self)?;
        if all.is_empty() {
            return Ok(());
        }
        let id = all[self.random.index(all.len())];
        for (state, token) in self.open_tokens(id)? {
            if !state.starts_with("Silent") && self.random.chance(70) {
                self.send_token(token, flows::token_answer(&state));
            }
        }
        Ok(())
    }

    /// Answers everything that waits for an answer. `false`: nothing did.
    pub(super) fn answer_all(&mut self) -> Result<bool, String> {
        let mut any = false;
        for id in checks::executions(self)? {
            for (state, token) in self.open_tokens(id)? {
                if !state.starts_with("Silent") {
                    self.send_token(token, flows::token_answer(&state));
                    any = true;
                }
            }
        }
        Ok(any)
    }

    pub(super) fn send_token(&mut self, token: TaskToken, result: Result<Data, Failure>) {
        self.tally.tokens += 1;
        let ticket = self.ticket(Asked::Token(token, result.clone()));
        let request = Request::Token(token, TokenAnswer::Ended(result));
        let now = self.now;
        self.driver_of(token.execution)
            .request(ticket, request, now);
        self.note("token");
    }

    pub(super) fn client_forges(&mut self) {
        let Some(id) = self.some_execution() else {
            return;
        };
        self.tally.tokens += 1;
        let token = TaskToken {
            execution: id,
            entry: EntryId(1 + self.random.index(6) as u64),
            attempt: 0,
            proof: self.random.bytes(),
        };
        let ticket = self.ticket(Asked::Forged);
        let answer = TokenAnswer::Ended(Ok(Data::null()));
        let now = self.now;
        self.driver_of(id)
            .request(ticket, Request::Token(token, answer), now);
    }
}
