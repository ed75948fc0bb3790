//! What can go wrong in the interpreter itself, as against in a flow.
//!
//! A step's or state's failure is data ([`stepwell_types::Failure`]); these
//! errors mean that the caller or the stored bytes broke a promise.

use stepwell_types::Digest;

/// The interpreter cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first event is not `Started`.
    #[error("the execution has not started: its first event must be Started")]
    NotStarted,
    /// `Started` came a second time.
    #[error("the execution has started already")]
    StartedTwice,
    /// The state refers to something that this program lacks.
    #[error("the state does not belong to this program: {0}")]
    ForeignProgram(&'static str),
    /// Stored bytes are not what this codec writes.
    #[error("damaged {what}: {why}")]
    Damaged {
        /// Log row or checkpoint.
        what: &'static str,
        /// The decoder's words.
        why: String,
    },
    /// The bytes were written by a newer release.
    #[error("{what} has format {found}; this release reads up to {known}")]
    Version {
        /// Log row or checkpoint.
        what: &'static str,
        /// The format's number in the bytes.
        found: u8,
        /// The newest known.
        known: u8,
    },
    /// A payload that is stored apart could not be had.
    #[error("blob {digest} is missing: {why}")]
    Blob {
        /// Which.
        digest: Digest,
        /// The store's words.
        why: String,
    },
}

impl Error {
    /// The page in `docs/errors/` that explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotStarted => "RUN0101",
            Error::StartedTwice => "RUN0102",
            Error::ForeignProgram(_) => "RUN0103",
            Error::Damaged { .. } => "RUN0104",
            Error::Version { .. } => "RUN0105",
            Error::Blob { .. } => "RUN0106",
        }
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        matches!(self, Error::Blob { .. })
    }
}
