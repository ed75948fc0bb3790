//! The store in memory, for simulation and one-shot runs only.
