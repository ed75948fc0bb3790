//! Rule: manifests inherit the workspace's metadata and lints, and a package is
//! named by its room.

use anyhow::Result;
use toml::Table;

use super::rooms::ROOMS;
use super::tree::{Breach, Tree};

const INHERITED: &[&str] = &[
    "version",
    "edition",
    "rust-version",
    "license",
    "repository",
    "publish",
];

/// Looks at each room's manifest, and at the guests' for a licence.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in &tree.files {
        let Some(folder) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let mut breach = |why: String| breaches.push(Breach::at(&file.path, 0, why));
        let table: Table = match file.text.parse() {
            Ok(table) => table,
            Err(error) => {
                breach(format!("not TOML: {error}"));
                continue;
            }
        };
        let Some(package) = table.get("package").and_then(toml::Value::as_table) else {
            continue;
        };
        let Some(room) = ROOMS.iter().find(|room| room.folder == folder) else {
            if !package.contains_key("license") {
                breach("names its `license`".into());
            }
            continue;
        };
        if package.get("name").and_then(toml::Value::as_str) != Some(room.package) {
            breach(format!("is named `{}`", room.package));
        }
        for key in INHERITED {
            if !inherits(package.get(*key)) {
                breach(format!("`{key}.workspace = true`"));
            }
        }
        if !inherits(table.get("lints")) {
            breach("`[lints] workspace = true`".into());
        }
    }
    Ok(breaches)
}

fn inherits(value: Option<&toml::Value>) -> bool {
    value
        .and_then(|value| value.get("workspace"))
        .and_then(toml::Value::as_bool)
        == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn missing_metadata_is_found() {
        let mut text = "[package]\nname = \"stepwell-types\"\n".to_owned();
        for key in INHERITED {
            text.push_str(&format!("{key}.workspace = true\n"));
        }
        text.push_str("[lints]\nworkspace = true\n");
        let check = |text: &str| planted(check, &[("runtime/types/Cargo.toml", text)]).len();
        assert_eq!(check(&text), 0);
        assert_eq!(check(&text.replace("license.workspace = true\n", "")), 1);
        assert_eq!(check(&text.replace("[lints]", "[other]")), 1);
        assert_eq!(check(&text.replace("stepwell-types", "types")), 1);
        assert_eq!(check("[package"), 1);
    }
}
