//! What can go wrong around modules and the engine. A step's own failure is data, not an error.

use std::io::ErrorKind;

use serde::{Deserialize, Serialize};
use stepwell_types::Digest;

/// The sandbox's failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The module cannot be a step.
    #[error("{code}: {0}", code = .0.code())]
    Refused(#[from] Refusal),
    /// The upload has more bytes than a module may have.
    #[error("BOX0005: the module is over the limit of {limit_bytes} bytes")]
    TooLarge {
        /// In force.
        limit_bytes: u64,
    },
    /// The compilation took too long.
    #[error("BOX0006: compiling the module took longer than {limit}; it was stopped")]
    CompileTimeout {
        /// The limit that was met, with its unit.
        limit: String,
    },
    /// The compilation needed too much memory.
    #[error(
        "BOX0007: compiling the module needed more than {limit_bytes} bytes of memory, or made an artifact that is too large"
    )]
    CompileMemory {
        /// In force.
        limit_bytes: u64,
    },
    /// No module has this digest.
    #[error("BOX0009: there is no module {digest}")]
    Missing {
        /// As asked.
        digest: Digest,
    },
    /// The folder of modules fails.
    #[error("BOX0010: the folder of modules cannot {action}: {detail}")]
    Folder {
        /// What was tried.
        action: &'static str,
        /// The system's words.
        detail: String,
    },
    /// The folder of modules has no room.
    #[error("BOX0010: the folder of modules cannot {action}: the disk is full")]
    Full {
        /// What was tried.
        action: &'static str,
    },
    /// The engine cannot be made.
    #[error("BOX0011: the sandbox cannot start: {detail}")]
    Engine {
        /// wasmtime's words.
        detail: String,
    },
    /// The compiling process could not be run, or died for no known reason.
    #[error("BOX0012: the compiler process failed: {detail}")]
    Compiler {
        /// What is known.
        detail: String,
    },
    /// The module compiles, but this server cannot run it: an import has another
    /// signature, or it asks for more memory or tables than the pool has.
    #[error("BOX0013: the compiled module cannot be loaded: {detail}")]
    Unloadable {
        /// wasmtime's words.
        detail: String,
    },
    /// The stored module no longer has the bytes that its digest names.
    #[error("BOX0014: the stored file of module {digest} is damaged; upload it again")]
    Damaged {
        /// Its name.
        digest: Digest,
    },
}

/// Why a module cannot be a step: the uploader's business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Not WebAssembly at all.
    #[error("this is not WebAssembly: it begins with {begins}")]
    NotWasm {
        /// The first bytes, in hexadecimal.
        begins: String,
    },
    /// A core module instead of a component.
    #[error(
        "this is a core WebAssembly module, not a component; build for wasm32-wasip2, or turn it into one with `wasm-tools component new MODULE.wasm -o COMPONENT.wasm`"
    )]
    CoreModule,
    /// It needs what the host doesn't offer.
    #[error("the host does not offer {}", list(.missing))]
    Imports {
        /// Each missing import.
        missing: Vec<MissingImport>,
    },
    /// It exports nothing that can be run.
    #[error(
        "the component exports no step: it needs `stepwell:step/handler@1.0.0` with `run` (see wit/step@1.0.0/step.wit); it exports {}",
        if .exports.is_empty() { "nothing".to_owned() } else { some(.exports) }
    )]
    NoStep {
        /// The names of what it does export.
        exports: Vec<String>,
    },
    /// It is broken inside.
    #[error("the component is not valid: {detail}")]
    Invalid {
        /// The validator's words.
        detail: String,
    },
}

/// One import that the host lacks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingImport {
    /// As the component names it.
    pub name: String,
    /// The closest name that the host offers.
    pub closest: Option<String>,
}

impl Error {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Error::Refused(refusal) => refusal.code(),
            Error::TooLarge { .. } => "BOX0005",
            Error::CompileTimeout { .. } => "BOX0006",
            Error::CompileMemory { .. } => "BOX0007",
            Error::Missing { .. } => "BOX0009",
            Error::Folder { .. } | Error::Full { .. } => "BOX0010",
            Error::Engine { .. } => "BOX0011",
            Error::Compiler { .. } => "BOX0012",
            Error::Unloadable { .. } => "BOX0013",
            Error::Damaged { .. } => "BOX0014",
        }
    }

    /// Whether the module, not the machine, is at fault.
    #[must_use]
    pub fn is_callers_fault(&self) -> bool {
        matches!(
            self,
            Error::Refused(_)
                | Error::TooLarge { .. }
                | Error::CompileTimeout { .. }
                | Error::CompileMemory { .. }
                | Error::Missing { .. }
                | Error::Unloadable { .. }
        )
    }

    pub(crate) fn folder(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        move |e| match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full { action },
            _ => Error::Folder {
                action,
                detail: e.to_string(),
            },
        }
    }
}

impl Refusal {
    /// The stable code; `docs/errors/<code>.md` explains it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Refusal::NotWasm { .. } => "BOX0001",
            Refusal::CoreModule => "BOX0002",
            Refusal::Imports { .. } => "BOX0003",
            Refusal::NoStep { .. } => "BOX0004",
            Refusal::Invalid { .. } => "BOX0008",
        }
    }
}

fn list(missing: &[MissingImport]) -> String {
    let each: Vec<String> = missing
        .iter()
        .map(|m| match &m.closest {
            Some(closest) => format!("`{}` (closest that it has: `{closest}`)", m.name),
            None => format!("`{}`", m.name),
        })
        .collect();
    some(&each)
}

/// Names that a message shows of many.
const SHOWN: usize = 20;

fn some(names: &[String]) -> String {
    match names.split_at_checked(SHOWN) {
        Some((first, rest)) if !rest.is_empty() => {
            format!("{} and {} more", first.join(", "), rest.len())
        }
        _ => names.join(", "),
    }
}
