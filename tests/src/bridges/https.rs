//! A real HTTPS server on the loopback, with a certificate of its own making, that speaks HTTP/1.1 and
//! HTTP/2 and tells what it saw: connections, and each call's protocol, key and bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::wait::until_every;

/// Bytes of one piece of `/flood` and `/big`.
const PIECE: usize = 16 << 10;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    ///
    /// # Errors
    /// No key can be made.
    pub fn new() -> Result<Authority> {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        let name = format!("authority {}", MADE.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        Ok(Authority { issuer, pem })
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// What a server shows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Shows<'a> {
    /// The name, or the address, in its certificate.
    pub name: &'a str,
    /// Whether the certificate's time is over.
    pub expired: bool,
    /// Whether it is the certificate of an authority.
    pub authority: bool,
    /// The protocols that it offers, the best first.
    pub protocols: &'a [&'a str],
}

impl Default for Shows<'_> {
    fn default() -> Self {
        Shows {
            name: "127.0.0.1",
            expired: false,
            authority: false,
            protocols: &["h2", "http/1.1"],
        }
    }
}

/// One call as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// `POST /path`.
    pub target: String,
    /// `HTTP/2.0`, or another.
    pub version: String,
    /// Its `Idempotency-Key`.
    pub key: String,
    /// Its `TE`, and all that its `Connection` names.
    pub between: (String, String),
    /// What followed its body: `name: value`, each behind the other.
    pub trailers: Vec<String>,
    /// Bytes of the body that came.
    pub bytes: usize,
    /// Whether the body came to its end.
    pub whole: bool,
    /// Whether nobody is at it any more: it has its answer's head, or its caller is gone.
    pub over: bool,
}

/// The server. It ends when this is dropped.
///
/// `/count` reads the body and tells its bytes; `/echo` sends it back as it comes; `/early` answers 413
/// and reads nothing; `/held` is answered when it is let go, and so is the second half of `/half`; `/slow`
/// reads the body when it is let go; `/big/N` and `/flood/N` send so many bytes, told before or not;
/// `/trailers` sends some; `/status/N` answers so; `/away` redirects to `/count`; `/offers/screw` has a price and
/// no other offer is there; `/orders` gives the key back as a number, once it is let go; all others get `fine`.
pub struct Https {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    calls: Mutex<Vec<Call>>,
    open: watch::Sender<bool>,
}

impl Https {
    /// Starts one on a free port, with a certificate that the authority signed.
    ///
    /// # Errors
    /// There is no port, or no certificate can be made.
    pub fn start(authority: &Authority, shows: Shows<'_>) -> Result<Https> {
        let config = tls(authority, shows)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen::default());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let shared = Arc::clone(&seen);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    // Who refuses the certificate makes no call: that is the test.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    seen.connections.fetch_add(1, Ordering::SeqCst);
                    let service = service_fn(move |request| answer(Arc::clone(&seen), request));
                    // A connection may break off: that is the test, too.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Https {
            address,
            seen,
            _runtime: runtime,
        })
    }

    /// The URL of a path here.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// Connections that came to an agreement so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The calls so far. One whose body is still read is not among them.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.seen.calls().clone()
    }

    /// Waits until so many calls have come.
    ///
    /// # Errors
    /// They do not.
    pub fn until(&self, calls: usize) -> Result<()> {
        let came = until_every(Duration::from_millis(10), "so many calls", || {
            Ok((self.seen.calls().len() >= calls).then_some(()))
        });
        came.with_context(|| format!("{calls}: {:?}", self.calls()))
    }

    /// Lets what is held go, now and from now on.
    pub fn open(&self) {
        self.seen.open.send_replace(true);
    }
}

fn tls(authority: &Authority, shows: Shows<'_>) -> Result<ServerConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![shows.name.to_owned()])?;
    if shows.expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    if shows.authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let certificate = params.signed_by(&key, &authority.issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der());
    let key = key.map_err(|e| anyhow::anyhow!("{e}"))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    config.alpn_protocols = shows
        .protocols
        .iter()
        .map(|p| p.as_bytes().to_vec())
        .collect();
    Ok(config)
}

impl Seen {
    fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        self.calls.lock().unwrap_or_else(|e| e.into_inner())
    }

    async fn let_go(&self) {
        let mut open = self.open.subscribe();
        // The sender lives as long as this.
        let _ = open.wait_for(|open| *open).await;
    }

    /// Keeps a call; where it is, for what comes to be known of it.
    fn keep(&self, head: &http::request::Parts) -> usize {
        let all = |name: &str| {
            let values = head.headers.get_all(name).iter();
            let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
            values.join(", ")
        };
        let mut calls = self.calls();
        calls.push(Call {
            target: format!("{} {}", head.method, head.uri.path()),
            version: format!("{:?}", head.version),
            key: all("idempotency-key"),
            between: (all("te"), all("connection")),
            trailers: Vec::new(),
            bytes: 0,
            whole: false,
            over: false,
        });
        calls.len() - 1
    }

    fn followed(&self, call: usize, trailers: &http::HeaderMap) {
        let shown = trailers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())));
        if let Some(call) = self.calls().get_mut(call) {
            call.trailers.extend(shown);
        }
    }

    fn came(&self, call: usize, bytes: usize, whole: bool) {
        if let Some(call) = self.calls().get_mut(call) {
            call.bytes += bytes;
            call.whole = whole;
        }
    }
}

async fn answer(seen: Arc<Seen>, request: Request<Incoming>) -> Result<Response<Body>> {
    let (head, body) = request.into_parts();
    let call = seen.keep(&head);
    let _over = Over(Arc::clone(&seen), call);
    let path = head.uri.path().to_owned();
    let number = path.rsplit('/').next().and_then(|n| n.parse().ok());
    let number = number.unwrap_or(0_usize);
    if path == "/early" {
        return Ok(Response::builder().status(413).body(full("too much"))?);
    }
    if path == "/echo" {
        let echoed = BodyStream::new(body).filter_map(move |frame| {
            let data = frame.ok().and_then(|frame| frame.into_data().ok());
            seen.came(call, data.as_ref().map_or(0, Bytes::len), false);
            std::future::ready(data.map(|data| Ok(Frame::data(data))))
        });
        return Ok(Response::new(StreamBody::new(echoed).boxed_unsync()));
    }
    if path == "/slow" {
        seen.let_go().await;
    }
    let bytes = read(&seen, call, body).await?;
    Ok(match path.as_str() {
        "/count" | "/slow" => {
            let text = format!("{{\"bytes\": {bytes}}}");
            Response::builder()
                .header("content-type", "application/json")
                .body(full(text))?
        }
        "/held" => {
            seen.let_go().await;
            Response::new(full("fine"))
        }
        "/half" => {
            let rest = stream::once(async move {
                seen.let_go().await;
                Ok(Frame::data(Bytes::from_static(b"second")))
            });
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"first ")))]);
            Response::new(StreamBody::new(first.chain(rest)).boxed_unsync())
        }
        "/offers/screw" => Response::new(full(r#"{"cents": 12}"#)),
        offer if offer.starts_with("/offers/") => Response::builder()
            .status(404)
            .body(full("no such article"))?,
        "/orders" => {
            seen.let_go().await;
            let key = seen.calls().get(call).map(|call| call.key.clone());
            let number = key.unwrap_or_default();
            let text = format!("{{\"number\": \"{number}\"}}");
            Response::builder().status(201).body(full(text))?
        }
        "/trailers" => {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("x-sum", http::HeaderValue::from_static("7"));
            let frames = [
                Ok(Frame::data(Bytes::from_static(b"with trailers"))),
                Ok(Frame::trailers(trailers)),
            ];
            let body = StreamBody::new(stream::iter(frames)).boxed_unsync();
            Response::builder().header("trailer", "x-sum").body(body)?
        }
        "/away" => Response::builder()
            .status(302)
            .header("location", "/count")
            .body(full(""))?,
        big if big.starts_with("/big/") => Response::new(full(vec![b'x'; number])),
        flood if flood.starts_with("/flood/") => {
            let pieces = (0..number).step_by(PIECE).map(move |at| {
                let piece = vec![b'x'; PIECE.min(number - at)];
                Ok(Frame::data(Bytes::from(piece)))
            });
            Response::new(StreamBody::new(stream::iter(pieces)).boxed_unsync())
        }
        status if status.starts_with("/status/") => {
            let status = StatusCode::from_u16(u16::try_from(number)?)?;
            Response::builder().status(status).body(full("so it is"))?
        }
        _ => Response::new(full("fine")),
    })
}

/// Notes, when it goes, that nobody is at a call any more.
struct Over(Arc<Seen>, usize);

impl Drop for Over {
    fn drop(&mut self) {
        if let Some(call) = self.0.calls().get_mut(self.1) {
            call.over = true;
        }
    }
}

/// Reads a body to its end.
async fn read(seen: &Seen, call: usize, mut body: Incoming) -> Result<usize> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        match frame.context("the body broke off")?.into_data() {
            Ok(data) => {
                bytes += data.len();
                seen.came(call, data.len(), false);
            }
            Err(other) => {
                if let Ok(trailers) = other.into_trailers() {
                    seen.followed(call, &trailers);
                }
            }
        }
    }
    seen.came(call, 0, true);
    Ok(bytes)
}

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).boxed_unsync()
}

/// Grants to call these servers, as a manifest.
#[must_use]
pub fn grants(servers: &[&Https]) -> serde_json::Value {
    let ports: Vec<u16> = servers.iter().map(|s| s.address.port()).collect();
    serde_json::json!({"http": [{"host": "127.0.0.1", "ports": ports}]})
}

/// The configuration of a server of ours that may call these and trusts the authority, whose
/// certificate is written below `dir`.
///
/// # Errors
/// It cannot be written.
pub fn config(dir: &std::path::Path, authority: &Authority, servers: &[&Https]) -> Result<String> {
    ensure!(dir.is_dir(), "{} is no folder", dir.display());
    let file = dir.join("ca.pem");
    std::fs::write(&file, authority.pem())?;
    let allow: Vec<String> = servers.iter().map(|s| s.address.to_string()).collect();
    Ok(format!(
        "[http]\nca_files = [{file:?}]\nallow = {allow:?}\n"
    ))
}
