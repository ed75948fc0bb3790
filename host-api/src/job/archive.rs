//! Files to and from a program elsewhere, as a stream of one tar archive.
//!
//! Refuses links, devices and paths that lead out of their directory.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use stepwell_types::{Failure, FilesOut};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

use super::program::{Brought, Kind, Source};
use crate::objects::{Objects, failed};

/// Bytes under way between the thread that reads a bucket and the engine.
const PIPE_BYTES: usize = 256 << 10;
/// Most files that one directory may leave.
const LEFT_MAX: usize = 1_000;

/// The files as an archive whose paths begin at the root, and the directories that outputs
/// go to. What goes wrong with an object is sent to `trouble` and breaks the stream off.
pub(crate) fn pack(
    objects: Arc<dyn Objects>,
    files: Vec<Brought>,
    directories: Vec<String>,
    trouble: tokio::sync::oneshot::Sender<Failure>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (near, far) = tokio::io::duplex(PIPE_BYTES);
    let sink = SyncIoBridge::new(far);
    tokio::task::spawn_blocking(move || {
        if let Err(failure) = write(&*objects, files, &directories, sink) {
            let _ = trouble.send(failure);
        }
    });
    ReaderStream::new(near)
}

fn write(
    objects: &dyn Objects,
    files: Vec<Brought>,
    directories: &[String],
    sink: SyncIoBridge<tokio::io::DuplexStream>,
) -> Result<(), Failure> {
    let broke = |e: io::Error| failed(format!("the files could not be sent: {e}"));
    let mut tar = tar::Builder::new(sink);
    for path in directories {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        // Whoever runs in the container may write there.
        header.set_mode(0o777);
        header.set_size(0);
        let name = format!("{}/", below_root(path));
        tar.append_data(&mut header, name, io::empty())
            .map_err(broke)?;
    }
    for file in files {
        let (mut bytes, size): (Box<dyn Read>, u64) = match file.from {
            Source::Content(content) => {
                let size = content.len() as u64;
                (Box::new(io::Cursor::new(content)), size)
            }
            Source::Object { bucket, key } => {
                let (bytes, size) = objects.open(&bucket, &key)?;
                (bytes, size)
            }
        };
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o444);
        header.set_size(size);
        tar.append_data(&mut header, below_root(&file.path), &mut bytes)
            .map_err(broke)?;
    }
    let sink = tar.into_inner().map_err(broke)?;
    drop(sink);
    Ok(())
}

fn below_root(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// Puts the files of an archive into a bucket. The first part of each name is the
/// directory that was archived.
pub(crate) async fn unpack(
    objects: Arc<dyn Objects>,
    to: FilesOut,
    tar: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Result<(), Failure> {
    let reader = SyncIoBridge::new(Box::pin(StreamReader::new(tar)));
    let work = tokio::task::spawn_blocking(move || read(&*objects, &to, reader));
    work.await
        .unwrap_or_else(|e| Err(failed(format!("a thread broke off: {e}"))))
}

fn read(objects: &dyn Objects, to: &FilesOut, reader: impl Read) -> Result<(), Failure> {
    let broke = |e: io::Error| {
        let path = &to.path;
        failed(format!("the files in {path} could not be fetched: {e}"))
    };
    let mut archive = tar::Archive::new(reader);
    let mut left = 0;
    for entry in archive.entries().map_err(broke)? {
        let mut entry = entry.map_err(broke)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        let name = entry.path_bytes().into_owned();
        let name = String::from_utf8(name)
            .map_err(|_| failed(format!("a file in {} has a name that is no text", to.path)))?;
        if !kind.is_file() {
            return Err(failed(format!(
                "{name:?} in {} is a link or a device; only files become objects",
                to.path
            )));
        }
        let within = name.split_once('/').map_or("", |(_, within)| within);
        super::program::path(Kind::Container, &format!("/below/{within}"), false)
            .map_err(|f| failed(f.cause))?;
        left += 1;
        if left > LEFT_MAX {
            return Err(failed(format!("more than {LEFT_MAX} files in {}", to.path)));
        }
        let mut object = objects.create(&to.bucket, &format!("{}{within}", to.prefix))?;
        io::copy(&mut entry, &mut object).map_err(broke)?;
        object.finish()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::NewObject;
    use std::io::Write;
    use std::sync::Mutex;

    /// Name and bytes of each.
    type Kept = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

    #[derive(Default)]
    struct Shelf(Kept);

    struct New(String, Vec<u8>, Kept);

    impl Objects for Shelf {
        fn open(&self, _: &str, _: &str) -> Result<(Box<dyn Read + Send>, u64), Failure> {
            Err(failed("none"))
        }

        fn create(&self, bucket: &str, key: &str) -> Result<Box<dyn NewObject>, Failure> {
            let name = format!("{bucket}/{key}");
            Ok(Box::new(New(name, Vec::new(), Arc::clone(&self.0))))
        }
    }

    impl Write for New {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl NewObject for New {
        fn finish(self: Box<Self>) -> Result<(), Failure> {
            let New(name, bytes, shelf) = *self;
            shelf.lock().expect("a lock").push((name, bytes));
            Ok(())
        }
    }

    /// An archive with one entry of this name, written without the library's own checks.
    fn archive(name: &str, kind: tar::EntryType) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        let bytes = name.as_bytes();
        header.as_old_mut().name[..bytes.len()].copy_from_slice(bytes);
        header.set_entry_type(kind);
        header.set_size(2);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, &b"hi"[..]).expect("written");
        tar.into_inner().expect("written")
    }

    #[test]
    fn only_files_below_the_directory_become_objects() {
        let check = |name: &str, kind: tar::EntryType, expected: Option<&str>| {
            let shelf = Shelf::default();
            let to = FilesOut {
                path: "/out".into(),
                bucket: "b".into(),
                prefix: "p/".into(),
            };
            let done = read(&shelf, &to, &archive(name, kind)[..]);
            let shelf = shelf.0.lock().expect("a lock");
            let first = shelf.first().map(|(name, _)| name.as_str());
            assert_eq!(first, expected, "{name}: {done:?}");
            assert_eq!(done.is_ok(), expected.is_some() || kind.is_dir(), "{name}");
        };
        use tar::EntryType;
        check("out/a/b.txt", EntryType::Regular, Some("b/p/a/b.txt"));
        check("out/a", EntryType::Directory, None);
        check("out/../../etc/passwd", EntryType::Regular, None);
        check("out//x", EntryType::Regular, None);
        check("out", EntryType::Regular, None);
        check("out/l", EntryType::Symlink, None);
        check("out/l", EntryType::Link, None);
        check("out/d", EntryType::Block, None);
        check("out/p", EntryType::Fifo, None);
    }
}
