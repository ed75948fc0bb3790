//! The HTTP bridge: `wasi:http` for guests and the Task `http:request`, through the journal.
//!
//! Refuses addresses that aren't public unless the configuration names them, and
//! sends nothing before its intent is durable.

mod address;
mod authentication;
mod authorities;
mod connection;
mod exchange;
mod guest;
mod kept;
mod lost;
mod policy;
mod query;
mod request;
mod resolver;
mod response;
mod room;
mod send;
mod upload;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_types::{Data, Failure, Granted, Grants, StepOutcome, Timestamp};

pub use address::refusal;
pub use connection::ConnectionOptions;
pub(crate) use guest::{HttpDoor, link, link_handle};
pub(crate) use kept::{REPLACED, Weights, link as link_kept};
pub use policy::{Place, Policy};

use crate::limit::{self, Limiter};
use crate::{Error, Journal, task};
use authentication::{Proof, Tokens, Way};
use authorities::Authorities;
use connection::{Connections, Lent};
pub(crate) use request::FIELD_BYTES_MAX;
use request::{Ceilings, Checked};
use response::Received;
use room::Room;
use send::{Sender, Turns};

/// Settings of the bridge.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Places that may be called although they aren't public: `HOST:PORT`,
    /// `10.0.0.0/8` or a single address. Default: none.
    pub allow: Vec<String>,
    /// Largest body of a Task's request in bytes. Default 4 MiB.
    pub request_bytes_max: u64,
    /// Largest body of a guest's request in bytes: it streams. Default 256 MiB.
    pub guest_request_bytes_max: u64,
    /// Largest response body in bytes that a call may ask for. Default 16 MiB.
    pub response_bytes_max: u64,
    /// Bytes that the answers to Tasks' calls may take together while they are read. Default 256 MiB.
    pub answers_bytes_max: u64,
    /// Headers that calls borrow by name. Default: none.
    pub connections: BTreeMap<String, ConnectionOptions>,
    /// Files of certificates (their names, their PEM text) of authorities that are trusted
    /// beside the system's. Default: none.
    pub authorities: Vec<(String, String)>,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        HttpOptions {
            allow: Vec::new(),
            request_bytes_max: 4 << 20,
            guest_request_bytes_max: 256 << 20,
            response_bytes_max: 16 << 20,
            answers_bytes_max: 256 << 20,
            connections: BTreeMap::new(),
            authorities: Vec::new(),
        }
    }
}

/// Reads the wall clock: given by `cli`.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Sends HTTP calls of Task states. Runs on tokio. Share one: it keeps connections.
pub struct HttpBridge {
    ceilings: Ceilings,
    policy: Arc<Policy>,
    authorities: Authorities,
    clock: WallClock,
    limiter: Limiter,
    connections: Connections,
    tokens: Tokens,
    room: Room,
    sender: OnceLock<Sender>,
}

impl HttpBridge {
    /// A bridge with these settings. The HTTP client itself is made by the first call.
    /// # Errors
    /// `HOST0001`, `HOST0005`, `HOST0010`.
    pub fn new(
        options: HttpOptions,
        limiter: Limiter,
        clock: WallClock,
    ) -> Result<HttpBridge, Error> {
        Ok(HttpBridge {
            policy: Arc::new(Policy::parse(&options.allow)?),
            authorities: Authorities::parse(&options.authorities)?,
            ceilings: Ceilings {
                request_bytes: options.request_bytes_max,
                guest_request_bytes: options.guest_request_bytes_max,
                response_bytes: options.response_bytes_max,
            },
            connections: Connections::new(&options.connections)?,
            limiter,
            clock,
            tokens: Tokens::default(),
            room: Room::new(options.answers_bytes_max),
            sender: OnceLock::new(),
        })
    }

    /// Runs one attempt of an `http:request` task.
    ///
    /// Output `{"status", "headers", "body"}`; a body that is neither JSON (by its
    /// content type) nor text is base 64, said by `"body_encoding": "base64"`.
    /// Fails with `States.Http.StatusCode.NNN` for a status from 400 (the response is
    /// the cause), `States.Http.Socket`, `States.Timeout`, `Stepwell.HttpDenied`,
    /// `Stepwell.HttpCertificate`, `Stepwell.HttpInvalidRequest`, `Stepwell.HttpResponseTooLarge`,
    /// `Stepwell.HttpTooManyRedirects`, `Stepwell.HttpBadRedirect`, `Stepwell.NotGranted`,
    /// `Stepwell.SecretUnknown`, `Stepwell.SecretUnreadable`, `Stepwell.SecretGone`,
    /// `Stepwell.SecretInOutput`, `Stepwell.HttpTokenFailed`, `Stepwell.CircuitOpen`,
    /// `Stepwell.TooManyWaiting`, `Stepwell.ReplayDiverged` or `Stepwell.Stopped`.
    ///
    /// A call whose answer was lost in a crash is sent again, with the same
    /// `Idempotency-Key`. Dropping the future abandons the call.
    pub async fn run(&self, journal: &Arc<Journal>) -> StepOutcome {
        let work = async {
            let result = self.attempt(journal).await;
            journal.keep_secrets(result, &mut [])
        };
        task::measured(journal.request(), work).await
    }

    async fn attempt(&self, journal: &Arc<Journal>) -> Result<Data, Failure> {
        let request = journal.request();
        let mut checked = request::check(request, self.ceilings)?;
        if request.grants.is_some() && granted(request.grants.as_deref(), &checked).is_none() {
            return Err(not_granted(&checked));
        }
        let connection = checked.connection.take();
        let connection = connection.as_deref();
        connection::granted(request.grants.as_deref(), connection)?;
        let lent = self.connections.lend(connection, &checked.url)?;
        if let Some(lent) = lent {
            lent.conceal(connection.unwrap_or_default(), journal);
        }
        // Before the intent, which records the secret's version.
        let grants = request.grants.as_deref();
        let proof = match &checked.authentication {
            Some(how) => Some(Proof::read(how, journal, grants)?),
            None => None,
        };
        let target = limit::host(&checked.url);
        let permit = self.limiter.turn(&target, journal.asker()).await?;
        // The answer is the step's outcome, which is recorded anyway.
        let what = || checked.describe();
        journal.call().admit(checked.digest(), &what).await?;
        let turns = Turns {
            limiter: &self.limiter,
            asker: journal.asker(),
            permit: Mutex::new(Some(permit)),
        };
        self.send(journal, checked, (lent, proof), &turns).await
    }

    async fn send(
        &self,
        journal: &Journal,
        checked: Checked,
        (lent, proof): (Option<&Lent>, Option<Proof>),
        turns: &Turns<'_>,
    ) -> Result<Data, Failure> {
        let request = journal.request();
        let mut timeout_ms = checked.timeout_ms;
        if let Some(deadline) = request.deadline {
            timeout_ms = timeout_ms.min(deadline.since_ms((self.clock)()));
        }
        let work = async {
            let grants = request.grants.as_deref();
            let sender = self.sender()?;
            let answer = match proof {
                None => sender.send(checked, lent, grants, turns).await?,
                Some(proof) => {
                    let call = (checked, grants);
                    self.prove(journal, &proof, sender, call, turns).await?
                }
            };
            answer.outcome(&|text| journal.hide(text))
        };
        let limit = Duration::from_millis(timeout_ms);
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => {
                turns.tell(|permit| permit.timed_out(limit));
                Err(Failure::new(
                    "States.Timeout",
                    format!("the HTTP call took longer than {timeout_ms} ms"),
                ))
            }
        }
    }

    /// Sends a call with what proves who sends it. A kept token that is refused is forgotten,
    /// and the call sent once more with a new one: who answers 401 has not done it.
    async fn prove(
        &self,
        journal: &Journal,
        proof: &Proof,
        sender: &Sender,
        (checked, grants): (Checked, Option<&Grants>),
        turns: &Turns<'_>,
    ) -> Result<Received, Failure> {
        loop {
            let way = Way {
                sender,
                grants,
                turns,
            };
            let (lent, token) = proof
                .header(&checked.url, journal, &self.tokens, way)
                .await?;
            let sent = sender.send(checked.clone(), Some(&lent), grants, turns);
            let answer = sent.await?;
            match token {
                Some(token) if answer.status == http::StatusCode::UNAUTHORIZED => {
                    self.tokens.refused(proof, &token).await;
                    if token.fresh {
                        return Ok(answer);
                    }
                }
                _ => return Ok(answer),
            }
        }
    }

    fn sender(&self) -> Result<&Sender, Failure> {
        if let Some(sender) = self.sender.get() {
            return Ok(sender);
        }
        let made = Sender::new(self.policy.clone(), &self.authorities, self.room.clone())
            .map_err(|e| Failure::new("Stepwell.HttpFailed", e.to_string()))?;
        Ok(self.sender.get_or_init(|| made))
    }
}

/// How a call's place was granted.
fn granted(grants: Option<&Grants>, request: &Checked) -> Option<Granted> {
    let host = request.url.host_str()?;
    let port = request.url.port_or_known_default()?;
    grants?.http(host, port, request.method.as_str())
}

/// Nobody granted this call.
fn not_granted(request: &Checked) -> Failure {
    let (method, host) = (&request.method, request.url.host_str().unwrap_or_default());
    let port = request.url.port_or_known_default().unwrap_or_default();
    Failure::new(
        "Stepwell.NotGranted",
        format!(
            "the manifest does not grant {method} {host}:{port}; add it under `http` and publish again"
        ),
    )
}
