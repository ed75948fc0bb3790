//! A real HTTP server that tells what it got: calls by path and key.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use anyhow::Result;

use super::plain::{self, Answer, Request};
use crate::wait::until_told;

/// An HTTP server that counts calls by path and key.
///
/// It holds those to `/held` and below until told, answers `/busy` with 429 and `Retry-After` as often as was
/// asked for, `/broken` with 500 as long as was asked for, and all others with 200.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Shared>,
}

type Shared = (Mutex<State>, Condvar);

#[derive(Default)]
struct State {
    calls: Vec<(String, String)>,
    open: bool,
    busy: usize,
    /// Seconds that `/busy` asks for.
    later: u32,
    broken: bool,
}

impl Receiver {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// There is none.
    pub fn start() -> Result<Receiver> {
        let state: Arc<Shared> = Arc::default();
        let shared = state.clone();
        let address = plain::listen(move |request| answer(&shared, &request))?;
        Ok(Receiver { address, state })
    }

    /// The URL of a path here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The calls so far: path and idempotency key.
    #[must_use]
    pub fn calls(&self) -> Vec<(String, String)> {
        self.state().calls.clone()
    }

    /// Waits until so many calls have come.
    ///
    /// # Errors
    /// They do not.
    pub fn until(&self, calls: usize) -> Result<()> {
        let what = format!("call number {calls}");
        let came = until_told(&what, &self.state.1, self.state(), |s| {
            s.calls.len() >= calls
        });
        came.map(drop)
    }

    /// Lets `/held` go, now and from now on.
    pub fn open(&self) {
        self.state().open = true;
        self.state.1.notify_all();
    }

    /// Holds `/held` from now on.
    pub fn hold(&self) {
        self.state().open = false;
    }

    /// The next so many calls to `/busy` are asked to come again so many seconds later.
    pub fn busy(&self, calls: usize, later: u32) {
        let mut state = self.state();
        (state.busy, state.later) = (calls, later);
    }

    /// Whether `/broken` fails from now on.
    pub fn broken(&self, broken: bool) {
        self.state().broken = broken;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.0.lock().unwrap_or_else(|e| e.into_inner())
}

fn answer(shared: &Shared, request: &Request) -> Answer {
    let path = &request.path;
    let changed = &shared.1;
    let mut state = lock(shared);
    let key = request.header("idempotency-key").to_owned();
    state.calls.push((path.clone(), key));
    changed.notify_all();
    if path.starts_with("/held") {
        state = changed
            .wait_while(state, |s| !s.open)
            .unwrap_or_else(|e| e.into_inner());
    }
    let head = if path == "/busy" && state.busy > 0 {
        state.busy -= 1;
        format!("429 Too Many Requests\r\nretry-after: {}", state.later)
    } else if path == "/broken" && state.broken {
        "500 Internal Server Error".to_owned()
    } else {
        "200 OK".to_owned()
    };
    Answer {
        head,
        text: format!("{path} {}", request.body),
    }
}
