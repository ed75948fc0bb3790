//! One test suite that every backend passes.
