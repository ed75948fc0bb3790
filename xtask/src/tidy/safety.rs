//! Rule: every `unsafe` block says why it is sound.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// Lines above a block in which its reason may stand.
const NEAR: usize = 12;

/// Looks for `unsafe` without `SAFETY:` close above it.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        let lines: Vec<&str> = file.text.lines().collect();
        for opening in ["unsafe {", "unsafe impl"] {
            for line in file.code().find(opening) {
                let above = &lines[line.saturating_sub(NEAR + 1)..line.min(lines.len())];
                if !above.iter().any(|text| text.contains("SAFETY:")) {
                    let why = format!("`{opening}` without a `SAFETY:` comment");
                    breaches.push(Breach::at(&file.path, line, why));
                }
            }
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn an_unexplained_block_is_found() {
        let bad = "fn a() {\n    unsafe { b() }\n}\n";
        let good = "fn a() {\n    // SAFETY: b is sound.\n    unsafe { b() }\n}\n";
        assert_eq!(
            planted(check, &[("a.rs", bad), ("b.rs", good)]),
            ["a.rs:2: `unsafe {` without a `SAFETY:` comment"]
        );
    }
}
