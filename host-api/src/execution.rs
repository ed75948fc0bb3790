//! Other executions: the bridge by which steps start them and send them signals.
//!
//! A call goes through the attempt's journal like one to the outside: its intent is durable, it has
//! a key by which the other side tells a repetition, and its answer is recorded. Refuses to reach
//! an execution itself: that is the port [`Executions`].

mod guest;

use std::sync::Arc;

use serde_json::{Value, json};
use stepwell_types::limits::{NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNAL_BYTES_MAX};
use stepwell_types::{AttemptId, Data, Digest, ExecutionId, Failure, Grants, Recipient, Signal};

use crate::answer;
use crate::gate::Boxed;
use crate::job::{Fault, patiently};
use crate::journal::{Call, Journal};
use crate::shown;

/// Error name of a request that makes no sense.
const INVALID: &str = "Stepwell.ExecutionInvalid";
/// Error name of what may do later, when it was tried for long.
const UNAVAILABLE: &str = "Stepwell.ExecutionUnavailable";

/// The start of an execution, as a step wishes it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Who wishes.
    pub by: AttemptId,
    /// The flow's name.
    pub flow: Arc<str>,
    /// A published version, or the newest.
    pub version: Option<u32>,
    /// Of the execution. One that has it and had the same input is the same.
    pub name: Arc<str>,
    /// Valid JSON.
    pub input: Data,
}

/// A signal, as a step sends it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Whom for.
    pub to: Recipient,
    /// The flows whose executions may be sent it.
    pub flows: Arc<[Arc<str>]>,
    /// What.
    pub signal: Signal,
    /// What comes twice under it is taken once.
    pub key: Digest,
}

/// Why something was not done.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// For good.
    Failed(Failure),
    /// The server is busy, say: another try may do.
    Later(String),
}

/// The port to other executions. Both are asked again after a crash, and answer as the first time.
pub trait Executions: Send + Sync {
    /// Starts one: its id, when it is durable.
    fn start(&self, wish: Wish) -> Boxed<'static, Result<ExecutionId, Refusal>>;
    /// Sends one a signal: its id, when it is durable that it came.
    fn signal(&self, message: Message) -> Boxed<'static, Result<ExecutionId, Refusal>>;
}

/// Nobody is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoExecutions;

impl Executions for NoExecutions {
    fn start(&self, _wish: Wish) -> Boxed<'static, Result<ExecutionId, Refusal>> {
        Box::pin(std::future::ready(Err(nobody())))
    }

    fn signal(&self, _message: Message) -> Boxed<'static, Result<ExecutionId, Refusal>> {
        Box::pin(std::future::ready(Err(nobody())))
    }
}

fn nobody() -> Refusal {
    let cause = "there are no executions here beside this step";
    Refusal::Failed(Failure::new("Stepwell.NoExecution", cause))
}

/// What a step may ask of other executions, checked and journalled.
#[derive(Clone)]
pub struct ExecutionBridge(Arc<dyn Executions>);

impl ExecutionBridge {
    /// Over this port.
    #[must_use]
    pub fn new(port: Arc<dyn Executions>) -> ExecutionBridge {
        ExecutionBridge(port)
    }

    /// Starts an execution, once for each call.
    /// # Errors
    /// `Stepwell.NotGranted`, `Stepwell.ExecutionInvalid`, `Stepwell.ExecutionUnavailable`,
    /// `Stepwell.SecretInOutput`, those of the port; `Stepwell.ReplayDiverged`,
    /// `Stepwell.Stopped` and `Stepwell.JournalFull` end the attempt.
    pub(crate) async fn start(
        &self,
        journal: &Journal,
        call: Call,
        grants: Option<&Grants>,
        (flow, version): (String, Option<u32>),
        name: Option<String>,
        input: &str,
    ) -> Result<ExecutionId, Failure> {
        granted(grants, &flow)?;
        if let Some(name) = &name {
            keeps_name(journal, name)?;
        }
        let input = data(journal, input, PAYLOAD_BYTES_MAX)?;
        let digest = of(&json!(["start", flow, version, name]), &input);
        let wish = Wish {
            by: call.at_gate(digest).by,
            flow: flow.into(),
            version,
            name: name.unwrap_or_else(|| call.key()).into(),
            input,
        };
        let what = || format!("start {} {}", wish.flow, wish.name);
        once(call, digest, &what, || self.0.start(wish.clone())).await
    }

    /// Sends a signal, once for each call.
    /// # Errors
    /// As [`ExecutionBridge::start`].
    pub(crate) async fn signal(
        &self,
        journal: &Journal,
        call: Call,
        grants: Option<&Grants>,
        to: Recipient,
        name: String,
        text: &str,
    ) -> Result<ExecutionId, Failure> {
        match &to {
            Recipient::Named { flow, .. } => granted(grants, flow)?,
            // Whose it is the port knows. To who may reach nobody it does not even say whether there is one.
            Recipient::Execution(_) if grants.is_none_or(|g| g.flows.is_empty()) => {
                let cause = "the manifest grants no flow (`flows`)";
                return Err(Failure::new("Stepwell.NotGranted", cause));
            }
            Recipient::Execution(_) => {}
        }
        keeps_name(journal, &name)?;
        if let Recipient::Named { name, .. } = &to {
            if name.len() > NAME_BYTES_MAX {
                let cause = format!("no execution is called {:?}…: it is too long", shown(name));
                return Err(Failure::new("Stepwell.NoExecution", cause));
            }
            journal.keeps_back("the name", name)?;
        }
        let data = data(journal, text, SIGNAL_BYTES_MAX)?;
        let whom = match &to {
            Recipient::Execution(id) => json!(id.to_string()),
            Recipient::Named { flow, name } => json!([&**flow, &**name]),
        };
        let digest = of(&json!(["signal", whom, name]), &data);
        let message = Message {
            to,
            flows: grants.map_or_else(Arc::default, |g| g.flows.clone().into()),
            signal: Signal {
                name: name.into(),
                data,
                sender: Some(call.at_gate(digest).by.execution),
            },
            key: Digest::of(call.key().as_bytes()),
        };
        let what = || format!("signal {} to {whom}", message.signal.name);
        once(call, digest, &what, || self.0.signal(message.clone())).await
    }
}

fn granted(grants: Option<&Grants>, flow: &str) -> Result<(), Failure> {
    let granted = grants.is_some_and(|g| g.flows.iter().any(|known| **known == *flow));
    granted.then_some(()).ok_or_else(|| {
        let flow = shown(flow);
        let cause = format!("the manifest does not grant the flow {flow:?} (`flows`)");
        Failure::new("Stepwell.NotGranted", cause)
    })
}

/// A name that is to be stored and shown: it holds no secret that the attempt has read.
fn keeps_name(journal: &Journal, name: &str) -> Result<(), Failure> {
    if name.len() > NAME_BYTES_MAX {
        let (shown, bytes) = (shown(name), name.len());
        let cause = format!("the name {shown:?}… has {bytes} bytes, the most is {NAME_BYTES_MAX}");
        return Err(Failure::new(INVALID, cause));
    }
    journal.keeps_back("the name", name)
}

/// JSON that is to be stored: it holds no secret that the attempt has read.
fn data(journal: &Journal, text: &str, max: usize) -> Result<Data, Failure> {
    if text.len() > max {
        let cause = format!("the data has {} bytes, the most is {max}", text.len());
        return Err(Failure::new(INVALID, cause));
    }
    let data = Data::parse(text).map_err(|e| {
        let cause = format!("the data is no JSON: {e}");
        Failure::new(INVALID, cause)
    })?;
    journal.keep_secrets(Ok(data), &mut [])
}

/// Names a request.
fn of(head: &Value, data: &Data) -> Digest {
    let mut bytes = head.to_string().into_bytes();
    bytes.extend(Digest::of(data.text().as_bytes()).0);
    Digest::of(&bytes)
}

/// From the journal, or made and recorded.
async fn once(
    mut call: Call,
    digest: Digest,
    what: &(dyn Fn() -> String + Sync),
    make: impl Fn() -> Boxed<'static, Result<ExecutionId, Refusal>>,
) -> Result<ExecutionId, Failure> {
    let answer = if call.admit(digest, what).await? {
        call.answer()
    } else {
        let made = || async {
            match make().await {
                Ok(id) => Ok(Data::from_value(Value::String(id.to_string()))),
                Err(Refusal::Failed(failure)) => Err(Fault::Failed(failure)),
                Err(Refusal::Later(reason)) => Err(Fault::Unreachable(reason)),
            }
        };
        let named = |fault| match fault {
            Fault::Failed(failure) => failure,
            Fault::Unreachable(reason) => Failure::new(UNAVAILABLE, reason),
            Fault::Refused { message, .. } => Failure::new(UNAVAILABLE, message),
        };
        let result = patiently(made, || None, named).await;
        call.record(answer::encode(&result));
        result
    };
    let id = answer?.value().as_str().and_then(|text| text.parse().ok());
    id.ok_or_else(|| Failure::new(INVALID, "the recorded id cannot be read"))
}

#[cfg(test)]
mod tests;
