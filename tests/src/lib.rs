//! What the suites share: the simulation, and the harness for real servers and clients.

pub mod sim;
