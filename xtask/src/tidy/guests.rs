//! Rule: the guest SDKs import `wit/` and nothing else of this repository.

use anyhow::Result;

use super::tree::{Breach, Tree};

/// Looks for relative paths in `guest-sdk/` that lead elsewhere.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        if !file.path.starts_with("guest-sdk/") || file.path.ends_with(".md") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for quoted in line.split('"').skip(1).step_by(2) {
                if quoted.starts_with("../") && !is_home(&file.path, quoted) {
                    let why = format!("`{quoted}` leads out of guest-sdk/ and wit/");
                    breaches.push(Breach::at(&file.path, number + 1, why));
                }
            }
        }
    }
    Ok(breaches)
}

/// Whether a relative path ends in `guest-sdk/` or `wit/`, taken from the file's
/// folder or, as macros take it, from the package's.
fn is_home(file: &str, path: &str) -> bool {
    let mut folder: Vec<&str> = file.split('/').collect();
    folder.pop();
    if let Some(source) = folder.iter().position(|part| *part == "src") {
        folder.truncate(source);
    }
    for part in path.split('/') {
        match part {
            ".." => drop(folder.pop()),
            "." | "" => {}
            name => folder.push(name),
        }
    }
    matches!(folder.first(), Some(&"guest-sdk" | &"wit"))
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_path_into_the_runtime_is_found() {
        let check = |path: &str, text: &str| planted(check, &[(path, text)]).len();
        let manifest = "guest-sdk/rust/Cargo.toml";
        assert_eq!(
            check(manifest, "types = { path = \"../../runtime/types\" }"),
            1
        );
        assert_eq!(check(manifest, "macros = { path = \"../macros\" }"), 0);
        let source = "guest-sdk/rust/src/lib.rs";
        assert_eq!(check(source, "generate!({ path: \"../../wit\" })"), 0);
        assert_eq!(check(source, "include_str!(\"../../host-api/a\")"), 1);
    }
}
