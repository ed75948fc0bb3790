//! Rule: the heavy crates stay behind their doors.
//!
//! wasmtime, RocksDB and axum are named only by the rooms that own them, and
//! nothing asynchronous reaches a pure room, not even through another crate.

use anyhow::Result;

use super::rooms::{self, EXCLUSIVE, NEVER_PURE};
use super::tree::{Breach, Tree};

/// Reads `cargo metadata`.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for (name, package) in tree.packages()? {
        let Some(room) = rooms::of(name) else {
            continue;
        };
        let manifest = format!("{}/Cargo.toml", room.folder);
        let named = package.direct.iter().chain(&package.for_tests);
        for dependency in named {
            let owner = EXCLUSIVE
                .iter()
                .find(|(start, _)| dependency.starts_with(start));
            if let Some((_, owners)) = owner.filter(|(_, owners)| !owners.contains(&name.as_str()))
            {
                let why = format!("`{dependency}` belongs to {}", owners.join(", "));
                breaches.push(Breach::at(&manifest, 0, why));
            }
        }
        for dependency in NEVER_PURE.iter().filter(|_| room.pure) {
            if package.reaches.contains(*dependency) {
                let why = format!("`{dependency}` must not reach the pure room `{name}`");
                breaches.push(Breach::at(&manifest, 0, why));
            }
        }
    }
    Ok(breaches)
}

#[cfg(test)]
mod tests {
    use super::super::edges::workspace;
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_heavy_crate_in_the_wrong_room_is_found() {
        let files = workspace(&[
            (
                "runtime/server",
                "stepwell-server",
                "wasmtime = { path = \"../../wasmtime\" }\n",
            ),
            (
                "runtime/flow",
                "stepwell-flow",
                "helper = { path = \"../../helper\" }\n",
            ),
            (
                "runtime/sandbox",
                "stepwell-sandbox",
                "wasmtime = { path = \"../../wasmtime\" }\n",
            ),
            ("helper", "helper", "tokio = { path = \"../tokio\" }\n"),
            ("tokio", "tokio", ""),
            ("wasmtime", "wasmtime", ""),
        ]);
        let files: Vec<(&str, &str)> = files.iter().map(|f| (f.0.as_str(), f.1.as_str())).collect();
        assert_eq!(
            planted(check, &files),
            [
                "runtime/flow/Cargo.toml: `tokio` must not reach the pure room `stepwell-flow`",
                "runtime/server/Cargo.toml: `wasmtime` belongs to stepwell-sandbox, stepwell-host-api, stepwell-bench",
            ]
        );
    }
}
