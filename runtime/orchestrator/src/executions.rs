//! What steps ask of other executions: to start one, to send one a signal.
//!
//! Both may be asked again after a crash, and are done once: a start is found by its name, a signal
//! by its key. Refuses to judge whether a step may: of a signal by id it looks the flow up.

use std::pin::Pin;
use std::sync::Arc;

use stepwell_store::{Key, Reader};
use stepwell_types::limits::CHILD_DEPTH_MAX;
use stepwell_types::{
    AttemptId, ChildStart, Data, Digest, ExecutionId, Failure, ParentLink, Recipient, ShardId,
    Signal, Wants,
};

use crate::Error;
use crate::catalog::check_name;
use crate::driver::{Reply, Request};
use crate::ports::{Clock, Entropy};
use crate::rows::{self, NameRow, SummaryRow};

/// The answer of the loop that owns an execution.
pub(crate) type Asking = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send>>;

/// Asks the loop that owns an execution.
pub(crate) trait Ask: Send + Sync {
    fn ask(&self, id: ExecutionId, request: Request) -> Asking;
}

/// The way of steps to other executions. Cheap to clone.
#[derive(Clone)]
pub struct Executions {
    pub(crate) ask: Arc<dyn Ask>,
    pub(crate) reader: Arc<dyn Reader>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// For good.
    Failed(Failure),
    /// The server is busy, say: another try may do.
    Later(String),
}

impl Executions {
    /// Starts an execution on behalf of an attempt: its id, when it is durable. One that has
    /// the name, and had the same input, is the same.
    /// # Errors
    /// `Stepwell.NoFlow`, `Stepwell.NameTaken`, `Stepwell.ExecutionInvalid`,
    /// `Stepwell.NestingTooDeep`, `Stepwell.TooManyDescendants`; or later.
    pub async fn start(
        &self,
        by: AttemptId,
        flow: Arc<str>,
        version: Option<u32>,
        name: Arc<str>,
        input: Data,
    ) -> Result<ExecutionId, Refusal> {
        check_name("execution", &name).map_err(refusal)?;
        let lineage = self.ask.ask(by.execution, Request::Lineage(by)).await;
        let Reply::Lineage { root, depth } = lineage.map_err(refusal)? else {
            return Err(refusal(Error::Stopping));
        };
        if depth >= CHILD_DEPTH_MAX {
            let cause = format!("executions start one another at most {CHILD_DEPTH_MAX} deep");
            return Err(Refusal::Failed(Failure::new(
                "Stepwell.NestingTooDeep",
                cause,
            )));
        }
        let random = u128::from_be_bytes(self.entropy.draw());
        let shard = ShardId::of_name(&flow, &name);
        let child = ExecutionId::new(self.clock.now(), shard, random);
        let start = ChildStart {
            child,
            flow,
            version,
            name: Some(name),
            input,
            seed: self.entropy.draw(),
            link: ParentLink {
                execution: by.execution,
                entry: by.entry,
                attempt: by.attempt,
                depth: depth + 1,
                wants: Wants::Nothing,
                item: None,
                run: 0,
                graph: 0,
                express: false,
                root,
            },
            again: false,
        };
        match self.ask.ask(child, Request::Spawn(start.into())).await {
            Ok(Reply::Started(started)) => Ok(started.id),
            Ok(Reply::NotStarted(failure)) => Err(Refusal::Failed(failure)),
            Ok(_) => Err(refusal(Error::Stopping)),
            Err(e) => Err(refusal(e)),
        }
    }

    /// Sends an execution of one of these flows a signal: its id, when it is durable that it
    /// came.
    /// # Errors
    /// `Stepwell.NotGranted`, `Stepwell.NoExecution`, `Stepwell.ExecutionEnded`,
    /// `Stepwell.ExecutionParked`, `Stepwell.NoSignals`, `Stepwell.SignalsFull`,
    /// `Stepwell.SignalKeyTaken`, `Stepwell.ExecutionInvalid`; or later.
    pub async fn signal(
        &self,
        to: &Recipient,
        flows: &[Arc<str>],
        signal: Signal,
        key: Digest,
    ) -> Result<ExecutionId, Refusal> {
        check_name("signal", &signal.name).map_err(refusal)?;
        let id = self.recipient(to).map_err(refusal)?;
        let flow = self.flow_of(id).map_err(refusal)?;
        if !flows.contains(&flow) {
            let cause = format!(
                "{id} is an execution of the flow {flow:?}, which the manifest does not grant (`flows`)"
            );
            return Err(Refusal::Failed(Failure::new("Stepwell.NotGranted", cause)));
        }
        let request = Request::Signal(id, signal, Some(key));
        self.ask.ask(id, request).await.map_err(refusal)?;
        Ok(id)
    }

    fn recipient(&self, to: &Recipient) -> Result<ExecutionId, Error> {
        let (flow, name) = match to {
            Recipient::Execution(id) => return Ok(*id),
            Recipient::Named { flow, name } => (flow.clone(), name.clone()),
        };
        let missing = || Error::NoExecution(format!("{name} of flow {flow}"));
        let key = Key::Name {
            flow: flow.clone(),
            name: name.clone(),
        };
        let row = self.reader.get(&key)?.ok_or_else(missing)?;
        Ok(rows::decode::<NameRow>(&row)?.execution)
    }

    fn flow_of(&self, id: ExecutionId) -> Result<Arc<str>, Error> {
        let row = self.reader.get(&Key::Summary { execution: id })?;
        let row = row.ok_or_else(|| Error::NoExecution(id.to_string()))?;
        Ok(rows::decode::<SummaryRow>(&row)?.flow)
    }
}

/// A refusal as a step hears it.
#[allow(clippy::needless_pass_by_value, reason = "it is mapped over")]
fn refusal(e: Error) -> Refusal {
    match failure(&e) {
        Some(failure) => Refusal::Failed(failure),
        None => Refusal::Later(e.to_string()),
    }
}

/// A refusal as steps and flows hear it; `None`: it says nothing of what was asked.
pub(crate) fn failure(e: &Error) -> Option<Failure> {
    let name = match e {
        Error::NoExecution(_) => "Stepwell.NoExecution",
        Error::Ended(_) => "Stepwell.ExecutionEnded",
        Error::Parked(_) => "Stepwell.ExecutionParked",
        Error::NoSignals(_) => "Stepwell.NoSignals",
        Error::SignalsFull { .. } => "Stepwell.SignalsFull",
        Error::SignalKeyTaken(_) => "Stepwell.SignalKeyTaken",
        Error::NoFlow(_) => "Stepwell.NoFlow",
        Error::NameTaken { .. } => "Stepwell.NameTaken",
        Error::BadName { .. } | Error::TooLarge { .. } => "Stepwell.ExecutionInvalid",
        Error::TurnStuck(_) => "Stepwell.TurnStuck",
        _ => return None,
    };
    let text = e.to_string();
    let cause = text.strip_prefix(e.code()).unwrap_or(&text);
    Some(Failure::new(name, cause.trim_start_matches(": ")))
}
