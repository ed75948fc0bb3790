//! What clients and guests may open is not the server's own: its store, and the files of its secrets.

use std::path::{Path, PathBuf};

use crate::config::Settings;
use crate::exit::Trouble;
use crate::secrets;

/// Refuses buckets and directories in the data directory or around it, or around a file with a secret.
pub fn check(settings: &Settings, token_file: Option<&Path>) -> Result<(), Trouble> {
    let config = &settings.config;
    let buckets = config.buckets.iter();
    let buckets = buckets.map(|(name, bucket)| (format!("buckets.{name}"), &bucket.path));
    let directories = config.directories.iter();
    let directories = directories.map(|one| (format!("directory {:?}", one.guest), &one.host));
    let own = whole(&settings.data_dir);
    let files = secret_files(settings, token_file);
    for (what, path) in buckets.chain(directories) {
        let Some(opened) = whole(path) else { continue };
        let meets = |own: &PathBuf| opened.starts_with(own) || own.starts_with(&opened);
        let holds = |file: &&PathBuf| whole(file).is_some_and(|file| file.starts_with(&opened));
        let why = if own.as_ref().is_some_and(meets) {
            "in the data directory or around it".to_owned()
        } else if let Some(file) = files.iter().find(holds) {
            format!("around {}, which is secret", file.display())
        } else {
            continue;
        };
        let text = format!(
            "the configuration's {what} is {}, which is {why}; give it a folder elsewhere",
            path.display()
        );
        return Err(Trouble::configuration(text));
    }
    Ok(())
}

/// The master key, the server's token, and the keys of machines.
fn secret_files(settings: &Settings, token_file: Option<&Path>) -> Vec<PathBuf> {
    let mut files = vec![secrets::key_file(settings)];
    files.extend(token_file.map(Path::to_owned));
    let machines = settings.config.machines.values();
    files.extend(machines.filter_map(|machine| machine.key_file.clone()));
    files
}

/// The path without links. What is not there yet lies where the nearest folder above it is.
fn whole(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    path.ancestors().find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some(above.canonicalize().ok()?.join(rest))
    })
}
