//! Rule: decision records are numbered from 0001 without gaps, and a number is used once.

use anyhow::Result;

use super::tree::{Breach, Tree};

const FOLDER: &str = "docs/decisions/";

/// Looks at file names and headings in `docs/decisions/`.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    let mut next = 1;
    for file in &tree.files {
        let Some(name) = file
            .path
            .strip_prefix(FOLDER)
            .filter(|name| *name != "README.md")
        else {
            continue;
        };
        let number = name.split('-').next().unwrap_or_default();
        if number != format!("{next:04}") {
            let why = format!("the next decision record is {next:04}-title.md");
            breaches.push(Breach::at(&file.path, 0, why));
        }
        if !file.text.starts_with(&format!("# {number}: ")) {
            let why = format!("opens with `# {number}: title`");
            breaches.push(Breach::at(&file.path, 1, why));
        }
        next = number.parse().unwrap_or(next) + 1;
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn gaps_doubles_and_bare_headings_are_found() {
        let a = ("docs/decisions/0001-a.md", "# 0001: A\n");
        let gap = ("docs/decisions/0003-c.md", "# 0003: C\n");
        let double = ("docs/decisions/0001-b.md", "# 0001: B\n");
        let bare = ("docs/decisions/0002-b.md", "# B\n");
        assert_eq!(planted(check, &[a]).len(), 0);
        assert_eq!(planted(check, &[a, gap]).len(), 1);
        assert_eq!(planted(check, &[a, double]).len(), 1);
        assert_eq!(planted(check, &[a, bare]).len(), 1);
    }
}
