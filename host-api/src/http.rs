//! The bridge `http:request`: one HTTP call as a Task, through the gate.
//!
//! Refuses addresses that aren't public unless the configuration names them, and
//! sends nothing before its intent is durable.

mod address;
mod connection;
mod policy;
mod request;
mod resolver;
mod response;
mod send;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use stepwell_types::{BridgeCall, Data, Failure, Spent, StepOutcome, StepRequest, Timestamp};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use address::refusal;
pub use connection::ConnectionOptions;
pub use policy::{Place, Policy};

use crate::gate::{Gate, Verdict};
use crate::{Error, answer};
use connection::{Connections, Lent};
use request::{Ceilings, Checked};
use send::Sender;

/// Settings of the bridge.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Places that may be called although they aren't public: `HOST:PORT`,
    /// `10.0.0.0/8` or a single address. Default: none.
    pub allow: Vec<String>,
    /// Largest request body in bytes. Default 4 MiB.
    pub request_bytes_max: u64,
    /// Largest response body in bytes that a call may ask for. Default 16 MiB.
    pub response_bytes_max: u64,
    /// Calls under way at once; more wait. Default 1,024.
    pub calls_max: usize,
    /// Headers that calls borrow by name. Default: none.
    pub connections: BTreeMap<String, ConnectionOptions>,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            allow: Vec::new(),
            request_bytes_max: 4 << 20,
            response_bytes_max: 16 << 20,
            calls_max: 1024,
            connections: BTreeMap::new(),
        }
    }
}

/// Reads the wall clock: given by `cli`.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Sends HTTP calls of Task states. Runs on tokio. Share one: it keeps connections.
pub struct HttpBridge {
    ceilings: Ceilings,
    policy: Arc<Policy>,
    clock: WallClock,
    calls: Semaphore,
    connections: Connections,
    sender: OnceLock<Sender>,
}

impl HttpBridge {
    /// A bridge with these settings. The HTTP client itself is made by the first call.
    /// # Errors
    /// `HOST0001`, `HOST0005`.
    pub fn new(options: HttpOptions, clock: WallClock) -> Result<HttpBridge, Error> {
        Ok(HttpBridge {
            policy: Arc::new(Policy::parse(&options.allow)?),
            ceilings: Ceilings {
                request_bytes: options.request_bytes_max,
                response_bytes: options.response_bytes_max,
            },
            connections: Connections::new(&options.connections)?,
            calls: Semaphore::new(options.calls_max.clamp(1, Semaphore::MAX_PERMITS)),
            clock,
            sender: OnceLock::new(),
        })
    }

    /// Runs one attempt of an `http:request` task.
    ///
    /// Output `{"status", "headers", "body"}`; a body that is neither JSON (by its
    /// content type) nor text is base 64, said by `"body_encoding": "base64"`.
    /// Fails with `States.Http.StatusCode.NNN` for a status from 400 (the response is
    /// the cause), `States.Http.Socket`, `States.Timeout`, `Stepwell.HttpDenied`,
    /// `Stepwell.HttpInvalidRequest`, `Stepwell.HttpResponseTooLarge`,
    /// `Stepwell.HttpTooManyRedirects`, `Stepwell.HttpBadRedirect`,
    /// `Stepwell.ReplayDiverged` or `Stepwell.Stopped`.
    ///
    /// A call whose answer was lost in a crash is sent again, with the same
    /// `Idempotency-Key`. Dropping the future abandons the call.
    pub async fn run(&self, gate: &dyn Gate, request: StepRequest) -> StepOutcome {
        let started = Instant::now();
        let mut bytes = request.input.len_bytes() as u64;
        let result = self.attempt(gate, &request).await;
        if let Ok(data) = &result {
            bytes += data.len_bytes() as u64;
        }
        StepOutcome {
            result,
            spent: Spent {
                fuel: 0,
                time_us: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
                bytes,
            },
            logs: Vec::new(),
        }
    }

    async fn attempt(&self, gate: &dyn Gate, request: &StepRequest) -> Result<Data, Failure> {
        let mut checked = request::check(request, self.ceilings)?;
        let call = BridgeCall {
            execution: request.execution,
            entry: request.entry,
            attempt: request.attempt,
            call: 0,
            request: checked.digest(),
        };
        let connection = checked.connection.take();
        let lent = self.connections.lend(connection.as_deref(), &checked.url)?;
        match gate.admit(call).await {
            Verdict::Go => self.send(request, checked, lent).await,
            Verdict::Recorded(bytes) => answer::decode(&bytes).unwrap_or_else(|| {
                Err(Failure::new(
                    "Stepwell.ReplayDiverged",
                    "the recorded answer of this call can't be read",
                ))
            }),
            Verdict::Diverged => Err(Failure::new(
                "Stepwell.ReplayDiverged",
                "this attempt sent another request before the crash",
            )),
            Verdict::Stopped => Err(Failure::new(
                "Stepwell.Stopped",
                "the call was not sent: the attempt was stopped",
            )),
        }
    }

    async fn send(
        &self,
        request: &StepRequest,
        checked: Checked,
        lent: Option<&Lent>,
    ) -> Result<Data, Failure> {
        let mut timeout_ms = checked.timeout_ms;
        if let Some(deadline) = request.deadline {
            timeout_ms = timeout_ms.min(deadline.since_ms((self.clock)()));
        }
        let work = async {
            let _permit = self.calls.acquire().await;
            self.sender()?.send(checked, lent).await?.outcome()
        };
        tokio::time::timeout(Duration::from_millis(timeout_ms), work)
            .await
            .unwrap_or_else(|_| {
                Err(Failure::new(
                    "States.Timeout",
                    format!("the HTTP call took longer than {timeout_ms} ms"),
                ))
            })
    }

    fn sender(&self) -> Result<&Sender, Failure> {
        if let Some(sender) = self.sender.get() {
            return Ok(sender);
        }
        let made = Sender::new(self.policy.clone())
            .map_err(|e| Failure::new("Stepwell.HttpFailed", e.to_string()))?;
        Ok(self.sender.get_or_init(|| made))
    }
}
