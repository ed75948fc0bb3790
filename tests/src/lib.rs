//! What the suites share: the simulation, and the harness for real servers and clients.
//!
//! Refuses to be imported by the house: it stands outside.

pub mod api;
pub mod bridges;
pub mod crash;
pub mod guests;
pub mod house;
pub mod machines;
pub mod port;
pub mod random;
pub mod server;
pub mod sim;
pub mod wait;
