//! Turns an outside happening into a [`stepwell_types::StartRequest`].
//!
//! Refuses to start anything, to read a clock and to know the server: it is
//! handed what it needs and gives back a wish. HTTP is the first kind of
//! happening; schedules get a module of their own beside it.

pub mod error;
pub mod http;
pub mod pattern;
pub mod query;

pub use error::Error;
pub use http::{IDEMPOTENCY_KEY, Request, execution_name, start};
pub use pattern::{Endpoint, Pattern};
