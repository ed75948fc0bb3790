//! Rule: every source file opens with `//!`: what it is for, and what it refuses.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// Looks at the first line of each Rust file.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let bare = tree.rust().filter(|file| !file.text.starts_with("//! "));
    let breach = |path: &str| Breach::at(path, 1, "opens with `//!` and the file's purpose");
    Ok(bare.map(|file| breach(&file.path)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_file_without_purpose_is_found() {
        let files = [
            ("a.rs", "//! A.\n"),
            ("b.rs", "use std::fmt;\n"),
            ("c.rs", ""),
        ];
        assert_eq!(planted(check, &files).len(), 2);
    }
}
