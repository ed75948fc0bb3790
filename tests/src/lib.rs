//! What the suites share: the simulation, and the harness for real servers and clients.

pub mod api;
pub mod guests;
pub mod server;
pub mod sim;
