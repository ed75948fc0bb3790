//! What every request passes, in one layer: the token, a request id, a net under
//! panics, counters, security headers, and the body of a refusal.
//!
//! Refuses to be a stack: each further layer would cost every request a box.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use tower::{Layer, Service};

use crate::answers::Answers;
use crate::auth::{Token, is_local};
use crate::linger::Lingering;
use crate::metrics::HttpMetrics;
use crate::patient::TAKES;
use crate::problem::Problem;
use crate::stalled::Stalled;
use crate::{Error, Options};

/// Paths that tell only whether the server is up, and need no token.
const OPEN: [&str; 2] = ["/healthz", "/readyz"];
/// Pages that are the same in every server: whoever is refused may read why.
const PAGES: &str = "/docs/errors/";
/// Characters of a path that the log repeats.
const LOGGED_CHARS: usize = 200;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The layer.
#[derive(Clone)]
pub(crate) struct Edge(Arc<Shared>);

struct Shared {
    token: Option<Token>,
    seed: u32,
    count: AtomicU32,
    metrics: Arc<HttpMetrics>,
    answers: Answers,
}

impl Edge {
    pub(crate) fn new(options: &Options, metrics: Arc<HttpMetrics>) -> Edge {
        Edge(Arc::new(Shared {
            token: options.token.clone(),
            seed: options.request_seed,
            count: AtomicU32::new(0),
            metrics,
            answers: Answers::new(options.answers_bytes_max),
        }))
    }
}

impl<S> Layer<S> for Edge {
    type Service = EdgeService<S>;
    fn layer(&self, inner: S) -> EdgeService<S> {
        EdgeService {
            shared: Arc::clone(&self.0),
            inner,
        }
    }
}

/// The layer around one route.
#[derive(Clone)]
pub(crate) struct EdgeService<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request> for EdgeService<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let id = shared.request_id(request.headers());
        let path = request.uri().path().to_owned();
        // A stream of HTTP/2 ends alone.
        let one_by_one = request.version() <= Version::HTTP_11;
        let held_back = one_by_one && request.headers().contains_key(header::EXPECT);
        let request = match one_by_one {
            true => request.map(|body| Lingering::around(body, held_back)),
            false => request,
        };
        if let Err(refusal) = shared.admit(&request, &path) {
            let response = Problem::from(refusal).into_response();
            shared.metrics.refused(response.status());
            let response = finish(response, &path, id, held_back);
            return Box::pin(std::future::ready(Ok(response)));
        }
        let inside = AssertUnwindSafe(self.inner.call(request)).catch_unwind();
        Box::pin(async move {
            let timer = shared.metrics.begin();
            let response = match inside.await {
                Ok(Ok(response)) => response,
                Ok(Err(never)) => match never {},
                Err(panic) => {
                    let reason = panic_text(&*panic);
                    let request_id = id.to_str().unwrap_or_default();
                    let path = for_log(&path);
                    tracing::error!(request_id, path, reason, "a request handler panicked");
                    Problem::from(Error::Internal).into_response()
                }
            };
            let response = match shared.answers.hold(response) {
                Ok(response) if one_by_one => response,
                Ok(response) => response.map(|body| Stalled::around(body, TAKES)),
                Err(full) => Problem::from(full).into_response(),
            };
            let response = finish(response, &path, id, held_back);
            timer.end(response.status());
            Ok(response)
        })
    }
}

impl Shared {
    /// The caller's own id when it is a plain one, else a new one.
    fn request_id(&self, headers: &HeaderMap) -> HeaderValue {
        let plain = |b: &u8| b.is_ascii_alphanumeric() || b"._-".contains(b);
        if let Some(given) = headers.get(&REQUEST_ID) {
            let text = given.as_bytes();
            if (1..=64).contains(&text.len()) && text.iter().all(plain) {
                return given.clone();
            }
        }
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let text = format!("{:08x}{n:08x}", self.seed);
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("0"))
    }

    fn admit(&self, request: &Request, path: &str) -> Result<(), Error> {
        if OPEN.contains(&path) || path.starts_with(PAGES) {
            return Ok(());
        }
        match &self.token {
            Some(token) if token.admits(request.headers()) => Ok(()),
            Some(_) => Err(Error::Unauthorized),
            None => {
                let authority = request.uri().host();
                if is_local(request.headers(), authority) {
                    Ok(())
                } else {
                    Err(Error::CrossSite)
                }
            }
        }
    }
}

/// Writes the body of a refusal and the headers that every response has. `held_back`: the
/// body of what is refused may never come, so that the connection ends.
fn finish(mut response: Response, path: &str, id: HeaderValue, held_back: bool) -> Response {
    if held_back && response.status().as_u16() >= 400 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        // A flow that failed is the flow's affair; its history has it.
        let ours = !matches!(problem.code, "API0017");
        if problem.status.is_server_error() && ours {
            let request_id = id.to_str().unwrap_or_default();
            let code = problem.code;
            let path = for_log(path);
            tracing::warn!(request_id, path, code, detail = problem.detail, "refused");
        }
        let json = problem.to_json(path, id.to_str().unwrap_or_default());
        // The router has already set the length of the marker's empty body.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from(json);
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    // A picture has a policy of its own.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    response
}

/// A task token in a path is a secret; a long path is cut.
fn for_log(path: &str) -> &str {
    let prefix = "/v1/tasks/";
    if path.starts_with(prefix) {
        prefix
    } else {
        let end = path.char_indices().nth(LOGGED_CHARS).map(|(i, _)| i);
        end.and_then(|end| path.get(..end)).unwrap_or(path)
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text")
}

#[cfg(test)]
mod tests {
    use super::for_log;

    #[test]
    fn a_path_in_the_log_is_short_and_without_tokens() {
        assert_eq!(for_log("/v1/tasks/secret/succeed"), "/v1/tasks/");
        assert_eq!(for_log("/t/orders"), "/t/orders");
        assert_eq!(for_log(&"/\u{e9}".repeat(5_000)), "/\u{e9}".repeat(100));
    }
}
