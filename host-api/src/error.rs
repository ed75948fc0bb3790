//! What can go wrong when a door is set up. A failed call is data, not an error.

/// A door's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An entry of the list of allowed addresses makes no sense.
    #[error("HOST0001: `{entry}` is neither HOST:PORT nor an address range such as 10.0.0.0/8")]
    BadAllowEntry {
        /// As configured.
        entry: String,
    },
    /// The HTTP client cannot be made.
    #[error("HOST0002: the HTTP client cannot be made: {detail}")]
    HttpClient {
        /// The library's words.
        detail: String,
    },
    /// The host's functions cannot be offered to guests.
    #[error("HOST0003: the host interfaces cannot be linked: {detail}")]
    Link {
        /// wasmtime's words.
        detail: String,
    },
    /// A directory that the configuration grants cannot be opened.
    #[error("HOST0004: the granted directory {path} cannot be opened: {detail}")]
    Directory {
        /// As configured.
        path: String,
        /// The system's words.
        detail: String,
    },
    /// A connection of the configuration makes no sense.
    #[error("HOST0005: connection {name}: {detail}")]
    BadConnection {
        /// Its name.
        name: String,
        /// What is wrong.
        detail: String,
    },
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::BadAllowEntry { .. } => "HOST0001",
            Error::HttpClient { .. } => "HOST0002",
            Error::Link { .. } => "HOST0003",
            Error::Directory { .. } => "HOST0004",
            Error::BadConnection { .. } => "HOST0005",
        }
    }
}
