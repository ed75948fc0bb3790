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
    /// The file of the master key cannot be used.
    #[error("HOST0006: the key file {file}: {detail}")]
    KeyFile {
        /// Where it is, or would be.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// A secret was sealed with a key that is not in the key file.
    #[error(
        "HOST0007: secrets in the store are sealed with key {id}, which is not in {file}; put the right key file there and start the server again, or delete the secrets"
    )]
    OtherKey {
        /// Where the key is looked for.
        file: String,
        /// Which key is missing.
        id: String,
    },
    /// A secret's row is not as it was written.
    #[error("HOST0008: secret {name:?}: {detail}")]
    SecretDamaged {
        /// Its name.
        name: String,
        /// What is wrong.
        detail: String,
    },
    /// A file of certificates cannot be used.
    #[error("HOST0010: the certificates of {file}: {detail}")]
    BadAuthority {
        /// As configured.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// A secret that cannot be kept.
    #[error("HOST0009: the secret cannot be kept: {detail}")]
    SecretRefused {
        /// Why.
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
            Error::KeyFile { .. } => "HOST0006",
            Error::OtherKey { .. } => "HOST0007",
            Error::SecretDamaged { .. } => "HOST0008",
            Error::SecretRefused { .. } => "HOST0009",
            Error::BadAuthority { .. } => "HOST0010",
        }
    }
}
