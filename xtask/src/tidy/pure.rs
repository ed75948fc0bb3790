//! Rule: the pure rooms name no clock, randomness, environment, file, network or thread.

use anyhow::Result;

use super::rooms::{self, ROOMS};
use super::tree::{Breach, Tree};

const WORDS: &[&str] = &[
    // A group hides which of them it names.
    "std::{",
    "std::time::Instant",
    "std::time::SystemTime",
    "SystemTime",
    "Instant",
    "std::env",
    "std::fs",
    "std::io::stdin",
    "std::net",
    "std::process",
    "std::thread",
    "RandomState",
    "rand",
    "getrandom",
    "tokio",
    "async fn",
    "async move",
    "async {",
    "println!",
    "eprintln!",
];

/// Looks at the sources of the pure rooms, unit tests apart.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for room in ROOMS.iter().filter(|room| room.pure) {
        for file in tree.rust().filter(|file| rooms::owns(room, &file.path)) {
            for word in WORDS {
                for line in file.code().find(word) {
                    let why = format!("`{word}` in the pure room `{}`", room.package);
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
    fn io_in_a_pure_room_is_found() {
        let found = |path: &str, text: &str| planted(check, &[(path, text)]).len();
        for word in WORDS {
            let text = format!("fn a() {{ {word} }}");
            assert!(found("runtime/flow/src/a.rs", &text) > 0, "{word}");
            assert_eq!(found("runtime/server/src/a.rs", &text), 0, "{word}");
        }
        let grouped = "use std::{env, fs};\nfn a() { fs::read(\"a\"); }";
        assert_eq!(found("runtime/flow/src/a.rs", grouped), 1);
        let tests = "#[cfg(test)]\nmod tests {\n fn a() { std::fs::read(\"a\"); }\n}\n";
        assert_eq!(found("runtime/flow/src/a.rs", tests), 0);
        assert_eq!(
            found("runtime/flow/src/a/tests.rs", "fn a() { std::fs::read(1) }"),
            0
        );
        assert_eq!(found("runtime/flow/src/a.rs", "// std::fs\n"), 0);
    }
}
