//! The guest's door to other executions.
//!
//! Source: `wit/execution@1.0.0/execution.wit`.

use stepwell_types::{ExecutionId, Failure, Recipient};

use super::INVALID;
use crate::bindings::stepwell::execution::executions::{self, Error, Recipient as Told};
use crate::host::Host;

impl executions::Host for Host {
    async fn start(
        &mut self,
        flow: String,
        version: Option<u32>,
        name: Option<String>,
        input: String,
    ) -> Result<String, Error> {
        self.io().waits.step_aside().await;
        let outside = self.outside();
        // Numbered here, in the order in which the guest calls.
        let (call, journal) = (outside.journal.call(), outside.journal.clone());
        let (bridge, grants) = (
            outside.bridges().executions.clone(),
            outside.grants().cloned(),
        );
        let grants = grants.as_deref();
        let started = bridge
            .start(&journal, call, grants, (flow, version), name, &input)
            .await;
        told(started)
    }

    async fn signal(&mut self, to: Told, name: String, data: String) -> Result<String, Error> {
        self.io().waits.step_aside().await;
        let outside = self.outside();
        let (call, journal) = (outside.journal.call(), outside.journal.clone());
        let (bridge, grants) = (
            outside.bridges().executions.clone(),
            outside.grants().cloned(),
        );
        let to = match to {
            Told::Id(id) => match id.parse() {
                Ok(id) => Recipient::Execution(id),
                Err(_) => {
                    let cause = format!("{:?} is no id of an execution", crate::shown(&id));
                    return told(Err(Failure::new(INVALID, cause)));
                }
            },
            Told::Named(named) => Recipient::Named {
                flow: named.flow.into(),
                name: named.name.into(),
            },
        };
        let grants = grants.as_deref();
        told(bridge.signal(&journal, call, grants, to, name, &data).await)
    }
}

/// An answer as the guest reads it.
fn told(result: Result<ExecutionId, Failure>) -> Result<String, Error> {
    let failure = match result {
        Ok(id) => return Ok(id.to_string()),
        Err(failure) => failure,
    };
    let text = format!("{}: {}", failure.error, failure.cause);
    Err(match &*failure.error {
        "Stepwell.NotGranted" => Error::NotGranted(text),
        "Stepwell.ExecutionInvalid" | "Stepwell.SecretInOutput" => Error::Invalid(text),
        "Stepwell.NoExecution" | "Stepwell.NoFlow" => Error::NotFound(text),
        "Stepwell.NameTaken" | "Stepwell.SignalKeyTaken" => Error::Taken(text),
        "Stepwell.ExecutionEnded" => Error::Ended(text),
        "Stepwell.ExecutionUnavailable" | "Stepwell.SignalsFull" => Error::Unavailable(text),
        _ => Error::Failed(text),
    })
}
