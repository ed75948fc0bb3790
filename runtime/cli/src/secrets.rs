//! Secrets of a server and of a single run: where the master key lies, and the vault behind its ports.
//!
//! Refuses to show a value.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use stepwell_host_api::secrets::GivenSecrets;
use stepwell_host_api::{Vault, vault};
use stepwell_orchestrator::Error;
use stepwell_orchestrator::api::SecretVersion;
use stepwell_orchestrator::ports;
use stepwell_store::Reader;
use stepwell_types::limits::SECRET_BYTES_MAX;
use stepwell_types::{Secret, Timestamp};

use crate::config::Settings;
use crate::exit::Trouble;
use crate::system;

/// `[secrets]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The file of the master key. Default: beside the data directory, its name with `.key`.
    pub key_file: Option<PathBuf>,
}

/// The vault of a server. A key that does not open what is there is said at once, and by name
/// wherever it is needed; flows that need no secret run.
pub fn open(settings: &Settings, reader: Arc<dyn Reader>) -> Result<Vault, Trouble> {
    let file = key_file(settings);
    let vault = Vault::open(reader, file, Arc::new(system::draw)).map_err(Trouble::system)?;
    if let Err(e) = vault.check() {
        tracing::error!(code = e.code(), reason = %e, "secrets cannot be read");
    }
    Ok(vault)
}

/// Flags have none: the environment wins over the file, and both over the default.
pub fn key_file(settings: &Settings) -> PathBuf {
    let named = system::variable("STEPWELL_KEY_FILE").map(PathBuf::from);
    let named = named.or_else(|| settings.config.secrets.key_file.clone());
    named.unwrap_or_else(|| beside(&settings.data_dir))
}

/// Beside the directory, not in it: who copies or loses the one has not the other.
fn beside(data_dir: &Path) -> PathBuf {
    // `.` and `..` have no name of their own to put an end to.
    let dir = std::fs::canonicalize(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let mut name = dir.into_os_string();
    name.push(".key");
    name.into()
}

/// Secrets of a single run: `NAME=FILE` each.
pub fn given(option: &str, given: &[String]) -> Result<Arc<GivenSecrets>, Trouble> {
    let mut all = GivenSecrets::default();
    for pair in given {
        let Some((name, file)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Trouble::usage(format!("{option}: write NAME=FILE")));
        };
        let failed = |e| Trouble::system(format!("{option}: cannot read {file}: {e}"));
        let value = Secret::new(std::fs::read(file).map_err(failed)?);
        if value.bytes().len() > SECRET_BYTES_MAX {
            let text = format!("{option}: {file} has more than {SECRET_BYTES_MAX} bytes");
            return Err(Trouble::usage(text));
        }
        all.0.insert(name.to_owned(), value);
    }
    Ok(Arc::new(all))
}

/// The vault as the catalog sees it.
pub struct Sealer(pub Vault);

impl ports::Vault for Sealer {
    fn add(
        &self,
        name: &str,
        row: Option<&[u8]>,
        value: &Secret,
        others: usize,
        now: Timestamp,
    ) -> Result<(Vec<u8>, u32), Error> {
        vault::room(others).map_err(translate)?;
        self.0.add(name, row, value, now).map_err(translate)
    }

    fn clear(&self, name: &str, row: &[u8]) -> Result<Vec<u8>, Error> {
        Vault::clear(name, row).map_err(translate)
    }

    fn versions(&self, name: &str, row: &[u8]) -> Result<Vec<SecretVersion>, Error> {
        let versions = Vault::versions(name, row).map_err(translate)?;
        let version = |v: vault::Version| SecretVersion {
            version: v.version,
            set: v.at,
        };
        Ok(versions.into_iter().map(version).collect())
    }

    fn begin_rotation(&self) -> Result<(), Error> {
        self.0.begin_rotation().map_err(translate)
    }

    fn reseal(&self, name: &str, row: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.reseal(name, row).map_err(translate)
    }

    fn end_rotation(&self) -> Result<(), Error> {
        self.0.end_rotation().map_err(translate)
    }
}

/// The vault's refusal in the orchestrator's words; the code stays.
fn translate(e: stepwell_host_api::Error) -> Error {
    let code = e.code();
    let text = e.to_string();
    let message = text.strip_prefix(code).unwrap_or(&text);
    let message = message.strip_prefix(": ").unwrap_or(message).to_owned();
    Error::Vault { code, message }
}
