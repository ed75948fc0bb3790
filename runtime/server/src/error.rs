//! What the HTTP door itself refuses, before the orchestrator is asked.

/// A refusal of this crate. `problem.rs` gives each its status.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing lives at this path.
    #[error("API0001: there is nothing at {0}; {1}")]
    NoRoute(String, &'static str),
    /// The path exists, with other methods.
    #[error("API0002: {0} is not possible here; the Allow header says what is")]
    BadMethod(String),
    /// The token is missing or wrong.
    #[error(
        "API0003: a valid bearer token is needed: send the header `Authorization: Bearer TOKEN`"
    )]
    Unauthorized,
    /// A query parameter is unknown, doubled or has a bad value.
    #[error("API0004: {0}")]
    BadQuery(String),
    /// The body is not JSON, or is nested too deeply or made of too many values.
    #[error("API0005: the body cannot be taken as JSON: {0}")]
    BadJson(String),
    /// The body is larger than this route takes.
    #[error("API0006: the body is larger than the {max} bytes allowed here")]
    BodyTooLarge {
        /// The bound.
        max: u64,
    },
    /// The body is packed.
    #[error(
        "API0021: the body is packed ({coding}), and bodies are taken as they are: unpack it, and send it without Content-Encoding"
    )]
    BodyPacked {
        /// How, cut.
        coding: String,
    },
    /// The client broke off, or sent malformed framing.
    #[error("API0007: the body could not be read to its end: {0}")]
    BodyBroken(String),
    /// An id or token in the path is malformed.
    #[error("API0008: {text:?} is not a valid {what}: {form}")]
    BadId {
        /// What it should be.
        what: &'static str,
        /// What such a one looks like, and where to find it.
        form: &'static str,
        /// What was given, cut.
        text: String,
    },
    /// A defect of ours.
    #[error("API0009: the server made an error; its log has the details under this request id")]
    Internal,
    /// The body must be text.
    #[error("API0010: the body is not UTF-8 text")]
    NotText,
    /// An address that others reach, and no token.
    #[error(
        "API0011: {0} can be reached from other machines, and no token is set; set one, or listen on 127.0.0.1"
    )]
    OpenBind(std::net::SocketAddr),
    /// The address cannot be listened on.
    #[error("API0012: cannot listen on {addr}: {reason}")]
    Listen {
        /// Which address.
        addr: std::net::SocketAddr,
        /// The system's words.
        reason: String,
    },
    /// A web page of another site sent this to a server without a token.
    #[error(
        "API0013: this server has no token, so it answers only requests addressed to this machine by name or loopback address, and none from other web sites"
    )]
    CrossSite,
    /// The body came too slowly.
    #[error("API0014: the body came too slowly: {what} within {seconds} s")]
    BodySlow {
        /// What did not come.
        what: &'static str,
        /// How long the server waited.
        seconds: u64,
    },
    /// Too many large bodies are being read at once.
    #[error("API0018: the server holds as many unfinished bodies as it may; send it again later")]
    BodiesFull,
    /// Too many large answers wait to be sent.
    #[error(
        "API0020: the server holds as many large answers that nobody has read yet as it may; ask again later"
    )]
    AnswersFull,
    /// A start with a name and an idempotency key that say different things.
    #[error(
        "API0019: the start has the name {name:?} and the Idempotency-Key {key:?}: the key is the execution's name, so send one of them, or the same twice"
    )]
    TwoNames {
        /// The query's, cut.
        name: String,
        /// The header's.
        key: String,
    },
    /// The body is JSON, but not what this route wants.
    #[error("API0015: the body does not fit: {0}")]
    BadFields(String),
    /// A token that is no good as one.
    #[error("API0016: the token must have 8 to 1024 visible ASCII characters and no spaces")]
    WeakToken,
    /// The execution behind a synchronous endpoint did not succeed.
    #[error("API0017: the execution ended as {status}: {error}")]
    ExecutionFailed {
        /// `FAILED`, `TIMED_OUT` or `ABORTED`.
        status: &'static str,
        /// Its error name.
        error: String,
    },
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoRoute(..) => "API0001",
            Error::BadMethod(_) => "API0002",
            Error::Unauthorized => "API0003",
            Error::BadQuery(_) => "API0004",
            Error::BadJson(_) => "API0005",
            Error::BodyTooLarge { .. } => "API0006",
            Error::BodyBroken(_) => "API0007",
            Error::BadId { .. } => "API0008",
            Error::Internal => "API0009",
            Error::NotText => "API0010",
            Error::OpenBind(_) => "API0011",
            Error::Listen { .. } => "API0012",
            Error::CrossSite => "API0013",
            Error::BodySlow { .. } => "API0014",
            Error::BodiesFull => "API0018",
            Error::AnswersFull => "API0020",
            Error::BodyPacked { .. } => "API0021",
            Error::TwoNames { .. } => "API0019",
            Error::BadFields(_) => "API0015",
            Error::WeakToken => "API0016",
            Error::ExecutionFailed { .. } => "API0017",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(
            self,
            Error::BodyBroken(_) | Error::BodySlow { .. } | Error::BodiesFull | Error::AnswersFull
        )
    }
}
