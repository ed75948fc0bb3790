//! Rule: no path of one machine, no file that belongs to one person.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// Folders of people, and the one where build machines like to put checkouts. In two parts,
/// so that this file does not break its own rule.
const HOMES: &[(&str, &str)] = &[
    ("/ro", "ot/"),
    ("/ho", "me/"),
    ("/Use", "rs/"),
    ("/wo", "rk/"),
    ("C:\\Use", "rs"),
];

/// Looks for absolute home paths in every text file.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let homes: Vec<String> = HOMES.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let mut breaches = Vec::new();
    for file in &tree.files {
        for (number, line) in file.text.lines().enumerate() {
            let found = homes.iter().find(|home| starts_a_path(line, home));
            if let Some(home) = found {
                let why = format!("`{home}` is a path of one machine");
                breaches.push(Breach::at(&file.path, number + 1, why));
            }
        }
    }
    Ok(breaches)
}

/// Whether `home` stands in the line as the start of a path, not inside one.
fn starts_a_path(line: &str, home: &str) -> bool {
    line.match_indices(home).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}~/$".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_home_path_is_found() {
        let home = format!("see {}{}me/notes\n", "/ho", "me/");
        let inside = format!("see docs{}{}page\n", "/ho", "me/");
        assert_eq!(planted(check, &[("a.md", &home)]).len(), 1);
        assert_eq!(planted(check, &[("a.md", &inside)]).len(), 0);
    }
}
