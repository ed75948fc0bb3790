//! The one place where errors become HTTP statuses and problem+json (RFC 9457).
//!
//! Refuses to show internals: what a store or a panic said goes to the log only.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use stepwell_orchestrator as orchestrator;

use crate::Error;
use crate::wire::json::Object;

/// A refusal on its way out. `edge` writes it as problem+json, so that it can add
/// the path and the request id.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// A few words, the same for every occurrence of the status.
    pub title: &'static str,
    /// This occurrence, for people.
    pub detail: String,
    /// Seconds for `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// Further members, e.g. `diagnostics`.
    pub extra: Vec<(&'static str, Value)>,
}

impl Problem {
    /// The problem+json body. `instance` is the request's path.
    #[must_use]
    pub fn to_json(&self, instance: &str, request_id: &str) -> Vec<u8> {
        let mut out = Object::new();
        out.str("type", &format!("/docs/errors/{}", self.code));
        out.str("title", self.title);
        out.num("status", u64::from(self.status.as_u16()));
        out.str("detail", &self.detail);
        out.str("code", self.code);
        out.str("instance", instance);
        out.str("request_id", request_id);
        for (key, value) in &self.extra {
            out.raw(key, &value.to_string());
        }
        out.finish()
    }

    fn new(status: StatusCode, code: &'static str, text: String) -> Problem {
        Problem {
            status,
            code,
            title: title(status),
            detail: without_code(text, code),
            retry_after_s: None,
            extra: Vec::new(),
        }
    }
}

/// Only a marker leaves the handler: `edge` finds it and writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"stepwell\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.status == StatusCode::UNSUPPORTED_MEDIA_TYPE {
            let taken = HeaderValue::from_static("identity");
            headers.insert(header::ACCEPT_ENCODING, taken);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Error> for Problem {
    fn from(e: Error) -> Problem {
        let status = match &e {
            Error::NoRoute(..) => StatusCode::NOT_FOUND,
            Error::BadMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Error::Unauthorized => StatusCode::UNAUTHORIZED,
            Error::CrossSite => StatusCode::FORBIDDEN,
            Error::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Error::BodyPacked { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Error::BodiesFull | Error::AnswersFull => StatusCode::SERVICE_UNAVAILABLE,
            Error::BodySlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Error::BadQuery(_)
            | Error::BadJson(_)
            | Error::BodyBroken(_)
            | Error::BadId { .. }
            | Error::NotText
            | Error::TwoNames { .. }
            | Error::BadFields(_) => StatusCode::BAD_REQUEST,
            Error::ExecutionFailed { status, .. } if *status == "TIMED_OUT" => {
                StatusCode::GATEWAY_TIMEOUT
            }
            // The flow is to the endpoint what an upstream is to a gateway.
            Error::ExecutionFailed { .. } => StatusCode::BAD_GATEWAY,
            Error::Internal | Error::OpenBind(_) | Error::Listen { .. } | Error::WeakToken => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let mut problem = Problem::new(status, e.code(), e.to_string());
        problem.retry_after_s = e.retry().then_some(LATER_S);
        problem
    }
}

impl From<stepwell_trigger::Error> for Problem {
    fn from(e: stepwell_trigger::Error) -> Problem {
        use stepwell_trigger::Error as Trigger;
        let status = match &e {
            Trigger::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Trigger::BadKey
            | Trigger::BadJson(_)
            | Trigger::BadEndpoint { .. }
            | Trigger::BadEncoding(_) => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, e.code(), e.to_string())
    }
}

impl From<stepwell_buckets::Error> for Problem {
    fn from(e: stepwell_buckets::Error) -> Problem {
        use stepwell_buckets::Error as Bucket;
        let status = match &e {
            Bucket::NoBucket { .. } | Bucket::NoObject { .. } => StatusCode::NOT_FOUND,
            Bucket::BadName { .. } => StatusCode::BAD_REQUEST,
            Bucket::ReadOnly { .. } | Bucket::LeadsOut { .. } => StatusCode::FORBIDDEN,
            Bucket::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Bucket::Full { .. } => StatusCode::INSUFFICIENT_STORAGE,
            Bucket::Conflict { .. } => StatusCode::CONFLICT,
            Bucket::OnItsWay { .. }
            | Bucket::Behind { .. }
            | Bucket::Elsewhere { .. }
            | Bucket::DiskFull { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Bucket::System { .. } | Bucket::BadGrant { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Problem::new(status, e.code(), e.to_string());
        let later = e.retry() && status == StatusCode::SERVICE_UNAVAILABLE;
        problem.retry_after_s = later.then_some(LATER_S);
        problem
    }
}

/// Seconds after which what may pass by itself is worth another try: a full disk, a restart.
const LATER_S: u32 = 5;

impl From<orchestrator::Error> for Problem {
    fn from(e: orchestrator::Error) -> Problem {
        use orchestrator::Error as Run;
        let code = e.code();
        let status = status_of(&e);
        let text = match &e {
            // The store's words may name files and addresses.
            Run::Store(reason) => {
                tracing::error!(code, reason, "the store failed");
                "the store failed; what was asked may or may not have happened".to_owned()
            }
            other => other.to_string(),
        };
        let mut problem = Problem::new(status, code, text);
        match e {
            Run::Busy { retry_after_s, .. } => problem.retry_after_s = Some(retry_after_s.max(1)),
            e if e.retry() => problem.retry_after_s = Some(LATER_S),
            Run::BadFlow(list) => {
                let list = list.iter().map(crate::wire::value_of).collect();
                problem.extra.push(("diagnostics", Value::Array(list)));
            }
            Run::NameTaken { existing, .. } => {
                let existing = Value::String(existing.to_string());
                problem.extra.push(("execution_id", existing));
            }
            Run::ModuleInUse { used_by, .. } => problem.extra.push(("used_by", used_by.into())),
            Run::WiderGrants { beyond, .. } => problem.extra.push(("beyond", beyond.into())),
            Run::Ungranted(missing) => problem.extra.push(("missing", missing.into())),
            _ => {}
        }
        problem
    }
}

fn status_of(e: &orchestrator::Error) -> StatusCode {
    use orchestrator::Error as Run;
    match e {
        // A token that was never handed out names nothing: 404 tells least.
        Run::NoHistory(_)
        | Run::NoExecution(_)
        | Run::NoFlow(_)
        | Run::NoModule(_)
        | Run::NoAttempt { .. }
        | Run::NoSecret(_)
        | Run::NotKept(_)
        | Run::BadToken => StatusCode::NOT_FOUND,
        Run::NameTaken { .. }
        | Run::TaskOver
        | Run::Ended(_)
        | Run::Parked(_)
        | Run::NotRedrivable { .. }
        | Run::ModuleInUse { .. }
        | Run::FlowInUse { .. }
        | Run::SignalKeyTaken(_)
        | Run::NoSignals(_)
        | Run::WiderGrants { .. } => StatusCode::CONFLICT,
        Run::Busy { .. } | Run::SignalsFull { .. } => StatusCode::TOO_MANY_REQUESTS,
        Run::DiskFull { .. } | Run::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        Run::BadFlow(_) | Run::BadTrigger { .. } | Run::BadRedrive { .. } | Run::TurnStuck(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Run::BadName { .. } | Run::SharedModule => StatusCode::BAD_REQUEST,
        Run::BadFilling(_) | Run::BadGrants(_) | Run::Ungranted(_) => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        Run::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Run::BadModule { code, .. } => box_status(code),
        Run::Vault { code, .. } => vault_status(code),
        Run::Store(_) | Run::Broken { .. } | Run::HistoryEnds { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

/// Statuses of the vault's refusals.
fn vault_status(code: &str) -> StatusCode {
    match code {
        "HOST0009" => StatusCode::UNPROCESSABLE_ENTITY,
        // The operator has to do something: the key file is missing, or another.
        "HOST0006" | "HOST0007" => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Statuses of the sandbox's refusals of an upload.
fn box_status(code: &str) -> StatusCode {
    match code {
        "BOX0005" => StatusCode::PAYLOAD_TOO_LARGE,
        // The folder, the engine or the compiling process failed, not the module.
        "BOX0010" | "BOX0011" | "BOX0012" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("Error")
}

/// Our errors print as `CODE: text`; the code has a member of its own.
fn without_code(text: String, code: &str) -> String {
    match text.strip_prefix(code).and_then(|t| t.strip_prefix(": ")) {
        Some(rest) => rest.to_owned(),
        None => text,
    }
}
