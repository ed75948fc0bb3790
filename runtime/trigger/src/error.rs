//! Why a happening does not become a start.

/// A refusal. Each is the caller's to mend; none is worth a retry as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The `Idempotency-Key` cannot be an execution's name.
    #[error(
        "API0101: the Idempotency-Key is not usable as an execution name: 1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit"
    )]
    BadKey,
    /// The content type says JSON, the body says otherwise.
    #[error("API0102: the content type says JSON but the body is not: {0}")]
    BadJson(String),
    /// An endpoint's method or path is malformed.
    #[error("API0103: {text:?} is not an endpoint: {reason}")]
    BadEndpoint {
        /// What was given, cut.
        text: String,
        /// What is wrong, and what to write instead.
        reason: &'static str,
    },
    /// The path or query has broken percent-encoding or is not UTF-8.
    #[error("API0104: the {0} is not valid percent-encoded UTF-8")]
    BadEncoding(&'static str),
    /// The input made from the request would be too large.
    #[error("API0105: the request makes an input of {bytes} bytes, more than the {max} allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::BadKey => "API0101",
            Error::BadJson(_) => "API0102",
            Error::BadEndpoint { .. } => "API0103",
            Error::BadEncoding(_) => "API0104",
            Error::TooLarge { .. } => "API0105",
        }
    }

    /// Whether the same call may succeed later: never.
    #[must_use]
    pub fn retry(&self) -> bool {
        false
    }
}
