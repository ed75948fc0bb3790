//! A real HTTP server that answers nobody until it is told to.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::plain::{self, Answer};

/// Calls that came, and whether they are answered.
pub type Calls = (Mutex<(usize, bool)>, Condvar);

/// Starts one on a free port of the loopback: it holds calls until it is told, and counts them.
///
/// # Errors
/// There is no free port.
pub fn holding() -> Result<(SocketAddr, Arc<Calls>)> {
    let state: Arc<Calls> = Arc::default();
    let shared = state.clone();
    let address = plain::listen(move |_| {
        let mut now = shared.0.lock().unwrap_or_else(|e| e.into_inner());
        now.0 += 1;
        shared.1.notify_all();
        let open = shared.1.wait_while(now, |now| !now.1);
        drop(open);
        Answer {
            head: "200 OK\r\nconnection: close".to_owned(),
            text: String::new(),
        }
    })?;
    Ok((address, state))
}

/// Waits until so many calls have come.
///
/// # Errors
/// They do not within a minute.
pub fn until(state: &Calls, calls: usize) -> Result<()> {
    let now = state.0.lock().unwrap_or_else(|e| e.into_inner());
    let wait = Duration::from_secs(60);
    let waited = state.1.wait_timeout_while(now, wait, |now| now.0 < calls);
    let (_now, waited) = waited.unwrap_or_else(|e| e.into_inner());
    ensure!(!waited.timed_out(), "{calls} calls did not come");
    Ok(())
}

/// Whether calls are answered from now on, those that are held too.
pub fn hold(state: &Calls, open: bool) {
    state.0.lock().unwrap_or_else(|e| e.into_inner()).1 = open;
    state.1.notify_all();
}
