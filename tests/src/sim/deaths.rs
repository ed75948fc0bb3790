//! How simulated processes die, and who may be blamed for it.

use stepwell_flow::program::{ChildKind, Kind};
use stepwell_orchestrator::driver::Request;
use stepwell_orchestrator::ports::{LastLife, StepKey};
use stepwell_orchestrator::suspects;
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Writer as _};
use stepwell_types::{ExecutionId, Failure, StepRequest};

use super::flows::{self, Behaviour};
use super::kept;
use super::posts::new_drivers;
use super::world::{Asked, World};
use super::{checks, express};

/// Deaths on a processor after which a step must not run again.
const DEATHS_MAX: u32 = 3;

/// Deaths of one step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Deaths {
    /// How many since the execution's last end.
    count: u32,
    /// Durable ends of the execution at the last of them: an end clears its steps.
    ends: usize,
}

/// Names an attempt.
pub(super) fn key(request: &StepRequest) -> StepKey {
    (request.execution, request.entry, request.attempt)
}

impl World {
    /// The process is killed from outside. One or two steps may be on a processor; a
    /// suspect is alone there, for a moment that an outside kill hardly ever meets.
    pub(super) fn crash(&mut self) -> Result<(), String> {
        let inside = self
            .running
            .iter()
            .filter(|r| !r.request.target.leaves() && !express::is_express(self, &r.request.flow))
            .filter(|r| !r.alone && !self.deaths.contains_key(&key(&r.request)));
        let mut steps: Vec<_> = inside.map(|r| key(&r.request)).collect();
        while steps.len() > 2 {
            steps.swap_remove(self.random.index(steps.len()));
        }
        if self.random.chance(50) {
            steps.clear();
        }
        self.die(steps)
    }

    /// The process is gone. Of the batches on their way, a prefix may be durable; the
    /// black box holds `steps`.
    pub(super) fn die(&mut self, steps: Vec<StepKey>) -> Result<(), String> {
        let survive = self.random.index(self.pending.len() + 1);
        let batches: Vec<_> = self.pending.drain(..).take(survive).map(|b| b.2).collect();
        self.commit(&batches)?;
        self.pending.clear();
        self.posts.clear();
        self.cancels.clear();
        self.turns.clear();
        self.running.clear();
        self.keeping.clear();
        self.asked.clear();
        self.tally.crashes += 1;
        self.life += 1;
        // The machine may have been off for a while.
        self.now = self.now.plus_ms(self.random.index(40_000) as u64);
        self.memory = Memory::from_snapshot(self.memory.snapshot());
        self.forget_lost()?;
        for step in &steps {
            // Before it is durable there is nothing to count for, and that is once at most: from
            // the second life on no step runs before then. An end clears all.
            if !checks::is_open(self, step.0)? {
                continue;
            }
            let ends = checks::durable_ends(self, step.0)?.len();
            let deaths = self.deaths.entry(*step).or_default();
            if deaths.ends != ends {
                *deaths = Deaths { count: 0, ends };
            }
            deaths.count += 1;
        }
        let last = LastLife {
            life: self.life,
            steps,
        };
        // The next process may die between counting and emptying the black box.
        for _ in 0..1 + usize::from(self.random.chance(20)) {
            let mut batch = Batch::default();
            suspects::count(&self.memory, &last, &mut batch).map_err(|e| e.to_string())?;
            self.commit(&[batch])?;
        }
        if let Ok(mut compiled) = self.flows.2.lock() {
            compiled.clear();
        }
        self.namespaces = kept::namespaces(&self.memory);
        self.drivers = new_drivers(&self.memory, &self.flows, self.now, false, self.aside)?;
        self.note("crash");
        Ok(())
    }

    fn commit(&self, batches: &[Batch]) -> Result<(), String> {
        if batches.is_empty() {
            return Ok(());
        }
        let committed = self.memory.writer().commit(batches);
        committed.map_err(|e| e.to_string())
    }

    /// Deaths for which a step is suspected.
    fn counted(&self, step: &StepKey) -> Result<u32, String> {
        match self.deaths.get(step) {
            None => Ok(0),
            Some(deaths) if checks::durable_ends(self, step.0)?.len() > deaths.ends => Ok(0),
            Some(deaths) => Ok(deaths.count),
        }
    }

    /// A step that was on a processor when the process died runs alone from then on, and
    /// after three deaths never again; and after an unclean stop none runs whose death
    /// nobody could count.
    pub(super) fn may_run(&self, request: &StepRequest, alone: bool) -> Result<(), String> {
        if request.target.leaves() || express::is_express(self, &request.flow) {
            return Ok(());
        }
        let deaths = self.counted(&key(request))?;
        let what = format!("{} {}", request.execution, request.state);
        // It may have ended and gone on since the last commit: then it is suspected no more,
        // and the log does not say so yet.
        let unclear = self.redriven.get(&request.execution) == Some(&self.life);
        if deaths >= DEATHS_MAX && !unclear {
            return Err(format!("{what}: it runs again after {deaths} deaths"));
        }
        if (deaths > 0) != alone && (alone || !unclear) {
            return Err(format!("{what}: {deaths} deaths, and alone is {alone}"));
        }
        // An item that is kept in memory is never durable, and never alone.
        let durable = alone || self.life > 0 && !self.is_express_item(request);
        if durable && !checks::is_there(self, request.execution)? {
            return Err(format!(
                "{what}: it runs before it is durable, alone is {alone}"
            ));
        }
        Ok(())
    }

    /// Whether a step belongs to a distributed Map whose children are express ones.
    pub(super) fn is_express_item(&self, request: &StepRequest) -> bool {
        let Some(program) = self.flows.0.get(&request.flow) else {
            return false;
        };
        program.states.iter().any(|state| match &state.kind {
            Kind::Map(map) => map.distributed.as_ref().is_some_and(|how| {
                let graph = program.graphs.get(map.processor.0 as usize);
                how.execution == ChildKind::Express
                    && graph.is_some_and(|graph| graph.by_name.contains_key(&request.state))
            }),
            _ => false,
        })
    }

    /// What an operator does about parked executions. `false`: there are none.
    pub(super) fn cancel_parked(&mut self) -> Result<bool, String> {
        let mut any = false;
        for id in checks::executions(self)? {
            if checks::is_stuck(self, id)? {
                self.may_be_parked(id)?;
                any = true;
                if let Some(k) = self.known.get_mut(&id) {
                    k.cancel_sent = true;
                }
                let ticket = self.ticket(Asked::Cancel(id));
                let failure = Failure::new("Sim.Parked", "by an operator");
                let above = checks::ancestors(self, id)?;
                self.disturbed.extend(above);
                let now = self.now;
                self.driver_of(id)
                    .request(ticket, Request::Cancel(id, failure), now);
            }
        }
        Ok(any)
    }

    /// Only who really kills is parked, and whose turn panicked.
    pub(super) fn may_be_parked(&self, id: ExecutionId) -> Result<(), String> {
        if self.flows.1.has(id) {
            return Ok(());
        }
        let died = |(step, n): (&StepKey, &Deaths)| step.0 == id && n.count >= DEATHS_MAX;
        let flow = self.known.get(&id).map(|k| k.flow.clone());
        let program = flow.and_then(|f| self.flows.0.get(&f).cloned());
        let poisonous = program.is_some_and(|p| {
            let mut states = p.states.iter();
            states.any(|s| flows::behaviour(&s.name) == Behaviour::Poison)
        });
        if poisonous && self.deaths.iter().any(died) {
            return Ok(());
        }
        Err(format!(
            "{id}: parked, and its steps did not kill three times"
        ))
    }
}
