//! `cargo xtask planted`: bugs planted one by one in a copy of the sources, and the
//! simulator must see each of them.
//!
//! Refuses to touch the sources themselves: everything happens in the cache. A patch of
//! `tests/planted/` that no longer applies is a failure: mend it, or the bug is not tried.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::{place, shell};

/// Patches, in a folder below the root.
const PATCHES: &str = "tests/planted";
/// Seeds within which a bug must be seen.
const SEEDS: u64 = 1_000;
/// The crates that the simulator needs.
const CRATES: [&str; 6] = [
    "runtime/types",
    "runtime/flow",
    "runtime/interpreter",
    "runtime/store",
    "runtime/orchestrator",
    "host-api",
];
/// What else they are built from: the simulator runs the cases too, and the interpreter's
/// manifest names their crate; the host's bindings are made of WIT.
const FOLDERS: [&str; 4] = ["tests/cases", "tests/src", "wit", "guest-sdk/rust/wasi"];
/// The simulator's own package, as small as it can be.
const MANIFEST: &str = r#"[package]
name = "stepwell-tests"
version.workspace = true
edition.workspace = true

[lib]
path = "../src/planted.rs"

[[bin]]
name = "sim"
path = "../src/bin/sim.rs"

[dependencies]
stepwell-types.workspace = true
stepwell-flow.workspace = true
stepwell-interpreter.workspace = true
stepwell-store.workspace = true
stepwell-orchestrator.workspace = true
stepwell-host-api.workspace = true
stepwell-cases.workspace = true
serde_json.workspace = true
"#;
const LIBRARY: &str = "//! The simulator alone.\n\npub mod random;\npub mod sim;\n";

/// One planted bug and what became of it.
struct Verdict {
    name: String,
    what: String,
    /// Seeds until it was seen, and what the simulator said.
    seen: Option<(u64, String)>,
    seconds: u64,
}

/// `planted [NAME…] [--seeds N]`: all bugs, or those named.
///
/// # Errors
/// A patch does not apply, its code does not build, or a bug was not seen.
pub fn run(args: &[String]) -> Result<()> {
    let mut seeds = SEEDS;
    let mut names = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == "--seeds" {
            let n = rest.next().context("--seeds needs a number")?;
            seeds = n.parse().with_context(|| format!("--seeds {n}"))?;
        } else {
            names.push(arg.clone());
        }
    }
    let patches = patches(&names)?;
    let house = place::cache().join("planted");
    println!(
        "planted: {} bugs, {seeds} seeds each, built in {}",
        patches.len(),
        house.display()
    );
    copy(&house)?;
    let sound = simulate(&house, 50)?;
    if let Some((seed, why)) = sound {
        bail!("seed {seed} fails without any planted bug: {why}");
    }
    let mut verdicts = Vec::new();
    for patch in &patches {
        let verdict = plant(&house, patch, seeds)?;
        print_row(&verdict);
        verdicts.push(verdict);
    }
    let missed = verdicts.iter().filter(|v| v.seen.is_none()).count();
    println!("{} seen, {missed} not seen", verdicts.len() - missed);
    ensure!(missed == 0, "the simulator does not see every planted bug");
    Ok(())
}

fn print_row(v: &Verdict) {
    match &v.seen {
        Some((seeds, why)) => {
            let why: String = why.chars().take(100).collect();
            println!(
                "{:<24} {:>5} seeds {:>4} s  {}\n{:24} {why}",
                v.name, seeds, v.seconds, v.what, ""
            );
        }
        None => println!("{:<24}  NOT SEEN {:>4} s  {}", v.name, v.seconds, v.what),
    }
}

/// The patch files, by name.
fn patches(names: &[String]) -> Result<Vec<PathBuf>> {
    let folder = place::root().join(PATCHES);
    let mut all = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "patch")
            && (names.is_empty() || names.contains(&name(&path)))
        {
            all.push(path);
        }
    }
    all.sort();
    ensure!(!all.is_empty(), "no such patch in {PATCHES}");
    Ok(all)
}

fn name(patch: &Path) -> String {
    let stem = patch.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Brings the copy to the sources' state. Files that did not change keep their age, so
/// that the compiler looks only at what did.
fn copy(house: &Path) -> Result<()> {
    let root = place::root();
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let (before, after) = manifest
        .split_once("members = [")
        .context("no members in Cargo.toml")?;
    let (_, after) = after
        .split_once(']')
        .context("no end of the members in Cargo.toml")?;
    let members: Vec<_> = CRATES.iter().map(|folder| format!("{folder:?}")).collect();
    let members = members.join(", ");
    put(
        &house.join("Cargo.toml"),
        format!("{before}members = [{members}, \"tests/alone\"]{after}").as_bytes(),
    )?;
    put(
        &house.join("Cargo.lock"),
        &fs::read(root.join("Cargo.lock"))?,
    )?;
    put(&house.join("tests/alone/Cargo.toml"), MANIFEST.as_bytes())?;
    for folder in CRATES {
        put(
            &house.join(folder).join("Cargo.toml"),
            &fs::read(root.join(folder).join("Cargo.toml"))?,
        )?;
        tree(
            &root.join(folder).join("src"),
            &house.join(folder).join("src"),
        )?;
    }
    for folder in FOLDERS {
        tree(&root.join(folder), &house.join(folder))?;
    }
    put(&house.join("tests/src/planted.rs"), LIBRARY.as_bytes())
}

/// Copies a folder; what is no longer there goes.
fn tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(to)? {
        let entry = entry?;
        if !from.join(entry.file_name()).exists() {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            tree(&entry.path(), &target)?;
        } else {
            put(&target, &fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

fn put(to: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, bytes).with_context(|| to.display().to_string())
}

fn plant(house: &Path, patch: &Path, seeds: u64) -> Result<Verdict> {
    let begun = Instant::now();
    let text = fs::read_to_string(patch)?;
    let what = text.lines().next().unwrap_or_default().to_owned();
    apply(house, patch, false)?;
    let seen = simulate(house, seeds);
    apply(house, patch, true)?;
    Ok(Verdict {
        name: name(patch),
        what,
        seen: seen.with_context(|| patch.display().to_string())?,
        seconds: begun.elapsed().as_secs(),
    })
}

fn apply(house: &Path, patch: &Path, back: bool) -> Result<()> {
    let mut git = Command::new("git");
    // Not even a repository around the cache may have a say.
    git.current_dir(house).env("GIT_CEILING_DIRECTORIES", house);
    git.args(["apply", "--whitespace=nowarn"]);
    if back {
        git.arg("--reverse");
    }
    let out = git.arg(patch).output().context("git apply")?;
    ensure!(
        out.status.success(),
        "{} does not apply; mend it:\n{}",
        patch.display(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// Builds and runs the simulator. `Some`: the first seed that fails, counted from 1, and why.
fn simulate(house: &Path, seeds: u64) -> Result<Option<(u64, String)>> {
    let target = house.join("target");
    let mut build = shell::cargo(house);
    build.env("CARGO_TARGET_DIR", &target);
    shell::run(build.args(["build", "--quiet", "--offline", "--bin", "sim"]))?;
    let mut sim = Command::new(target.join("debug/sim"));
    sim.args(["--first", "--seeds", &seeds.to_string()]);
    let out = sim.output().context("the simulator")?;
    if out.status.success() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&out.stdout);
    let found = text.lines().find_map(|line| {
        let (seed, why) = line.strip_prefix("seed ")?.split_once(": ")?;
        Some((seed.parse::<u64>().ok()? + 1, why.to_owned()))
    });
    // A bug may also show as a panic or a hang that the watch ended.
    let panicked = || {
        let text = String::from_utf8_lossy(&out.stderr);
        let line = text
            .lines()
            .find(|l| l.contains("panicked"))
            .unwrap_or("no word");
        (seeds, format!("it died: {line}"))
    };
    Ok(Some(found.unwrap_or_else(panicked)))
}
