//! Buckets as bridges and steps see them, and how what steps change in them comes about.
//!
//! A change is made when the commit of its outcome is durable: on a server by a thread of its own, which
//! then forgets the change's row; in a run without a server at once.

use std::any::Any;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_buckets::{Buckets, Change, Error, Holding, Landing, Object, Seen, Staged, Upload};
use stepwell_host_api::objects::{
    Begun, Bytes, Found, HeldObjects, NewObject, ObjectChange, Objects, SeenObject, Unheld, Whole,
    failed, refused,
};
use stepwell_orchestrator::Orchestrator;
use stepwell_store::Reader;
use stepwell_types::{Failure, Held, Hold, ObjectWrite};

use crate::exit::Trouble;

/// Tries of a change that the disk refuses, a second apart, before it is left to the next start.
const TRIES: u32 = 5;
/// Changes that are forgotten in one commit.
const FORGOTTEN: usize = 64;

/// Buckets behind the port.
pub struct InBuckets {
    buckets: Buckets,
    /// Where changes go that are sure; `None`: they are made at once.
    sure: Option<Mutex<Sender<Holding>>>,
}

impl InBuckets {
    /// For a run without a server, or for bridges alone.
    pub fn at_once(buckets: Buckets) -> InBuckets {
        InBuckets {
            buckets,
            sure: None,
        }
    }

    /// For a server; what is sure comes out of the other end.
    pub fn queued(buckets: Buckets) -> (InBuckets, Receiver<Holding>) {
        let (sure, made) = channel();
        let sure = Some(Mutex::new(sure));
        (InBuckets { buckets, sure }, made)
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
        Ok(Box::new(Arriving(upload)))
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
        let upload = self.buckets.bucket(bucket).and_then(|b| b.put_later(key));
        Ok(Box::new(Coming(upload.map_err(|e| told(&e))?)))
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

struct Coming(Upload);

impl Begun for Coming {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.0.write(bytes).map_err(|e| told(&e))
    }

    fn finish(self: Box<Self>) -> Result<Box<dyn Whole>, Failure> {
        let staged = self.0.stage().map_err(|e| told(&e))?;
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

struct Arriving(Upload);

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.0.write(bytes);
        written.map_err(|e| std::io::Error::other(e.to_string()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl NewObject for Arriving {
    fn finish(self: Box<Self>) -> Result<(), Failure> {
        let done = self.0.finish();
        done.map(drop).map_err(|e| failed(e.to_string()))
    }
}

/// Makes what the process before this one left sure and unmade, and removes what never will be.
/// The rows that can be forgotten.
pub fn recover(buckets: &Buckets, reader: &dyn Reader) -> Result<Vec<Arc<str>>, Trouble> {
    let landings = stepwell_orchestrator::landings(reader).map_err(Trouble::system)?;
    let names: BTreeSet<String> = landings.iter().map(|l| l.name.to_string()).collect();
    buckets.sweep_staged(&names).map_err(Trouble::system)?;
    let mut made = Vec::new();
    for write in landings {
        let landing = Landing {
            name: write.name.to_string(),
            bucket: write.bucket.to_string(),
            key: write.key.to_string(),
            gone: write.gone.map(|tag| tag.to_string()),
        };
        match buckets.land(&landing) {
            Ok(()) => made.push(write.name),
            Err(e) => complain(&e),
        }
    }
    Ok(made)
}

fn complain(e: &Error) {
    tracing::error!(code = e.code(), reason = %e, "an object that a step changed is not as it should be; the next start tries again");
}

/// Makes changes that are sure, until nobody brings any more, and forgets them and those in `made`.
/// Blocks: for a thread of its own. Needs a runtime's handle.
pub fn land(
    sure: &Receiver<Holding>,
    mut made: Vec<Arc<str>>,
    orchestrator: &Orchestrator,
    runtime: &tokio::runtime::Handle,
) {
    loop {
        if !made.is_empty() {
            // A server that stops leaves the rows: what they ask for is done, and is seen to be.
            let _ = runtime.block_on(orchestrator.landed(std::mem::take(&mut made)));
        }
        let Ok(first) = sure.recv() else { return };
        let more = sure.try_iter().take(FORGOTTEN - 1);
        for holding in std::iter::once(first).chain(more) {
            made.extend(make(holding));
        }
    }
}

/// Makes the changes of a step; the rows of those that are made.
fn make(mut holding: Holding) -> Vec<Arc<str>> {
    let names = |holding: &Holding| -> Vec<Arc<str>> {
        holding.landings().map(|l| l.name.as_str().into()).collect()
    };
    let mut all = names(&holding);
    for again in 1..=TRIES {
        match holding.land() {
            Ok(()) => break,
            Err(e) if again == TRIES => complain(&e),
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
    let left = names(&holding);
    all.retain(|name| !left.contains(name));
    all
}
