//! The outside system of the demo: takes HTTP calls, counts them and shows them.
//!
//! Refuses calls of more than 16 MiB.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::http;

const BODY_MAX: u64 = 16 << 20;

/// A listener with a thread of its own; ends with the process.
pub struct Receiver {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// One call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    /// `POST /path`.
    pub target: String,
    /// By this the receiver would tell a repeated call.
    pub idempotency_key: Option<String>,
    /// Bytes of the body.
    pub bytes: usize,
}

impl Receiver {
    /// Listens on a free port of the loopback address.
    ///
    /// # Errors
    /// There is no such port.
    pub fn start() -> Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let calls = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let calls = Arc::clone(&shared);
                // A connection each: a slow caller holds up nobody.
                std::thread::spawn(move || answer_all(&stream, &calls));
            }
        });
        Ok(Receiver { address, calls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<Call> {
        let calls = self.calls.lock();
        calls.map_or_else(
            |poisoned| poisoned.into_inner().clone(),
            |calls| calls.clone(),
        )
    }
}

/// Answers the requests of one connection until it is closed.
fn answer_all(stream: &TcpStream, calls: &Mutex<Vec<Call>>) {
    // A dead peer must not hold its thread for ever.
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let mut reader = BufReader::new(stream);
    while let Ok(call) = read(&mut reader) {
        if let Ok(mut calls) = calls.lock() {
            calls.push(call);
        }
        let body = "{\"received\": true}";
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
        let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(from: &mut impl BufRead) -> Result<Call> {
    let mut line = String::new();
    from.take(16 << 10).read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(path)) = (words.next(), words.next()) else {
        bail!("the connection is over");
    };
    let target = format!("{method} {path}");
    let headers = http::read_headers(from)?;
    let value = |name: &str| {
        let found = headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
    };
    let length: u64 = value("content-length").map_or(Ok(0), |text| text.parse())?;
    if length > BODY_MAX {
        bail!("a call of {length} bytes");
    }
    let mut body = Vec::new();
    let read = from.take(length).read_to_end(&mut body)?;
    if read as u64 != length {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))
            .context("the body was cut");
    }
    Ok(Call {
        target,
        idempotency_key: value("idempotency-key"),
        bytes: body.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_with_their_keys() {
        let receiver = Receiver::start().expect("a receiver");
        let request = http::Request {
            method: "POST",
            path: "/photos",
            content_type: "application/json",
            body: b"{}",
        };
        let answer = http::send(receiver.address(), &request).expect("an answer");
        assert_eq!(answer.status, 200);
        let calls = receiver.calls();
        let call = calls.first().expect("a call");
        assert_eq!((call.target.as_str(), call.bytes), ("POST /photos", 2));
        assert_eq!(call.idempotency_key, None);
    }
}
