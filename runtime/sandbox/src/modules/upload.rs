//! One upload: bytes stream to a file, the digest grows with them.
//!
//! Refuses to go on past the limit. A file that isn't finished disappears.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use sha2::{Digest as _, Sha256};
use stepwell_types::Digest;

use super::{ModuleInfo, Modules};
use crate::error::Error;
use crate::offload::offload;

/// An upload under way. Dropped before [`Upload::finish`], it leaves nothing.
pub struct Upload {
    modules: Modules,
    file: File,
    path: Temporary,
    hash: Sha256,
    size_bytes: u64,
}

/// A file that goes when its owner goes, unless it was moved away before.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Not there any more once it was moved to its place.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Upload {
    pub(super) fn begin(modules: Modules) -> Result<Upload, Error> {
        let path = modules.0.folder.temporary();
        let file = File::create(&path).map_err(Error::folder("begin an upload"))?;
        Ok(Upload {
            modules,
            file,
            path: Temporary(path),
            hash: Sha256::new(),
            size_bytes: 0,
        })
    }

    /// Adds bytes. Writes to the page cache only.
    /// # Errors
    /// `BOX0005`: the upload is over the limit; `BOX0010`.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.size_bytes += chunk.len() as u64;
        let limit_bytes = self.modules.0.bytes_max;
        if self.size_bytes > limit_bytes {
            return Err(Error::TooLarge { limit_bytes });
        }
        self.hash.update(chunk);
        self.file
            .write_all(chunk)
            .map_err(Error::folder("write an upload"))
    }

    /// Compiles the module apart, checks that it can be loaded, and keeps it durably.
    ///
    /// The same bytes again cost no second compilation.
    /// # Errors
    /// `BOX0001` to `BOX0004` and `BOX0006` to `BOX0008`: the module is at fault;
    /// `BOX0010`, `BOX0012`, `BOX0013`: the machine is.
    pub async fn finish(self) -> Result<ModuleInfo, Error> {
        let Upload {
            modules,
            file,
            path,
            hash,
            ..
        } = self;
        drop(file);
        let digest = Digest(hash.finalize().into());
        if let Some(info) = modules.describe(&digest)?
            && modules.load(&digest).await.is_ok()
        {
            return Ok(info);
        }
        let permit = modules.0.compilations.acquire().await;
        let this = modules.clone();
        let info = offload(move || {
            let info = this.compile_to_place(&digest, &path.0)?;
            this.0
                .folder
                .place(&path.0, &this.0.folder.wasm(&digest))
                .map_err(Error::folder("keep an upload"))?;
            Ok(info)
        })
        .await?;
        drop(permit);
        match modules.load(&digest).await {
            Ok(_) => Ok(info),
            Err(e) => {
                modules.delete(&digest)?;
                Err(e)
            }
        }
    }
}
