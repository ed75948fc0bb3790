//! Listings of granted directories, which the host holds whole: as the attempt's account knows them.
//!
//! Refuses nothing itself: what is too much ends the attempt.

use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime::{Result, StoreContextMut, bail};
use wasmtime_wasi::filesystem::WasiFilesystemView as _;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Descriptor, DirectoryEntry, ErrorCode, HostDescriptor,
};
use wasmtime_wasi::p2::{FsResult, ReaddirIterator};

use crate::account::Held;
use crate::host::HostView;
use crate::waits::WASI;

/// What an entry takes beside its name.
const ENTRY_BYTES: usize = 64;

/// What is left of a listing.
struct Listing {
    entries: std::vec::IntoIter<FsResult<DirectoryEntry>>,
    _held: Held,
}

/// As the guest is told it.
fn told<R>(done: FsResult<R>) -> Result<Result<R, ErrorCode>> {
    match done {
        Ok(done) => Ok(Ok(done)),
        Err(e) => Ok(Err(e.downcast()?)),
    }
}

/// Replaces the stream of a directory's entries. The linker must allow shadowing.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Result<()> {
    let mut known = linker.instance(&format!("wasi:filesystem/types@{WASI}"))?;
    known.resource(
        "directory-entry-stream",
        ResourceType::host::<Listing>(),
        |mut store: StoreContextMut<'_, T>, rep| {
            let listing = Resource::<Listing>::new_own(rep);
            store.data_mut().host().table().delete(listing)?;
            Ok(())
        },
    )?;
    known.func_wrap_async(
        "[method]descriptor.read-directory",
        |mut store: StoreContextMut<'_, T>, (directory,): (Resource<Descriptor>,)| {
            Box::new(async move {
                let mut files = store.data_mut().filesystem();
                let read = HostDescriptor::read_directory(&mut files, directory).await;
                let stream = match told(read)? {
                    Ok(stream) => stream,
                    Err(e) => return Ok((Err(e),)),
                };
                let host = store.data_mut().host();
                let stream: ReaddirIterator = host.table().delete(stream)?;
                let entries: Vec<FsResult<DirectoryEntry>> = stream.into_iter().collect();
                let name = |entry: &FsResult<DirectoryEntry>| {
                    ENTRY_BYTES + entry.as_ref().map_or(0, |entry| entry.name.len())
                };
                let held = match host.account().hold(entries.iter().map(name).sum()) {
                    Ok(held) => held,
                    Err(failure) => bail!("{}", failure.cause),
                };
                let listing = Listing {
                    entries: entries.into_iter(),
                    _held: held,
                };
                let listing: Result<Resource<Listing>, ErrorCode> =
                    Ok(host.table().push(listing)?);
                Ok((listing,))
            })
        },
    )?;
    known.func_wrap(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: StoreContextMut<'_, T>, (listing,): (Resource<Listing>,)| {
            let listing = store.data_mut().host().table().get_mut(&listing)?;
            Ok((told(listing.entries.next().transpose())?,))
        },
    )
}
