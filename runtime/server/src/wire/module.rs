//! Modules.

use serde::{Deserialize, Serialize};
use stepwell_orchestrator::api;
use utoipa::ToSchema;

use super::grants::Grants;
use super::json::Rfc3339;

/// An uploaded module.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// From 1; other bytes under the same name count one up.
    pub version: u32,
    /// SHA-256 of the `.wasm`, hexadecimal.
    pub digest: String,
    /// When it was uploaded, RFC 3339.
    pub uploaded: String,
    /// Bytes of the `.wasm`.
    pub wasm_bytes: u64,
    /// Bytes of the compiled artifact.
    pub artifact_bytes: u64,
    /// What compiling took, in milliseconds.
    pub compile_ms: u64,
    /// WIT interfaces that it imports.
    pub imports: Vec<String>,
    /// WIT interfaces and functions that it exports.
    pub exports: Vec<String>,
    /// Flow versions that use it, `flow@version`; left out of lists.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub used_by: Vec<String>,
    /// What it may reach; absent: nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grants: Option<Grants>,
}

/// The answer to an upload.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UploadedModule {
    /// What is there now.
    #[serde(flatten)]
    pub module: Module,
    /// `false`: the newest version already had these bytes and grants.
    pub new: bool,
    /// What it imports and may reach that the version before did not, a line each.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub gained: Vec<String>,
    /// What the version before did that it does not.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub lost: Vec<String>,
}

/// One page of modules, by name.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ModulePage {
    /// The newest version of each.
    pub modules: Vec<Module>,
    /// Pass as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl From<&api::Uploaded> for UploadedModule {
    fn from(u: &api::Uploaded) -> UploadedModule {
        UploadedModule {
            module: Module::from(&u.module),
            new: u.new,
            gained: u.gained.clone(),
            lost: u.lost.clone(),
        }
    }
}

impl From<&api::ModuleInfo> for Module {
    fn from(m: &api::ModuleInfo) -> Module {
        Module {
            name: m.name.to_string(),
            version: m.version,
            digest: m.digest.to_string(),
            uploaded: Rfc3339(m.uploaded).to_string(),
            wasm_bytes: m.about.wasm_bytes,
            artifact_bytes: m.about.artifact_bytes,
            compile_ms: m.about.compile_ms,
            imports: m.about.imports.clone(),
            exports: m.about.exports.clone(),
            used_by: m.used_by.clone(),
            grants: (!m.grants.is_empty()).then(|| (&*m.grants).into()),
        }
    }
}
