//! A real HTTP server that tells what it got: calls by path and key.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;

/// An HTTP server that counts calls by path and key.
///
/// It holds those to `/held` until told, answers `/busy` with 429 and `Retry-After: 1` as often
/// as was asked for, `/broken` with 500 as long as was asked for, and all others with 200.
#[derive(Clone)]
pub struct Receiver {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    calls: Vec<(String, String)>,
    open: bool,
    busy: usize,
    broken: bool,
}

impl Receiver {
    /// Starts one on a free port of the loopback.
    ///
    /// # Errors
    /// There is none.
    pub fn start() -> Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let receiver = Receiver {
            address: listener.local_addr()?,
            state: Arc::default(),
        };
        let shared = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                // A connection of a killed server breaks off: that is the test.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Ok(receiver)
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
    /// They do not within a minute.
    pub fn until(&self, calls: usize) -> Result<()> {
        let state = self.state();
        let wait = Duration::from_secs(60);
        let (_state, waited) = self
            .state
            .1
            .wait_timeout_while(state, wait, |s| s.calls.len() < calls)
            .unwrap_or_else(|e| e.into_inner());
        anyhow::ensure!(!waited.timed_out(), "{calls} calls did not come");
        Ok(())
    }

    /// Lets `/held` go, now and from now on.
    pub fn open(&self) {
        self.state().open = true;
        self.state.1.notify_all();
    }

    /// The next so many calls to `/busy` are asked to come again later.
    pub fn busy(&self, calls: usize) {
        self.state().busy = calls;
    }

    /// Whether `/broken` fails from now on.
    pub fn broken(&self, broken: bool) {
        self.state().broken = broken;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut input = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if input.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let (mut key, mut length) = (String::new(), 0);
            loop {
                let mut header = String::new();
                input.read_line(&mut header)?;
                let Some((name, value)) = header.trim().split_once(':') else {
                    break;
                };
                match name.to_ascii_lowercase().as_str() {
                    "idempotency-key" => key = value.trim().to_owned(),
                    "content-length" => length = value.trim().parse().unwrap_or(0),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            input.read_exact(&mut body)?;
            let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            let changed = &self.state.1;
            let mut state = self.state();
            state.calls.push((path.clone(), key));
            changed.notify_all();
            if path == "/held" {
                state = changed
                    .wait_while(state, |s| !s.open)
                    .unwrap_or_else(|e| e.into_inner());
            }
            let head = if path == "/busy" && state.busy > 0 {
                state.busy -= 1;
                "429 Too Many Requests\r\nretry-after: 1"
            } else if path == "/broken" && state.broken {
                "500 Internal Server Error"
            } else {
                "200 OK"
            };
            drop(state);
            let text = format!("{path} {}", String::from_utf8_lossy(&body));
            let length = text.len();
            write!(
                out,
                "HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{text}"
            )?;
        }
    }
}
