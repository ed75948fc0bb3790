//! Buckets as bridges and steps see them, and how what steps change in them comes about.
//!
//! A change is made when the commit of its outcome is durable: on a server by a thread of its own, which
//! then forgets the change's row; in a run without a server at once.

pub mod landing;
pub mod room;

use std::any::Any;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use parking_lot::Mutex;
use stepwell_buckets::{Buckets, Change, Error, Holding, Landing, Object, Seen, Staged, Upload};
use stepwell_host_api::objects::{
    Begun, Bytes, Found, HeldObjects, NewObject, ObjectChange, Objects, SeenObject, Unheld, Whole,
    failed, refused,
};
use stepwell_types::{Failure, Held, Hold, ObjectWrite};

use room::Room;

/// Buckets behind the port.
pub struct InBuckets {
    buckets: Buckets,
    /// Where changes go that are sure; `None`: they are made at once.
    sure: Option<Mutex<Sender<Holding>>>,
    room: Arc<Room>,
}

impl InBuckets {
    /// For a run without a server, or for bridges alone.
    pub fn at_once(buckets: Buckets) -> InBuckets {
        InBuckets {
            buckets,
            sure: None,
            room: Room::boundless(),
        }
    }

    /// For a server; what is sure comes out of the other end. What is written leaves the disk some room.
    pub fn queued(buckets: Buckets, room: Arc<Room>) -> (InBuckets, Receiver<Holding>) {
        let (sure, made) = channel();
        let objects = InBuckets {
            buckets,
            sure: Some(Mutex::new(sure)),
            room,
        };
        (objects, made)
    }

    fn change(&self, change: ObjectChange) -> Result<Change, Failure> {
        let ObjectChange { bucket, key, put } = change;
        let Some(whole) = put else {
            let bucket = self.buckets.bucket(&bucket).map_err(|e| told(&e))?;
            let key = key.to_string();
            return Ok(Change::Delete { bucket, key });
        };
        let whole: Box<dyn Any> = whole;
        match whole.downcast::<Complete>() {
            Ok(complete) => Ok(Change::Put(complete.0)),
            Err(_) => Err(refused("this object was not begun here")),
        }
    }
}

/// A bucket's refusal or failure as a step is told it.
fn told(e: &Error) -> Failure {
    match e.retry() {
        true => Failure::new("Stepwell.ObjectFailed", e.to_string()),
        false => refused(e.to_string()),
    }
}

/// The disk is almost full, as a step is told it: later there may be room.
fn full(why: String) -> Failure {
    Failure::new("Stepwell.ObjectFailed", why)
}

impl Objects for InBuckets {
    fn open(&self, bucket: &str, key: &str) -> Result<(Box<dyn Read + Send>, u64), Failure> {
        let object = self
            .buckets
            .bucket(bucket)
            .and_then(|bucket| bucket.get(key));
        let object = object.map_err(|e| failed(e.to_string()))?;
        Ok((Box::new(object.file), object.size))
    }

    fn create(&self, bucket: &str, key: &str) -> Result<Box<dyn NewObject>, Failure> {
        let upload = self
            .buckets
            .bucket(bucket)
            .and_then(|bucket| bucket.put(key));
        let upload = upload.map_err(|e| failed(e.to_string()))?;
        let room = Arc::clone(&self.room);
        room.take(bucket, 0).map_err(failed)?;
        let bucket = bucket.into();
        Ok(Box::new(Arriving {
            bucket,
            upload,
            room,
        }))
    }

    fn find(&self, bucket: &str, key: &str) -> Result<Option<Found>, Failure> {
        match self
            .buckets
            .bucket(bucket)
            .and_then(|bucket| bucket.get(key))
        {
            Ok(object) => Ok(Some(Found {
                size: object.size,
                modified: object.modified,
                etag: object.etag.as_str().into(),
                bytes: Arc::new(There(object)),
            })),
            // A bucket that the server keeps is there with its first object.
            Err(Error::NoObject { .. } | Error::NoBucket { .. }) => Ok(None),
            Err(e) => Err(told(&e)),
        }
    }

    fn list(
        &self,
        bucket: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<String>, bool), Failure> {
        match self
            .buckets
            .bucket(bucket)
            .and_then(|b| b.list("", after, limit))
        {
            Ok(page) => {
                let keys = page.objects.into_iter().map(|object| object.key);
                Ok((keys.collect(), page.more))
            }
            Err(Error::NoBucket { .. }) => Ok((Vec::new(), false)),
            Err(e) => Err(told(&e)),
        }
    }

    fn begin(&self, bucket: &str, key: &str) -> Result<Box<dyn Begun>, Failure> {
        self.room.take(bucket, 0).map_err(full)?;
        // Before anything is held: who waits here keeps nobody from getting on.
        self.buckets.calm().map_err(|e| told(&e))?;
        let upload = self.buckets.bucket(bucket).and_then(|b| b.put_later(key));
        Ok(Box::new(Coming {
            bucket: bucket.into(),
            upload: upload.map_err(|e| told(&e))?,
            room: Arc::clone(&self.room),
        }))
    }

    fn hold(&self, changes: Vec<ObjectChange>, seen: &[SeenObject]) -> Result<HeldObjects, Unheld> {
        let changes = changes.into_iter().map(|change| self.change(change));
        let changes = changes.collect::<Result<_, _>>().map_err(Unheld::Failed)?;
        let seen: Vec<Seen> = seen
            .iter()
            .map(|seen| Seen {
                bucket: seen.bucket.clone(),
                key: seen.key.clone(),
                etag: seen.etag.as_ref().map(ToString::to_string),
            })
            .collect();
        let holding = self.buckets.hold(changes, &seen).map_err(|e| match e {
            stepwell_buckets::Unheld::Changed => Unheld::Changed,
            stepwell_buckets::Unheld::Refused(e) => Unheld::Failed(told(&e)),
        })?;
        let write = |landing: &Landing| ObjectWrite {
            name: landing.name.as_str().into(),
            bucket: landing.bucket.as_str().into(),
            place: landing.place.as_deref().map(Arc::from),
            key: landing.key.as_str().into(),
            gone: landing.gone.as_deref().map(Arc::from),
        };
        Ok(HeldObjects {
            writes: holding.landings().map(write).collect(),
            hold: Hold::new(Waiting {
                holding: Mutex::new(Some(holding)),
                sure: self.sure.as_ref().map(|sure| sure.lock().clone()),
            }),
        })
    }

    fn bytes_max(&self) -> u64 {
        self.buckets.object_bytes_max()
    }
}

/// Changes that wait for their outcome.
struct Waiting {
    holding: Mutex<Option<Holding>>,
    sure: Option<Sender<Holding>>,
}

impl Held for Waiting {
    fn committing(&self) {
        if let Some(holding) = &mut *self.holding.lock() {
            holding.leave();
        }
    }

    fn landed(&self) {
        let Some(mut holding) = self.holding.lock().take() else {
            return;
        };
        match &self.sure {
            // Nobody takes them when the process ends: the next one makes them.
            Some(sure) => drop(sure.send(holding)),
            None => {
                if let Err(e) = holding.land() {
                    tracing::error!(code = e.code(), reason = %e, "a step's object is lost");
                }
            }
        }
    }
}

struct There(Object);

impl Bytes for There {
    fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        let read = read(&self.0.file, at, bytes)?;
        match self.0.is_unchanged() {
            true => Ok(read),
            false => Err(Failure::new(
                "Stepwell.ObjectChanged",
                "somebody wrote into the object's file while the step read it",
            )),
        }
    }
}

/// A file that nobody else has.
pub struct Own(pub File);

impl Bytes for Own {
    fn read_at(&self, at: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
        read(&self.0, at, bytes)
    }
}

fn read(file: &File, at: u64, bytes: usize) -> Result<Vec<u8>, Failure> {
    let mut piece = vec![0; bytes];
    let mut filled = 0;
    while let Some(rest) = piece.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::new("Stepwell.ObjectFailed", e.to_string())),
        }
    }
    piece.truncate(filled);
    Ok(piece)
}

struct Coming {
    bucket: Arc<str>,
    upload: Upload,
    room: Arc<Room>,
}

impl Begun for Coming {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.room.take(&self.bucket, bytes.len()).map_err(full)?;
        self.upload.write(bytes).map_err(|e| told(&e))
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Whole>, Failure> {
        let staged = self.upload.stage().map_err(|e| told(&e))?;
        Ok(Box::new(Complete(staged)))
    }
}

struct Complete(Staged);

impl Whole for Complete {
    fn size(&self) -> u64 {
        self.0.size()
    }

    fn open(&self) -> Result<Arc<dyn Bytes>, Failure> {
        let file = self.0.open().map_err(|e| told(&e))?;
        Ok(Arc::new(Own(file)))
    }
}

struct Arriving {
    bucket: Arc<str>,
    upload: Upload,
    room: Arc<Room>,
}

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = self.room.take(&self.bucket, bytes.len());
        room.map_err(std::io::Error::other)?;
        let written = self.upload.write(bytes);
        written.map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl NewObject for Arriving {
    fn finish(self: Box<Self>) -> Result<(), Failure> {
        let done = self.upload.finish();
        done.map(drop).map_err(|e| failed(e.to_string()))
    }
}
