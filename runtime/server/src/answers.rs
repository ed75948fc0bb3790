//! The common room of large answers that are not sent yet: clients that read slowly, or not at
//! all, take no more memory than that together.
//!
//! Refuses what finds no room: a whole answer becomes a problem, a stream ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// Bytes of each answer that need no room.
const FREE: usize = 64 << 10;
/// Bytes of each part of a stream that need none: a download's parts are never so large.
const PART_FREE: usize = 1 << 20;

/// A permit is a byte of an answer that is in memory.
pub(crate) struct Answers(Arc<Semaphore>);

impl Answers {
    pub(crate) fn new(bytes_max: usize) -> Answers {
        Answers(Arc::new(Semaphore::new(
            bytes_max.min(Semaphore::MAX_PERMITS),
        )))
    }

    /// The answer, with room for what of it waits to be sent.
    /// # Errors
    /// `API0020`.
    pub(crate) fn hold(&self, response: Response) -> Result<Response, Error> {
        let known = response.body().size_hint().exact();
        let bytes = known.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if bytes.is_some_and(|bytes| bytes <= FREE) {
            return Ok(response);
        }
        let held = match bytes {
            Some(bytes) => Some(Arc::new(room(&self.0, bytes).ok_or(Error::AnswersFull)?)),
            None => None,
        };
        Ok(response.map(|body| {
            Body::new(Held {
                body,
                held,
                room: Arc::clone(&self.0),
            })
        }))
    }
}

fn room(all: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Arc::clone(all).try_acquire_many_owned(bytes).ok()
}

/// A body whose parts keep their room until they are sent.
struct Held {
    body: Body,
    /// The room of all of it; `None`: it is a stream, and each part takes its own.
    held: Option<Arc<OwnedSemaphorePermit>>,
    room: Arc<Semaphore>,
}

/// Bytes with their room.
struct Part(
    Bytes,
    #[allow(dead_code, reason = "held, not looked at")] Arc<OwnedSemaphorePermit>,
);

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => frame,
            other => return other,
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        let held = match &self.held {
            Some(held) => Arc::clone(held),
            None if data.len() <= PART_FREE => return Poll::Ready(Some(Ok(Frame::data(data)))),
            None => match room(&self.room, data.len()) {
                Some(held) => Arc::new(held),
                // Who follows comes back, and goes on after what it has seen.
                None => return Poll::Ready(Some(Err(axum::Error::new(Error::AnswersFull)))),
            },
        };
        let data = Bytes::from_owner(Part(data, held));
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    fn whole(bytes: usize) -> Response {
        Response::new(Body::from(vec![b'x'; bytes]))
    }

    #[tokio::test]
    async fn large_answers_share_their_room_until_they_are_sent() {
        let answers = Answers::new(4 * FREE);
        let first = answers.hold(whole(3 * FREE)).expect("there is room");
        assert!(matches!(
            answers.hold(whole(2 * FREE)),
            Err(Error::AnswersFull)
        ));
        answers.hold(whole(FREE)).expect("a small one needs none");
        // The body is read, and its bytes wait to be sent.
        let frame = first
            .into_body()
            .frame()
            .await
            .expect("a part")
            .expect("sound");
        let bytes = frame.into_data().expect("data");
        assert_eq!(bytes.len(), 3 * FREE);
        assert!(answers.hold(whole(2 * FREE)).is_err());
        drop(bytes);
        answers.hold(whole(2 * FREE)).expect("there is room again");
    }

    #[tokio::test]
    async fn a_stream_takes_room_part_by_part() {
        let answers = Answers::new(3 * PART_FREE);
        let parts =
            [PART_FREE, 2 * PART_FREE, 2 * PART_FREE].map(|bytes| Bytes::from(vec![b'x'; bytes]));
        let parts = futures_util::stream::iter(parts.map(Ok::<_, std::io::Error>));
        let held = answers.hold(Response::new(Body::from_stream(parts)));
        let mut body = held.expect("nothing is there yet").into_body();
        let mut next = Vec::new();
        for _ in 0..3 {
            next.push(body.frame().await.expect("a part").is_ok());
        }
        // Each is sent, and gone, before the next comes.
        assert_eq!(next, [true, true, true]);
    }

    #[tokio::test]
    async fn parts_that_wait_to_be_sent_leave_no_room() {
        let answers = Answers::new(3 * PART_FREE);
        let parts = [2 * PART_FREE, 2 * PART_FREE].map(|bytes| Bytes::from(vec![b'x'; bytes]));
        let parts = futures_util::stream::iter(parts.map(Ok::<_, std::io::Error>));
        let held = answers.hold(Response::new(Body::from_stream(parts)));
        let mut body = held.expect("nothing is there yet").into_body();
        let first = body.frame().await.expect("a part").expect("room");
        assert!(body.frame().await.expect("a part").is_err(), "no room");
        drop(first);
    }
}
