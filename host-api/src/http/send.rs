//! Sends a checked request: each hop is judged, redirects are followed by hand.
//!
//! Refuses more than five redirects, and hands no credentials to another host.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONNECTION, CONTENT_ENCODING, CONTENT_LANGUAGE,
    CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, TE, USER_AGENT,
};
use parking_lot::Mutex;
use reqwest::{Client, Method, StatusCode, Url};
use stepwell_types::{Failure, Grants};

use super::authorities::Authorities;
use super::connection::Lent;
use super::lost::Lost;
use super::policy::{Place, Policy};
use super::request::{self, Checked, Streams};
use super::resolver::{Denied, Resolver};
use super::response::{self, Received};
use super::room::Room;
use crate::Error;
use crate::limit::{self, Asker, Limiter, Permit};

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 5;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long somebody who is asked before the call itself may take to answer.
const ASIDE: Duration = Duration::from_secs(10);
/// How long an idle connection is kept for the next call.
const IDLE: Duration = Duration::from_secs(30);

/// The only headers that follow a redirect to another origin: any other may be a secret.
static SAFE: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    USER_AGENT,
    HeaderName::from_static("idempotency-key"),
];

/// Which places a call may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Public ones alone.
    PublicOnly,
    /// Those of the configuration too.
    Configured,
}

/// The turns of one call: at its first host, then at those that it is redirected to.
pub(crate) struct Turns<'a> {
    pub(crate) limiter: &'a Limiter,
    pub(crate) asker: &'a Asker,
    /// The one that it has; `None`: it got none where it was redirected to.
    pub(crate) permit: Mutex<Option<Permit>>,
}

impl Turns<'_> {
    /// A turn for the next hop, to the host of a URL. The last one's place is given up first: nobody waits for
    /// one host while he holds another.
    /// # Errors
    /// `Stepwell.CircuitOpen`, `Stepwell.TooManyWaiting`.
    async fn to(&self, url: &Url) -> Result<(), Failure> {
        let target = limit::host(url);
        // One that was used up is for no second hop, not even to the same host: each is a call
        // that takes of the host's rate and tells how it went.
        if let Some(permit) = &*self.permit.lock()
            && *permit.target() == target
            && !permit.is_told()
        {
            return Ok(());
        }
        drop(self.permit.lock().take());
        let permit = self.limiter.further(&target, self.asker).await?;
        *self.permit.lock() = Some(permit);
        Ok(())
    }

    /// Says how the hop went.
    pub(crate) fn tell(&self, word: impl FnOnce(&mut Permit)) {
        self.permit.lock().as_mut().map(word);
    }

    /// A turn for what somebody else has to be asked first. The call's own is given up meanwhile.
    /// # Errors
    /// As [`Turns::to`].
    async fn aside(&self, url: &Url) -> Result<Permit, Failure> {
        drop(self.permit.lock().take());
        let target = limit::host(url);
        self.limiter.further(&target, self.asker).await
    }
}

/// The clients: connections to named places are never mixed with checked ones, nor those
/// with public ones.
pub(crate) struct Sender {
    policy: Arc<Policy>,
    room: Room,
    checked: Client,
    named: Client,
    public: Client,
}

impl Sender {
    pub(crate) fn new(
        policy: Arc<Policy>,
        trusted: &Authorities,
        room: Room,
    ) -> Result<Sender, Error> {
        // A second installation is refused, which is as good: there is a provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Sender {
            checked: client(Resolver(Some(policy.clone())), trusted)?,
            named: client(Resolver(None), trusted)?,
            public: client(Resolver(Some(Arc::default())), trusted)?,
            policy,
            room,
        })
    }

    /// Sends the request and reads the answer of the last hop. Each hop is judged by the
    /// flow's manifest, if it has one.
    pub(crate) async fn send(
        &self,
        mut request: Checked,
        lent: Option<&Lent>,
        grants: Option<&Grants>,
        turns: &Turns<'_>,
    ) -> Result<Received, Failure> {
        for _ in 0..=REDIRECTS_MAX {
            let how = judged(&request, grants)?;
            turns.to(&request.url).await?;
            let response = self.hop(&request, lent, how).await;
            let response =
                response.inspect_err(|failure| turns.tell(|permit| permit.failed(failure)))?;
            turns.tell(|permit| permit.answered(response.status(), response.headers()));
            match next_hop(&request, &response)? {
                None => return self.read(response, &request).await,
                Some(next) => request = next,
            }
        }
        Err(Failure::new(
            "Stepwell.HttpTooManyRedirects",
            format!("more than {REDIRECTS_MAX} redirects"),
        ))
    }

    /// Sends the request and reads the answer, which leads nowhere else.
    pub(crate) async fn once(
        &self,
        request: &Checked,
        grants: Option<&Grants>,
        turns: &Turns<'_>,
    ) -> Result<Received, Failure> {
        let how = judged(request, grants)?;
        let mut permit = turns.aside(&request.url).await?;
        let hop = tokio::time::timeout(ASIDE, self.hop(request, None, how)).await;
        let response = hop.unwrap_or_else(|_| {
            permit.timed_out(ASIDE);
            let host = request.url.host_str().unwrap_or_default();
            let cause = format!("`{host}` did not answer within {} s", ASIDE.as_secs());
            Err(Failure::new("States.Http.Socket", cause))
        });
        match &response {
            Ok(response) => permit.answered(response.status(), response.headers()),
            Err(failure) => permit.failed(failure),
        }
        self.read(response?, request).await
    }

    async fn read(
        &self,
        response: reqwest::Response,
        request: &Checked,
    ) -> Result<Received, Failure> {
        response::read(response, request.response_bytes_max, self.room.share()).await
    }

    /// Whether the configuration names this place.
    pub(crate) fn is_named(&self, url: &Url) -> bool {
        self.policy.names(url)
    }

    async fn hop(
        &self,
        request: &Checked,
        lent: Option<&Lent>,
        how: Strictness,
    ) -> Result<reqwest::Response, Failure> {
        let client = self.client(&request.url, how)?;
        // Lent hop by hop: a redirect may leave the place.
        let headers = match lent {
            Some(lent) => lent.over(&request.url, &request.headers),
            None => request.headers.clone(),
        };
        client
            .request(request.method.clone(), request.url.clone())
            .headers(headers)
            .body(request.body.clone())
            .send()
            .await
            .map_err(failure)
    }

    /// One call of a guest with this body: its client follows redirects itself.
    pub(crate) async fn exchange(
        &self,
        request: &Checked,
        body: reqwest::Body,
        how: Strictness,
    ) -> Result<reqwest::Response, Lost> {
        let client = self.client(&request.url, how).map_err(Lost::prohibited)?;
        let mut headers = request.headers.clone();
        if let Some(Streams(Some(bytes))) = request.streams {
            headers.insert(CONTENT_LENGTH, bytes.into());
        }
        name_te(&mut headers);
        client
            .request(request.method.clone(), request.url.clone())
            .headers(headers)
            .body(body)
            .send()
            .await
            .map_err(Lost::of)
    }

    /// The client that may call this place.
    fn client(&self, url: &Url, how: Strictness) -> Result<&Client, Failure> {
        let (place, checked) = match how {
            Strictness::Configured => (self.policy.judge(url), &self.checked),
            Strictness::PublicOnly => (Policy::default().judge(url), &self.public),
        };
        match place {
            Place::Named => Ok(&self.named),
            Place::Name | Place::Address => Ok(checked),
            Place::Refused(reason) => Err(denied(url.host_str().unwrap_or_default(), reason)),
        }
    }
}

/// Over HTTP/1.1 a call that sends `TE` names it in `Connection` (RFC 9110, 10.1.4). Which version a
/// connection speaks nobody knows here: over HTTP/2 the client drops `Connection` and what its first line
/// names, so that `TE` has a line behind that.
fn name_te(headers: &mut HeaderMap) {
    if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
        headers.append(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// How strictly a hop's address is judged.
fn judged(request: &Checked, grants: Option<&Grants>) -> Result<Strictness, Failure> {
    match grants {
        None => Ok(Strictness::Configured),
        Some(_) => super::granted(grants, request)
            .map(Strictness::from)
            .ok_or_else(|| super::not_granted(request)),
    }
}

fn client(resolver: Resolver, trusted: &Authorities) -> Result<Client, Error> {
    Client::builder()
        .tls_certs_merge(trusted.certificates())
        .dns_resolver(Arc::new(resolver))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(IDLE)
        .user_agent(concat!("stepwell/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|e| Error::HttpClient { detail: chain(&e) })
}

/// The request that a redirect asks for; `None`: this is the answer.
fn next_hop(from: &Checked, response: &reqwest::Response) -> Result<Option<Checked>, Failure> {
    let status = response.status();
    let follows = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = response.headers().get(LOCATION).filter(|_| follows) else {
        return Ok(None);
    };
    let wrong = |why: &str| Failure::new("Stepwell.HttpBadRedirect", why.to_owned());
    let location = location
        .to_str()
        .map_err(|_| wrong("the redirect's location is no text"))?;
    let url = from
        .url
        .join(location)
        .map_err(|e| wrong(&format!("the redirect's location is no URL: {e}")))?;
    // As strict as with the step's own URL: its length, its scheme, no credentials in it.
    let url = request::url(url.as_str())
        .map_err(|f| wrong(&format!("the redirect's location is refused: {}", f.cause)))?;
    if from.url.scheme() == "https" && url.scheme() == "http" {
        return Err(wrong("the redirect leads from https to http"));
    }
    let mut next = from.clone();
    if !same_origin(&from.url, &url) {
        next.headers = safe(&next.headers);
    }
    next.url = url;
    let to_get = status == StatusCode::SEE_OTHER && from.method != Method::HEAD
        || matches!(status.as_u16(), 301 | 302) && from.method == Method::POST;
    if to_get {
        next.method = Method::GET;
        next.body = Vec::new();
        for name in [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE] {
            next.headers.remove(name);
        }
    }
    Ok(Some(next))
}

fn safe(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| SAFE.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

fn denied(host: &str, reason: &str) -> Failure {
    Failure::new(
        "Stepwell.HttpDenied",
        format!(
            "`{host}` is {reason}; calls to it must be allowed by name (HOST:PORT) or address range in the server's configuration"
        ),
    )
}

/// What a failed connection or transfer is to the flow.
pub(crate) fn failure(error: reqwest::Error) -> Failure {
    if let Some(refused) = causes(&error).find_map(|e| e.downcast_ref::<Denied>()) {
        return denied(&refused.name, refused.reason);
    }
    if let Some(rustls::Error::InvalidCertificate(why)) = tls(&error) {
        let advice = advice(why);
        let cause = format!("the other side's certificate is refused: {why}{advice}");
        return Failure::new("Stepwell.HttpCertificate", cause);
    }
    if error.is_timeout() && !error.is_connect() {
        return Failure::new("States.Timeout", "the HTTP call took too long");
    }
    // The URL may hold a secret in its query.
    Failure::new("States.Http.Socket", chain(&error.without_url()))
}

/// What to do where a certificate is refused.
fn advice(why: &rustls::CertificateError) -> &'static str {
    // A word of webpki's, for which rustls has none of its own.
    if format!("{why:?}").contains("CaUsedAsEndEntity") {
        return "; it is an authority's (CA:TRUE), and a server shows one that is none (CA:FALSE)";
    }
    match why {
        rustls::CertificateError::UnknownIssuer => {
            "; `[http] ca_files` of the server's configuration adds authorities"
        }
        _ => "",
    }
}

/// What TLS did not agree to.
pub(crate) fn tls(error: &reqwest::Error) -> Option<&rustls::Error> {
    causes(error).find_map(|e| e.downcast_ref())
}

/// An error and what lies behind it. What an I/O error wraps is no source of it, but of what
/// is wrapped.
pub(crate) fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |at| {
        let io = at.downcast_ref::<std::io::Error>();
        match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn std::error::Error + 'static)),
            None => at.source(),
        }
    })
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(at) = source {
        text.push_str(": ");
        text.push_str(&at.to_string());
        source = at.source();
    }
    text
}
