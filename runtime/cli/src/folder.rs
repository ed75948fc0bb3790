//! The definitions in a folder, by the ending of their names.
//!
//! Refuses folders of tens of thousands, and does not follow links to folders. What cannot be
//! looked into is told, and the rest is found all the same.

use std::path::{Path, PathBuf};

use crate::exit::Trouble;

/// Most files of one folder.
const FILES_MAX: usize = 10_000;
/// Most folders below each other.
const DEPTH_MAX: usize = 32;

/// What a folder holds.
#[derive(Debug, Default)]
pub struct Found {
    /// `.json`, `.yaml` and `.yml` files, sorted.
    pub files: Vec<PathBuf>,
    /// Folders that were not looked into, and why.
    pub closed: Vec<(PathBuf, String)>,
}

/// Looks into `dir` and the folders below it. `dir` itself must be readable.
pub fn definitions(dir: &Path) -> Result<Found, Trouble> {
    if let Err(e) = std::fs::read_dir(dir) {
        let message = format!("cannot read {}: {e}", dir.display());
        return Err(Trouble::system(message));
    }
    let mut found = Found::default();
    collect(dir, 0, &mut found)?;
    found.files.sort();
    Ok(found)
}

fn collect(dir: &Path, depth: usize, found: &mut Found) -> Result<(), Trouble> {
    if depth > DEPTH_MAX {
        let why = format!("more than {DEPTH_MAX} folders below each other");
        found.closed.push((dir.to_owned(), why));
        return Ok(());
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) => {
            found.closed.push((dir.to_owned(), e.to_string()));
            return Ok(());
        }
    };
    for entry in entries {
        let kind = entry.and_then(|e| Ok((e.file_type()?, e.path())));
        let (kind, path) = match kind {
            Ok(entry) => entry,
            Err(e) => {
                found.closed.push((dir.to_owned(), e.to_string()));
                continue;
            }
        };
        // A link to a folder may lead in a circle; one to a file is that file.
        if kind.is_dir() {
            collect(&path, depth + 1, found)?;
        } else if path
            .extension()
            .is_some_and(|e| e == "json" || e == "yaml" || e == "yml")
            && !path.is_dir()
        {
            found.files.push(path);
        }
        if found.files.len() > FILES_MAX {
            return Err(Trouble::usage(format!(
                "there are more than {FILES_MAX} files"
            )));
        }
    }
    Ok(())
}
