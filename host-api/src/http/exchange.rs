//! One call of a guest and its answer, piece by piece, as the journal records and repeats it.
//!
//! A small answer is one piece. A long one is a head and the pieces of its body as they came; if a crash
//! cut it, the call is sent again under the same key and goes on behind the bytes that the guest has.
//! Refuses to go on when the other side no longer says the same, or when the call's own body is gone.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use serde::{Deserialize, Serialize};
use stepwell_types::{Digest, Failure, Granted};
use tokio::sync::watch;
use wasmtime_wasi_http::WasiBody;

use super::HttpBridge;
use super::guest::Waited;
use super::lost::{Lost, Told};
use super::request::Checked;
use super::upload::{self, Outlet, Rest, Sent, Stage};
use crate::journal::{Call, diverged};
use crate::limit::{self, Permit};

/// First byte of a recorded piece.
const VERSION: u8 = 1;
/// A body up to this is recorded with its head, in one piece.
const WHOLE_BYTES_MAX: u64 = 64 << 10;
/// Largest piece of a body.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// How long a guest's call waits, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) head: Duration,
    pub(crate) piece: Duration,
}

/// A recorded piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Piece {
    /// A head, and the body when it is whole.
    Head {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Option<Vec<u8>>,
    },
    Body(Vec<u8>),
    End,
    Lost(Lost),
    /// Any of the others, and what was sent of a body that streamed, which had ended by then.
    Sent(Sent, Box<Piece>),
    /// What follows a body.
    Trailers(Vec<(String, Vec<u8>)>),
}

impl Piece {
    fn encode(&self) -> Vec<u8> {
        // Plain data into memory: the encoder has no way to fail.
        let mut bytes = vec![VERSION];
        bytes.extend(postcard::to_allocvec(self).unwrap_or_default());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Piece> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => postcard::from_bytes(rest).ok(),
            _ => None,
        }
    }

    /// How many bytes of its body it ends with, if it is not all of that.
    fn streamed(&self) -> usize {
        match self {
            Piece::Body(bytes) => bytes.len(),
            Piece::Sent(_, piece) => piece.streamed(),
            Piece::Head { .. } | Piece::End | Piece::Lost(_) | Piece::Trailers(_) => 0,
        }
    }

    /// What of it is an answer.
    fn answer(self) -> Piece {
        match self {
            Piece::Sent(_, piece) => *piece,
            piece => piece,
        }
    }
}

/// A call under way: all that is needed to send it, and to send it again.
struct Exchange {
    bridge: Arc<HttpBridge>,
    call: Call,
    request: Checked,
    granted: Granted,
    timeouts: Timeouts,
    /// How far the request's body is, if that streams.
    upload: Option<Upload>,
}

/// The body of a request, as far as an exchange has to do with it.
struct Upload {
    stage: watch::Receiver<Stage>,
    /// Where it comes out, until the call is sent.
    outlet: Option<Outlet>,
    /// Its digest is not recorded yet.
    untold: bool,
}

/// A response as it comes.
struct Coming {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Body,
}

/// The body of a response as it comes, and the place that it takes among all calls.
struct Body {
    response: reqwest::Body,
    left: u64,
    max: u64,
    timeout: Duration,
    /// What came and was too much for one piece.
    rest: Bytes,
    /// What came behind that.
    trailers: Option<Vec<(String, Vec<u8>)>>,
    _permit: Permit,
}

/// The answer to a guest's call: from the journal as far as it goes, then from outside.
/// # Errors
/// What the call was lost with; the attempt may have ended.
pub(crate) async fn answer(
    bridge: Arc<HttpBridge>,
    call: Call,
    (request, rest): (Checked, Option<Rest>),
    granted: Granted,
    timeouts: Timeouts,
    looks: Arc<AtomicBool>,
) -> Result<http::Response<WasiBody>, Lost> {
    let mut exchange = Exchange {
        bridge,
        call,
        request,
        granted,
        timeouts,
        upload: None,
    };
    let internal = |failure| Lost {
        told: Told::Internal,
        failure,
    };
    let digest = exchange.request.digest();
    let what = || exchange.request.describe();
    let admitted = exchange.call.admit_in_turn(digest, &what, exchange.turn());
    let admitted = admitted.await.map_err(internal)?;
    if let Some(rest) = rest {
        exchange.flow(rest, admitted.is_some());
    }
    let (head, live) = match admitted {
        None => (exchange.recorded().map_err(internal)?, None),
        // That there was no turn is an answer too: the guest goes on from it.
        Some(turn) => {
            let (head, live) = exchange.head(turn).await;
            (exchange.record(head), live)
        }
    };
    let (status, headers, body) = match head {
        Piece::Head {
            status,
            headers,
            body,
        } => (status, headers, body),
        Piece::Lost(lost) => return Err(lost),
        Piece::Body(_) | Piece::End | Piece::Sent(..) | Piece::Trailers(_) => {
            return Err(internal(exchange.unreadable()));
        }
    };
    let pieces = match body {
        Some(body) if body.is_empty() => stream::empty().boxed(),
        Some(body) => stream::iter([Ok(Frame::data(Bytes::from(body)))]).boxed(),
        None => exchange.pieces(status, live),
    };
    let mut response = http::Response::builder().status(status);
    for (name, value) in &headers {
        response = response.header(name.as_str(), value.as_slice());
    }
    let body = Waited { pieces, looks };
    response
        .body(body.boxed_unsync())
        .map_err(|_| Lost::protocol("the response's head is no HTTP"))
}

/// Waits until a call is given up whose head does not come: in time, or in time after its
/// body was sent. A body may be given up itself.
async fn given_up(upload: Option<&mut Upload>, wait: Duration) -> Lost {
    if let Some(upload) = upload {
        let ended = upload
            .stage
            .wait_for(|stage| !matches!(stage, Stage::Going));
        if let Ok(stage) = ended.await
            && let Stage::Failed(lost) = &*stage
        {
            return lost.clone();
        }
    }
    tokio::time::sleep(wait).await;
    Lost::timeout(Told::Timeout, "the response's head", wait)
}

impl Exchange {
    /// The next recorded piece.
    fn recorded(&mut self) -> Result<Piece, Failure> {
        let bytes = self.call.recorded().unwrap_or_default();
        let piece = Piece::decode(&bytes).map(Piece::answer);
        piece.ok_or_else(|| self.unreadable())
    }

    /// Lets the rest of the request's body come: out, if the call is made now; else only to see
    /// whether it is what it was before the crash.
    fn flow(&mut self, rest: Rest, live: bool) {
        let mut recorded = self.call.recorded_all().iter();
        let before = recorded.find_map(|bytes| match Piece::decode(&self.call.opened(bytes)) {
            Some(Piece::Sent(sent, _)) => Some(sent),
            _ => None,
        });
        let witness = self.call.witness();
        let head = self.request.describe_head();
        let ends = move |sent: Sent| {
            let digest = Digest(sent.digest);
            let what = || format!("{head}\n\n{} bytes, SHA-256 {digest}", sent.bytes);
            witness.asked(&what);
            if before.is_some_and(|before| before != sent) {
                witness.diverges();
            }
        };
        let (inlet, outlet) = upload::channel();
        let inlet = live.then_some(inlet);
        let wait = self.timeouts.piece;
        self.upload = Some(Upload {
            stage: rest.flow(&self.request.body, inlet, wait, ends),
            outlet: live.then_some(outlet),
            untold: live,
        });
    }

    /// Records a piece of the answer, with what was sent if that is known since.
    fn record(&mut self, piece: Piece) -> Piece {
        let untold = self.upload.as_mut().filter(|upload| upload.untold);
        let sent = untold.and_then(|upload| match *upload.stage.borrow() {
            Stage::Done(sent) => {
                upload.untold = false;
                Some(sent)
            }
            _ => None,
        });
        let piece = match sent {
            Some(sent) => Piece::Sent(sent, Box::new(piece)),
            None => piece,
        };
        self.call.record_streamed(piece.encode(), piece.streamed());
        piece.answer()
    }

    fn unreadable(&self) -> Failure {
        let failure = diverged("the recorded answer of this call can't be read");
        self.call.ends(failure)
    }

    /// Sends the call: a head, with the body if that is small, or how it was lost.
    async fn head(&mut self, turn: Result<Permit, Failure>) -> (Piece, Option<Body>) {
        let coming = match self.send(turn).await {
            Ok(coming) => coming,
            Err(lost) => return (Piece::Lost(lost), None),
        };
        let Coming {
            status,
            headers,
            mut body,
        } = coming;
        let small = body
            .response
            .size_hint()
            .exact()
            .is_some_and(|bytes| bytes <= WHOLE_BYTES_MAX);
        if !small {
            let head = Piece::Head {
                status,
                headers,
                body: None,
            };
            return (head, Some(body));
        }
        let mut whole = Vec::new();
        loop {
            match body.next().await {
                Ok(Some(piece)) => whole.extend_from_slice(&piece),
                Ok(None) => break,
                Err(lost) => return (Piece::Lost(lost), None),
            }
        }
        if body.trailers.is_some() {
            body.put_back(whole.into());
            let head = Piece::Head {
                status,
                headers,
                body: None,
            };
            return (head, Some(body));
        }
        let head = Piece::Head {
            status,
            headers,
            body: Some(whole),
        };
        (head, None)
    }

    /// Waits for its turn with the host.
    async fn turn(&self) -> Result<Permit, Failure> {
        let target = limit::host(&self.request.url);
        let limiter = &self.bridge.limiter;
        limiter.turn(&target, self.call.asker()).await
    }

    async fn send(&mut self, turn: Result<Permit, Failure>) -> Result<Coming, Lost> {
        // Whatever becomes of the call, nothing waits for a body that goes nowhere.
        let outlet = self.upload.as_mut().and_then(|u| u.outlet.take());
        let mut permit = turn.map_err(Lost::unavailable)?;
        let sender = self.bridge.sender().map_err(Lost::invalid)?;
        let wait = self.timeouts.head.saturating_add(self.timeouts.connect);
        let body = match outlet {
            Some(outlet) => outlet.body(self.request.body.clone().into()),
            None => upload::whole(self.request.body.clone(), &self.request.trailers),
        };
        let sent = sender.exchange(&self.request, body, self.granted.into());
        let response = tokio::select! {
            biased;
            lost = given_up(self.upload.as_mut(), wait) => {
                match lost.told {
                    Told::Timeout => permit.timed_out(wait),
                    Told::WriteTimeout => permit.timed_out(self.timeouts.piece),
                    _ => {}
                }
                return Err(lost);
            }
            sent = sent => sent.inspect_err(|lost| permit.failed(&lost.failure))?,
        };
        permit.answered(response.status(), response.headers());
        let max = self.request.response_bytes_max;
        if response.content_length().is_some_and(|bytes| bytes > max) {
            return Err(Lost::response_too_large(max));
        }
        Ok(Coming {
            status: response.status().as_u16(),
            headers: listed(response.headers()),
            body: Body {
                response: response.into(),
                left: max,
                max,
                timeout: self.timeouts.piece,
                rest: Bytes::new(),
                trailers: None,
                _permit: permit,
            },
        })
    }

    /// The body, piece by piece: recorded ones, then those that come, each recorded before it
    /// is given.
    fn pieces(
        self,
        status: u16,
        live: Option<Body>,
    ) -> BoxStream<'static, Result<Frame<Bytes>, Lost>> {
        let state = Reading {
            exchange: self,
            status,
            live,
            given: Vec::new(),
            over: false,
        };
        stream::unfold(state, |mut reading| async move {
            let piece = reading.next().await?;
            Some((piece, reading))
        })
        .boxed()
    }
}

/// A body that a guest reads.
struct Reading {
    exchange: Exchange,
    status: u16,
    live: Option<Body>,
    /// What the guest was given from the journal.
    given: Vec<u8>,
    over: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, Lost>> {
        if self.over {
            return None;
        }
        let piece = match self.exchange.call.recorded() {
            Some(bytes) => match Piece::decode(&bytes).map(Piece::answer) {
                Some(piece) => piece,
                None => Piece::Lost(Lost {
                    told: Told::Internal,
                    failure: self.exchange.unreadable(),
                }),
            },
            None => {
                let piece = self.come().await;
                // The attempt's own end is no answer.
                let ours = |lost: &Lost| lost.told == Told::Internal;
                match &piece {
                    Piece::Lost(lost) if ours(lost) => piece,
                    _ => self.exchange.record(piece),
                }
            }
        };
        match piece {
            Piece::Body(bytes) => {
                if self.live.is_none() {
                    self.given.extend_from_slice(&bytes);
                }
                Some(Ok(Frame::data(bytes.into())))
            }
            Piece::Trailers(all) => {
                self.over = true;
                let mut trailers = HeaderMap::new();
                for (name, value) in all {
                    let name = HeaderName::try_from(name);
                    let value = HeaderValue::try_from(value);
                    if let (Ok(name), Ok(value)) = (name, value) {
                        trailers.append(name, value);
                    }
                }
                Some(Ok(Frame::trailers(trailers)))
            }
            Piece::End | Piece::Head { .. } | Piece::Sent(..) => {
                self.over = true;
                None
            }
            Piece::Lost(lost) => {
                self.over = true;
                Some(Err(lost))
            }
        }
    }

    /// The next piece from outside.
    async fn come(&mut self) -> Piece {
        if self.live.is_none() {
            match self.again().await {
                Ok(body) => self.live = Some(body),
                Err(lost) => return Piece::Lost(lost),
            }
            self.given = Vec::new();
        }
        let Some(body) = &mut self.live else {
            return Piece::End;
        };
        match body.next().await {
            Ok(Some(bytes)) => Piece::Body(bytes.to_vec()),
            Ok(None) => body.trailers.take().map_or(Piece::End, Piece::Trailers),
            Err(lost) => Piece::Lost(lost),
        }
    }

    /// Sends the call again after a crash that cut its answer, and reads what the guest has.
    async fn again(&mut self) -> Result<Body, Lost> {
        let other = || {
            Lost::new(
                Told::Incomplete,
                "States.Http.Socket",
                "the server stopped within the response, and the other side gave another one since",
            )
        };
        if self.exchange.upload.is_some() {
            return Err(Lost::new(
                Told::Incomplete,
                "States.Http.Socket",
                "the server stopped within the response, and the request's body went by: its call is not sent again",
            ));
        }
        let digest = self.exchange.request.digest();
        let turn = self.exchange.turn().await;
        let leave = self.exchange.call.leave(digest).await;
        leave.map_err(|failure| Lost {
            told: Told::Internal,
            failure,
        })?;
        let Coming {
            status, mut body, ..
        } = self.exchange.send(turn).await?;
        if status != self.status {
            return Err(other());
        }
        let mut given = self.given.as_slice();
        while !given.is_empty() {
            let piece = body.next().await?.ok_or_else(other)?;
            let known = given.len().min(piece.len());
            let (same, more) = given.split_at(known);
            if same != &piece[..known] {
                return Err(other());
            }
            given = more;
            if known < piece.len() {
                body.put_back(piece.slice(known..));
            }
        }
        self.exchange.call.goes_on_behind(&self.given);
        Ok(body)
    }
}

impl Body {
    /// The next piece, never empty; `None`: it was the last, and the trailers are known.
    async fn next(&mut self) -> Result<Option<Bytes>, Lost> {
        while self.rest.is_empty() {
            let frame = match tokio::time::timeout(self.timeout, self.response.frame()).await {
                Ok(frame) => frame.transpose().map_err(Lost::of)?,
                Err(_) => {
                    let what = "a piece of the response";
                    return Err(Lost::timeout(Told::PieceTimeout, what, self.timeout));
                }
            };
            let Some(frame) = frame else { return Ok(None) };
            let chunk = match frame.into_data().map_err(Frame::into_trailers) {
                Ok(chunk) => chunk,
                Err(Ok(trailers)) => {
                    self.trailers = Some(listed(&trailers));
                    continue;
                }
                Err(Err(_)) => continue,
            };
            self.left = match self.left.checked_sub(chunk.len() as u64) {
                Some(left) => left,
                None => return Err(Lost::response_too_large(self.max)),
            };
            self.rest = chunk;
        }
        let bytes = self.rest.len().min(PIECE_BYTES_MAX);
        Ok(Some(self.rest.split_to(bytes)))
    }

    /// Gives a part of the last piece back.
    fn put_back(&mut self, bytes: Bytes) {
        self.rest = if self.rest.is_empty() {
            bytes
        } else {
            [bytes, self.rest.clone()].concat().into()
        };
    }
}

/// Headers, for a record.
fn listed(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    headers.collect()
}

#[cfg(test)]
mod tests;
