//! `wasi:blobstore` as guests see it: a container is a bucket that the manifest grants.
//!
//! An error is a text that begins with a failure's name. Refuses what would touch many objects at
//! once (`clear`, `delete-container`), and to copy for the guest.
//! Source: `wit/blobstore@0.2.0-draft`, the draft of `wasi:blobstore`.

use std::collections::VecDeque;
use std::sync::Arc;

use stepwell_types::Failure;
use wasmtime::component::{Linker, Resource};
use wasmtime::{Result as Trappable, bail};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use super::streams::{Body, Reading, Writing, shorter};
use super::view::{Object, Permit, Place, Stop, apart};
use super::{KEY_BYTES_MAX, MANY_MAX, PIECE_BYTES, WHOLE_BYTES_MAX};
use crate::account::Held;
use crate::bindings::wasi::blobstore::container::{ContainerMetadata, ObjectMetadata};
use crate::bindings::wasi::blobstore::{blobstore, container, types};
use crate::host::{Doors, Host, HostView};
use crate::objects::{Bytes, refused};
use crate::shown;

/// A bucket that a guest opened.
#[derive(Debug, Clone)]
pub struct Container {
    bucket: Arc<str>,
    write: bool,
}

/// What a guest reads.
pub struct Incoming {
    bytes: Arc<dyn Bytes>,
    at: u64,
    end: u64,
    open: Permit,
}

/// What a guest writes.
pub struct Outgoing {
    writing: Arc<Writing>,
    place: Option<Place>,
    has_body: bool,
    _open: Option<Permit>,
}

/// A listing.
pub struct Names {
    bucket: Arc<str>,
    after: Option<Arc<str>>,
    page: VecDeque<String>,
    more: bool,
    /// What the page weighs.
    held: Held,
}

type Answer<T> = Trappable<Result<T, String>>;

/// Offers `wasi:blobstore` to guests.
pub(crate) fn link<T: HostView>(linker: &mut Linker<T>) -> Trappable<()> {
    types::add_to_linker::<T, Doors>(linker, T::host)?;
    container::add_to_linker::<T, Doors>(linker, T::host)?;
    blobstore::add_to_linker::<T, Doors>(linker, T::host)
}

fn text(failure: &Failure) -> String {
    format!("{}: {}", failure.error, failure.cause)
}

fn not_granted(bucket: &str, write: bool) -> String {
    let how = if write { " for writing" } else { "" };
    let bucket = shown(bucket);
    text(&Failure::new(
        "Stepwell.NotGranted",
        format!(
            "the manifest does not grant the bucket `{bucket}`{how}; add it under `buckets` and publish again"
        ),
    ))
}

fn not_offered<T>(what: &str) -> Answer<T> {
    Ok(Err(text(&refused(format!("{what} is not offered")))))
}

/// What a step fails with that called outside, and whose objects are others now.
pub(crate) fn changed() -> Failure {
    Failure::new(
        "Stepwell.ObjectChanged",
        "an object that the step saw was changed by another meanwhile",
    )
}

impl Host {
    fn answered<T>(&mut self, done: Result<T, Stop>) -> Answer<T> {
        match done {
            Ok(value) => Ok(Ok(value)),
            Err(Stop::Told(failure)) => Ok(Err(text(&failure))),
            Err(Stop::Changed) => {
                // Without calls it begins anew; with some that is for its flow to say.
                if self.outside().journal.has_called() {
                    self.outside().journal.loses(changed());
                }
                self.blobs().lose();
                bail!("what the step saw has changed")
            }
            Err(Stop::Over) => bail!("the attempt's journal ended it"),
        }
    }

    /// A bucket as it is granted; `None`: it is not.
    fn granted(&self, name: &str) -> Option<Container> {
        let grants = self.outside().grants()?;
        let of = |grant: &&stepwell_types::BucketGrant| *grant.bucket == *name;
        let write = grants.buckets.iter().filter(of).map(|g| g.write).max()?;
        Some(Container {
            bucket: name.into(),
            write,
        })
    }

    fn container(&mut self, container: &Resource<Container>) -> Trappable<Container> {
        Ok(self.table().get(container)?.clone())
    }

    async fn find(&mut self, bucket: Arc<str>, key: &str) -> Answer<Option<Object>> {
        self.io().waits.step_aside().await;
        let place = (bucket, Arc::from(key));
        let found = self.blobs().find(&place).await;
        self.answered(found)
    }
}

impl types::Host for Host {}
impl container::Host for Host {}

impl blobstore::Host for Host {
    /// A bucket is there with its first object.
    fn create_container(&mut self, name: String) -> Answer<Resource<Container>> {
        match self.granted(&name) {
            Some(container) if container.write => Ok(Ok(self.table().push(container)?)),
            _ => Ok(Err(not_granted(&name, true))),
        }
    }

    fn get_container(&mut self, name: String) -> Answer<Resource<Container>> {
        match self.granted(&name) {
            Some(container) => Ok(Ok(self.table().push(container)?)),
            None => Ok(Err(not_granted(&name, false))),
        }
    }

    fn delete_container(&mut self, _: String) -> Answer<()> {
        not_offered("delete-container")
    }

    fn container_exists(&mut self, name: String) -> Answer<bool> {
        Ok(Ok(self.granted(&name).is_some()))
    }

    fn copy_object(&mut self, _: types::ObjectId, _: types::ObjectId) -> Answer<()> {
        not_offered("copy-object")
    }

    fn move_object(&mut self, _: types::ObjectId, _: types::ObjectId) -> Answer<()> {
        not_offered("move-object")
    }
}

impl container::HostContainer for Host {
    fn name(&mut self, container: Resource<Container>) -> Answer<String> {
        Ok(Ok(self.container(&container)?.bucket.to_string()))
    }

    fn info(&mut self, container: Resource<Container>) -> Answer<ContainerMetadata> {
        Ok(Ok(ContainerMetadata {
            name: self.container(&container)?.bucket.to_string(),
            // A bucket has no beginning.
            created_at: 0,
        }))
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<Incoming>> {
        let bucket = self.container(&container)?.bucket;
        let open = self.blobs().permit();
        let open = match self.answered(open)? {
            Ok(open) => open,
            Err(why) => return Ok(Err(why)),
        };
        let object = match self.find(bucket.clone(), &name).await? {
            Ok(Some(object)) => object,
            Ok(None) => {
                let cause = format!("there is no object {} in bucket {bucket}", shown(&name));
                return Ok(Err(text(&Failure::new("Stepwell.ObjectMissing", cause))));
            }
            Err(why) => return Ok(Err(why)),
        };
        if start > end {
            return Ok(Err(text(&refused("the range ends before it begins"))));
        }
        // Both ends of a range are part of it; what lies past the object is not there.
        let end = end.saturating_add(1).min(object.size);
        Ok(Ok(self.table().push(Incoming {
            bytes: object.bytes,
            at: start.min(end),
            end,
            open,
        })?))
    }

    async fn write_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        data: Resource<Outgoing>,
    ) -> Answer<()> {
        let container = self.container(&container)?;
        if !container.write {
            return Ok(Err(not_granted(&container.bucket, true)));
        }
        self.io().waits.step_aside().await;
        let writing = self.table().get(&data)?.writing.clone();
        if !writing.is_unnamed() {
            return Ok(Err(text(&refused(
                "the value has a name already, or is over",
            ))));
        }
        let open = self.blobs().permit();
        let open = match self.answered(open)? {
            Ok(open) => open,
            Err(why) => return Ok(Err(why)),
        };
        let place: Place = (container.bucket, name.into());
        let begun = self.blobs().begin(place.clone()).await;
        let named = begun.map(|begun| writing.name(begun));
        if named.is_ok() {
            let outgoing = self.table().get_mut(&data)?;
            (outgoing.place, outgoing._open) = (Some(place), Some(open));
        }
        self.answered(named)
    }

    fn list_objects(&mut self, container: Resource<Container>) -> Answer<Resource<Names>> {
        let (bucket, held) = (self.container(&container)?.bucket, self.account().open());
        Ok(Ok(self.table().push(Names {
            bucket,
            after: None,
            page: VecDeque::new(),
            more: true,
            held,
        })?))
    }

    fn delete_object(&mut self, container: Resource<Container>, name: String) -> Answer<()> {
        self.delete_objects(container, vec![name])
    }

    fn delete_objects(&mut self, container: Resource<Container>, names: Vec<String>) -> Answer<()> {
        let container = self.container(&container)?;
        if !container.write {
            return Ok(Err(not_granted(&container.bucket, true)));
        }
        if names.len() > MANY_MAX {
            let why = format!(
                "a call deletes at most {MANY_MAX} objects, and these are {}",
                names.len()
            );
            return Ok(Err(text(&refused(why))));
        }
        if let Some(name) = names.iter().find(|name| name.len() > KEY_BYTES_MAX) {
            let (why, name) = ("a key has 1 to 1024 bytes", shown(name));
            return Ok(Err(text(&refused(format!("{name:?} is no key: {why}")))));
        }
        for name in names {
            let place = (container.bucket.clone(), name.into());
            let changed = self.blobs().change(place, None);
            if let Err(why) = self.answered(changed)? {
                return Ok(Err(why));
            }
        }
        Ok(Ok(()))
    }

    async fn has_object(&mut self, container: Resource<Container>, name: String) -> Answer<bool> {
        let bucket = self.container(&container)?.bucket;
        let found = self.find(bucket, &name).await?;
        Ok(found.map(|found| found.is_some()))
    }

    async fn object_info(
        &mut self,
        container: Resource<Container>,
        name: String,
    ) -> Answer<ObjectMetadata> {
        let bucket = self.container(&container)?.bucket;
        Ok(match self.find(bucket.clone(), &name).await? {
            Ok(Some(object)) => Ok(ObjectMetadata {
                name,
                container: bucket.to_string(),
                created_at: u64::try_from(object.modified.0 / 1_000).unwrap_or(0),
                size: object.size,
            }),
            Ok(None) => {
                let cause = format!("there is no object {} in bucket {bucket}", shown(&name));
                Err(text(&Failure::new("Stepwell.ObjectMissing", cause)))
            }
            Err(why) => Err(why),
        })
    }

    fn clear(&mut self, _: Resource<Container>) -> Answer<()> {
        not_offered("clear")
    }

    fn drop(&mut self, container: Resource<Container>) -> Trappable<()> {
        self.table().delete(container)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for Host {
    async fn read_stream_object_names(
        &mut self,
        names: Resource<Names>,
        len: u64,
    ) -> Answer<(Vec<String>, bool)> {
        let wanted = usize::try_from(len).unwrap_or(usize::MAX);
        // Of a page that the step has deleted whole nothing is left: the next one is asked for.
        loop {
            let now = self.table().get(&names)?;
            if !now.page.is_empty() || !now.more || wanted == 0 {
                break;
            }
            let (bucket, after) = (now.bucket.clone(), now.after.clone());
            self.io().waits.step_aside().await;
            let page = self.blobs().list(&bucket, after.as_ref(), wanted).await;
            let page = match self.answered(page)? {
                Ok(page) => page,
                Err(why) => return Ok(Err(why)),
            };
            let names = self.table().get_mut(&names)?;
            names.held.clear();
            let weight = |key: &String| key.len() + size_of::<String>();
            if let Err(failure) = names.held.more(page.keys.iter().map(weight).sum()) {
                bail!("{}", failure.cause);
            }
            names.more = page.next.is_some();
            (names.page, names.after) = (page.keys.into(), page.next);
        }
        let names = self.table().get_mut(&names)?;
        let some = names.page.len().min(wanted);
        let some: Vec<String> = names.page.drain(..some).collect();
        Ok(Ok((some, names.page.is_empty() && !names.more)))
    }

    async fn skip_stream_object_names(
        &mut self,
        names: Resource<Names>,
        num: u64,
    ) -> Answer<(u64, bool)> {
        let mut skipped = 0;
        loop {
            let names = Resource::new_borrow(names.rep());
            let read = self.read_stream_object_names(names, num - skipped).await?;
            let (some, end) = match read {
                Ok(some) => some,
                Err(why) => return Ok(Err(why)),
            };
            skipped += some.len() as u64;
            if end || skipped == num {
                return Ok(Ok((skipped, end)));
            }
        }
    }

    fn drop(&mut self, names: Resource<Names>) -> Trappable<()> {
        self.table().delete(names)?;
        Ok(())
    }
}

impl types::HostIncomingValue for Host {
    async fn incoming_value_consume_sync(&mut self, this: Resource<Incoming>) -> Answer<Vec<u8>> {
        let incoming = self.table().delete(this)?;
        let size = incoming.end - incoming.at;
        if size > WHOLE_BYTES_MAX {
            return Ok(Err(text(&refused(format!(
                "the value has {size} bytes; above {WHOLE_BYTES_MAX} it is read as a stream"
            )))));
        }
        self.io().waits.step_aside().await;
        let whole = apart(move || {
            let mut whole = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
            let mut at = incoming.at;
            while at < incoming.end {
                let wanted = usize::try_from(incoming.end - at).unwrap_or(usize::MAX);
                let piece = incoming.bytes.read_at(at, wanted.min(PIECE_BYTES))?;
                if piece.is_empty() {
                    return Err(shorter());
                }
                at += piece.len() as u64;
                whole.extend(piece);
            }
            Ok(whole)
        });
        let whole = whole.await;
        let whole = whole.map_err(|failure| self.blobs().unnoted(failure));
        self.answered(whole)
    }

    fn incoming_value_consume_async(
        &mut self,
        this: Resource<Incoming>,
    ) -> Answer<Resource<DynInputStream>> {
        let Incoming {
            bytes,
            at,
            end,
            open,
        } = self.table().delete(this)?;
        let journal = self.outside().journal.clone();
        let stream: DynInputStream = Box::new(Reading::new(bytes, (at, end), journal, open));
        Ok(Ok(self.table().push(stream)?))
    }

    fn size(&mut self, this: Resource<Incoming>) -> Trappable<u64> {
        let incoming = self.table().get(&this)?;
        Ok(incoming.end - incoming.at)
    }

    fn drop(&mut self, this: Resource<Incoming>) -> Trappable<()> {
        self.table().delete(this)?;
        Ok(())
    }
}

impl types::HostOutgoingValue for Host {
    fn new_outgoing_value(&mut self) -> Trappable<Resource<Outgoing>> {
        let (room, held) = (self.blobs().room.clone(), self.account().open());
        let journal = self.outside().journal.clone();
        Ok(self.table().push(Outgoing {
            writing: Writing::new(room, journal, held),
            place: None,
            has_body: false,
            _open: None,
        })?)
    }

    fn outgoing_value_write_body(
        &mut self,
        this: Resource<Outgoing>,
    ) -> Trappable<Result<Resource<DynOutputStream>, ()>> {
        let outgoing = self.table().get_mut(&this)?;
        if std::mem::replace(&mut outgoing.has_body, true) {
            return Ok(Err(()));
        }
        let body: DynOutputStream = Box::new(Body::new(outgoing.writing.clone()));
        Ok(Ok(self.table().push_child(body, &this)?))
    }

    /// It traps while the body's stream is there.
    async fn finish(&mut self, this: Resource<Outgoing>) -> Answer<()> {
        self.io().waits.step_aside().await;
        let outgoing = self.table().delete(this)?;
        let ended = match outgoing.writing.end().await {
            Ok(Some((mut begun, rest))) => {
                let whole = apart(move || {
                    begun.write(&rest.bytes)?;
                    begun.finish()
                });
                whole.await.map(Some)
            }
            Ok(None) => Ok(None),
            Err(failure) => Err(failure),
        };
        let done = match (ended, outgoing.place) {
            (Ok(Some(whole)), Some(place)) => self.blobs().change(place, Some(whole)),
            (Ok(_), _) => Ok(()),
            (Err(failure), _) => Err(self.blobs().unnoted(failure)),
        };
        self.answered(done)
    }

    fn drop(&mut self, this: Resource<Outgoing>) -> Trappable<()> {
        self.table().delete(this)?;
        Ok(())
    }
}
