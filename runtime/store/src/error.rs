//! What can go wrong in a store.

/// A store's failure. After one from [`crate::Writer::commit`] the process stops.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The medium failed.
    #[error("STORE0001: the store cannot {action}: {detail}")]
    Medium {
        /// What was tried, e.g. `commit`.
        action: &'static str,
        /// The backend's words.
        detail: String,
    },
    /// A row makes no sense.
    #[error("STORE0002: a stored row is damaged: {detail}")]
    Damaged {
        /// Which, and how.
        detail: String,
    },
    /// The data directory is from a newer release.
    #[error(
        "STORE0003: the data directory has on-disk format {found}, this release reads up to {known}; use a newer stepwell"
    )]
    NewerFormat {
        /// On disk.
        found: u32,
        /// The newest that this release reads.
        known: u32,
    },
    /// Another process holds the data directory.
    #[error(
        "STORE0004: the data directory {path} is in use by another process; stop it or name another directory"
    )]
    Locked {
        /// The directory.
        path: String,
    },
    /// The directory holds something else.
    #[error(
        "STORE0005: the directory {path} is not a data directory of stepwell ({found} is in it); name an empty one"
    )]
    Foreign {
        /// The directory.
        path: String,
        /// What does not belong there.
        found: String,
    },
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Medium { .. } => "STORE0001",
            Error::Damaged { .. } => "STORE0002",
            Error::NewerFormat { .. } => "STORE0003",
            Error::Locked { .. } => "STORE0004",
            Error::Foreign { .. } => "STORE0005",
        }
    }
}
