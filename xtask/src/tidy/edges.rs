//! Rule: the workspace's edges are exactly those of the house table.
//!
//! Tests may import more: xtask (it builds the guests), and a room below.

use std::collections::BTreeSet;

use anyhow::Result;

use super::rooms::{self, Imports};
use super::tree::{Breach, Tree};

/// Compares `cargo metadata` with the table.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let packages = tree.packages()?;
    let mut breaches = Vec::new();
    let members: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    for (name, package) in packages {
        let Some(room) = rooms::of(name) else {
            breaches.push(Breach::at(
                "Cargo.toml",
                0,
                format!("`{name}` is no room of the table"),
            ));
            continue;
        };
        let Imports::Only(table) = room.imports else {
            continue;
        };
        let manifest = format!("{}/Cargo.toml", room.folder);
        let table: BTreeSet<&str> = table.iter().copied().collect();
        let direct = package.direct.iter().map(String::as_str);
        let real: BTreeSet<&str> = direct.filter(|name| members.contains(name)).collect();
        for extra in real.difference(&table) {
            let why = format!("`{name}` may not import `{extra}`");
            breaches.push(Breach::at(&manifest, 0, why));
        }
        for missing in table.difference(&real) {
            let why =
                format!("the table lets `{name}` import `{missing}`, but it does not: strike it");
            breaches.push(Breach::at(&manifest, 0, why));
        }
    }
    Ok(breaches)
}

/// Manifests of a small workspace, for the tests of the rules about packages.
#[cfg(test)]
pub fn workspace(members: &[(&str, &str, &str)]) -> Vec<(String, String)> {
    let folders: Vec<String> = members.iter().map(|m| format!("\"{}\"", m.0)).collect();
    let mut files = vec![(
        "Cargo.toml".to_owned(),
        format!(
            "[workspace]\nresolver = \"3\"\nmembers = [{}]\n",
            folders.join(", ")
        ),
    )];
    for (folder, package, dependencies) in members {
        files.push((
            format!("{folder}/Cargo.toml"),
            format!("[package]\nname = \"{package}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\n{dependencies}"),
        ));
        files.push((format!("{folder}/src/lib.rs"), "//! A.\n".into()));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    fn found(flow: &str) -> Vec<String> {
        let files = workspace(&[
            ("runtime/types", "stepwell-types", ""),
            (
                "runtime/store",
                "stepwell-store",
                "stepwell-types = { path = \"../types\" }\n",
            ),
            ("runtime/flow", "stepwell-flow", flow),
        ]);
        let files: Vec<(&str, &str)> = files.iter().map(|f| (f.0.as_str(), f.1.as_str())).collect();
        planted(check, &files)
    }

    #[test]
    fn an_edge_outside_the_table_is_found() {
        let types = "stepwell-types = { path = \"../types\" }\n";
        let store = "stepwell-store = { path = \"../store\" }\n";
        assert_eq!(found(types), [""; 0]);
        assert_eq!(
            found(&format!("{types}{store}")),
            ["runtime/flow/Cargo.toml: `stepwell-flow` may not import `stepwell-store`"]
        );
        assert_eq!(found("").len(), 1, "an edge that only the table has");
    }
}
