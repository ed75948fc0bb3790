//! Plugs the orchestrator's executions into the bridge by which steps reach them.
//!
//! Refuses to decide: it hands over and translates.

use stepwell_host_api::execution::{Executions, Message, Refusal, Wish};
use stepwell_host_api::gate::Boxed;
use stepwell_orchestrator as orchestrator;
use stepwell_types::ExecutionId;
use tokio::sync::watch;

/// The way to executions, which steps may ask for before it is there: what was recovered runs while
/// the server is still starting.
pub struct Reach(watch::Sender<Option<orchestrator::Executions>>);

impl Reach {
    /// A way that is not there yet.
    pub fn new() -> Reach {
        Reach(watch::Sender::new(None))
    }

    /// From now on it is there.
    pub fn open(&self, executions: orchestrator::Executions) {
        self.0.send_replace(Some(executions));
    }

    fn then<T: Send + 'static, F>(
        &self,
        ask: impl FnOnce(orchestrator::Executions) -> F + Send + 'static,
    ) -> Boxed<'static, Result<T, Refusal>>
    where
        F: Future<Output = Result<T, orchestrator::Refusal>> + Send + 'static,
    {
        let mut there = self.0.subscribe();
        Box::pin(async move {
            let found = there.wait_for(Option::is_some).await;
            let executions = found.ok().and_then(|found| found.clone());
            let stopping = || Refusal::Later("the server is stopping".to_owned());
            let executions = executions.ok_or_else(stopping)?;
            ask(executions).await.map_err(|refusal| match refusal {
                orchestrator::Refusal::Failed(failure) => Refusal::Failed(failure),
                orchestrator::Refusal::Later(reason) => Refusal::Later(reason),
            })
        })
    }
}

impl Executions for Reach {
    fn start(&self, wish: Wish) -> Boxed<'static, Result<ExecutionId, Refusal>> {
        self.then(move |executions| async move {
            let Wish {
                by,
                flow,
                version,
                name,
                input,
            } = wish;
            executions.start(by, flow, version, name, input).await
        })
    }

    fn signal(&self, message: Message) -> Boxed<'static, Result<ExecutionId, Refusal>> {
        self.then(move |executions| async move {
            let Message {
                to,
                flows,
                signal,
                key,
            } = message;
            executions.signal(&to, &flows, signal, key).await
        })
    }
}
