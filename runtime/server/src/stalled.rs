//! A large answer over HTTP/2 whose client may let it stand: what is left of it is let go of
//! after a while.
//!
//! A connection that takes nothing is cut by `patient`. But a client of HTTP/2 gives each stream
//! leave to send, and one that gives none keeps its connection alive all the same. Refuses to
//! keep the answer for it. Refuses to hurry a client that takes a piece now and then.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::{Buf as _, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// What is handed over at a time. It is a copy: the connection keeps it until it may send it, and
/// would keep the whole answer with a part of it.
const PIECE: usize = 64 << 10;

/// The answer as long as somebody takes it.
pub(crate) struct Stalled {
    left: Arc<Mutex<Left>>,
    watch: AbortHandle,
}

/// What of an answer is not handed over yet.
struct Left {
    /// `None`: it was let go of.
    body: Option<Body>,
    /// The rest of a part of it.
    part: Bytes,
    /// Since when the next piece is not asked for; `None`: the client waits for us.
    since: Option<Instant>,
}

impl Stalled {
    /// Needs a runtime, where it is watched.
    pub(crate) fn around(body: Body, takes: Duration) -> Body {
        let small = |bytes: u64| bytes <= PIECE as u64;
        if body.is_end_stream() || body.size_hint().exact().is_some_and(small) {
            return body;
        }
        let left = Arc::new(Mutex::new(Left {
            body: Some(body),
            part: Bytes::new(),
            since: Some(Instant::now()),
        }));
        let watch = tokio::spawn(watch(Arc::clone(&left), takes)).abort_handle();
        Body::new(Stalled { left, watch })
    }
}

/// Lets go of what nobody has asked for in that time.
async fn watch(left: Arc<Mutex<Left>>, takes: Duration) {
    loop {
        let since = lock(&left).since;
        let until = since.unwrap_or_else(Instant::now) + takes;
        tokio::time::sleep_until(until).await;
        let mut left = lock(&left);
        if left.since.is_some_and(|since| since.elapsed() >= takes) {
            left.body = None;
            left.part = Bytes::new();
            return;
        }
    }
}

/// Takes the lock: a body that panicked is not asked again.
fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Left {
    fn piece(&mut self) -> Bytes {
        let length = self.part.len().min(PIECE);
        let piece = Bytes::copy_from_slice(&self.part[..length]);
        self.part.advance(length);
        if self.part.is_empty() {
            // What it is of goes now.
            self.part = Bytes::new();
        }
        piece
    }
}

impl HttpBody for Stalled {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut left = lock(&self.left);
        if left.part.is_empty() {
            let Some(body) = &mut left.body else {
                let late = io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the client let its answer stand for too long",
                );
                return Poll::Ready(Some(Err(axum::Error::new(late))));
            };
            let polled = Pin::new(body).poll_frame(cx);
            left.since = match &polled {
                Poll::Pending => None,
                Poll::Ready(_) => Some(Instant::now()),
            };
            match polled {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => left.part = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                other => return other,
            }
        }
        left.since = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(left.piece()))))
    }

    fn is_end_stream(&self) -> bool {
        let left = lock(&self.left);
        let over = left.body.as_ref().is_some_and(HttpBody::is_end_stream);
        left.part.is_empty() && over
    }

    fn size_hint(&self) -> SizeHint {
        let left = lock(&self.left);
        let mut hint = left
            .body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default();
        let part = left.part.len() as u64;
        match hint.exact() {
            Some(exact) => hint.set_exact(exact + part),
            None => {
                if let Some(upper) = hint.upper() {
                    hint.set_upper(upper + part);
                }
                hint.set_lower(hint.lower() + part);
            }
        }
        hint
    }
}

impl Drop for Stalled {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

#[cfg(test)]
mod tests {
    use axum::response::Response;
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::answers::Answers;

    const TAKES: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(600);

    async fn piece(body: &mut Body) -> Result<Bytes, axum::Error> {
        let frame = body.frame().await.expect("more")?;
        Ok(frame.into_data().expect("data"))
    }

    #[tokio::test]
    async fn what_nobody_takes_gives_its_room_back() {
        let answers = Answers::new(4 * PIECE);
        let whole = || Response::new(Body::from(vec![b'x'; 3 * PIECE]));
        let held = answers.hold(whole()).expect("there is room");
        let mut body = Stalled::around(held.into_body(), TAKES);
        // One piece waits in the connection all the while.
        let waits = piece(&mut body).await.expect("sound");
        assert_eq!(waits.len(), PIECE);
        let mut looks = 0;
        while answers.hold(whole()).is_err() {
            looks += 1;
            assert!(looks < 1_000, "the room is not given back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(piece(&mut body).await.is_err(), "it is not half an answer");
    }

    #[tokio::test]
    async fn what_is_taken_comes_whole() {
        let whole: Vec<u8> = (0..3 * PIECE + 5).map(|n| n.to_le_bytes()[0]).collect();
        let mut body = Stalled::around(Body::from(whole.clone()), LONG);
        let mut got = Vec::new();
        while !body.is_end_stream() {
            let exact = body.size_hint().exact();
            assert_eq!(exact, Some((whole.len() - got.len()) as u64));
            got.extend(piece(&mut body).await.expect("sound"));
        }
        assert!(got == whole);
    }

    #[tokio::test]
    async fn who_waits_for_us_is_not_cut_off() {
        let (send, receive) = tokio::sync::mpsc::unbounded_channel();
        let parts = tokio_stream::wrappers::UnboundedReceiverStream::new(receive);
        let mut body = Stalled::around(Body::from_stream(parts), TAKES);
        send.send(Ok::<_, io::Error>(Bytes::from_static(b"first")))
            .expect("received");
        assert_eq!(piece(&mut body).await.expect("sound"), "first");
        // It asks at once, and there is nothing for a long time.
        let slow = async {
            tokio::time::sleep(4 * TAKES).await;
            send.send(Ok(Bytes::from_static(b"second")))
                .expect("received");
        };
        let (second, ()) = tokio::join!(piece(&mut body), slow);
        assert_eq!(second.expect("sound"), "second");
    }
}
