//! Steps that keep something: the server's own namespaces beside the simulated drivers.
//!
//! A step reads a counter when it begins, perhaps long before it ends, and writes one more and a mark
//! of its own; some turn a switch. What a death or a lost commit leaves must be what the durable outcomes
//! wrote: each number once, each mark with its outcome, and sizes that are true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use stepwell_host_api::keyvalue::{Conflict, Namespaces, Place, Quotas, View};
use stepwell_host_api::secrets::GivenSecrets;
use stepwell_host_api::{Journal, OpenGate};
use stepwell_interpreter::{Event, State};
use stepwell_orchestrator::driver::read_log;
use stepwell_orchestrator::ports::{Programs as _, StepKey};
use stepwell_store::memory::Memory;
use stepwell_store::{Key, NamespaceSize};
use stepwell_types::{Digest, Effects, ExecutionId, StepRequest, StepTarget};

use super::deaths::key;
use super::faults::{event_of, walk};
use super::flows::{self, Behaviour};
use super::world::World;
use super::{checks, express};

/// Namespaces that steps keep something in.
const NAMESPACES: [&str; 2] = ["sim/own", "/shared"];
/// Counters in each.
const COUNTERS: u8 = 2;

/// What keeping comes to when a step ends.
pub(super) enum Kept {
    /// This lands with its outcome.
    Lands(Option<Effects>),
    /// It must run again: what it read has changed, or is about to.
    Again,
}

/// The namespaces of a process that begins.
pub(super) fn namespaces(memory: &Memory) -> Namespaces {
    Namespaces::of(Arc::new(memory.clone()), Quotas::default())
}

/// What is there at once; `None`: it waits.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    match future.as_mut().poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn mark((execution, entry, attempt): &StepKey) -> String {
    format!("mark/{execution}/{}/{attempt}", entry.0)
}

impl World {
    /// Whether a step keeps something. One of an express execution cannot.
    fn keeps(&self, request: &StepRequest) -> bool {
        matches!(request.target, StepTarget::Wasm { .. })
            && flows::behaviour(&request.state) != Behaviour::Poison
            && !express::is_express(self, &request.flow)
            && !self.is_express_item(request)
    }

    /// A step begins: it reads, unless another's writes are on their way there.
    pub(super) fn begin_keeping(&mut self, request: &StepRequest) {
        if !self.keeps(request) {
            return;
        }
        let secrets = Arc::new(GivenSecrets::default());
        let journal = Journal::new(
            Arc::new(OpenGate),
            secrets,
            Arc::new(request.clone()),
            self.now,
        );
        let mut view = View::new(self.namespaces.clone(), journal);
        let wrote = now(write(&mut view, request));
        match wrote {
            None => {}
            Some(Ok(())) => {
                self.keeping.insert(key(request), view.end());
            }
            Some(Err(why)) => self.violated(format!("{}: {why}", request.execution)),
        }
    }

    /// A step ends, and its outcome will be a success or not.
    pub(super) fn end_keeping(&mut self, request: &StepRequest, success: bool) -> Kept {
        if !self.keeps(request) {
            return Kept::Lands(None);
        }
        let Some(touched) = self.keeping.remove(&key(request)) else {
            // It waits still, or runs again.
            self.begin_keeping(request);
            return Kept::Again;
        };
        if !success {
            return Kept::Lands(None);
        }
        match self.namespaces.end(touched, &mut None) {
            Ok(effects) => {
                self.kept.insert(key(request));
                Kept::Lands(effects)
            }
            Err(Conflict::Lost(_)) => {
                self.tally.conflicts += 1;
                Kept::Again
            }
            Err(Conflict::Failed(failure)) => {
                self.violated(format!("{}: {failure:?}", request.execution));
                Kept::Again
            }
        }
    }

    /// The process has died: what was handed over and is not in the log is lost, and so is that it was
    /// kept. Behind a redrive its entry may be a state that keeps nothing.
    pub(super) fn forget_lost(&mut self) -> Result<(), String> {
        let executions: BTreeSet<ExecutionId> = self.kept.iter().map(|step| step.0).collect();
        let mut landed = BTreeSet::new();
        for id in executions {
            landed.extend(outcomes(self, id)?);
        }
        self.kept = landed;
        Ok(())
    }
}

/// What a step does with what it keeps.
async fn write(view: &mut View, request: &StepRequest) -> Result<(), String> {
    let Digest(drawn) = Digest::of(format!("{:?}", key(request)).as_bytes());
    let namespace = NAMESPACES[usize::from(drawn[0]) % NAMESPACES.len()];
    let place = |key: String| -> Place { (namespace.into(), key.into()) };
    let failed = |e| format!("a step's namespace: {e:?}");
    let counter = format!("counter/{}", drawn[1] % COUNTERS);
    let before = view.get(&place(counter.clone())).await.map_err(failed)?;
    let before = before.map_or(Some(0), |bytes| number(&bytes));
    let now = before.ok_or("a counter is no number")? + 1;
    let text = now.to_string().into_bytes();
    view.put(place(counter.clone()), Some(text))
        .map_err(failed)?;
    let said = format!("{counter} {now}").into_bytes();
    view.put(place(mark(&key(request))), Some(said))
        .map_err(failed)?;
    if drawn[2] % 4 == 0 {
        let switch = place("switch".to_owned());
        let on = view.get(&switch).await.map_err(failed)?.is_some();
        let value = (!on).then(|| vec![b'x'; usize::from(drawn[3])]);
        view.put(switch, value).map_err(failed)?;
    }
    Ok(())
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A mark: what it counted, and to which number.
fn read(value: &[u8]) -> Option<(String, u64)> {
    let (counter, n) = std::str::from_utf8(value).ok()?.rsplit_once(' ')?;
    Some((counter.to_owned(), n.parse().ok()?))
}

/// What the rows hold at the end is what the durable outcomes wrote.
pub fn is_exact(world: &World) -> Result<(), String> {
    let mut counters: BTreeMap<(Arc<str>, String), u64> = BTreeMap::new();
    let mut numbers: BTreeMap<(Arc<str>, String), Vec<u64>> = BTreeMap::new();
    let mut marks: BTreeSet<Arc<str>> = BTreeSet::new();
    let mut real: BTreeMap<Arc<str>, NamespaceSize> = BTreeMap::new();
    let mut told: BTreeMap<Arc<str>, NamespaceSize> = BTreeMap::new();
    for (row, value) in world.memory.snapshot().rows() {
        match row {
            Key::KeyValue { namespace, key } => {
                *real.entry(namespace.clone()).or_default() += NamespaceSize {
                    keys: 1,
                    bytes: (key.len() + value.len()) as i64,
                };
                if key.starts_with("counter/") {
                    let n = number(value).ok_or("a counter is no number")?;
                    counters.insert((namespace.clone(), key.to_string()), n);
                } else if key.starts_with("mark/") {
                    let (counter, n) = read(value).ok_or("a mark says nothing")?;
                    numbers
                        .entry((namespace.clone(), counter))
                        .or_default()
                        .push(n);
                    marks.insert(key.clone());
                }
            }
            Key::NamespaceSize { namespace, .. } => {
                let size = NamespaceSize::from_row(value).ok_or("a size cannot be read")?;
                *told.entry(namespace.clone()).or_default() += size;
            }
            _ => {}
        }
    }
    if real != told {
        return Err(format!(
            "namespaces have {real:?}, and their rows say {told:?}"
        ));
    }
    for (counter, n) in counters {
        let mut counted = numbers.remove(&counter).unwrap_or_default();
        counted.sort_unstable();
        if !counted.iter().copied().eq(1..=n) {
            return Err(format!("{counter:?} is {n}, and steps counted {counted:?}"));
        }
    }
    if !numbers.is_empty() {
        return Err(format!("counted without a counter: {numbers:?}"));
    }
    let mut right = BTreeSet::new();
    for id in checks::executions(world)? {
        if !express::is_one(world, id) {
            right.extend(
                outcomes(world, id)?
                    .iter()
                    .map(|step| Arc::from(mark(step))),
            );
        }
    }
    if let Some(lost) = right.difference(&marks).next() {
        return Err(format!(
            "{lost}: its outcome is there, and its writes are not"
        ));
    }
    if let Some(alone) = marks.difference(&right).next() {
        return Err(format!(
            "{alone}: its writes are there, and its outcome is not"
        ));
    }
    Ok(())
}

/// Steps that kept something and whose success is in the log, where it was waited for.
fn outcomes(world: &World, id: ExecutionId) -> Result<Vec<StepKey>, String> {
    let log = read_log(&world.memory, id, 0).map_err(|e| e.to_string())?;
    let flow = log.first().and_then(event_of);
    let Some((Event::Started { flow, .. }, ..)) = flow else {
        return Ok(Vec::new());
    };
    let mut program = world.flows.program(flow).map_err(|e| e.to_string())?;
    let mut state = State::new(id);
    let mut found = Vec::new();
    for logged in &log {
        match event_of(logged) {
            Some((Event::Redriven { flow, .. }, ..)) => {
                let new = world.flows.program(flow).map_err(|e| e.to_string())?;
                state.rebase(&program, &new).map_err(|e| e.to_string())?;
                program = new;
            }
            Some((
                Event::StepEnded {
                    entry,
                    attempt,
                    result: Ok(_),
                    ..
                },
                ..,
            )) if state.awaits(*entry, *attempt) => {
                let step = (id, *entry, *attempt);
                found.extend(world.kept.contains(&step).then_some(step));
            }
            _ => {}
        }
        walk(&program, &mut state, logged, &mut Vec::new())?;
    }
    Ok(found)
}
