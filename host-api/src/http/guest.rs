//! The guest's door to the bridge: `wasi:http/outgoing-handler`, so that each language's own client works.
//!
//! Bodies stream both ways (`upload.rs` for those that go out). Redirects are the client's to follow,
//! and each hop is a call.
//! Refuses what the module was not granted, whatever the configuration allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TE, TRAILER};
use stepwell_types::{Granted, Grants, LogLevel};
use wasmtime::component::{Linker, Resource};
use wasmtime::{Result as Trappable, StoreContextMut};
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error as Wire, ForbiddenHeaderFilter, RequestOptions, WasiBody,
    WasiHttp, WasiHttpHooks,
};

use super::HttpBridge;
use super::exchange::{self, Timeouts};
use super::lost::Lost;
use super::request::{self, Checked, Streams};
use super::upload::{self, Intake, Rest};
use crate::Outside;
use crate::account::{Account, Held};
use crate::host::HostView;
use crate::journal::Call;
use crate::log::{SharedLogs, lock};
use crate::waits::WASI;

/// How long a guest's call waits for the response's head, and between two pieces of its body,
/// if the guest doesn't say.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most that a guest may ask for.
const PATIENCE_MAX: Duration = Duration::from_secs(900);
/// Pieces of a request's body that a guest may write before they go out, or before it sends
/// the request. More of them wait for room.
const BODY_PIECES: usize = 16;
/// The largest of them, in bytes.
const BODY_PIECE_BYTES: usize = 64 << 10;

/// What a guest's HTTP calls go through.
pub(crate) struct HttpDoor {
    bridge: Arc<HttpBridge>,
    journal: Arc<crate::Journal>,
    grants: Option<Arc<Grants>>,
    /// Whether the guest looks without waiting.
    looks: Arc<AtomicBool>,
    /// The attempt is over.
    over: Arc<AtomicBool>,
    account: Account,
    logs: SharedLogs,
}

/// Goes before the attempt's resources: a body among them is not finished by that.
impl Drop for HttpDoor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
    }
}

impl HttpDoor {
    pub(crate) fn new(
        outside: &Outside,
        looks: Arc<AtomicBool>,
        account: Account,
        logs: SharedLogs,
    ) -> HttpDoor {
        HttpDoor {
            bridge: outside.bridges().http.clone(),
            journal: outside.journal.clone(),
            grants: outside.grants().cloned(),
            looks,
            over: Arc::default(),
            account,
            logs,
        }
    }
}

type Answered = Result<
    (
        http::Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Wire>> + Send>,
    ),
    Wire,
>;

impl WasiHttpHooks for HttpDoor {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        BODY_PIECES
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        BODY_PIECE_BYTES
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Wire>> + Send>,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        // Numbered here, in the order in which the guest calls.
        let call = self.journal.call();
        let bridge = self.bridge.clone();
        let grants = self.grants.clone();
        let (looks, over, held) = (self.looks.clone(), self.over.clone(), self.account.open());
        let logs = self.logs.clone();
        Box::new(async move {
            let place = Place::of(&request);
            let with = (looks, over, held);
            let answered = answer(bridge, call, grants.as_deref(), request, options, with).await;
            match answered {
                Ok(response) => {
                    let nothing: Box<dyn Future<Output = _> + Send> =
                        Box::new(std::future::ready(Ok(())));
                    Ok((response, nothing))
                }
                Err(lost) => {
                    let line = format!("{place}: {}: {}", lost.failure.error, lost.failure.cause);
                    lock(&logs).push(LogLevel::Warn, &line);
                    Err(lost.into())
                }
            }
        })
    }
}

/// Where a call goes, for messages: no query, which may hold a secret.
struct Place(String);

impl Place {
    fn of(request: &http::Request<WasiBody>) -> Place {
        let uri = request.uri();
        let place = uri.authority().map_or("", |a| a.as_str());
        let place: String = place.chars().take(256).collect();
        Place(format!("HTTP {} {place}", request.method()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

async fn answer(
    bridge: Arc<HttpBridge>,
    call: Call,
    grants: Option<&Grants>,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
    (looks, over, mut held): (Arc<AtomicBool>, Arc<AtomicBool>, Held),
) -> Result<http::Response<WasiBody>, Lost> {
    let options = options.unwrap_or_default();
    let wait = |wanted: Option<Duration>| wanted.unwrap_or(PATIENCE).min(PATIENCE_MAX);
    let timeouts = Timeouts {
        connect: wait(options.connect_timeout),
        head: wait(options.first_byte_timeout),
        piece: wait(options.between_bytes_timeout),
    };
    let (checked, rest) = take_in(&bridge, &call, request, (over, &mut held)).await?;
    let Some(granted) = super::granted(grants, &checked) else {
        return refused(rest, Lost::denied(super::not_granted(&checked))).await;
    };
    exchange::answer(bridge, call, (checked, rest), granted, timeouts, looks).await
}

/// A call that is not made. Its guest may still write, and finds out in the answer.
async fn refused<T>(rest: Option<Rest>, lost: Lost) -> Result<T, Lost> {
    if let Some(rest) = rest {
        rest.drain().await;
    }
    Err(lost)
}

/// The request, checked, and what is still to come of its body.
async fn take_in(
    bridge: &HttpBridge,
    call: &Call,
    request: http::Request<WasiBody>,
    (over, held): (Arc<AtomicBool>, &mut Held),
) -> Result<(Checked, Option<Rest>), Lost> {
    let (parts, body) = request.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
    let max = bridge.ceilings.guest_request_bytes;
    let intake = upload::take(body, max, length, (over, held)).await?;
    let Intake {
        first,
        rest,
        trailers,
    } = intake;
    let mut headers = parts.headers;
    let (named, length) = follows(&parts.method, &mut headers, rest.is_some(), length);
    let streams = rest.as_ref().map(|_| Streams(length));
    // That it takes trailers is all that it may say of the answer's transfer.
    let takes = headers.remove(TE);
    let takes = takes.filter(|value| value.as_bytes() == b"trailers");
    // The client says how long the body is; what else is refused to Tasks is refused here.
    headers.remove(CONTENT_LENGTH);
    for name in stepwell_types::limits::HTTP_HEADERS_REFUSED {
        headers.remove(name);
    }
    headers.extend(named.map(|names| (TRAILER, names)));
    headers.extend(takes.map(|value| (TE, value)));
    let body = (first, streams);
    let checked = request::from_guest(&parts.method, &parts.uri, headers, body, trailers);
    let mut checked = match checked {
        Ok(checked) => checked,
        Err(failure) => return refused(rest, Lost::invalid(failure)).await,
    };
    let key = HeaderName::from_static("idempotency-key");
    if !checked.is_safe() && !checked.headers.contains_key(&key) {
        let value = http::HeaderValue::try_from(call.key())
            .map_err(|_| Lost::protocol("the idempotency key is no header value"))?;
        checked.headers.insert(key, value);
    }
    checked.response_bytes_max = bridge.ceilings.response_bytes;
    Ok((checked, rest))
}

/// The names of what follows a body that is not here yet, as its guest says them, and how long that body
/// is then: over HTTP/1.1 one with trailers has no length. A GET or HEAD has no trailers there, and
/// nothing of its body would go out without a length.
fn follows(
    method: &Method,
    headers: &mut HeaderMap,
    streams: bool,
    length: Option<u64>,
) -> (Option<HeaderValue>, Option<u64>) {
    let names = headers.get_all(TRAILER).iter().map(HeaderValue::as_bytes);
    let names = names.collect::<Vec<&[u8]>>().join(&b", "[..]);
    headers.remove(TRAILER);
    if !streams || names.is_empty() || matches!(*method, Method::GET | Method::HEAD) {
        return (None, length);
    }
    (HeaderValue::try_from(names).ok(), None)
}

/// A body that guests read: nothing of it is there before the guest waits for it.
pub(crate) struct Waited {
    pub(crate) pieces:
        futures_util::stream::BoxStream<'static, Result<http_body::Frame<Bytes>, Lost>>,
    pub(crate) looks: Arc<AtomicBool>,
}

impl http_body::Body for Waited {
    type Data = Bytes;
    type Error = Wire;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Wire>>> {
        if self.looks.load(Ordering::Relaxed) {
            return std::task::Poll::Pending;
        }
        let next = self.pieces.as_mut().poll_next(cx);
        next.map(|next| next.map(|piece| piece.map_err(Wire::from)))
    }
}

/// Offers `wasi:http` to guests.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Trappable<()> {
    let options = types::LinkOptions::default();
    types::add_to_linker::<T, WasiHttp>(linker, &options, |t| t.host().http())?;
    outgoing_handler::add_to_linker::<T, WasiHttp>(linker, |t| t.host().http())
}

/// What a stream broke off with. wasmtime-wasi-http's own function looks for another type than
/// its streams have.
fn code(error: &Wire) -> types::ErrorCode {
    match error {
        Wire::ConnectionReadTimeout => types::ErrorCode::ConnectionReadTimeout,
        Wire::ConnectionRefused => types::ErrorCode::ConnectionRefused,
        Wire::ConnectionTimeout => types::ErrorCode::ConnectionTimeout,
        Wire::HttpResponseBodySize(bytes) => types::ErrorCode::HttpResponseBodySize(*bytes),
        Wire::HttpResponseIncomplete => types::ErrorCode::HttpResponseIncomplete,
        Wire::HttpResponseTimeout => types::ErrorCode::HttpResponseTimeout,
        Wire::InternalError(text) => types::ErrorCode::InternalError(text.clone()),
        _ => types::ErrorCode::HttpProtocolError,
    }
}

/// A guest that calls goes on where the call holds nobody up. The linker must allow shadowing.
pub(crate) fn link_handle<T: HostView>(linker: &mut Linker<T>) -> Trappable<()> {
    type Given = (
        Resource<HostOutgoingRequest>,
        Option<Resource<RequestOptions>>,
    );
    let mut known = linker.instance(&format!("wasi:http/types@{WASI}"))?;
    known.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, T>, (error,): (Resource<types::IoError>,)| {
            let http = store.data_mut().host().http();
            let error = http.table.get(&error)?;
            Ok((error.downcast_ref::<Wire>().map(code),))
        },
    )?;
    let mut handler = linker.instance(&format!("wasi:http/outgoing-handler@{WASI}"))?;
    handler.func_wrap_async(
        "handle",
        |mut store: StoreContextMut<'_, T>, (request, options): Given| {
            Box::new(async move {
                store.data_mut().host().io().waits.step_aside().await;
                let host = store.data_mut().host();
                host.forget(request.rep());
                let mut http = host.http();
                let sent: Result<Resource<HostFutureIncomingResponse>, _> =
                    outgoing_handler::Host::handle(&mut http, request, options);
                Ok((match sent {
                    Ok(response) => Ok(response),
                    Err(e) => Err(e.downcast()?),
                },))
            })
        },
    )
}

/// How strictly addresses are judged.
impl From<Granted> for super::send::Strictness {
    fn from(granted: Granted) -> super::send::Strictness {
        match granted {
            Granted::Public => super::send::Strictness::PublicOnly,
            Granted::Named => super::send::Strictness::Configured,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_streams_has_a_length_or_trailers() {
        let check = |method: Method, streams: bool, given: &[&'static str], kept: Option<&str>| {
            let values = given.iter().copied().map(HeaderValue::from_static);
            let mut headers: HeaderMap = values.map(|value| (TRAILER, value)).collect();
            let (named, length) = follows(&method, &mut headers, streams, Some(1 << 20));
            let named = named.as_ref().and_then(|names| names.to_str().ok());
            assert_eq!(named, kept, "{method} {streams} {given:?}");
            assert_eq!(length.is_none(), kept.is_some());
            assert!(headers.is_empty());
        };
        check(Method::PUT, true, &[], None);
        check(Method::PUT, true, &["x-sum"], Some("x-sum"));
        let both = Some("x-sum, x-more");
        check(Method::PUT, true, &["x-sum", "x-more"], both);
        // A small one's are known.
        check(Method::PUT, false, &["x-sum"], None);
        check(Method::GET, true, &["x-sum"], None);
        check(Method::HEAD, true, &["x-sum"], None);
    }
}
