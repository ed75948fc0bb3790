//! An HTTP server that remembers what proved who calls, and gives out tokens.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;

use super::plain::{self, Answer, Request};
use crate::wait::until;

/// An HTTP server that knows who may come in.
///
/// `/token` gives tokens out, `/token-refused` none; `/resource` wants one of them. `/echo` says what it was
/// told, `/fails` is answered with 503, `/held` waits until told, `/to/PORT` leads to another port.
#[derive(Clone)]
pub struct Place {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Shared>,
}

type Shared = (Mutex<State>, Condvar);

/// What it is told and what it has seen.
#[derive(Default)]
pub struct State {
    /// Path and the headers that prove something, in order.
    calls: Vec<(String, String)>,
    /// Path and idempotency key of the same calls.
    keys: Vec<(String, String)>,
    /// Whether `/held` goes.
    pub open: bool,
    /// Tokens that were given out.
    pub tokens: u32,
    /// Seconds that they live, as JSON.
    pub life: String,
    /// Those up to this one are refused.
    pub refused: u32,
}

impl Place {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// There is none.
    pub fn start() -> Result<Place> {
        let state: Arc<Shared> = Arc::default();
        lock(&state).life = "3600".to_owned();
        let shared = state.clone();
        let address = plain::listen(move |request| {
            let (status, head, text) = answer(&shared, &request);
            let head = format!("{status} Any{head}");
            Answer { head, text }
        })?;
        Ok(Place { address, state })
    }

    /// Its state. Not to be held over a wait.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The URL of a path here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What the calls to a path proved who came by.
    #[must_use]
    pub fn calls(&self, path: &str) -> Vec<String> {
        let calls = self.lock().calls.clone();
        let these = calls.into_iter().filter(|(p, _)| p == path);
        these.map(|(_, proof)| proof).collect()
    }

    /// The idempotency keys of the calls to a path.
    #[must_use]
    pub fn keys(&self, path: &str) -> Vec<String> {
        let keys = self.lock().keys.clone();
        let these = keys.into_iter().filter(|(p, _)| p == path);
        these.map(|(_, key)| key).collect()
    }

    /// Waits until so many calls to a path have come.
    ///
    /// # Errors
    /// They do not.
    pub fn until(&self, path: &str, calls: usize) -> Result<()> {
        until(&format!("call number {calls} to {path}"), || {
            Ok((self.calls(path).len() >= calls).then_some(()))
        })
    }

    /// Lets `/held` go, now and from now on.
    pub fn open(&self) {
        self.lock().open = true;
        self.state.1.notify_all();
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(|e| e.into_inner())
}

/// Status, further headers and body.
fn answer(shared: &Shared, request: &Request) -> (u16, String, String) {
    let path = request.path.as_str();
    let proofs = ["authorization", "x-api-key"].map(|name| request.header(name));
    let proof = proofs.into_iter().find(|proof| !proof.is_empty());
    let proof = proof.unwrap_or_default();
    let mut state = lock(shared);
    let seen = match path {
        "/token" => format!("{proof} {}", request.body),
        _ => proof.to_owned(),
    };
    let key = request.header("idempotency-key").to_owned();
    state.keys.push((path.to_owned(), key));
    state.calls.push((path.to_owned(), seen));
    let plain = |status: u16, text: &str| (status, String::new(), text.to_owned());
    match path {
        "/echo" => plain(200, &format!("you said {proof}")),
        // The same in JSON, each character by its code.
        "/echo-spelt" => {
            let codes = proof.chars().map(|c| format!("\\u{:04x}", u32::from(c)));
            let body = format!("{{\"you\": \"{}\"}}", codes.collect::<String>());
            (200, "\r\ncontent-type: application/json".to_owned(), body)
        }
        "/fails" => plain(503, &format!("not now, {proof}")),
        "/held" => {
            let open = shared.1.wait_while(state, |s| !s.open);
            drop(open);
            plain(200, "held")
        }
        "/token-refused" => plain(
            400,
            "{\"error\": \"invalid_client\", \"error_description\": \"x\"}",
        ),
        "/token" => {
            state.tokens += 1;
            let (n, life) = (state.tokens, state.life.clone());
            drop(state);
            // Long enough for others to come meanwhile.
            std::thread::sleep(Duration::from_millis(100));
            plain(
                200,
                &format!(
                    "{{\"access_token\": \"{}{n}\", \"token_type\": \"Bearer\", \"expires_in\": {life}}}",
                    TOKEN_HEAD
                ),
            )
        }
        "/resource" => {
            let number = proof.strip_prefix(&format!("Bearer {TOKEN_HEAD}"));
            let number = number.and_then(|n| n.parse::<u32>().ok()).unwrap_or(0);
            plain(if number > state.refused { 200 } else { 401 }, "resource")
        }
        _ => match path.strip_prefix("/to/") {
            Some(port) => (
                307,
                format!("\r\nlocation: http://127.0.0.1:{port}/landed"),
                String::new(),
            ),
            None => plain(200, "fine"),
        },
    }
}

/// What every access token begins with.
pub const TOKEN_HEAD: &str = "gH6jKl7zXc8vBn9mQw0e-access-";
