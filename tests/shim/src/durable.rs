//! The names that directories had at their last sync: noted before a program starts, kept by
//! `synced.c` while it runs, and given back after a power cut.
//!
//! Each directory is noted under its key: a file as a hard link, a directory as a symbolic link to
//! its key. Refuses to guess: a directory that was never synced had nothing in it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::identity;

/// Forgets all notes.
pub(crate) fn forget(names: &Path) -> io::Result<()> {
    match fs::remove_dir_all(names) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    fs::create_dir(names)
}

/// Notes what is below a directory now.
pub(crate) fn note(names: &Path, dir: &Path) -> io::Result<()> {
    let noted = names.join(key(dir)?);
    fs::create_dir(&noted)?;
    for (name, path, is_dir) in entries(dir)? {
        if is_dir {
            std::os::unix::fs::symlink(key(&path)?, noted.join(name))?;
            note(names, &path)?;
        } else {
            fs::hard_link(&path, noted.join(name))?;
        }
    }
    Ok(())
}

/// Makes a directory what its notes say, and all below: how many names were otherwise.
pub(crate) fn restore(names: &Path, dir: &Path) -> io::Result<u64> {
    restore_as(names, dir, &key(dir)?)
}

fn restore_as(names: &Path, dir: &Path, key: &str) -> io::Result<u64> {
    let noted = names.join(key);
    let mut wanted = BTreeMap::new();
    if noted.is_dir() {
        for entry in fs::read_dir(&noted)? {
            let entry = entry?;
            wanted.insert(entry.file_name(), entry.path());
        }
    }
    let mut done = 0;
    for (name, path, is_dir) in entries(dir)? {
        let fits = match wanted.get(&name) {
            Some(noted) => is_noted(noted, &path, is_dir)?,
            None => false,
        };
        if fits {
            continue;
        }
        done += 1;
        match is_dir {
            true => fs::remove_dir_all(&path)?,
            false => fs::remove_file(&path)?,
        }
    }
    for (name, noted) in wanted {
        let path = dir.join(&name);
        let below = fs::read_link(&noted).ok();
        if fs::symlink_metadata(&path).is_err() {
            done += 1;
            match &below {
                Some(_) => fs::create_dir(&path)?,
                None => fs::hard_link(&noted, &path)?,
            }
        }
        if let Some(below) = below {
            done += restore_as(names, &path, &below.to_string_lossy())?;
        }
    }
    Ok(done)
}

/// Whether what is there is what was noted.
fn is_noted(noted: &Path, path: &Path, is_dir: bool) -> io::Result<bool> {
    match fs::read_link(noted) {
        Ok(below) => Ok(is_dir && below.to_string_lossy() == *key(path)?),
        Err(_) => Ok(!is_dir && identity(noted)?.0 == identity(path)?.0),
    }
}

fn key(path: &Path) -> io::Result<String> {
    Ok(format!("{:016x}", identity(path)?.0))
}

/// Files and directories; nothing else is played with.
fn entries(dir: &Path) -> io::Result<Vec<(OsString, PathBuf, bool)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() || kind.is_file() {
            all.push((entry.file_name(), entry.path(), kind.is_dir()));
        }
    }
    Ok(all)
}
