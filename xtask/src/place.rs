//! Where things lie: the repository, the cache, the target directory.
//!
//! Refuses to create anything but the folders it is asked for.

use std::path::{Path, PathBuf};

/// The repository's root, known from where this crate was compiled.
#[must_use]
pub fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// `$XDG_CACHE_HOME/stepwell`, or `~/.cache/stepwell`; in a home-less
/// environment the system's temporary folder.
#[must_use]
pub fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("stepwell")
}

/// The target directory of every build that xtask starts: the user's
/// `CARGO_TARGET_DIR`, or one in the cache that all checkouts share.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|v| !v.is_empty())
        .map_or_else(|| cache().join("target"), |dir| root().join(dir))
}
