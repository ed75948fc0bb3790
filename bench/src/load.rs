//! The load generator: HTTP/1.1 over connections that stay, on one thread.
//!
//! Refuses to be free of charge: its own processor time is part of the result,
//! because on a small machine it is taken from the server.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use crate::measure::{percentile, real, thread_cpu};

/// One kind of request, sent over and over.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where to.
    pub address: SocketAddr,
    /// `POST` with a body, otherwise `GET`.
    pub path: String,
    /// The body.
    pub body: Option<&'static str>,
    /// What a good answer contains.
    pub expect: &'static str,
    /// Connections, each with one request at a time.
    pub connections: usize,
    /// When to stop.
    pub until: Until,
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After a time.
    Elapsed(Duration),
    /// After so many good answers.
    Done(u64),
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Good answers.
    pub done: u64,
    /// Answers that asked to come back later.
    pub refused: u64,
    /// From the first request to the last answer.
    pub seconds: f64,
    /// Time from request to whole answer, in microseconds, ascending.
    pub latencies_us: Vec<u32>,
    /// The generator's processor time in seconds.
    pub cpu_s: f64,
    /// Some of the good answers' bodies.
    pub samples: Vec<String>,
}

impl Outcome {
    /// Good answers a second.
    pub fn rate(&self) -> f64 {
        real(self.done) / self.seconds.max(1e-9)
    }

    /// A percentile of the latency in milliseconds.
    pub fn ms(&self, share: f64) -> f64 {
        percentile(&self.latencies_us, share) / 1_000.0
    }
}

/// Runs the load on a thread of its own.
///
/// # Errors
/// An answer was wrong, or the connection broke.
pub fn run(load: &Load) -> Result<Outcome> {
    let load = load.clone();
    let thread = std::thread::spawn(move || -> Result<Outcome> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let before = thread_cpu()?;
        let mut outcome = LocalSet::new().block_on(&runtime, all(&load))?;
        outcome.cpu_s = thread_cpu()?.saturating_sub(before).as_secs_f64();
        outcome.latencies_us.sort_unstable();
        Ok(outcome)
    });
    thread.join().ok().context("the load generator panicked")?
}

/// One request on a connection of its own; the body of a good answer.
///
/// # Errors
/// No answer, or its status isn't 2xx.
pub fn once(address: SocketAddr, method: &str, path: &str, body: Vec<u8>) -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut sender = connect(address).await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .body(Full::new(Bytes::from(body)))?;
        let (status, text) = send(&mut sender, request).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status} {text}");
        }
        Ok(text)
    })
}

async fn all(load: &Load) -> Result<Outcome> {
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let mut senders = Vec::new();
    for _ in 0..load.connections {
        senders.push(connect(load.address).await?);
    }
    let began = Instant::now();
    let mut tasks = Vec::new();
    for sender in senders {
        let client = one_client(load.clone(), sender, began, outcome.clone());
        tasks.push(tokio::task::spawn_local(client));
    }
    for task in tasks {
        task.await??;
    }
    let mut outcome = Rc::try_unwrap(outcome)
        .ok()
        .context("a client is still there")?
        .into_inner();
    outcome.seconds = began.elapsed().as_secs_f64();
    Ok(outcome)
}

async fn one_client(
    load: Load,
    mut sender: SendRequest<Full<Bytes>>,
    began: Instant,
    outcome: Rc<RefCell<Outcome>>,
) -> Result<()> {
    let body = Bytes::from_static(load.body.unwrap_or("").as_bytes());
    let method = if load.body.is_some() { "POST" } else { "GET" };
    loop {
        let over = match load.until {
            Until::Elapsed(limit) => began.elapsed() >= limit,
            Until::Done(count) => outcome.borrow().done >= count,
        };
        if over {
            return Ok(());
        }
        let request = Request::builder()
            .method(method)
            .uri(load.path.as_str())
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body.clone()))?;
        let sent = Instant::now();
        let (status, text) = send(&mut sender, request).await?;
        let took = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
        if status == StatusCode::TOO_MANY_REQUESTS {
            outcome.borrow_mut().refused += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        }
        if !status.is_success() || !text.contains(load.expect) {
            bail!("{method} {}: {status} {text}", load.path);
        }
        let mut outcome = outcome.borrow_mut();
        outcome.done += 1;
        outcome.latencies_us.push(took);
        if outcome.done % 1_024 == 1 {
            outcome.samples.push(text);
        }
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

async fn send(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, String)> {
    sender.ready().await?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.into())?))
}
