//! Makes a table of `docs/errors`, which the server shows.
#![allow(
    clippy::disallowed_methods,
    reason = "a build script reads files, and runs on the developer's machine"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../docs/errors");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries: Result<Vec<PathBuf>, std::io::Error> = std::fs::read_dir(&folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect();
    let mut pages = entries?;
    pages.retain(|page| page.extension().is_some_and(|e| e == "md"));
    pages.sort();
    let mut table = String::from("&[\n");
    for page in &pages {
        let code = page.file_stem().ok_or("a page without a name")?;
        let code = code.to_string_lossy();
        writeln!(table, "({code:?}, include_str!({page:?})),")?;
    }
    table.push(']');
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("pages.rs");
    std::fs::write(out, table)?;
    Ok(())
}
