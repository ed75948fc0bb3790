//! Builds the Wasm guests: each folder that holds guests is a cargo workspace of
//! its own, and each of its `cdylib` crates becomes one component.
//!
//! Components lie in the cache by the digest of all that went into them, so an
//! unchanged guest is not built again and two checkouts do not disturb each
//! other. Tests call [`component`]. Refuses to know what a guest does.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use cargo_metadata::{CrateType, MetadataCommand, Package};
use sha2::{Digest, Sha256};

use crate::{place, shell, wasm};

/// What every guest may depend on by path: a change here rebuilds all.
const SHARED: &[&str] = &["wit", "guest-sdk/rust"];

/// The workspaces with guests, relative to the repository's root, sorted.
///
/// # Errors
/// A folder cannot be read.
pub fn workspaces() -> Result<Vec<String>> {
    let root = place::root();
    let mut found = Vec::new();
    for candidate in ["guest-sdk/rust", "tests/programs"] {
        if root.join(candidate).join("Cargo.toml").exists() {
            found.push(candidate.to_owned());
        }
    }
    if let Ok(entries) = root.join("examples").read_dir() {
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let steps = format!("examples/{name}/steps");
            if root.join(&steps).join("Cargo.toml").exists() {
                found.push(steps);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Builds every guest and prints where it lies.
///
/// # Errors
/// As [`workspace`].
pub fn run() -> Result<()> {
    for name in workspaces()? {
        for (guest, path) in workspace(&name)? {
            let bytes = std::fs::metadata(&path)?.len();
            println!("{name} {guest}: {} ({bytes} bytes)", path.display());
        }
    }
    Ok(())
}

/// The component of one guest, built if need be.
///
/// `workspace` is relative to the repository's root (`tests/programs`), `guest`
/// the package's name.
///
/// # Errors
/// As [`workspace()`], or it has no such guest.
pub fn component(workspace_name: &str, guest: &str) -> Result<PathBuf> {
    let guests = workspace(workspace_name)?;
    guests.get(guest).cloned().with_context(|| {
        let names: Vec<_> = guests.keys().map(String::as_str).collect();
        format!(
            "{workspace_name} has no guest `{guest}`, only {}",
            names.join(", ")
        )
    })
}

/// Builds the guests of one workspace that are not in the cache: package name to component.
///
/// # Errors
/// There is no toolchain, the build failed, or the folder is no cargo workspace.
pub fn workspace(name: &str) -> Result<BTreeMap<String, PathBuf>> {
    static DONE: Mutex<BTreeMap<String, BTreeMap<String, PathBuf>>> = Mutex::new(BTreeMap::new());
    let mut done = DONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(guests) = done.get(name) {
        return Ok(guests.clone());
    }
    let guests = built(name).with_context(|| format!("cannot build the guests of {name}"))?;
    done.insert(name.to_owned(), guests.clone());
    Ok(guests)
}

fn built(name: &str) -> Result<BTreeMap<String, PathBuf>> {
    let cache = place::cache().join("guests");
    std::fs::create_dir_all(&cache)?;
    let lock = File::create(cache.join(".lock"))?;
    lock.lock()?;
    let toolchain = wasm::toolchain()?;
    let place = || -> Result<PathBuf> {
        let digest = fingerprint(name, &toolchain.id)?;
        Ok(cache.join(name.replace('/', "-")).join(digest))
    };
    let mut out = place()?;
    if !out.exists() {
        let fresh = build(name, &toolchain, &cache)?;
        // Asked again: cargo may have written the lock file, which counts.
        out = place()?;
        let parent = out.parent().context("no folder")?;
        std::fs::create_dir_all(parent)?;
        std::fs::rename(fresh, &out)?;
        forget_old(parent, &out);
    }
    let mut guests = BTreeMap::new();
    for entry in out.read_dir()? {
        let path = entry?.path();
        if let Some(stem) = path.file_stem() {
            guests.insert(stem.to_string_lossy().into_owned(), path);
        }
    }
    Ok(guests)
}

/// Builds all guests of a workspace into a new folder below `cache`.
fn build(name: &str, toolchain: &wasm::Toolchain, cache: &Path) -> Result<PathBuf> {
    let dir = place::root().join(name);
    let guests = guest_packages(&dir)?;
    // One target folder for all guest workspaces, so that wit-bindgen is compiled
    // once; its name carries the toolchain, for a rebuilt sysroot spoils it.
    let id = hex(&Sha256::digest(&toolchain.id), 6);
    let target = place::cache().join("guest-target").join(id);
    println!("guests: building {name}");
    let mut cargo = shell::cargo(&dir);
    toolchain.prepare(&mut cargo);
    cargo
        .env("CARGO_TARGET_DIR", &target)
        .args(["build", "--quiet", "--release", "--workspace", "--lib"])
        .args(["--target", wasm::TARGET]);
    shell::run(&mut cargo)?;
    let fresh = tempfile::tempdir_in(cache)?;
    for (package, library) in guests {
        let file = target
            .join(wasm::TARGET)
            .join("release")
            .join(format!("{library}.wasm"));
        std::fs::copy(&file, fresh.path().join(format!("{package}.wasm")))
            .with_context(|| format!("no component at {}", file.display()))?;
    }
    Ok(fresh.keep())
}

/// Packages with a `cdylib`, and that library's file name.
fn guest_packages(dir: &Path) -> Result<Vec<(String, String)>> {
    let metadata = MetadataCommand::new().current_dir(dir).no_deps().exec()?;
    let library = |package: &Package| {
        package
            .targets
            .iter()
            .find(|target| target.crate_types.contains(&CrateType::CDyLib))
            .map(|target| target.name.replace('-', "_"))
    };
    Ok(metadata
        .workspace_packages()
        .into_iter()
        .filter_map(|package| Some((package.name.to_string(), library(package)?)))
        .collect())
}

/// Keeps the nine newest builds of a workspace; others may belong to other branches.
pub(crate) fn forget_old(parent: &Path, newest: &Path) {
    let Ok(entries) = parent.read_dir() else {
        return;
    };
    let mut builds: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.path() != newest)
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    builds.sort();
    let surplus = builds.len().saturating_sub(8);
    for (_, path) in builds.into_iter().take(surplus) {
        // Left behind at worst: it is a cache.
        let _ = if path.is_dir() {
            std::fs::remove_dir_all(path)
        } else {
            std::fs::remove_file(path)
        };
    }
}

/// Digest of the toolchain and of every source file that a guest is made of.
fn fingerprint(name: &str, toolchain: &str) -> Result<String> {
    let folders: Vec<&str> = SHARED.iter().copied().chain([name]).collect();
    fingerprint_of(&folders, toolchain)
}

/// Digest of a text and of every file in these folders of the repository.
pub(crate) fn fingerprint_of(folders: &[&str], text: &str) -> Result<String> {
    let mut files = Vec::new();
    for folder in folders {
        sources(&place::root().join(folder), &mut files)?;
    }
    files.sort();
    files.dedup();
    fingerprint_files(&files, text)
}

/// Digest of a text and of these files of the repository.
pub(crate) fn fingerprint_files(files: &[PathBuf], text: &str) -> Result<String> {
    if files.is_empty() {
        bail!("no sources");
    }
    let root = place::root();
    let mut hash = Sha256::new();
    hash.update(text);
    for file in files {
        let relative = file.strip_prefix(&root).unwrap_or(file);
        let text = std::fs::read(file)?;
        hash.update(relative.to_string_lossy().as_bytes());
        hash.update([0]);
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    Ok(hex(&hash.finalize(), 16))
}

/// Files below `folder`, build output apart.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let Ok(entries) = folder.read_dir() else {
        return Ok(());
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() && name != "target" {
            sources(&entry.path(), into)?;
        } else if kind.is_file() {
            into.push(entry.path());
        }
    }
    Ok(())
}

fn hex(bytes: &[u8], count: usize) -> String {
    bytes
        .iter()
        .take(count)
        .map(|b| format!("{b:02x}"))
        .collect()
}
