//! Bounds that more than one room keeps. Each says its unit in its name.

/// Deepest nesting of JSON that any edge accepts (`serde_json`'s own limit).
pub const JSON_DEPTH_MAX: usize = 128;
/// Most values and keys in one JSON document: one that is read into memory takes some
/// hundred bytes for each.
pub const JSON_VALUES_MAX: usize = 2_000_000;
/// Largest input or output of an execution or step, in bytes of JSON text.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// Bytes of memory that one execution's data may take, of all its branches and iterations
/// together: beyond them it fails.
pub const STATE_BYTES_MAX: usize = 1 << 30;
/// Largest flow definition, in bytes of text.
pub const DEFINITION_BYTES_MAX: usize = 1 << 20;
/// Most states in one definition, nested ones included.
pub const STATES_MAX: usize = 10_000;
/// Largest uploaded module, in bytes, unless the configuration says otherwise.
pub const MODULE_BYTES_MAX: u64 = 100 << 20;
/// Longest flow, module or execution name, in bytes.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest error name, in characters.
pub const ERROR_CHARS_MAX: usize = 256;
/// Longest cause, in characters; longer ones are cut.
pub const CAUSE_CHARS_MAX: usize = 32_768;
/// Payloads above this many bytes are stored once, by digest, and referred to.
pub const INLINE_BYTES_MAX: usize = 64 << 10;
/// Largest secret, in bytes.
pub const SECRET_BYTES_MAX: usize = 64 << 10;
/// Secrets of one server.
pub const SECRETS_MAX: usize = 1_000;
/// Outside calls of one attempt.
pub const JOURNAL_CALLS_MAX: u32 = 10_000;
/// Bytes of answers, and of what it waited for, that one attempt may leave in its journal.
pub const JOURNAL_BYTES_MAX: usize = 32 << 20;
/// Executions above one another: a child of a child, and so on.
pub const CHILD_DEPTH_MAX: u16 = 32;
/// Executions that one brings about through those that it starts: children of children, and
/// all below. About as many; they are counted in 64 parts.
pub const DESCENDANTS_MAX: u32 = 1_000_000;
/// Signals that wait in one execution until it asks for them.
pub const SIGNALS_MAX: usize = 1_000;
/// Largest data of one signal, in bytes of JSON text.
pub const SIGNAL_BYTES_MAX: usize = 1 << 20;
/// Data of all signals that wait in one execution, in bytes of JSON text.
pub const SIGNALS_BYTES_MAX: usize = 8 << 20;
/// Names of signals that one Task waits for at once.
pub const SIGNAL_NAMES_MAX: usize = 16;
/// State transitions that one execution may make in its life.
pub const TRANSITIONS_MAX: u64 = 10_000_000;
/// State transitions in a row without a step, a wait that takes time or a callback between them:
/// more is an endless Choice and Pass loop.
pub const SPIN_TRANSITIONS_MAX: u32 = 100_000;
/// Redrives of one execution (Step Functions' own bound).
pub const REDRIVES_MAX: u32 = 1_000;
/// Longest express execution, in wall seconds (Step Functions' own bound).
pub const EXPRESS_SECONDS_MAX: u64 = 300;
/// Largest history of an express execution that is kept, in bytes of log and payloads.
pub const EXPRESS_HISTORY_BYTES_MAX: usize = 4 << 20;

/// Methods that an HTTP call may have.
pub const HTTP_METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
/// Longest URL of an HTTP call, in bytes.
pub const HTTP_URL_BYTES_MAX: usize = 8 << 10;
/// Longest wait that an HTTP call may ask for, in milliseconds; at least 1.
pub const HTTP_TIMEOUT_MS_MAX: u64 = 900_000;
/// Headers that an HTTP call cannot set, in lower case: they belong to the connection, or
/// are made by the client itself.
pub const HTTP_HEADERS_REFUSED: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
