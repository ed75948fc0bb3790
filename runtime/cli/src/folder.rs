//! The definitions in a folder, by the ending of their names.
//!
//! Refuses folders of tens of thousands, and does not follow links to folders.

use std::path::{Path, PathBuf};

use crate::exit::Trouble;

/// Most files of one folder.
const FILES_MAX: usize = 10_000;
/// Most folders below each other.
const DEPTH_MAX: usize = 32;

/// `.json`, `.yaml` and `.yml` files in `dir` and the folders below it, sorted.
pub fn definitions(dir: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut files = Vec::new();
    collect(dir, 0, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Trouble> {
    if depth > DEPTH_MAX {
        return Err(Trouble::usage(format!("{} lies too deep", dir.display())));
    }
    let failed = |e: std::io::Error| Trouble::usage(format!("cannot read {}: {e}", dir.display()));
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let kind = entry.file_type().map_err(failed)?;
        let path = entry.path();
        // A link to a folder may lead in a circle; one to a file is that file.
        if kind.is_dir() {
            collect(&path, depth + 1, files)?;
        } else if path
            .extension()
            .is_some_and(|e| e == "json" || e == "yaml" || e == "yml")
            && !path.is_dir()
        {
            files.push(path);
        }
        if files.len() > FILES_MAX {
            return Err(Trouble::usage(format!(
                "there are more than {FILES_MAX} files"
            )));
        }
    }
    Ok(())
}
