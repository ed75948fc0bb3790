//! Uploading, reading and deleting modules.

use std::collections::BTreeSet;
use std::sync::Arc;

use stepwell_store::namespace::SHARED;
use stepwell_store::{Batch, Key};
use stepwell_types::{Digest, Grants};

use super::{Catalog, Index, check_name, permitted, shown};
use crate::Error;
use crate::api::{ModuleAbout, ModuleInfo, Page, Permission, Uploaded};
use crate::ports::ModuleUpload;
use crate::rows::{self, ModuleRow, ModuleVersion};

/// One upload in flight. Dropping it discards what came so far.
pub struct Upload {
    catalog: Catalog,
    name: Arc<str>,
    permission: Permission,
    bytes: Box<dyn ModuleUpload>,
}

impl Upload {
    /// Takes the next bytes.
    /// # Errors
    /// `BOX####` when it grows beyond the limit or the disk refuses.
    pub async fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.bytes.write(chunk).await
    }

    /// Checks, compiles and names the module. Apart: whoever sent it may go, and no bytes stay
    /// without a name.
    /// # Errors
    /// `BOX####` when it is not a component that can be a step; `RUN0027`.
    pub async fn finish(self) -> Result<Uploaded, Error> {
        Catalog::apart(self.keep()).await
    }

    async fn keep(self) -> Result<Uploaded, Error> {
        let Upload {
            catalog,
            name,
            permission,
            bytes,
        } = self;
        // Bytes that are there already stay until they have this name, too.
        let arriving = catalog.0.uploads.clone().read_owned().await;
        let kept = match bytes.finish().await {
            Ok((digest, about)) => {
                let added = catalog.add_module(name, digest, about, &permission).await;
                if added.is_err() {
                    catalog.0.orphans.lock().insert(digest);
                }
                added
            }
            Err(e) => Err(e),
        };
        drop(arriving);
        if let Err(e) = catalog.sweep().await {
            tracing::warn!(reason = %e, "a module's files cannot be removed; they go at the next start");
        }
        kept
    }
}

impl Index {
    /// The bytes of all modules.
    pub(super) fn digests(&self) -> BTreeSet<Digest> {
        let versions = self.modules.values().flat_map(|row| &row.versions);
        versions.map(|version| version.digest).collect()
    }

    /// Whether a module has these bytes.
    fn names(&self, digest: Digest) -> bool {
        let mut versions = self.modules.values().flat_map(|row| &row.versions);
        versions.any(|version| version.digest == digest)
    }
}

impl Catalog {
    /// Opens an upload under a name.
    pub async fn begin_upload(&self, name: &str, permission: Permission) -> Result<Upload, Error> {
        check_name("module", name)?;
        if name == SHARED {
            return Err(Error::SharedModule);
        }
        // Before the bytes come: a manifest that is refused costs no upload.
        self.module_grants(name, &permission)?;
        Ok(Upload {
            catalog: self.clone(),
            name: name.into(),
            permission,
            bytes: self.0.store.begin().await?,
        })
    }

    async fn add_module(
        &self,
        name: Arc<str>,
        digest: Digest,
        about: ModuleAbout,
        permission: &Permission,
    ) -> Result<Uploaded, Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let grants = self.module_grants(&name, permission)?;
        let mut row = {
            let index = self.0.index.read();
            index.modules.get(&name).cloned().unwrap_or_default()
        };
        let newest = row.versions.last();
        let same = newest.is_some_and(|v| v.digest == digest && v.grants == grants);
        let (had, reached) = newest.map_or_else(Default::default, |v| {
            (v.imports.clone(), Grants::clone(&v.grants))
        });
        let gained = difference((&had, &reached), (&about.imports, &grants));
        let lost = difference((&about.imports, &grants), (&had, &reached));
        if !same {
            row.versions.push(ModuleVersion {
                digest,
                uploaded: self.0.clock.now(),
                wasm_bytes: about.wasm_bytes,
                artifact_bytes: about.artifact_bytes,
                compile_ms: about.compile_ms,
                imports: about.imports,
                exports: about.exports,
                grants,
            });
            let mut batch = Batch::default();
            batch.put(Key::Module { name: name.clone() }, rows::encode(&row));
            self.commit(batch).await?;
            Arc::make_mut(&mut self.0.index.write())
                .modules
                .insert(name.clone(), row);
        }
        Ok(Uploaded {
            module: self.module(&name, None)?,
            new: !same,
            gained,
            lost,
        })
    }

    /// The manifest of a module's next version.
    fn module_grants(&self, name: &str, permission: &Permission) -> Result<Arc<Grants>, Error> {
        let index = self.0.index.read().clone();
        let versions = index.modules.get(name).map(|row| row.versions.as_slice());
        let versions = versions.unwrap_or_default();
        let count = u32::try_from(versions.len()).unwrap_or(u32::MAX);
        let before = versions.last().map(|v| (count, &*v.grants));
        Ok(permitted("module", name, before, permission)?.unwrap_or_default())
    }

    /// The newest version of each module, by name.
    pub fn modules(&self, after: Option<&str>, limit: usize) -> Page<ModuleInfo, Arc<str>> {
        let index = self.0.index.read();
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let mut items: Vec<ModuleInfo> = Vec::new();
        for (name, row) in index
            .modules
            .range::<str, _>((from, std::ops::Bound::Unbounded))
        {
            if items.len() == limit {
                let next = items.last().map(|i| i.name.clone());
                return Page { items, next };
            }
            items.extend(info(name, row, None));
        }
        Page { items, next: None }
    }

    /// One version; `None`: the newest. With the flows that use the module.
    pub fn module(&self, name: &str, version: Option<u32>) -> Result<ModuleInfo, Error> {
        let index = self.0.index.read();
        let (key, row) = index
            .modules
            .get_key_value(name)
            .ok_or_else(|| index.no_module(name, version))?;
        let mut found = info(key, row, version).ok_or_else(|| index.no_module(name, version))?;
        drop(index);
        found.used_by = self.used_by(&found.name);
        Ok(found)
    }

    /// The bytes of a module that was uploaded under this name.
    pub async fn module_wasm(&self, name: &str, digest: Digest) -> Result<Vec<u8>, Error> {
        let known = {
            let index = self.0.index.read();
            let row = index.modules.get(name);
            row.is_some_and(|row| row.versions.iter().any(|v| v.digest == digest))
        };
        let missing = || {
            let name = shown(name);
            Error::NoModule(format!(
                "named {name} with digest {digest}; `stepwell module describe {name}` shows that of its newest version"
            ))
        };
        if !known {
            return Err(missing());
        }
        self.0.store.wasm(digest).await?.ok_or_else(missing)
    }

    /// Deletes a module and its files, unless a flow version uses it.
    pub async fn delete_module(&self, name: &str) -> Result<(), Error> {
        Catalog::apart(self.clone().remove_module(name.to_owned())).await
    }

    async fn remove_module(self, name: String) -> Result<(), Error> {
        let name = name.as_str();
        let _one_at_a_time = self.0.changing.lock().await;
        let found = self.module(name, None)?;
        if !found.used_by.is_empty() {
            return Err(Error::ModuleInUse {
                name: name.to_owned(),
                used_by: found.used_by,
            });
        }
        let row = self.0.index.read().modules.get(name).cloned();
        let mut batch = Batch::default();
        batch.delete(Key::Module {
            name: found.name.clone(),
        });
        self.commit(batch).await?;
        Arc::make_mut(&mut self.0.index.write())
            .modules
            .remove(name);
        let versions = row.unwrap_or_default().versions;
        let digests = versions.iter().map(|version| version.digest);
        self.0.orphans.lock().extend(digests);
        self.sweep().await
    }

    /// Removes bytes that no row names, unless uploads are on their way: one may have found them
    /// there. The last of those sweeps.
    async fn sweep(&self) -> Result<(), Error> {
        // Looked at again when this one is done: who came at its end could not sweep.
        while !self.0.orphans.lock().is_empty() {
            let Ok(_alone) = self.0.uploads.try_write() else {
                return Ok(());
            };
            loop {
                let orphan = self.0.orphans.lock().pop_first();
                let Some(digest) = orphan else { break };
                let named = self.0.index.read().names(digest);
                if !named {
                    self.0.store.remove(digest).await?;
                }
            }
        }
        Ok(())
    }

    /// `flow@version` of every flow version that asked for this name.
    fn used_by(&self, name: &str) -> Vec<String> {
        let index = self.0.index.read();
        let mut out = Vec::new();
        for (flow, versions) in &index.flows {
            for (version, meta) in versions {
                let uses = meta
                    .modules
                    .iter()
                    .any(|(n, _)| n.split('@').next() == Some(name));
                if uses {
                    out.push(format!("{flow}@{version}"));
                }
            }
        }
        out
    }
}

/// What one version imports and may reach that another does not.
fn difference(
    (had, reached): (&[String], &Grants),
    (has, reaches): (&[String], &Grants),
) -> Vec<String> {
    let imports = has.iter().filter(|name| !had.contains(name));
    let imports = imports.map(|name| format!("import {name}"));
    imports.chain(reaches.beyond(reached)).collect()
}

fn info(name: &Arc<str>, row: &ModuleRow, version: Option<u32>) -> Option<ModuleInfo> {
    let count = u32::try_from(row.versions.len()).ok()?;
    let version = version.unwrap_or(count);
    let found = row.versions.get(version.checked_sub(1)? as usize)?;
    Some(ModuleInfo {
        name: name.clone(),
        version,
        digest: found.digest,
        uploaded: found.uploaded,
        about: ModuleAbout {
            wasm_bytes: found.wasm_bytes,
            artifact_bytes: found.artifact_bytes,
            compile_ms: found.compile_ms,
            imports: found.imports.clone(),
            exports: found.exports.clone(),
        },
        used_by: Vec::new(),
        grants: found.grants.clone(),
    })
}
