//! Signals: clients send them to whoever waits, or does not yet, and again under the same key;
//! executions send them to themselves and to each other. Each carries a number of its own, so that
//! none can be lost, or be there twice, unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stepwell_interpreter::{Command, Event, HistoryKind, State, step, troubled};
use stepwell_orchestrator::driver::{Answer, Reply, Request, read_log};
use stepwell_orchestrator::ports::Programs as _;
use stepwell_store::{Key, Reader as _};
use stepwell_types::{Data, Digest, ExecutionId, Recipient, Signal, SignalSend};

use super::faults::event_of;
use super::world::{Asked, World};
use super::{checks, flows};

/// A signal of a client.
#[derive(Debug, Clone)]
pub struct Sent {
    to: ExecutionId,
    signal: Signal,
    key: Option<Digest>,
    /// The server has answered that it came.
    came: bool,
}

impl World {
    /// To whoever waits or does not yet, to who has ended or never began; or again.
    pub(super) fn client_signals(&mut self) -> Result<(), String> {
        let again: Vec<u64> = self
            .signals
            .iter()
            .filter(|(_, sent)| sent.key.is_some())
            .map(|(number, _)| *number)
            .collect();
        if !again.is_empty() && self.random.chance(30) {
            let number = again[self.random.index(again.len())];
            self.send_signal(number);
            return Ok(());
        }
        let durable = checks::executions(self)?;
        let id = if durable.is_empty() || self.random.chance(15) {
            self.some_execution()
        } else {
            Some(durable[self.random.index(durable.len())])
        };
        let Some(id) = id else {
            return Ok(());
        };
        let waits = wanted(self, id)?;
        let name = if waits.is_empty() || self.random.chance(20) {
            Arc::from(format!("Hear_{}", 1 + self.random.index(8)))
        } else {
            waits[self.random.index(waits.len())].clone()
        };
        let keyed = self.random.chance(70);
        self.new_signal(id, &name, keyed);
        Ok(())
    }

    /// Tells everybody what they wait for. `false`: nobody waits.
    pub(super) fn signal_all(&mut self) -> Result<bool, String> {
        let mut any = false;
        for id in checks::executions(self)? {
            for name in wanted(self, id)? {
                self.new_signal(id, &name, false);
                any = true;
            }
        }
        Ok(any)
    }

    fn new_signal(&mut self, to: ExecutionId, name: &Arc<str>, keyed: bool) {
        let number = self.signals.len() as u64;
        let key = keyed.then(|| Digest::of(&number.to_be_bytes()));
        let signal = Signal {
            name: name.clone(),
            data: flows::signal_data(name, number),
            sender: None,
        };
        let sent = Sent {
            to,
            signal,
            key,
            came: false,
        };
        self.signals.insert(number, sent);
        self.send_signal(number);
    }

    fn send_signal(&mut self, number: u64) {
        let Some(sent) = self.signals.get(&number).cloned() else {
            return;
        };
        self.tally.signals += 1;
        let ticket = self.ticket(Asked::Signal(number));
        let now = self.now;
        let request = Request::Signal(sent.to, sent.signal, sent.key);
        self.driver_of(sent.to).request(ticket, request, now);
        self.note("signal");
    }

    /// What a client hears of its signal is true, and what it heard once it hears again.
    pub(super) fn signal_replied(&mut self, number: u64, reply: &Reply) -> Result<(), String> {
        let sent = self.signals.get_mut(&number).ok_or("an unknown signal")?;
        match reply {
            Reply::Done => sent.came = true,
            Reply::Refused(e) if sent.came => {
                return Err(format!("{}: a repeated signal was refused: {e}", sent.to));
            }
            _ => return Ok(()),
        }
        let (to, data) = (sent.to, sent.signal.data.clone());
        came(self, to, &data)
    }
}

/// The signals of clients that a durable state waits for.
fn wanted(world: &World, id: ExecutionId) -> Result<Vec<Arc<str>>, String> {
    match checks::state(world, id)? {
        Some(state) if state.outcome().is_none() && !checks::is_parked(world, id)? => {
            let names = state
                .signals_wanted()
                .filter(|name| name.starts_with("Hear"));
            Ok(names.cloned().collect())
        }
        _ => Ok(Vec::new()),
    }
}

/// A signal leaves only after what led to it is durable.
pub(super) fn may_leave(
    world: &World,
    sender: ExecutionId,
    send: &SignalSend,
) -> Result<(), String> {
    if checks::wishes(world, sender)?.signals.contains(send) {
        return Ok(());
    }
    Err(format!("{sender}: a signal left before it was durable"))
}

/// An acknowledged signal is in the log.
fn came(world: &World, to: ExecutionId, data: &Data) -> Result<(), String> {
    let log = read_log(&world.memory, to, 0).map_err(|e| e.to_string())?;
    let found = log.iter().any(|l| {
        matches!(event_of(l), Some((Event::Signalled { signal }, ..)) if signal.data.text() == data.text())
    });
    if found {
        return Ok(());
    }
    Err(format!(
        "{to}: a signal was acknowledged before it was durable"
    ))
}

/// A receipt of a signal leaves only when what it says is durable.
pub(super) fn receipt_is_true(
    world: &World,
    send: &SignalSend,
    answer: &Answer,
) -> Result<(), String> {
    let Answer::Signalled { result, .. } = answer else {
        return Ok(());
    };
    let Ok(told) = result else {
        return Ok(());
    };
    let to = told.value()["Execution"].as_str().unwrap_or_default();
    let to: ExecutionId = to.parse().map_err(|_| "a signal came to nobody")?;
    if let Some(key) = send.key {
        let row = world.memory.get(&Key::Signal { execution: to, key });
        if row.map_err(|e| e.to_string())?.is_none() {
            return Err(format!("{to}: a signal came, and its key is not durable"));
        }
    }
    if let Recipient::Execution(id) = send.to
        && id != to
    {
        return Err(format!("{to}: a signal for {id} came to it"));
    }
    came(world, to, &send.signal.data)
}

/// What one log tells of signals, by their numbers.
#[derive(Default)]
struct Told {
    came: Vec<(Arc<str>, String)>,
    taken: Vec<(Arc<str>, String)>,
    /// Those that it sent and whose coming it was told.
    acknowledged: Vec<String>,
}

fn told(world: &World, id: ExecutionId) -> Result<Told, String> {
    let mut told = Told::default();
    let log = read_log(&world.memory, id, 0).map_err(|e| e.to_string())?;
    let Some((Event::Started { flow, .. }, ..)) = log.first().and_then(event_of) else {
        return Ok(told);
    };
    let program = world.flows.program(flow).map_err(|e| e.to_string())?;
    let mut state = State::new(id);
    let mut sent = BTreeMap::new();
    for logged in &log {
        let Some((event, at, whole)) = event_of(logged) else {
            continue;
        };
        let (mut seen, mut commands) = (Vec::new(), Vec::new());
        let of = match event {
            Event::StepEnded {
                entry,
                attempt,
                result: Ok(_),
                ..
            } if whole => {
                let waits = state.awaits_start(*entry, *attempt);
                waits.then_some((*entry, *attempt))
            }
            _ => None,
        };
        told.acknowledged.extend(of.and_then(|of| sent.remove(&of)));
        if let Event::Signalled { signal } = event {
            told.came.push((signal.name.clone(), number(&signal.data)));
        }
        match whole {
            true => step(&program, &mut state, event, at, &mut seen, &mut commands)
                .map_err(|e| e.to_string())?,
            false => troubled(&mut state, event, at, &mut seen, &mut commands),
        }
        for command in commands {
            if let Command::Signal {
                entry,
                attempt,
                send,
            } = command
            {
                sent.insert((entry, attempt), number(&send.signal.data));
            }
        }
        for (_, event) in seen {
            if let HistoryKind::TaskSucceeded { resource, output } = event.kind
                && &*resource == "signal:wait"
            {
                let name = output.value()["Name"].as_str().unwrap_or_default();
                let data = Data::from_value(output.value()["Data"].clone());
                told.taken.push((name.into(), number(&data)));
            }
        }
    }
    Ok(told)
}

fn number(data: &Data) -> String {
    data.value()["id"].as_str().unwrap_or_default().to_owned()
}

/// Every signal of which a sender heard that it came is there, none is there twice, none was
/// taken twice, and those of one name were taken in the order in which they came.
pub(super) fn each_is_once(world: &World) -> Result<(), String> {
    let mut came = BTreeMap::new();
    let mut acknowledged = Vec::new();
    for id in checks::executions(world)? {
        let told = told(world, id)?;
        for (_, number) in &told.came {
            if let Some(other) = came.insert(number.clone(), id) {
                return Err(format!(
                    "signal {number} came to {other}, and again to {id}"
                ));
            }
        }
        let mut taken = BTreeSet::new();
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        for (name, number) in &told.taken {
            let place = told.came.iter().position(|(_, came)| came == number);
            let place =
                place.ok_or_else(|| format!("{id}: it took signal {number}, which never came"))?;
            if !taken.insert(number) {
                return Err(format!("{id}: signal {number} was taken twice"));
            }
            if places
                .insert(name, place)
                .is_some_and(|before| before > place)
            {
                return Err(format!("{id}: signal {number} was taken after a later one"));
            }
        }
        acknowledged.extend(told.acknowledged);
    }
    for (number, sent) in &world.signals {
        let place = came.get(&format!("c{number}"));
        if place.is_some_and(|to| *to != sent.to) || sent.came && place.is_none() {
            return Err(format!(
                "{}: signal c{number} was acknowledged, and lost",
                sent.to
            ));
        }
    }
    match acknowledged
        .iter()
        .find(|number| !came.contains_key(*number))
    {
        Some(number) => Err(format!("signal {number} was acknowledged, and lost")),
        None => Ok(()),
    }
}
