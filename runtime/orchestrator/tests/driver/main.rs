//! The real driver over the memory store: what it wants when, and what outlives a crash.

mod deleting;
mod descendants;
mod express;
mod journal;
mod memory;
mod open;
mod places;
mod signals;
mod tokens;
mod tombstones;
mod world;
