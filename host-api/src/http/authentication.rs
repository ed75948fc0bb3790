//! How a Task's call proves who sends it: by a secret, as it is or traded for a token.
//!
//! Refuses secrets that the flow's manifest does not grant, to send one in the clear to a place
//! that the configuration does not name, and to let one follow a redirect to another origin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use reqwest::Url;
use serde::Deserialize;
use stepwell_types::limits::HTTP_HEADERS_REFUSED;
use stepwell_types::{Authentication, Failure, Grants, Secret};
use tokio::time::Instant;

use super::connection::Lent;
use super::request::{self, Checked};
use super::send::{Sender, Turns};
use crate::Journal;
use crate::secrets;

/// How long a token is used whose server does not say.
const TOKEN_LIFE: Duration = Duration::from_secs(300);
/// So long before its end a token is used no more: a call takes a while.
const TOKEN_MARGIN: Duration = Duration::from_secs(10);
/// Largest answer of a token server, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// Tokens that are kept; when there are more, those that ran out go, then all.
const TOKENS_MAX: usize = 1_000;
/// Longest word of a token server that is shown.
const SHOWN_CHARS: usize = 200;

/// A call's authentication with the secret that it needs.
pub(super) struct Proof {
    how: Authentication,
    secret: Secret,
}

impl Proof {
    /// Reads the secret that a call names.
    /// # Errors
    /// `Stepwell.NotGranted`, `Stepwell.SecretUnknown`, and as [`Journal::secret`].
    pub(super) fn read(
        how: &Authentication,
        journal: &Journal,
        grants: Option<&Grants>,
    ) -> Result<Proof, Failure> {
        let name = name(how);
        secrets::granted(grants, name)?;
        let secret = journal.secret(name)?.ok_or_else(|| {
            let cause =
                format!("the server has no secret {name:?}; `stepwell secret set {name}` makes it");
            Failure::new("Stepwell.SecretUnknown", cause)
        })?;
        Ok(Proof {
            how: how.clone(),
            secret,
        })
    }

    /// The header for a call to `url`, and the token in it if one was got for it.
    pub(super) async fn header(
        &self,
        url: &Url,
        journal: &Journal,
        tokens: &Tokens,
        way: Way<'_>,
    ) -> Result<(Lent, Option<Token>), Failure> {
        private(url, way.sender)?;
        let mut token = None;
        let (name, value) = match &self.how {
            Authentication::Bearer { .. } => {
                (AUTHORIZATION, [b"Bearer ", trimmed(&self.secret)].concat())
            }
            Authentication::Basic { user, .. } => {
                (AUTHORIZATION, basic(user.as_deref(), &self.secret))
            }
            Authentication::Header { name, .. } => {
                (header_name(name)?, trimmed(&self.secret).to_vec())
            }
            Authentication::OAuth2 { token_url, .. } => {
                let token_url = request::url(token_url)?;
                private(&token_url, way.sender)?;
                let request = token_request(&self.how, &self.secret, &token_url)?;
                // A token that is kept is given to nobody who could not ask for it.
                super::granted(way.grants, &request).ok_or_else(|| super::not_granted(&request))?;
                self.conceal(request.headers.get(AUTHORIZATION), journal);
                let key = (self.how.clone(), Digested::of(&self.secret));
                let got = tokens.get(key, || ask(request, way)).await?;
                journal.conceal(self::name(&self.how), &got.value);
                let value = [b"Bearer ", got.value.bytes()].concat();
                token = Some(got);
                (AUTHORIZATION, value)
            }
        };
        let mut value = HeaderValue::from_bytes(&value).map_err(|_| {
            let name = self::name(&self.how);
            invalid(format!(
                "secret {name:?} has characters that no header can hold"
            ))
        })?;
        value.set_sensitive(true);
        self.conceal(Some(&value), journal);
        let headers = HeaderMap::from_iter([(name, value)]);
        Ok((Lent::to_origin(url, headers), token))
    }

    /// Keeps back what a header says of the secret: its last word.
    fn conceal(&self, value: Option<&HeaderValue>, journal: &Journal) {
        let words = value.map(|value| value.as_bytes().split(|b| *b == b' '));
        if let Some(word) = words.and_then(Iterator::last) {
            journal.conceal(name(&self.how), &Secret::new(word.to_vec()));
        }
    }
}

/// How a token server is reached.
#[derive(Clone, Copy)]
pub(super) struct Way<'a> {
    pub(super) sender: &'a Sender,
    pub(super) grants: Option<&'a Grants>,
    pub(super) turns: &'a Turns<'a>,
}

/// The name of the secret that an authentication needs.
fn name(how: &Authentication) -> &str {
    match how {
        Authentication::Bearer { secret }
        | Authentication::Basic { secret, .. }
        | Authentication::Header { secret, .. }
        | Authentication::OAuth2 { secret, .. } => secret,
    }
}

/// A value as headers hold it: a file's last line end is no part of it.
fn trimmed(secret: &Secret) -> &[u8] {
    secret.bytes().trim_ascii()
}

fn basic(user: Option<&str>, secret: &Secret) -> Vec<u8> {
    let pair = match user {
        None => trimmed(secret).to_vec(),
        Some(user) => [user.as_bytes(), b":", trimmed(secret)].concat(),
    };
    let pair = Secret::new(pair);
    [b"Basic ", STANDARD.encode(pair.bytes()).as_bytes()].concat()
}

fn header_name(name: &str) -> Result<HeaderName, Failure> {
    let parsed = HeaderName::from_bytes(name.as_bytes());
    let parsed = parsed.map_err(|_| invalid(format!("`{name}` is no header name")))?;
    if HTTP_HEADERS_REFUSED.contains(&parsed.as_str()) {
        return Err(invalid(format!(
            "header `{name}` belongs to the connection"
        )));
    }
    Ok(parsed)
}

fn invalid(cause: String) -> Failure {
    Failure::new("Stepwell.HttpInvalidRequest", cause)
}

/// Whether nobody on the way can read what goes to this place.
fn private(url: &Url, sender: &Sender) -> Result<(), Failure> {
    if url.scheme() == "https" || sender.is_named(url) {
        return Ok(());
    }
    Err(Failure::new(
        "Stepwell.HttpDenied",
        format!(
            "a secret does not go over http to `{}`; use https, or let the server's configuration name the place",
            url.host_str().unwrap_or_default()
        ),
    ))
}

/// Tells two values of a secret apart without keeping them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Digested([u8; 32]);

impl Digested {
    fn of(secret: &Secret) -> Digested {
        Digested(stepwell_types::Digest::of(secret.bytes()).0)
    }
}

/// A token of OAuth 2.
#[derive(Debug, Clone)]
pub(super) struct Token {
    value: Secret,
    until: Instant,
    /// It was got for this very call.
    pub(super) fresh: bool,
}

type TokenKey = (Authentication, Digested);
type Place = Arc<tokio::sync::Mutex<Option<Token>>>;

/// Tokens that were got, by what they were asked for with.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<TokenKey, Place>>);

impl Tokens {
    /// A token that lives: the one that is kept, or a new one. Who comes while one is asked for
    /// waits for it and does not ask too.
    async fn get<F>(&self, key: TokenKey, ask: impl FnOnce() -> F) -> Result<Token, Failure>
    where
        F: Future<Output = Result<Token, Failure>>,
    {
        let place = {
            let mut all = self.0.lock();
            if all.len() >= TOKENS_MAX && !all.contains_key(&key) {
                let lives = |token: &Token| token.until > Instant::now();
                all.retain(|_, place| match place.try_lock() {
                    Ok(token) => token.as_ref().is_some_and(lives),
                    Err(_) => true,
                });
                if all.len() >= TOKENS_MAX {
                    all.clear();
                }
            }
            all.entry(key).or_default().clone()
        };
        let mut kept = place.lock().await;
        if let Some(token) = kept.as_ref().filter(|t| t.until > Instant::now()) {
            return Ok(token.clone());
        }
        *kept = None;
        let token = ask().await?;
        *kept = Some(Token {
            fresh: false,
            ..token.clone()
        });
        Ok(token)
    }

    /// Forgets a token that was refused.
    pub(super) async fn refused(&self, proof: &Proof, token: &Token) {
        let key = (proof.how.clone(), Digested::of(&proof.secret));
        let place = self.0.lock().get(&key).cloned();
        if let Some(place) = place {
            let mut kept = place.lock().await;
            // Another may have got a new one meanwhile.
            kept.take_if(|kept| kept.value.bytes() == token.value.bytes());
        }
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    #[serde(default)]
    token_type: Option<String>,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// Asks a token server. It is not redirected: the client's secret goes nowhere else.
async fn ask(request: Checked, way: Way<'_>) -> Result<Token, Failure> {
    let began = Instant::now();
    let answer = way.sender.once(&request, way.grants, way.turns).await?;
    let status = answer.status.as_u16();
    let failed = |what: &str| {
        let host = request.url.host_str().unwrap_or_default();
        let cause = format!("the token server {host} {what}");
        Failure::new("Stepwell.HttpTokenFailed", cause)
    };
    if status != 200 {
        // Its own word for it, from a short list of RFC 6749, and nothing else of its answer.
        let why = serde_json::from_slice::<Refused>(&answer.body).map(|r| r.error);
        let why: String = why.unwrap_or_default().chars().take(SHOWN_CHARS).collect();
        return Err(failed(&format!("answered {status} {why}")));
    }
    let granted: Granted = serde_json::from_slice(&answer.body)
        .map_err(|_| failed("sent no JSON object with an access_token"))?;
    let bearer = |kind: &String| kind.eq_ignore_ascii_case("bearer");
    if !granted.token_type.as_ref().is_none_or(bearer) {
        return Err(failed("sent a token that is no bearer token"));
    }
    // A number; some servers write it as a string.
    let life = granted.expires_in.and_then(|n| match n {
        serde_json::Value::String(text) => text.parse().ok(),
        other => other.as_f64(),
    });
    let life = life.map_or(TOKEN_LIFE, |s| {
        Duration::try_from_secs_f64(s.clamp(0.0, 86_400.0)).unwrap_or(TOKEN_LIFE)
    });
    Ok(Token {
        value: Secret::new(granted.access_token.into_bytes()),
        until: began + life.saturating_sub(TOKEN_MARGIN),
        fresh: true,
    })
}

/// What a token server is asked.
fn token_request(
    how: &Authentication,
    secret: &Secret,
    token_url: &Url,
) -> Result<Checked, Failure> {
    let Authentication::OAuth2 {
        client_id,
        scope,
        audience,
        in_body,
        ..
    } = how
    else {
        return Err(invalid("only OAuth 2 asks for tokens".to_owned()));
    };
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [("scope", scope), ("audience", audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    let mut headers = HeaderMap::new();
    let plain = std::str::from_utf8(trimmed(secret))
        .map_err(|_| invalid("the client's secret is no text".to_owned()))?;
    if *in_body {
        form.append_pair("client_id", client_id);
        form.append_pair("client_secret", plain);
    } else {
        // RFC 6749, 2.3.1: both are written as in a form first.
        let coded =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let pair = Secret::new(format!("{}:{}", coded(client_id), coded(plain)).into_bytes());
        let value = HeaderValue::from_bytes(&basic(None, &pair));
        let mut value = value.map_err(|_| invalid("the client's id cannot be sent".to_owned()))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let form = form.finish();
    Ok(Checked::form(
        token_url.clone(),
        headers,
        form,
        TOKEN_BYTES_MAX,
    ))
}
