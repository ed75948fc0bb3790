//! The outside world: an HTTP server that counts calls by their `Idempotency-Key`.
//!
//! It answers from the request alone, so that a repeated call gives the same result, and
//! numbers its answers, so that a history tells which answer it recorded. It has a door for each
//! limit that the server's configuration sets, and counts how many are in one at once. Refuses
//! anything but small POSTs with a key.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// Where a call came in: ports of their own, and so targets of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// Takes as many as come.
    Wide,
    /// Bears few at once.
    Narrow,
    /// Bears few a second.
    Slow,
}

impl Door {
    const ALL: [Door; 3] = [Door::Wide, Door::Narrow, Door::Slow];
}

/// One call that came in.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its `Idempotency-Key`.
    pub key: String,
    /// Which server process it came from: how many had died before.
    pub generation: u64,
    /// Number of the answer: from 1, in the order of arrival.
    pub serial: u64,
    /// Status of the answer.
    pub status: u16,
    /// What was sent.
    pub body: Value,
    /// Where it came in.
    pub door: Door,
    /// How many calls were in that door, this one too.
    pub at_once: usize,
    /// The `Authorization` that it came with.
    pub proof: Option<String>,
}

/// A receiver on free ports of the loopback interface. Dropping it ends it.
#[derive(Debug)]
pub struct Receiver {
    addresses: [SocketAddr; 3],
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    calls: Mutex<Calls>,
    generation: AtomicU64,
    /// Connections that are open or wait to be looked at.
    open: AtomicUsize,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Calls {
    all: Vec<Call>,
    inside: [usize; 3],
    by_key: HashMap<String, u64>,
    tokens: HashMap<u64, String>,
    wrong: Vec<String>,
}

impl Receiver {
    /// Listens.
    ///
    /// # Errors
    /// No port is free.
    pub fn start() -> Result<Receiver> {
        let state = Arc::new(State::default());
        let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); 3];
        for (door, address) in Door::ALL.into_iter().zip(&mut addresses) {
            let listener = TcpListener::bind(*address)?;
            *address = listener.local_addr()?;
            let shared = Arc::clone(&state);
            std::thread::spawn(move || accept(&listener, door, &shared));
        }
        Ok(Receiver { addresses, state })
    }

    /// `127.0.0.1:PORT` of the wide door.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.door(Door::Wide)
    }

    /// `127.0.0.1:PORT` of a door.
    #[must_use]
    pub fn door(&self, door: Door) -> SocketAddr {
        self.addresses[door as usize]
    }

    /// All of them.
    #[must_use]
    pub fn addresses(&self) -> [SocketAddr; 3] {
        self.addresses
    }

    /// Where flows send their calls, by the wide door.
    #[must_use]
    pub fn url(&self) -> String {
        self.door_url(Door::Wide)
    }

    /// The same by any door.
    #[must_use]
    pub fn door_url(&self, door: Door) -> String {
        format!("http://{}/call", self.door(door))
    }

    /// The token that came in for a case.
    #[must_use]
    pub fn token(&self, case: u64) -> Option<String> {
        self.state.calls().tokens.get(&case).cloned()
    }

    /// All calls so far, and what came in that was no proper call.
    #[must_use]
    pub fn calls(&self) -> (Vec<Call>, Vec<String>) {
        let calls = self.state.calls();
        (calls.all.clone(), calls.wrong.clone())
    }

    /// The server process is dead: waits until all that it sent has been taken in, so
    /// that what comes later counts for the next one.
    ///
    /// # Errors
    /// Its connections do not end.
    pub fn next_generation(&self) -> Result<()> {
        let begun = Instant::now();
        let mut quiet = 0;
        while quiet < 3 {
            std::thread::sleep(Duration::from_millis(2));
            let open = self.state.open.load(Ordering::Acquire);
            quiet = if open == 0 { quiet + 1 } else { 0 };
            if begun.elapsed() > Duration::from_secs(10) {
                bail!("{open} connections of a dead server are still open");
            }
        }
        self.state.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        // Wakes the accepting threads.
        for address in self.addresses {
            let _ = TcpStream::connect(address);
        }
    }
}

impl State {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, door: Door, state: &Arc<State>) {
    for stream in listener.incoming() {
        if state.stop.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        state.open.fetch_add(1, Ordering::AcqRel);
        let state = Arc::clone(state);
        std::thread::spawn(move || {
            if let Err(error) = converse(stream, door, &state) {
                state.calls().wrong.push(format!("{error:#}"));
            }
            state.open.fetch_sub(1, Ordering::AcqRel);
        });
    }
}

/// Answers the requests of one connection until it ends; a broken one is no error.
fn converse(stream: TcpStream, door: Door, state: &State) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    while let Some(request) = read(&mut reader)? {
        let delay_ms = request.body["delay_ms"].as_u64().unwrap_or(0).min(1000);
        let answer = take(state, door, request);
        std::thread::sleep(Duration::from_millis(delay_ms));
        // Before the answer leaves: its reader may send the next call at once.
        state.calls().inside[door as usize] -= 1;
        if writer.write_all(answer.as_bytes()).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

struct Request {
    key: String,
    proof: Option<String>,
    body: Value,
}

/// The next request; `None` when the connection ends, be it within a request.
fn read(reader: &mut impl BufRead) -> Result<Option<Request>> {
    let mut length = 0;
    let (mut key, mut proof) = (None, None);
    let mut first = true;
    loop {
        let mut line = String::new();
        if !reader.read_line(&mut line).is_ok_and(|count| count > 0) || !line.ends_with('\n') {
            return Ok(None);
        }
        let line = line.trim_end();
        if std::mem::take(&mut first) {
            if line != "POST /call HTTP/1.1" {
                bail!("a strange request: {line}");
            }
            continue;
        }
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().context("a strange length")?,
            "idempotency-key" => key = Some(value.trim().to_owned()),
            "authorization" => proof = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    if length > BODY_BYTES_MAX {
        bail!("a body of {length} bytes");
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return Ok(None);
    }
    Ok(Some(Request {
        key: key.context("a call without Idempotency-Key")?,
        proof,
        body: serde_json::from_slice(&body).context("a call whose body is no JSON")?,
    }))
}

/// Counts a call and makes its answer.
fn take(state: &State, door: Door, request: Request) -> String {
    let mut calls = state.calls();
    calls.inside[door as usize] += 1;
    let at_once = calls.inside[door as usize];
    let times = calls.by_key.entry(request.key.clone()).or_insert(0);
    *times += 1;
    let refused = *times <= request.body["refusals"].as_u64().unwrap_or(0);
    let status = if refused { 503 } else { 200 };
    if let (Some(case), Some(token)) = (
        request.body["case"].as_u64(),
        request.body["token"].as_str(),
    ) {
        let first = calls.tokens.insert(case, token.to_owned());
        if first.is_some_and(|first| first != token) {
            calls.wrong.push(format!("case {case} sent two tokens"));
        }
    }
    let serial = calls.all.len() as u64 + 1;
    let doubled = request.body["n"].as_i64().map(|n| 2 * n);
    calls.all.push(Call {
        key: request.key,
        generation: state.generation.load(Ordering::Acquire),
        serial,
        status,
        body: request.body,
        door,
        at_once,
        proof: request.proof,
    });
    let body = json!({ "serial": serial, "doubled": doubled }).to_string();
    let reason = if refused { "Service Unavailable" } else { "OK" };
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::{Door, Receiver};
    use std::io::{Read, Write};
    use std::net::TcpStream;

    #[test]
    fn it_counts_by_key_and_refuses_as_asked() {
        let receiver = Receiver::start().unwrap();
        let mut stream = TcpStream::connect(receiver.door(Door::Narrow)).unwrap();
        let mut check = |key: &str, expected: &str| {
            let body = "{\"case\":1,\"n\":4,\"refusals\":1,\"token\":\"t\"}";
            let length = body.len();
            let head = format!("POST /call HTTP/1.1\r\nhost: x\r\nIdempotency-Key: {key}");
            write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            let mut answer = vec![0; 512];
            let count = stream.read(&mut answer).unwrap();
            let answer = String::from_utf8_lossy(&answer[..count]).into_owned();
            assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
            assert!(answer.contains(expected), "{key}: {answer}");
        };
        check("a", "503 ");
        check("a", "{\"serial\":2,\"doubled\":8}");
        check("b", "503 ");
        drop(stream);
        receiver.next_generation().unwrap();
        let (calls, wrong) = receiver.calls();
        assert_eq!(calls.len(), 3);
        let alone = |call: &super::Call| call.door == Door::Narrow && call.at_once == 1;
        assert!(calls.iter().all(alone), "{calls:?}");
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(receiver.token(1).as_deref(), Some("t"));
    }
}
