//! Manifests of grants: the files that `--grants` names.

use std::path::Path;

use stepwell_types::Grants;

use crate::exit::Trouble;
use crate::input;

/// Largest manifest, in bytes.
const FILE_BYTES_MAX: usize = 64 << 10;

/// The manifest of a TOML or JSON file, checked.
pub fn read(file: &Path) -> Result<Grants, Trouble> {
    let text = input::text(file, FILE_BYTES_MAX)?;
    // The code that the server has for a manifest that it refuses.
    let wrong =
        |e: &dyn std::fmt::Display| Trouble::usage(format!("RUN0026: {}: {e}", file.display()));
    let grants: Grants = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|e| wrong(&e))?
    } else {
        input::from_toml(&text).map_err(|e| wrong(&e))?
    };
    grants.check().map_err(|e| wrong(&e))?;
    Ok(grants)
}
