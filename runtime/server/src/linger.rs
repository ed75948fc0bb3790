//! Reads on when a handler lets go of a body before its end.
//!
//! A refusal is often known before the body has come. Were the socket closed then, the
//! client's system would drop our answer unread, and so it would a later request on the
//! same connection. So the answer goes out at once, and what the client still sends is
//! thrown away beside it. Refuses to do so for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, SizeHint};

/// How long, in all, an unwanted body is read on.
const TOTAL: Duration = Duration::from_secs(20);
/// How long nothing of it may come.
const IDLE: Duration = Duration::from_secs(2);
/// How much of it is thrown away.
const BYTES_MAX: usize = 256 << 20;

/// A body that is read on when it is dropped before its end.
pub(crate) struct Lingering {
    body: Body,
    over: bool,
    /// The client sends it when it is asked to, and nobody has asked yet.
    held_back: bool,
}

impl Lingering {
    /// `held_back`: the request has `Expect: 100-continue`.
    pub(crate) fn around(body: Body, held_back: bool) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Lingering {
            body,
            over: false,
            held_back,
        })
    }
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.held_back = false;
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.over |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if self.over || self.held_back || self.body.is_end_stream() {
            return;
        }
        let body = std::mem::take(&mut self.body);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(TOTAL, discard(body)));
        }
    }
}

async fn discard(mut body: Body) {
    let mut left = BYTES_MAX;
    while let Ok(Some(Ok(frame))) = tokio::time::timeout(IDLE, body.frame()).await {
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(bytes) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
