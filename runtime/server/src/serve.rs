//! Serves one listener on the runtime that calls it.
//!
//! Refuses to wait for ever: silent, slow and too many connections have bounds, also
//! those that do not read, and so has a graceful stop.

use std::future::Future;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::patient::{Patient, TAKES};

/// Open connections per listener; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 8_192;
/// How long a connection may take to send a request's headers, or stay idle.
const HEADERS: Duration = Duration::from_secs(60);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 64 << 10;
/// Number of a request's headers.
const HEADERS_MAX: usize = 100;
/// Requests at a time on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// Pause after the kernel refused to hand out a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `stop` ends; then finishes what is in flight, at most for `drain`.
///
/// Runs on one thread's runtime: connections are tasks of the runtime that polls this.
/// Connections that are still open after `drain` are cut.
/// # Errors
/// When the listener cannot be handed to the runtime.
pub async fn serve_on(
    listener: TcpListener,
    app: Router,
    stop: impl Future<Output = ()>,
    drain: Duration,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let server = Server {
        builder: builder(),
        app,
        open: TaskTracker::new(),
        slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        stop: CancellationToken::new(),
        cut: CancellationToken::new(),
    };
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = server.accept(&listener) => accepted,
        };
        match accepted {
            Ok((stream, slot)) => server.spawn(stream, slot),
            Err(e) => {
                // Out of file descriptors, most likely: others will close theirs.
                tracing::warn!(reason = %e, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Who is already in the kernel's queue would be cut off by closing the listener.
    while let Ok(Ok((stream, slot))) =
        tokio::time::timeout(Duration::ZERO, server.accept(&listener)).await
    {
        server.spawn(stream, slot);
    }
    drop(listener);
    server.stop.cancel();
    server.open.close();
    if tokio::time::timeout(drain, server.open.wait())
        .await
        .is_err()
    {
        tracing::warn!(
            open = server.open.len(),
            "cutting connections that did not end"
        );
        server.cut.cancel();
        server.open.wait().await;
    }
    Ok(())
}

struct Server {
    builder: auto::Builder<TokioExecutor>,
    app: Router,
    open: TaskTracker,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
    cut: CancellationToken,
}

type Slot = tokio::sync::OwnedSemaphorePermit;

impl Server {
    async fn accept(
        &self,
        listener: &tokio::net::TcpListener,
    ) -> std::io::Result<(TcpStream, Slot)> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(std::io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        // Without it a small answer waits for the client's delayed acknowledgement.
        stream.set_nodelay(true)?;
        Ok((stream, slot))
    }

    fn spawn(&self, stream: TcpStream, slot: Slot) {
        let (builder, app) = (self.builder.clone(), self.app.clone());
        let (stop, cut) = (self.stop.clone(), self.cut.clone());
        self.open.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                () = connection(&builder, app, stream, stop) => {}
            }
            drop(slot);
        });
    }
}

async fn connection(
    builder: &auto::Builder<TokioExecutor>,
    app: Router,
    stream: TcpStream,
    stop: CancellationToken,
) {
    // Until the first request nothing in hyper limits how long it looks for the
    // protocol's first bytes.
    let spoke = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&spoke);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        heard.store(true, Ordering::Relaxed);
        app.clone().call(request)
    });
    let stream = TokioIo::new(Patient::new(stream, TAKES));
    let mut serving = pin!(builder.serve_connection(stream, service));
    let mut patience = pin!(tokio::time::sleep(HEADERS));
    let (mut stopping, mut silent) = (false, true);
    loop {
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
                continue;
            }
            () = patience.as_mut(), if silent => {
                silent = false;
                if spoke.load(Ordering::Relaxed) {
                    continue;
                }
                return;
            }
        };
        if let Err(reason) = ended {
            tracing::debug!(%reason, "a connection broke");
        }
        return;
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let bytes = u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(bytes)
        .keep_alive_interval(HEADERS)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
