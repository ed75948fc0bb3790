//! The Wasm guests that tests upload, built by the same code as `cargo xtask guests`.
//!
//! Refuses prebuilt components: what is tested is built from source.

use std::path::PathBuf;

use anyhow::{Context, Result};
pub use xtask::languages::Language;

/// The folder of the guests that show one behaviour each.
const PROGRAMS: &str = "tests/programs";

/// The component of one of the test programs, built if it is not in the cache.
///
/// # Errors
/// It cannot be built; the text says how to build it by hand.
pub fn program(name: &str) -> Result<PathBuf> {
    xtask::guests::component(PROGRAMS, name)
        .with_context(|| format!("no guest `{name}`: try `cargo xtask guests`"))
}

/// The component of the guest in another language, built if it is not in the cache.
///
/// # Errors
/// It cannot be built; the text says what is missing.
pub fn language(language: Language) -> Result<PathBuf> {
    xtask::languages::component(language).with_context(|| {
        format!("no guest in {language:?}: `cargo xtask test bridges` installs what builds it")
    })
}
