//! The body of a guest's request: taken in whole while it is small, streamed when it is not.
//!
//! A small one is part of the intent, by its digest. Of a long one only the beginning is; the rest
//! goes out as the guest writes it, and its digest is recorded with what comes back. Whatever becomes of the
//! call, the guest's body is read to its end: when a connection is lost depends on the outside, so the
//! guest finds out in the answer and not while it writes.
//! Refuses to let a body end well that its guest, or the attempt, broke off.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, watch};
use wasmtime_wasi_http::WasiBody;

use super::lost::Lost;
use super::request;
use crate::account::Held;

/// A body up to this many bytes goes out whole.
const WHOLE_BYTES_MAX: usize = 256 << 10;

/// What is known of a guest's body before its call is let go.
pub(super) struct Intake {
    /// All of it, or its beginning.
    pub(super) first: Vec<u8>,
    /// What is still to come.
    pub(super) rest: Option<Rest>,
    /// What followed it, if that was all of it.
    pub(super) trailers: HeaderMap,
}

/// The part of a body that is not read yet.
pub(super) struct Rest {
    body: WasiBody,
    max: u64,
    /// The attempt is over: what seems to be the body's end is none.
    over: Arc<AtomicBool>,
}

/// A body that was sent to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) digest: [u8; 32],
}

/// How far a body is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    Going,
    Done(Sent),
    Failed(Lost),
}

/// Reads a body as far as it is small. One that is over the limit already is read to its end,
/// so that a guest that still writes finds out in the answer, always in the same place. What was read
/// counts as `held`.
/// # Errors
/// Its guest gave it up, or it is over the limit.
pub(super) async fn take(
    mut body: WasiBody,
    max: u64,
    told: Option<u64>,
    (over, held): (Arc<AtomicBool>, &mut Held),
) -> Result<Intake, Lost> {
    let mut first = Vec::new();
    let mut trailers = HeaderMap::new();
    let mut total = 0;
    let mut refused = told.is_some_and(|bytes| bytes > max);
    loop {
        let data = match next(&mut body, &over).await? {
            Some(Part::Data(data)) => data,
            Some(Part::Trailers(all)) => {
                trailers = request::trailers(all).map_err(Lost::invalid)?;
                continue;
            }
            None => break,
        };
        total += data.len() as u64;
        refused |= total > max;
        if refused {
            continue;
        }
        let room = held.more(data.len());
        room.map_err(|_| Lost::protocol("the server keeps too much for the step"))?;
        first.extend_from_slice(&data);
        if first.len() > WHOLE_BYTES_MAX {
            let rest = Some(Rest { body, max, over });
            return Ok(Intake {
                first,
                rest,
                trailers,
            });
        }
    }
    if refused {
        return Err(Lost::request_too_large(told.unwrap_or(total), max));
    }
    Ok(Intake {
        first,
        rest: None,
        trailers,
    })
}

/// What a body has.
enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// The next part of a body that its guest writes; `None`: it has finished it.
async fn next(body: &mut WasiBody, over: &AtomicBool) -> Result<Option<Part>, Lost> {
    let broken = || Lost::protocol("the request's body was broken off");
    loop {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data().map_err(Frame::into_trailers) {
                Ok(data) => return Ok(Some(Part::Data(data))),
                Err(Ok(trailers)) => return Ok(Some(Part::Trailers(trailers))),
                Err(Err(_)) => {}
            },
            Some(Err(_)) => return Err(broken()),
            // With its attempt a body goes away as if it were finished.
            None if over.load(Ordering::Acquire) => return Err(broken()),
            None => return Ok(None),
        }
    }
}

/// What the client sends of a body that streams.
enum Piece {
    Data(Bytes),
    /// The last, with the trailers.
    End(HeaderMap),
}

/// Where the pieces of a body go while its call is under way.
pub(super) struct Outlet(mpsc::Receiver<Piece>);

impl Outlet {
    /// The body for the client, behind what was read of it. It ends well only if it came to
    /// its end.
    pub(super) fn body(self, first: Bytes) -> reqwest::Body {
        reqwest::Body::wrap(Outgoing {
            first: Some(first),
            rest: Some(self.0),
            trailers: HeaderMap::new(),
        })
    }
}

/// A body that is here whole, for the client.
pub(super) fn whole(body: Vec<u8>, trailers: &HeaderMap) -> reqwest::Body {
    if trailers.is_empty() {
        return body.into();
    }
    reqwest::Body::wrap(Outgoing {
        first: (!body.is_empty()).then(|| body.into()),
        rest: None,
        trailers: trailers.clone(),
    })
}

/// A body as the client takes it.
struct Outgoing {
    first: Option<Bytes>,
    /// Where the rest comes from, until it has ended.
    rest: Option<mpsc::Receiver<Piece>>,
    trailers: HeaderMap,
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if let Some(rest) = &mut this.rest {
            match ready!(rest.poll_recv(cx)) {
                Some(Piece::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Piece::End(trailers)) => this.trailers = trailers,
                None => {
                    let broken = std::io::Error::other("the request's body was broken off");
                    return Poll::Ready(Some(Err(broken)));
                }
            }
            this.rest = None;
        }
        let trailers = std::mem::take(&mut this.trailers);
        let last = (!trailers.is_empty()).then(|| Ok(Frame::trailers(trailers)));
        Poll::Ready(last)
    }
}

impl Rest {
    /// Reads the rest, for nobody.
    pub(super) async fn drain(mut self) {
        while let Ok(Some(_)) = next(&mut self.body, &self.over).await {}
    }

    /// Reads the rest on a task of its own. Without an outlet it goes nowhere.
    /// `wait`: how long the other side may take to take a piece. `ends` hears what was sent.
    pub(super) fn flow(
        self,
        first: &[u8],
        out: Option<Inlet>,
        wait: Duration,
        ends: impl FnOnce(Sent) + Send + 'static,
    ) -> watch::Receiver<Stage> {
        let (stage, told) = watch::channel(Stage::Going);
        let mut hash = Sha256::new();
        hash.update(first);
        let flow = Flow {
            bytes: first.len() as u64,
            hash,
            out,
            wait,
            stage,
        };
        tokio::spawn(flow.run(self, ends));
        told
    }
}

/// Where a body's pieces are put in.
pub(super) struct Inlet(mpsc::Sender<Piece>);

/// A way for pieces, one at a time: what is under way is bounded by what the guest may
/// write ahead.
pub(super) fn channel() -> (Inlet, Outlet) {
    let (to, from) = mpsc::channel(1);
    (Inlet(to), Outlet(from))
}

struct Flow {
    bytes: u64,
    hash: Sha256,
    out: Option<Inlet>,
    wait: Duration,
    stage: watch::Sender<Stage>,
}

impl Flow {
    async fn run(mut self, rest: Rest, ends: impl FnOnce(Sent)) {
        let Rest {
            mut body,
            max,
            over,
        } = rest;
        let mut trailers = HeaderMap::new();
        loop {
            match next(&mut body, &over).await {
                Ok(Some(Part::Trailers(all))) => match request::trailers(all) {
                    Ok(all) => trailers = all,
                    Err(failure) => self.fail(Lost::invalid(failure)),
                },
                Ok(Some(Part::Data(data))) => {
                    self.bytes += data.len() as u64;
                    if self.bytes > max {
                        self.fail(Lost::request_too_large(self.bytes, max));
                        continue;
                    }
                    self.hash.update(&data);
                    self.send(Piece::Data(data)).await;
                }
                Ok(None) => break,
                Err(lost) => return self.fail(lost),
            }
        }
        self.hash.update(request::spelt(&trailers));
        let sent = Sent {
            bytes: self.bytes,
            digest: self.hash.clone().finalize().into(),
        };
        // Before the other side can know: its answer is recorded with this.
        if self.becomes(Stage::Done(sent)) {
            ends(sent);
            self.send(Piece::End(trailers)).await;
        }
    }

    /// Hands a piece on, unless nobody takes any more.
    async fn send(&mut self, piece: Piece) {
        let Some(Inlet(out)) = &self.out else { return };
        match tokio::time::timeout(self.wait, out.send(piece)).await {
            Ok(Ok(())) => {}
            // The call is over; how, its answer says.
            Ok(Err(_)) => self.out = None,
            Err(_) => {
                let lost = Lost::write_timeout(self.wait);
                self.fail(lost);
            }
        }
    }

    /// The body goes out no further.
    fn fail(&mut self, lost: Lost) {
        // Said before the client finds its body broken: it is not the other side's doing.
        self.becomes(Stage::Failed(lost));
        self.out = None;
    }

    /// Says how it ends. The first word counts: whether this is it.
    fn becomes(&self, end: Stage) -> bool {
        self.stage.send_if_modified(|stage| {
            let going = matches!(stage, Stage::Going);
            if going {
                *stage = end;
            }
            going
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;
    use wasmtime_wasi_http::Error as Wire;

    use super::*;
    use crate::account::Account;

    const MAX: u64 = 1 << 20;
    const WAIT: Duration = Duration::from_millis(200);

    /// A body of pieces of 64 KiB, which breaks off behind them or ends.
    fn body(pieces: usize, breaks: bool) -> WasiBody {
        let piece = || Ok(Frame::data(Bytes::from(vec![7; 64 << 10])));
        let end = breaks.then_some(Err(Wire::HttpProtocolError));
        let frames = (0..pieces).map(move |_| piece()).chain(end);
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }

    fn held() -> Held {
        Account::new(crate::journal::for_tests()).open()
    }

    async fn taken(body: WasiBody, over: &Arc<AtomicBool>) -> (Vec<u8>, Rest) {
        let mut held = held();
        let taken = take(body, MAX, None, (Arc::clone(over), &mut held)).await;
        let Intake { first, rest, .. } = taken.expect("a body");
        (first, rest.expect("more"))
    }

    /// What a client gets of the outlet, and whether that ends well.
    async fn sent(outlet: Outlet, first: &[u8]) -> (usize, bool) {
        let mut body = http_body_util::BodyStream::new(outlet.body(first.to_vec().into()));
        let mut bytes = 0;
        while let Some(frame) = body.next().await {
            match frame {
                Ok(frame) => bytes += frame.into_data().map_or(0, |data| data.len()),
                Err(_) => return (bytes, false),
            }
        }
        (bytes, true)
    }

    #[tokio::test]
    async fn a_small_body_is_whole_and_a_long_one_is_not() {
        let over = Arc::default();
        let mut held = held();
        let small = take(body(4, false), MAX, None, (Arc::clone(&over), &mut held)).await;
        let small = small.expect("a body");
        assert!(small.rest.is_none() && small.first.len() == WHOLE_BYTES_MAX);
        let (first, _) = taken(body(5, false), &over).await;
        assert_eq!(first.len(), 5 << 16);
        let refused = take(body(1, false), MAX, Some(MAX + 1), (over, &mut held)).await;
        let told = refused.map(|_| ()).expect_err("too long").told;
        assert_eq!(told, crate::http::lost::Told::RequestTooLarge(MAX + 1));
    }

    #[tokio::test]
    async fn what_ends_well_is_told_before_the_other_side_knows() {
        let over = Arc::default();
        let (first, rest) = taken(body(9, false), &over).await;
        let (inlet, outlet) = channel();
        let (tell, told) = tokio::sync::oneshot::channel();
        let ends = |sent| assert!(tell.send(sent).is_ok());
        let stage = rest.flow(&first, Some(inlet), WAIT, ends);
        assert_eq!(sent(outlet, &first).await, (9 << 16, true));
        let Stage::Done(sent) = stage.borrow().clone() else {
            panic!("not done");
        };
        let digest = Sha256::digest(vec![7; 9 << 16]).into();
        let bytes = 9 << 16;
        assert_eq!(sent, Sent { bytes, digest });
        assert_eq!(told.await, Ok(sent));
    }

    fn sum(value: &'static str) -> HeaderMap {
        let name = http::HeaderName::from_static("x-sum");
        HeaderMap::from_iter([(name, http::HeaderValue::from_static(value))])
    }

    /// As [`body`], with trailers behind it, one of which is not the guest's to say.
    fn with_trailers(pieces: usize, mut trailers: HeaderMap) -> WasiBody {
        trailers.insert("content-length", http::HeaderValue::from_static("7"));
        let data = (0..pieces).map(|_| Frame::data(Bytes::from(vec![7; 64 << 10])));
        let frames = data.chain([Frame::trailers(trailers)]).map(Ok);
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }

    #[tokio::test]
    async fn trailers_go_out_behind_a_body_and_are_part_of_it() {
        let over = Arc::default();
        let mut held = held();
        let body = with_trailers(2, sum("7"));
        let small = take(body, MAX, None, (Arc::clone(&over), &mut held)).await;
        let small = small.expect("a body");
        assert_eq!(small.trailers, sum("7"));
        let all = whole(small.first, &small.trailers).collect().await;
        let all = all.expect("a body");
        assert_eq!(all.trailers(), Some(&sum("7")));
        assert_eq!(all.to_bytes().len(), 2 << 16);
        let none = whole(Vec::new(), &sum("7")).collect().await;
        assert_eq!(none.expect("a body").trailers(), Some(&sum("7")));

        let mut digests = Vec::new();
        for trailers in [sum("7"), sum("8"), HeaderMap::new()] {
            let (first, rest) = taken(with_trailers(9, trailers.clone()), &over).await;
            let (inlet, outlet) = channel();
            let stage = rest.flow(&first, Some(inlet), WAIT, |_| {});
            let all = outlet.body(first.into()).collect().await.expect("a body");
            let expected = (!trailers.is_empty()).then_some(&trailers);
            assert_eq!(all.trailers(), expected);
            let Stage::Done(sent) = stage.borrow().clone() else {
                panic!("not done");
            };
            assert_eq!(sent.bytes, 9 << 16);
            digests.push(sent.digest);
        }
        assert_ne!(digests[0], digests[1]);
        assert_ne!(digests[1], digests[2]);

        let names = (0..101).map(|n| http::HeaderName::try_from(format!("x-{n}")).expect("a name"));
        let value = || http::HeaderValue::from_static("7");
        let many = HeaderMap::from_iter(names.map(|name| (name, value())));
        let refused = take(with_trailers(1, many), MAX, None, (over, &mut held)).await;
        let told = refused.map(|_| ()).expect_err("too many").told;
        assert_eq!(told, crate::http::lost::Told::Invalid);
    }

    #[tokio::test]
    async fn nothing_else_ends_well() {
        let check = async |body: WasiBody, ends: bool, name: &str| {
            let over = Arc::new(AtomicBool::new(false));
            let (first, rest) = taken(body, &over).await;
            over.store(ends, Ordering::Release);
            let (inlet, outlet) = channel();
            let ends = |_| panic!("it did not end well");
            let stage = rest.flow(&first, Some(inlet), WAIT, ends);
            let (_, well) = sent(outlet, &first).await;
            assert!(!well, "{name}");
            assert!(matches!(*stage.borrow(), Stage::Failed(_)), "{name}");
        };
        check(body(9, true), false, "its guest dropped it").await;
        check(body(9, false), true, "its attempt is over").await;
        check(body(17, false), false, "it is too long").await;
    }

    #[tokio::test]
    async fn a_body_that_nobody_takes_is_read_to_its_end() {
        let over = Arc::default();
        let (first, rest) = taken(body(9, false), &over).await;
        let (inlet, outlet) = channel();
        drop(outlet);
        let mut stage = rest.flow(&first, Some(inlet), WAIT, |_| {});
        let done = stage.wait_for(|s| matches!(s, Stage::Done(_))).await;
        assert!(done.is_ok());

        let (first, rest) = taken(body(9, false), &over).await;
        let (inlet, _held) = channel();
        let mut stage = rest.flow(&first, Some(inlet), WAIT, |_| {});
        let failed = stage.wait_for(|s| !matches!(s, Stage::Going)).await;
        assert!(
            matches!(&*failed.expect("a stage"), Stage::Failed(lost) if &*lost.failure.error == "States.Timeout")
        );
    }
}
