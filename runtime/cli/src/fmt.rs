//! `stepwell fmt`: definitions in the form that all have.
//!
//! Refuses to write a file in parts: a new one takes the old one's place, or nothing happens.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use stepwell_flow::Diagnostic;
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args;
use crate::exit::{Exit, Trouble};
use crate::{folder, input, output, validate};

/// 0 when all is well, 1 when a file cannot be formatted or, under `--check`, would change.
pub fn fmt(args: &args::Fmt, as_json: bool) -> Result<Exit, Trouble> {
    let mut well = true;
    let mut found = Vec::new();
    let (files, closed) = files(&args.files)?;
    for (dir, why) in closed {
        well = false;
        let message = format!("{} is not looked into: {why}", dir.display());
        if as_json {
            found.push(json!({"file": dir, "error": message}));
        } else {
            output::remark(&message);
        }
    }
    for (file, named) in files {
        let text = match input::text(&file, DEFINITION_BYTES_MAX) {
            Ok(text) => text,
            Err(trouble) if named => return Err(trouble),
            Err(trouble) => {
                well = false;
                if as_json {
                    found.push(json!({"file": file, "error": trouble.message}));
                } else {
                    output::remark(&trouble.message);
                }
                continue;
            }
        };
        if !named && !stepwell_flow::is_definition(&text) {
            continue;
        }
        let shown = file.display().to_string();
        let (changed, problems) = match stepwell_flow::format(&text) {
            Ok(result) => {
                let changed = result != text;
                if args.stdout || (file == Path::new("-") && !args.check) {
                    output::print_raw(result.as_bytes());
                } else if changed && !args.check {
                    replace(&file, &result)?;
                }
                if changed && args.check && !as_json {
                    output::print(&shown);
                }
                well &= !(changed && args.check);
                (changed, Vec::new())
            }
            Err(problems) => {
                well = false;
                if !as_json {
                    validate::show(&shown, &text, &problems);
                }
                (false, problems)
            }
        };
        found.push(entry(&shown, changed, &problems));
    }
    if as_json {
        let printed = args.stdout || args.files.iter().any(|f| f == Path::new("-"));
        if !printed || args.check {
            output::print_json(&json!({ "files": found }).to_string());
        }
    }
    Ok(if well { Exit::Ok } else { Exit::Failed })
}

fn entry(file: &str, changed: bool, problems: &[Diagnostic]) -> serde_json::Value {
    json!({"file": file, "changed": changed, "diagnostics": problems})
}

/// A file, and whether it was named itself.
type Named = (PathBuf, bool);
/// A folder that cannot be looked into, and why.
type Closed = (PathBuf, String);

/// The files that the arguments mean, and folders that cannot be looked into.
fn files(given: &[PathBuf]) -> Result<(Vec<Named>, Vec<Closed>), Trouble> {
    let mut all = Vec::new();
    let mut closed = Vec::new();
    for path in given {
        if path.is_dir() {
            let inside = folder::definitions(path)?;
            all.extend(inside.files.into_iter().map(|file| (file, false)));
            closed.extend(inside.closed);
        } else {
            all.push((path.clone(), true));
        }
    }
    Ok((all, closed))
}

/// Puts a new file with this text, and the old one's permissions, in the old one's place.
fn replace(file: &Path, text: &str) -> Result<(), Trouble> {
    let failed =
        |e: std::io::Error| Trouble::system(format!("cannot write {}: {e}", file.display()));
    // A link goes on leading to the file.
    let file = file.canonicalize().map_err(failed)?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let permissions = std::fs::metadata(&file).map_err(failed)?.permissions();
    if permissions.readonly() {
        return Err(Trouble::system(format!("{} is read-only", file.display())));
    }
    let mut new = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().set_permissions(permissions).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(&file).map_err(|e| failed(e.error))?;
    Ok(())
}
