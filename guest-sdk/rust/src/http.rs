//! HTTP calls over `wasi:http`, without another client: one call at a time, the response as it comes.
//!
//! A call fails with the names that a Task's `http:request` has, so that one `Retry` fits both.
//! Refuses to follow redirects: where they lead must be granted too, which is yours to see.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use bindings::wasi::http::outgoing_handler;
use bindings::wasi::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use bindings::wasi::io::streams::{InputStream, OutputStream, StreamError};

#[allow(missing_docs, clippy::all, reason = "generated from wasi/")]
mod bindings {
    wit_bindgen::generate!({
        inline: "
            package stepwell:http-client;
            world client {
                import wasi:http/outgoing-handler@0.2.12;
            }
        ",
        path: ["wasi/io", "wasi/clocks", "wasi/http"],
        world: "stepwell:http-client/client",
        generate_all,
    });
}

/// Most bytes of a body that go to the host in one piece.
const PIECE_BYTES: usize = 64 << 10;
/// Most bytes of a response that are read in one piece.
const READ_BYTES: u64 = 64 << 10;

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

impl Request {
    /// A request with this method (in capitals) to an absolute `http` or `https` URL.
    #[must_use]
    pub fn new(method: &str, url: &str) -> Request {
        Request {
            method: method.to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
        }
    }

    /// `GET`.
    #[must_use]
    pub fn get(url: &str) -> Request {
        Request::new("GET", url)
    }

    /// `POST`. The host adds an `Idempotency-Key`, unless you do.
    #[must_use]
    pub fn post(url: &str) -> Request {
        Request::new("POST", url)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers
            .push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, and says so.
    /// # Errors
    /// `Step.Failed`: the value is no JSON.
    pub fn json(self, value: &impl Serialize) -> Result<Request, Failure> {
        let body = serde_json::to_vec(value)?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long to wait for a connection, for the response's head and between two pieces of its
    /// body; 30 seconds if not said, and never longer than 900.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Request {
        self.timeout = Some(timeout);
        self
    }

    /// Sends it and waits for the response's head, whatever its status.
    /// # Errors
    /// `Stepwell.NotGranted`, `Stepwell.HttpDenied`, `Stepwell.HttpCertificate`,
    /// `Stepwell.HttpInvalidRequest`, `Stepwell.CircuitOpen`, `Stepwell.TooManyWaiting`, `States.Timeout` or `States.Http.Socket`.
    pub fn send(&self) -> Result<Response, Failure> {
        self.start()?.wait()
    }

    /// Sends it and goes on meanwhile.
    /// # Errors
    /// As [`Request::send`].
    pub fn start(&self) -> Result<Started, Failure> {
        let (mut upload, started) = self.stream()?;
        upload.write(&self.body)?;
        upload.finish()?;
        Ok(started)
    }

    /// Sends it with a body that is written from now on, in place of its own: so a long one is
    /// never in memory as a whole. A `content-length` among the headers tells its length beforehand.
    ///
    /// The response may come before the body is written; a server that waits for nothing to be left
    /// to read holds up whoever writes on without reading it.
    /// # Errors
    /// As [`Request::send`].
    pub fn stream(&self) -> Result<(Upload, Started), Failure> {
        let wrong = |what: &str| Failure::new("Stepwell.HttpInvalidRequest", what);
        let fields = Fields::from_list(&self.headers)
            .map_err(|e| wrong(&format!("a header can't be sent: {e:?}")))?;
        let request = OutgoingRequest::new(fields);
        let (scheme, rest) = match self.url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => return Err(wrong("the URL must begin with http:// or https://")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        let path = match path {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        let set = request.set_method(&method(&self.method)).is_ok()
            && request.set_scheme(Some(&scheme)).is_ok()
            && request.set_authority(Some(authority)).is_ok()
            && request.set_path_with_query(Some(&path)).is_ok();
        if !set {
            return Err(wrong("the method or the URL can't be sent"));
        }
        let options = RequestOptions::new();
        if let Some(timeout) = self.timeout {
            let ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            let _ = options.set_connect_timeout(Some(ns));
            let _ = options.set_first_byte_timeout(Some(ns));
            let _ = options.set_between_bytes_timeout(Some(ns));
        }
        let body = request
            .body()
            .map_err(|()| wrong("the request has no body"))?;
        let coming = outgoing_handler::handle(request, Some(options)).map_err(failure)?;
        let upload = Upload { stream: None, body };
        Ok((upload, Started(coming)))
    }
}

/// A request's body, written piece by piece. Dropped before [`Upload::finish`], it breaks the call off.
#[derive(Debug)]
pub struct Upload {
    // Before the body: a stream goes before what it came from.
    stream: Option<OutputStream>,
    body: OutgoingBody,
}

impl Upload {
    /// Writes a piece, and waits until there is room for it.
    /// # Errors
    /// `States.Http.Socket`. What becomes of the call itself is told by its response.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let broken = |_| socket("the request's body was not taken");
        let mut rest = bytes;
        while !rest.is_empty() {
            let stream = match &self.stream {
                Some(stream) => stream,
                None => {
                    let stream = self
                        .body
                        .write()
                        .map_err(|()| socket("the body is taken"))?;
                    self.stream.insert(stream)
                }
            };
            let room = usize::try_from(stream.check_write().map_err(broken)?).unwrap_or(usize::MAX);
            if room == 0 {
                stream.subscribe().block();
                continue;
            }
            let (piece, more) = rest.split_at(rest.len().min(room).min(PIECE_BYTES));
            stream.write(piece).map_err(broken)?;
            rest = more;
        }
        Ok(())
    }

    /// Ends the body: the request is complete.
    /// # Errors
    /// `States.Http.Socket`; `Stepwell.HttpInvalidRequest`: its length is not the one told.
    pub fn finish(self) -> Result<(), Failure> {
        self.end(None)
    }

    /// Ends the body, and sends these fields behind it. Over HTTP/1.1 a request with a long body names them
    /// in a `trailer` header.
    /// # Errors
    /// As [`Upload::finish`]; `Stepwell.HttpInvalidRequest`: one of them can't be sent.
    pub fn finish_with(self, trailers: &[(&str, &str)]) -> Result<(), Failure> {
        let list = trailers.iter();
        let list = list.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        let fields = Fields::from_list(&list.collect::<Vec<_>>()).map_err(|e| {
            let cause = format!("a trailer can't be sent: {e:?}");
            Failure::new("Stepwell.HttpInvalidRequest", cause)
        })?;
        self.end((!trailers.is_empty()).then_some(fields))
    }

    fn end(self, trailers: Option<Fields>) -> Result<(), Failure> {
        drop(self.stream);
        OutgoingBody::finish(self.body, trailers).map_err(failure)
    }
}

fn socket(what: &str) -> Failure {
    Failure::new("States.Http.Socket", what)
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// A call that is under way. Dropped, it is given up.
#[derive(Debug)]
pub struct Started(FutureIncomingResponse);

impl Started {
    /// Waits for the response's head.
    /// # Errors
    /// As [`Request::send`].
    pub fn wait(self) -> Result<Response, Failure> {
        let response = loop {
            match self.0.get() {
                Some(Ok(response)) => break response.map_err(failure)?,
                Some(Err(())) => {
                    return Err(Failure::new("States.Http.Socket", "the response is taken"));
                }
                None => self.0.subscribe().block(),
            }
        };
        let headers = response.headers().entries();
        let body = response
            .consume()
            .map_err(|()| Failure::new("States.Http.Socket", "the response has no body"))?;
        let stream = body
            .stream()
            .map_err(|()| Failure::new("States.Http.Socket", "the response's body is taken"))?;
        Ok(Response {
            status: response.status(),
            headers,
            stream,
            body,
        })
    }
}

/// A response, its body not read yet.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    headers: Vec<(String, Vec<u8>)>,
    // Before the body: a stream goes before what it came from.
    stream: InputStream,
    body: IncomingBody,
}

impl Response {
    /// The first header of this name that is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let named = |(known, _): &&(String, Vec<u8>)| known.eq_ignore_ascii_case(name);
        let (_, value) = self.headers.iter().find(named)?;
        std::str::from_utf8(value).ok()
    }

    /// The next piece of the body as it came; `None`: it was the last.
    /// # Errors
    /// `States.Http.Socket`, `States.Timeout`, `Stepwell.HttpResponseTooLarge`.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.stream.blocking_read(READ_BYTES) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(StreamError::Closed) => Ok(None),
            Err(StreamError::LastOperationFailed(e)) => {
                let cause = format!("the response broke off: {}", e.to_debug_string());
                Err(match http_error_code(&e) {
                    Some(code) => Failure::new(failure(code).error, cause),
                    None => socket(&cause),
                })
            }
        }
    }

    /// The whole body.
    /// # Errors
    /// As [`Response::chunk`].
    pub fn bytes(mut self) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        while let Some(piece) = self.chunk()? {
            all.extend(piece);
        }
        Ok(all)
    }

    /// The whole body as text.
    /// # Errors
    /// As [`Response::chunk`]; `Step.Failed`: it is no UTF-8.
    pub fn text(self) -> Result<String, Failure> {
        Ok(String::from_utf8(self.bytes()?)?)
    }

    /// The whole body, read as JSON.
    /// # Errors
    /// As [`Response::chunk`]; `Step.Failed`: it is no such JSON.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        Ok(serde_json::from_slice(&self.bytes()?)?)
    }

    /// What follows the body, which is read to its end for it. Over HTTP/1.1 a server sends trailers to who
    /// says that it takes them: `te: trailers` among the request's headers.
    /// # Errors
    /// As [`Response::chunk`].
    pub fn trailers(mut self) -> Result<Vec<(String, Vec<u8>)>, Failure> {
        while self.chunk()?.is_some() {}
        drop(self.stream);
        let coming = IncomingBody::finish(self.body);
        let trailers = loop {
            match coming.get() {
                Some(Ok(trailers)) => break trailers.map_err(failure)?,
                Some(Err(())) => return Err(socket("the trailers are taken")),
                None => coming.subscribe().block(),
            }
        };
        Ok(trailers.map(|fields| fields.entries()).unwrap_or_default())
    }

    /// Fails for a status from 400, as a Task does: `States.Http.StatusCode.NNN`, with the
    /// beginning of the body as cause.
    /// # Errors
    /// That.
    pub fn ok(self) -> Result<Response, Failure> {
        if self.status < 400 {
            return Ok(self);
        }
        let name = format!("States.Http.StatusCode.{}", self.status);
        let body = self.bytes()?;
        let text = String::from_utf8_lossy(&body);
        Err(Failure::new(
            name,
            text.chars().take(4_096).collect::<String>(),
        ))
    }
}

/// The name of a call that brought no response.
fn failure(code: ErrorCode) -> Failure {
    let name = match &code {
        ErrorCode::HttpRequestDenied => "Stepwell.NotGranted",
        ErrorCode::DestinationUnavailable => "Stepwell.CircuitOpen",
        ErrorCode::ConnectionLimitReached => "Stepwell.TooManyWaiting",
        ErrorCode::DestinationIpProhibited => "Stepwell.HttpDenied",
        ErrorCode::TlsCertificateError => "Stepwell.HttpCertificate",
        ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid => "Stepwell.HttpInvalidRequest",
        ErrorCode::HttpResponseBodySize(_) => "Stepwell.HttpResponseTooLarge",
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => "States.Timeout",
        _ => "States.Http.Socket",
    };
    Failure::new(
        name,
        format!("the HTTP call failed: {code:?}; see the step's log"),
    )
}
