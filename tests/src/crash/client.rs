//! The client's HTTP: asks, and asks again while the server is away.
//!
//! Refuses to judge answers: it tells what came back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

/// Longest wait for one answer. The longest wait that the load asks for is 5 s.
const ANSWER: Duration = Duration::from_secs(90);
/// Longest time that a client goes on asking a server that is away or busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long after its server was killed a client still believes in a connection. The kernel
/// closes a dead process's connections only when its last thread is gone, and a thread
/// that waits for the disk goes when the disk has answered: on a busy one after many
/// seconds, in which no client could notice anything.
const BELIEF: Duration = Duration::from_secs(2);
/// Pause before the next try.
const PAUSE: Duration = Duration::from_millis(10);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body as JSON; `null` when it is none.
    pub body: Value,
}

/// What became of a request.
#[derive(Debug)]
pub enum Told {
    /// Answered.
    Answer(Answer),
    /// The connection broke: whether it was taken, nobody knows.
    Unknown,
    /// There was no server to send it to.
    Away,
}

/// One HTTP client with its connections.
#[derive(Debug, Clone)]
pub struct Api {
    client: Client,
    url: String,
    lives: Arc<Lives>,
}

/// Which process of the server it is, and what its predecessors left open.
#[derive(Debug, Default)]
struct Lives {
    ended: AtomicU64,
    given_up: AtomicU64,
}

impl Api {
    /// A client of the server at `url`.
    ///
    /// # Errors
    /// The HTTP library does not start.
    pub fn new(url: String) -> Result<Api> {
        // A second installation is refused, which is as good: there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .build()?;
        Ok(Api {
            client,
            url,
            lives: Arc::default(),
        })
    }

    /// The server's process is being ended: connections to it are worth nothing.
    pub fn server_ends(&self) {
        self.lives.ended.fetch_add(1, Ordering::Release);
    }

    /// Connections that a dead process kept open for longer than anybody would wait.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.lives.given_up.load(Ordering::Acquire)
    }

    /// Ends a while after the process that lives now has been ended.
    async fn server_is_gone(&self) {
        let now = || self.lives.ended.load(Ordering::Acquire);
        let born = now();
        while now() == born {
            tokio::time::sleep(BELIEF / 8).await;
        }
        tokio::time::sleep(BELIEF).await;
        self.lives.given_up.fetch_add(1, Ordering::AcqRel);
    }

    /// Asks once.
    ///
    /// # Errors
    /// A server that holds the connection and does not answer.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Told> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.told(request, path).await
    }

    /// Sets a secret, once.
    ///
    /// # Errors
    /// As [`Api::ask`].
    pub async fn set_secret(&self, name: &str, value: String) -> Result<Told> {
        let path = format!("/v1/secrets/{name}");
        let request = self.client.put(format!("{}{path}", self.url)).body(value);
        self.told(request, &path).await
    }

    async fn told(&self, request: RequestBuilder, path: &str) -> Result<Told> {
        let asked = async {
            let response = match request.send().await {
                Ok(response) => response,
                Err(error) if error.is_connect() => return Told::Away,
                Err(_) => return Told::Unknown,
            };
            let status = response.status().as_u16();
            match response.bytes().await {
                Ok(bytes) => Told::Answer(Answer {
                    status,
                    body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
                }),
                Err(_) => Told::Unknown,
            }
        };
        tokio::select! {
            biased;
            told = asked => Ok(told),
            () = self.server_is_gone() => Ok(Told::Unknown),
            () = tokio::time::sleep(ANSWER) => bail!("no answer to {path} within {ANSWER:?}"),
        }
    }

    /// Asks until there is an answer; for requests that may be repeated. `bool`: whether
    /// an earlier try may have been taken.
    ///
    /// # Errors
    /// The server stays away or busy.
    pub async fn insist(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(Answer, bool)> {
        let begun = Instant::now();
        let mut unsure = false;
        loop {
            match self.ask(method.clone(), path, body).await? {
                Told::Answer(answer) if !matches!(answer.status, 429 | 503) => {
                    return Ok((answer, unsure));
                }
                Told::Answer(_) | Told::Away => {}
                Told::Unknown => unsure = true,
            }
            if begun.elapsed() > PATIENCE {
                bail!("no server answered {path} for {PATIENCE:?}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Reads; the server may be away for a while.
    ///
    /// # Errors
    /// As [`Api::insist`].
    pub async fn get(&self, path: &str) -> Result<Answer> {
        Ok(self.insist(Method::GET, path, None).await?.0)
    }

    /// Uploads a file.
    ///
    /// # Errors
    /// It is refused, or the server is not there.
    pub async fn put(&self, path: &str, kind: &str, bytes: Vec<u8>) -> Result<()> {
        let request = self.client.put(format!("{}{path}", self.url));
        let response = request
            .header("content-type", kind)
            .body(bytes)
            .send()
            .await?;
        let status = response.status();
        if !status.is_success() {
            bail!("PUT {path}: {status} {}", response.text().await?);
        }
        Ok(())
    }

    /// Follows a live tail after event `after`, handing each event's text to `take`, until
    /// it ends or breaks. `true`: it said that the execution has ended.
    ///
    /// # Errors
    /// It was refused; the status.
    pub async fn tail(
        &self,
        id: &str,
        after: u64,
        take: impl FnMut(u64, &str),
    ) -> Result<bool, u16> {
        tokio::select! {
            biased;
            told = self.follow(id, after, take) => told,
            () = self.server_is_gone() => Ok(false),
        }
    }

    async fn follow(
        &self,
        id: &str,
        after: u64,
        mut take: impl FnMut(u64, &str),
    ) -> Result<bool, u16> {
        let request = self
            .client
            .get(format!("{}/v1/executions/{id}/events", self.url))
            .header("last-event-id", after.to_string());
        let Ok(mut response) = request.send().await else {
            return Ok(false);
        };
        if !response.status().is_success() {
            return Err(response.status().as_u16());
        }
        let mut buffer = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = buffer.drain(..end + 2).collect();
                match message(&String::from_utf8_lossy(&block)) {
                    Message::Event(number, text) => take(number, &text),
                    Message::End => return Ok(true),
                    Message::Other => {}
                }
            }
        }
        Ok(false)
    }
}

enum Message {
    Event(u64, String),
    End,
    Other,
}

/// One block of `text/event-stream`.
fn message(block: &str) -> Message {
    let (mut id, mut event, mut data) = (None, "", String::new());
    for line in block.lines() {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => id = value.parse().ok(),
            "event" => event = value,
            "data" => data.push_str(value),
            _ => {}
        }
    }
    match (event, id) {
        ("end", _) => Message::End,
        ("", Some(id)) => Message::Event(id, data),
        _ => Message::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dead server's kernel may keep its connections open: what a listener that never
    /// answers looks like from here.
    #[test]
    fn a_client_gives_up_a_server_that_was_ended() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Api::new(format!("http://{}", silent.local_addr().unwrap())).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let begun = Instant::now();
        let told = runtime.block_on(async {
            let asking = api.clone();
            let asked = tokio::spawn(async move { asking.ask(Method::GET, "/", None).await });
            tokio::time::sleep(Duration::from_millis(50)).await;
            api.server_ends();
            asked.await.unwrap().unwrap()
        });
        assert!(matches!(told, Told::Unknown), "{told:?}");
        assert!(begun.elapsed() < ANSWER / 2, "{:?}", begun.elapsed());
        assert_eq!(api.given_up(), 1);
    }
}
