//! A real HTTP server that answers nobody until it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};

/// Calls that came, and whether they are answered.
pub type Calls = (Mutex<(usize, bool)>, Condvar);

/// Starts one on a free port of the loopback: it holds calls until it is told, and counts them.
///
/// # Errors
/// There is no free port.
pub fn holding() -> Result<(SocketAddr, Arc<Calls>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let state: Arc<Calls> = Arc::default();
    let shared = state.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = shared.clone();
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut out = stream.try_clone()?;
                let mut input = BufReader::new(stream).take(1 << 20);
                let mut line = String::new();
                while input.read_line(&mut line)? > 2 {
                    line.clear();
                }
                let mut now = shared.0.lock().unwrap_or_else(|e| e.into_inner());
                now.0 += 1;
                shared.1.notify_all();
                while !now.1 {
                    now = shared.1.wait(now).unwrap_or_else(|e| e.into_inner());
                }
                drop(now);
                write!(
                    out,
                    "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                )
            });
        }
    });
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
