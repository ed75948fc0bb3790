//! Modules: upload, compile apart, describe, load.
//!
//! Refuses to load an artifact that isn't ours for this engine; it is made anew
//! from the module then. Refuses uploads over the limit while they stream in.

pub(crate) mod compiler;
mod folder;
mod inspect;
mod upload;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use stepwell_types::Digest;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::attempt::Ctx;
use crate::engine;
use crate::error::Error;
use crate::limits::CompileLimits;
use crate::offload::offload;
use crate::ticker::Clock;
use folder::Folder;
pub use upload::Upload;

/// Compilations at once: uploads wait, steps don't starve.
const COMPILATIONS: usize = 2;
/// Most modules kept mapped; beyond it one that isn't in use makes room.
const LOADED_MAX: usize = 1_000;

/// What is known of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// SHA-256 of the uploaded bytes: the module's identity.
    pub digest: Digest,
    /// Uploaded bytes.
    pub size_bytes: u64,
    /// Bytes of the compiled artifact.
    pub artifact_bytes: u64,
    /// Wall time of the compilation, in milliseconds.
    pub compile_ms: u64,
    /// Imported interfaces and functions, with their versions.
    pub imports: Vec<String>,
    /// Exported interfaces and functions, with their versions.
    pub exports: Vec<String>,
    /// Functions that can be run as a step: `INTERFACE#NAME` or `NAME`.
    pub functions: Vec<String>,
}

/// The modules of one data directory. Cheap to clone.
#[derive(Clone)]
pub struct Modules(Arc<Inner>);

pub(crate) struct Inner {
    folder: Folder,
    engine: Engine,
    linker: Linker<Ctx>,
    compiler: Vec<OsString>,
    limits: CompileLimits,
    bytes_max: u64,
    clock: Arc<dyn Clock>,
    compilations: Semaphore,
    loaded: RwLock<HashMap<Digest, Arc<Loaded>>>,
}

/// A module that is ready to be instantiated.
pub(crate) struct Loaded {
    pub(crate) pre: InstancePre<Ctx>,
    /// The generic world's `run`.
    pub(crate) run: Option<ComponentExportIndex>,
    /// By function name, and by `INTERFACE#NAME`.
    pub(crate) functions: HashMap<String, ComponentExportIndex>,
}

/// Whether an artifact could be mapped.
enum Mapped {
    Yes(Box<Loaded>),
    /// Why not; it can be made anew.
    No(String),
}

/// What [`Modules`] are made from.
pub(crate) struct Setup {
    pub(crate) dir: PathBuf,
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<Ctx>,
    pub(crate) compiler: Vec<OsString>,
    pub(crate) limits: CompileLimits,
    pub(crate) bytes_max: u64,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Modules {
    pub(crate) fn open(setup: Setup) -> Result<Modules, Error> {
        let folder = Folder::open(setup.dir, engine::fingerprint(&setup.engine))
            .map_err(Error::folder("be opened"))?;
        Ok(Modules(Arc::new(Inner {
            folder,
            engine: setup.engine,
            linker: setup.linker,
            compiler: setup.compiler,
            limits: setup.limits,
            bytes_max: setup.bytes_max,
            clock: setup.clock,
            compilations: Semaphore::new(COMPILATIONS),
            loaded: RwLock::default(),
        })))
    }

    /// Begins an upload.
    /// # Errors
    /// `BOX0010`.
    pub fn upload(&self) -> Result<Upload, Error> {
        Upload::begin(self.clone())
    }

    /// What is known of a module; `None`: it isn't here. Reads a small file.
    /// # Errors
    /// `BOX0010`.
    pub fn describe(&self, digest: &Digest) -> Result<Option<ModuleInfo>, Error> {
        let folder = &self.0.folder;
        let read = |path| match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::folder("read a module's description")(e)),
        };
        // The module's own file comes last into the folder: without it nothing counts.
        let Some(bytes) = read(folder.info(digest))?.filter(|_| folder.wasm(digest).exists())
        else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|e| Error::Folder {
                action: "read a module's description",
                detail: e.to_string(),
            })
    }

    /// The uploaded bytes of a module; `None`: it isn't here. Reads the whole file.
    /// # Errors
    /// `BOX0010`.
    pub async fn wasm(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        let path = self.0.folder.wasm(digest);
        offload(move || match std::fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::folder("read a module")(e)),
        })
        .await
    }

    /// The digests of all modules, sorted.
    /// # Errors
    /// `BOX0010`.
    pub fn list(&self) -> Result<Vec<Digest>, Error> {
        self.0.folder.digests().map_err(Error::folder("be listed"))
    }

    /// Removes a module and its artifacts; whether it was there. Attempts that
    /// already run go on; whether a flow still uses it is the caller's question.
    /// # Errors
    /// `BOX0010`.
    pub fn delete(&self, digest: &Digest) -> Result<bool, Error> {
        self.0.loaded.write().remove(digest);
        self.0
            .folder
            .remove(digest)
            .map_err(Error::folder("remove a module"))
    }

    /// Removes every file of a module that is not one of these, also what is left of one that was
    /// half placed; how many modules.
    /// # Errors
    /// `BOX0010`.
    pub fn keep_only(&self, named: &BTreeSet<Digest>) -> Result<usize, Error> {
        let folder = &self.0.folder;
        let there = folder.mentioned().map_err(Error::folder("be listed"))?;
        let others: Vec<_> = there.difference(named).collect();
        for digest in &others {
            self.delete(digest)?;
        }
        Ok(others.len())
    }

    /// Loads a module, so that its first step finds it ready. Compiles it anew
    /// when its artifact isn't for this engine.
    /// # Errors
    /// `BOX0006`, `BOX0007`, `BOX0009`, `BOX0010`, `BOX0012` to `BOX0014`.
    pub async fn warm(&self, digest: &Digest) -> Result<(), Error> {
        self.load(digest).await.map(|_| ())
    }

    /// The module if it is ready: no more than a look into a table.
    pub(crate) fn ready(&self, digest: &Digest) -> Option<Arc<Loaded>> {
        self.0.loaded.read().get(digest).cloned()
    }

    pub(crate) async fn load(&self, digest: &Digest) -> Result<Arc<Loaded>, Error> {
        let digest = *digest;
        let this = self.clone();
        if let Mapped::Yes(loaded) = offload(move || this.load_artifact(&digest)).await? {
            return Ok(self.keep(digest, *loaded));
        }
        let _permit = self.0.compilations.acquire().await;
        if let Some(loaded) = self.ready(&digest) {
            return Ok(loaded);
        }
        let this = self.clone();
        let loaded = offload(move || {
            this.rebuild(&digest)?;
            match this.load_artifact(&digest)? {
                Mapped::Yes(loaded) => Ok(loaded),
                Mapped::No(detail) => Err(Error::Unloadable { detail }),
            }
        })
        .await?;
        Ok(self.keep(digest, *loaded))
    }

    fn keep(&self, digest: Digest, loaded: Loaded) -> Arc<Loaded> {
        let mut all = self.0.loaded.write();
        if all.len() >= LOADED_MAX {
            let idle = all.iter().find(|(_, l)| Arc::strong_count(l) == 1);
            if let Some(idle) = idle.map(|(d, _)| *d) {
                all.remove(&idle);
            }
        }
        all.entry(digest)
            .or_insert_with(|| Arc::new(loaded))
            .clone()
    }

    /// Maps the artifact if it is sound and for this engine.
    fn load_artifact(&self, digest: &Digest) -> Result<Mapped, Error> {
        let Some(path) = self.0.folder.checked_artifact(digest) else {
            return Ok(Mapped::No("there is no sound artifact".into()));
        };
        #[allow(unsafe_code, reason = "mapping an artifact is the point of keeping it")]
        // SAFETY: the bytes are those that our own compiler process wrote, by their
        // digest, into a folder that only the server writes to; wasmtime itself
        // refuses an artifact of another version, configuration or processor.
        let component = unsafe { Component::deserialize_file(&self.0.engine, &path) };
        match component {
            Ok(component) => Ok(Mapped::Yes(Box::new(self.prepare(&component)?))),
            Err(e) => {
                let detail = format!("{e:#}");
                tracing::warn!(%digest, detail, "an artifact is refused");
                Ok(Mapped::No(detail))
            }
        }
    }

    fn prepare(&self, component: &Component) -> Result<Loaded, Error> {
        let pre = self
            .0
            .linker
            .instantiate_pre(component)
            .map_err(|e| Error::Unloadable {
                detail: format!("{e:#}"),
            })?;
        let mut run = None;
        let mut functions = HashMap::new();
        for function in inspect::functions(&self.0.engine, component) {
            let instance = match &function.interface {
                None => None,
                Some(interface) => component.get_export_index(None, interface.as_str()),
            };
            let Some(index) = component.get_export_index(instance.as_ref(), function.name.as_str())
            else {
                continue;
            };
            if function.is_run() {
                run = Some(index);
            }
            if let Some(interface) = &function.interface {
                functions.insert(format!("{interface}#{}", function.name), index);
            }
            functions.entry(function.name).or_insert(index);
        }
        Ok(Loaded {
            pre,
            run,
            functions,
        })
    }

    /// Makes the artifact anew from the stored module.
    fn rebuild(&self, digest: &Digest) -> Result<(), Error> {
        let wasm = self.0.folder.wasm(digest);
        match folder::hash_file(&wasm) {
            Ok(found) if found == *digest => {}
            Ok(_) => return Err(Error::Damaged { digest: *digest }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Missing { digest: *digest });
            }
            Err(e) => return Err(Error::folder("read a module")(e)),
        }
        self.compile_to_place(digest, &wasm).map(|_| ())
    }

    /// Compiles the file at `wasm` and puts artifact and description in place.
    pub(crate) fn compile_to_place(
        &self,
        digest: &Digest,
        wasm: &std::path::Path,
    ) -> Result<ModuleInfo, Error> {
        let inner = &*self.0;
        let output = inner.folder.temporary();
        let began_us = inner.clock.monotonic_us();
        let compiled =
            compiler::compile(&inner.compiler, wasm, &output, &inner.limits, &*inner.clock);
        let (surface, functions) = compiled.inspect_err(|_| {
            // It may not have been made at all.
            let _ = std::fs::remove_file(&output);
        })?;
        let size = |path: &std::path::Path| std::fs::metadata(path).map(|m| m.len());
        let place = || -> std::io::Result<ModuleInfo> {
            let info = ModuleInfo {
                digest: *digest,
                size_bytes: size(wasm)?,
                artifact_bytes: size(&output)?,
                compile_ms: inner.clock.monotonic_us().saturating_sub(began_us) / 1_000,
                imports: surface.imports,
                exports: surface.exports,
                functions,
            };
            inner.folder.place_artifact(digest, &output)?;
            let text = serde_json::to_vec(&info).map_err(std::io::Error::other)?;
            inner.folder.write(&inner.folder.info(digest), &text)?;
            Ok(info)
        };
        place().map_err(Error::folder("keep a compiled module"))
    }
}
