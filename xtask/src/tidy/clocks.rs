//! Rule: only `cli` reads the clock and the environment; elsewhere they are
//! arguments or ports. Scripts, tests and benchmarks stand outside the house.

use anyhow::Result;

use super::tree::{Breach, Source, Tree};

const CALLS: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "Utc::now",
    "Zoned::now",
    "Timestamp::now",
    "env::var",
    "env::var_os",
    "env::vars",
    "env::vars_os",
    "rand::random",
    "thread_rng",
    "getrandom",
    "OsRng",
];

/// Looks at the sources of the rooms other than `cli`.
pub fn check(tree: &Tree) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    for file in tree.rust().filter(|file| is_held(file)) {
        for call in CALLS {
            if *call == "Instant::now" && is_tokios(file) {
                continue;
            }
            for line in file.code().find(call) {
                let why = format!("`{call}`: only runtime/cli reads clocks and environment");
                breaches.push(Breach::at(&file.path, line, why));
            }
        }
    }
    Ok(breaches)
}

fn is_held(file: &Source) -> bool {
    let house = file.path.starts_with("runtime/") || file.path.starts_with("host-api/");
    let runs = file.path.contains("/src/") && !super::rooms::is_test(&file.path);
    house && runs && !file.path.starts_with("runtime/cli/")
}

/// tokio's clock serves for time-outs at the edge, and a test can stop it.
fn is_tokios(file: &Source) -> bool {
    let code = &file.code().plain;
    code.contains("tokio::time::") && !code.contains("std::time::Instant")
}

#[cfg(test)]
mod tests {
    use super::super::tree::planted;
    use super::*;

    #[test]
    fn a_clock_outside_cli_is_found() {
        let text = "fn a() { let _ = std::time::SystemTime::now(); }\n";
        let found = |path: &str| planted(check, &[(path, text)]).len();
        assert_eq!(found("runtime/server/src/a.rs"), 1);
        assert_eq!(found("runtime/cli/src/a.rs"), 0);
        assert_eq!(found("xtask/src/a.rs"), 0);
        assert_eq!(found("runtime/server/tests/a.rs"), 0);
    }

    #[test]
    fn environment_and_randomness_are_found_and_tokios_clock_is_not() {
        let check = |text: &str| planted(check, &[("host-api/src/a.rs", text)]).len();
        assert_eq!(check("fn a() { std::env::var(\"A\"); }"), 1);
        assert_eq!(check("fn a() { rand::random::<u8>(); }"), 1);
        assert_eq!(check("fn a() { std::time::Instant::now(); }"), 1);
        assert_eq!(check("fn a() { tokio::time::Instant::now(); }"), 0);
    }
}
