//! Rule: no source file of 700 lines, and `types` stays small.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// At 600 ask what blurred; here it is an error.
const LINES_MAX: usize = 700;
const TYPES: &str = "runtime/types/src/";
/// docs/decisions/0036-size-of-types.md
const TYPES_LINES_MAX: usize = 2_200;

/// Counts lines.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    let mut types = 0;
    for file in tree.rust() {
        let lines = file.text.lines().count();
        if lines >= LINES_MAX {
            let why = format!("{lines} lines: which boundary blurred?");
            breaches.push(Breach::at(&file.path, 0, why));
        }
        if file.path.starts_with(TYPES) {
            types += lines;
        }
    }
    if types > TYPES_LINES_MAX {
        let why = format!("{types} lines: behaviour has crept in (at most {TYPES_LINES_MAX})");
        breaches.push(Breach::at(TYPES, 0, why));
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn long_files_and_a_fat_types_crate_are_found() {
        let (short, long) = ("a\n".repeat(600), "a\n".repeat(700));
        assert_eq!(planted(check, &[("a.rs", &short)]).len(), 0);
        assert_eq!(planted(check, &[("a.rs", &long)]).len(), 1);
        let types = [
            ("runtime/types/src/a.rs", short.as_str()),
            ("runtime/types/src/b.rs", &short),
            ("runtime/types/src/c.rs", &short),
            ("runtime/types/src/d.rs", &short),
        ];
        assert_eq!(planted(check, &types).len(), 1);
    }
}
