//! Rule: `foo.rs` beside `foo/`, no `mod.rs`; the top level holds known folders.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// The top-level folders; a new one is a decision.
const FOLDERS: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".github",
    "bench",
    "changes",
    "console",
    "docs",
    "examples",
    "guest-sdk",
    "host-api",
    "runtime",
    "tests",
    "wit",
    "xtask",
];

/// Looks at the paths.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        let parts = file.parts();
        if parts.last() == Some(&"mod.rs") {
            breaches.push(Breach::at(
                &file.path,
                0,
                "`foo.rs` beside `foo/`, not `foo/mod.rs`",
            ));
        }
        let top = parts.first().filter(|_| parts.len() > 1);
        if let Some(top) = top.filter(|top| !FOLDERS.contains(top)) {
            let why = format!("`{top}/` is no folder of the layout");
            breaches.push(Breach::at(&file.path, 0, why));
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn mod_rs_and_strange_folders_are_found() {
        assert_eq!(planted(check, &[("xtask/src/a/mod.rs", "")]).len(), 1);
        assert_eq!(planted(check, &[("misc/a.rs", "")]).len(), 1);
        assert_eq!(
            planted(check, &[("xtask/src/a.rs", ""), ("README.md", "")]).len(),
            0
        );
    }
}
