//! A program that a bridge runs elsewhere: begun once, taken up again after a crash, ended
//! when nobody wants it any more.
//!
//! Refuses to forget a job before its answer is durable: until then it is what a crash is
//! survived by.

pub(crate) mod archive;
pub(crate) mod guest;
pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod returned;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use stepwell_types::{AttemptId, BridgeCall, Data, Digest, EntryId, Failure};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer;
use crate::gate::{Boxed, Gate, Verdict};
use crate::journal::Call;
use crate::limit::{Limiter, Went};
use program::Kind;
use returned::Returned;

/// How often the gate is asked whether an attempt is over: at first, and at most.
const ASK_AGAIN: Duration = Duration::from_millis(20);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(2);

/// How long what does not answer is asked again.
const PATIENCE: Duration = Duration::from_secs(60);
/// First and longest wait between two questions.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long what breaks off must have been there to be waited for anew.
const A_WHILE: Duration = Duration::from_secs(10);

/// Why something elsewhere was not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nobody can tell whether it was done: ask again.
    Unreachable(String),
    /// The far side said no, in its own words: what that means knows who asked.
    Refused { status: u16, message: String },
    /// It is over, whatever the far side says.
    Failed(Failure),
}

impl Fault {
    /// What a flow hears of it; `what` names a refusal.
    pub(crate) fn into_failure(self, kind: Kind, what: &str) -> Failure {
        match (self, kind) {
            (Fault::Failed(failure), _) => failure,
            (Fault::Refused { status, message }, _) => {
                kind.failure(what, format!("the engine answered {status}: {message}"))
            }
            (Fault::Unreachable(text), Kind::Container) => kind.failure(
                "EngineUnavailable",
                format!("the container engine does not answer: {text}"),
            ),
            (Fault::Unreachable(text), Kind::Machine) => kind.failure("Unreachable", text),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Fault {
        Fault::Failed(failure)
    }
}

/// Tries until it is done or over; what does not answer is asked again, for a while. `heard` tells when the
/// far side was last seen to do its work.
/// # Errors
/// What it failed with, as `named` words it; of what does not answer the last reason.
pub(crate) async fn patiently<F: Future<Output = Result<Data, Fault>>>(
    mut once: impl FnMut() -> F,
    heard: impl Fn() -> Option<Instant>,
    named: impl Fn(Fault) -> Failure,
) -> Result<Data, Failure> {
    let mut patience = Patience::default();
    loop {
        let began = Instant::now();
        let reason = match once().await {
            Ok(data) => return Ok(data),
            Err(Fault::Unreachable(reason)) => reason,
            Err(fault) => return Err(named(fault)),
        };
        match patience.after(began, heard(), Instant::now()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(named(Fault::Unreachable(reason))),
        }
    }
}

/// Since when a far side does not answer, and how often it was asked.
#[derive(Default)]
struct Patience {
    since: Option<Instant>,
    tries: u32,
}

impl Patience {
    /// How long to wait after a try that broke off `now`; `None`: it was long enough.
    fn after(&mut self, began: Instant, heard: Option<Instant>, now: Instant) -> Option<Duration> {
        // What was there for a while has a new claim to patience. What took long to fail was not there.
        if heard.is_some_and(|heard| heard.saturating_duration_since(began) > A_WHILE) {
            *self = Patience::default();
        } else {
            let silent = now.saturating_duration_since(*self.since.get_or_insert(began));
            // One try may have found out no more than that an old connection is dead.
            if self.tries > 0 && silent > PATIENCE {
                return None;
            }
        }
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.tries));
        self.tries += 1;
        Some(pause.min(PAUSE_MAX))
    }
}

/// One program elsewhere, found by its call's key.
pub(crate) trait Job: Send + Sync + 'static {
    /// Begins it, or takes it up where it is, and waits for its end.
    fn carry_out(&self) -> Boxed<'_, Result<Data, Failure>>;
    /// Notified once it runs there: then its target does well, however long it takes.
    fn begun(&self) -> &Notify;
    /// Ends it if it runs and removes what is left of it; nothing there is as good.
    fn clear(&self) -> Boxed<'_, Result<(), Failure>>;
}

/// Names a call for ever: the execution, the state entry, the attempt and the call.
pub(crate) fn key(call: &BridgeCall) -> String {
    format!(
        "{}-{}-{}-{}",
        call.by.execution, call.by.entry.0, call.by.attempt, call.call
    )
}

/// The call of a [`key`] and the digest of its request, as texts.
pub(crate) fn call_of(key: &str, request: &str) -> Option<BridgeCall> {
    let mut parts = key.split('-');
    let call = BridgeCall {
        by: AttemptId {
            execution: parts.next()?.parse().ok()?,
            entry: EntryId(parts.next()?.parse().ok()?),
            attempt: parts.next()?.parse().ok()?,
        },
        call: parts.next()?.parse().ok()?,
        request: request.parse().ok()?,
        notes: None,
    };
    parts.next().is_none().then_some(call)
}

/// How a call to run a program elsewhere is carried out.
pub(crate) struct Order {
    pub(crate) kind: Kind,
    /// The image or the machine.
    pub(crate) name: String,
    /// Names the request.
    pub(crate) request: Digest,
    /// Whether its answer is recorded: a guest's is, a Task's is its outcome.
    pub(crate) recorded: bool,
    pub(crate) limiter: Limiter,
    /// What runs there since an earlier life of the server.
    pub(crate) returned: Arc<Returned>,
    /// Cancelled when the server begins to stop.
    pub(crate) stopping: CancellationToken,
}

/// The answer of a call that the journal answers, whatever this server would allow now.
/// # Errors
/// The recorded failure; `Stepwell.ReplayDiverged`, `Stepwell.Stopped`.
pub(crate) async fn answered(
    mut call: Call,
    kind: Kind,
    name: &str,
    request: Digest,
) -> Result<Data, Failure> {
    let target = kind.target(name);
    let what = || format!("{target} {request}");
    match call.admit(request, &what).await? {
        true => call.answer(),
        // Of an attempt that is only looked at again nothing leaves, whatever the gate says.
        false => Err(call.ends(stopped())),
    }
}

/// Carries a job out in its turn and behind the gate.
///
/// After a crash the same call finds its job again. What the job leaves is removed once it
/// is durable that nobody wants it any more: its answer is recorded, or its attempt is over.
/// While the server stops, it goes on for the next process to find.
/// # Errors
/// The job's own failure; `Stepwell.CircuitOpen`, `Stepwell.TooManyWaiting`,
/// `Stepwell.ReplayDiverged`, `Stepwell.Stopped`.
pub(crate) async fn run(order: Order, mut call: Call, job: Arc<dyn Job>) -> Result<Data, Failure> {
    let target = order.kind.target(&order.name);
    let what = || format!("{target} {}", order.request);
    let sent = call.was_sent();
    // Whoever carries it on has the place that it was found in.
    let place = sent
        .then(|| order.returned.take(&key(&call.at_gate(order.request))))
        .flatten();
    let turn = async {
        match (place, sent) {
            (Some(permit), _) => Ok(permit),
            (None, true) => Ok(order.limiter.resume(&target)),
            (None, false) => {
                order.returned.looked().await;
                order.limiter.turn(&target, call.asker()).await
            }
        }
    };
    let mut permit = if order.recorded {
        match call.admit_in_turn(order.request, &what, turn).await? {
            None => return call.answer(),
            Some(Ok(permit)) => permit,
            // That there was no turn is an answer too: the guest goes on from it.
            Some(Err(failure)) => {
                let result = Err(failure);
                call.record(answer::encode(&result));
                return result;
            }
        }
    } else {
        let permit = turn.await?;
        call.admit(order.request, &what).await?;
        permit
    };
    let gate = Arc::clone(&call.asker().gate);
    if gate.is_open() {
        let result = job.carry_out().await;
        clear(&*job).await;
        return result;
    }
    let at_gate = call.at_gate(order.request);
    // Dropped when the answer is handed over, and when the attempt is aborted.
    let mut left = Left(Some(Remains {
        gate: Arc::clone(&gate),
        stopping: order.stopping.clone(),
        call: at_gate.clone(),
        job: Arc::clone(&job),
        runtime: Handle::current(),
        answered: false,
    }));
    let mut work = job.carry_out();
    let mut begun = pin!(job.begun().notified());
    let mut aside = pin!(set_aside(&*gate, &at_gate, &order.stopping));
    let mut runs = false;
    let result = loop {
        tokio::select! {
            biased;
            result = &mut work => break result,
            () = &mut begun, if !runs => {
                runs = true;
                permit.tell(Went::Well);
            }
            () = &mut aside => return Err(call.ends(stopped())),
        }
    };
    drop(work);
    permit.tell(match &result {
        Err(failure) if order.kind.blames_target(failure) => Went::Badly,
        _ => Went::Well,
    });
    if order.recorded {
        call.record(answer::encode(&result));
        if let Some(remains) = &mut left.0 {
            remains.answered = true;
        }
    }
    result
}

fn stopped() -> Failure {
    Failure::new(
        "Stepwell.Stopped",
        "the call was not made: the attempt was stopped",
    )
}

async fn clear(job: &dyn Job) {
    if let Err(failure) = job.clear().await {
        tracing::warn!(
            reason = %failure.cause,
            "what a step ran elsewhere could not be removed; the sweep tries again"
        );
    }
}

/// Resolves when the stopping server has set the attempt aside for the next process.
async fn set_aside(gate: &dyn Gate, call: &BridgeCall, stopping: &CancellationToken) {
    stopping.cancelled().await;
    while gate.admit(call.clone()).await != Verdict::Stopped {
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Sees to what a job leaves, however its attempt ends.
struct Left(Option<Remains>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some(remains) = self.0.take() {
            let runtime = remains.runtime.clone();
            runtime.spawn(remains.remove());
        }
    }
}

struct Remains {
    gate: Arc<dyn Gate>,
    stopping: CancellationToken,
    call: BridgeCall,
    job: Arc<dyn Job>,
    runtime: Handle,
    /// Its answer is recorded, though the attempt goes on.
    answered: bool,
}

impl Remains {
    async fn remove(self) {
        let mut pause = ASK_AGAIN;
        loop {
            // The gate answers when all that the attempt recorded is durable.
            let verdict = self.gate.admit(self.call.clone()).await;
            let over = verdict == Verdict::Stopped && !self.stopping.is_cancelled();
            if over || self.answered && verdict == Verdict::Go {
                break;
            }
            // The next process wants it, or sweeps it.
            if self.stopping.is_cancelled() {
                return;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_AGAIN_MAX);
        }
        clear(&*self.job).await;
    }
}

/// Whether it is durable that nobody wants this call's answer. `false` also while the
/// server stops, when nobody can tell.
pub(crate) async fn unwanted(
    gate: &dyn Gate,
    call: BridgeCall,
    stopping: &CancellationToken,
) -> bool {
    gate.admit(call).await == Verdict::Stopped && !stopping.is_cancelled()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tries of so many seconds each, heard of for the first `there` of them; how many until it was enough.
    fn tries(seconds: u64, there: Option<u64>) -> Option<u32> {
        let mut patience = Patience::default();
        let mut now = Instant::now();
        for n in 1..1_000 {
            let began = now;
            now += Duration::from_secs(seconds);
            let heard = there.map(|there| began + Duration::from_secs(there));
            match patience.after(began, heard, now) {
                Some(pause) => now += pause,
                None => return Some(n),
            }
        }
        None
    }

    #[test]
    fn what_does_not_answer_is_given_up_after_a_minute_however_long_it_takes_to_say_nothing() {
        assert_eq!(tries(0, None), Some(18));
        assert_eq!(tries(40, None), Some(2));
        assert_eq!(tries(90, None), Some(2));
        // It answers, and breaks off whenever there is more to it.
        assert_eq!(tries(20, Some(1)), Some(3));
    }

    #[test]
    fn what_was_there_for_long_is_waited_for_when_it_breaks_off() {
        assert_eq!(tries(3_600, Some(3_600)), None);
        // A network that falls silent is found out a minute later.
        assert_eq!(tries(200, Some(140)), None);
        let mut patience = Patience::default();
        let began = Instant::now();
        let broke = began + Duration::from_secs(3_600);
        assert_eq!(patience.after(began, Some(broke), broke), Some(PAUSE));
        let later = |seconds| broke + Duration::from_secs(seconds);
        assert!(patience.after(later(1), Some(broke), later(41)).is_some());
        assert!(patience.after(later(42), Some(broke), later(82)).is_none());
    }
}
