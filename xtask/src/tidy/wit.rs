//! Rule: a WIT package has a folder `name@version`, and says the same inside.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// Looks at the folders of `wit/` and their `package` lines.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".wit")) {
        let parts = file.parts();
        // A package that another one depends on lies in its `deps/`.
        let Some(folder) = parts
            .iter()
            .rev()
            .nth(1)
            .filter(|_| parts.first() == Some(&"wit"))
        else {
            continue;
        };
        let Some((name, version)) = folder.split_once('@').filter(|(_, v)| is_version(v)) else {
            breaches.push(Breach::at(&file.path, 0, "lies in a folder `name@1.2.3`"));
            continue;
        };
        let said = file
            .text
            .lines()
            .find_map(|line| line.strip_prefix("package "));
        let wanted = format!(":{name}@{version};");
        if said.is_some_and(|package| !package.trim_end().ends_with(&wanted)) {
            let why = format!("its package is not `…{}`", wanted.trim_end_matches(';'));
            breaches.push(Breach::at(&file.path, 0, why));
        }
    }
    Ok(breaches)
}

/// A draft of others has a word behind its version.
fn is_version(text: &str) -> bool {
    let text = text.split_once('-').map_or(text, |(version, _)| version);
    let parts: Vec<&str> = text.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn unversioned_and_misnamed_packages_are_found() {
        let check = |path: &str, text: &str| planted(check, &[(path, text)]).len();
        assert_eq!(
            check("wit/log@1.0.0/log.wit", "package stepwell:log@1.0.0;\n"),
            0
        );
        assert_eq!(check("wit/log/log.wit", "package stepwell:log@1.0.0;\n"), 1);
        assert_eq!(
            check("wit/log@1.0.0/log.wit", "package stepwell:log@2.0.0;\n"),
            1
        );
    }
}
