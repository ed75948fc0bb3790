//! How much room the disks have for what executions write into buckets: objects, jobs' files, results.
//!
//! Refuses to ask the system at every piece: what it said is good for a while, and for some bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_buckets::Buckets;
use stepwell_orchestrator::Error;
use tokio::time::Instant;

/// How long a reading is good.
const GOOD: Duration = Duration::from_millis(500);
/// Bytes that are written before the next reading at the latest: less than any floor worth its name.
const BYTES: usize = 16 << 20;

/// Bytes that are free on the disk of a bucket; `None`: nobody knows.
type Free = Box<dyn Fn(&str) -> Option<u64> + Send + Sync>;
/// The granted bucket; `None`: any that is kept, which all are on the disk of the data directory.
type Place = Option<Arc<str>>;

/// What is left on each bucket's disk, against the floor.
pub struct Room {
    place: Box<dyn Fn(&str) -> Place + Send + Sync>,
    free: Free,
    floor: u64,
    last: Mutex<BTreeMap<Place, Reading>>,
}

#[derive(Default)]
struct Reading {
    good: Option<Instant>,
    written: usize,
    free: Option<u64>,
}

impl Room {
    /// That of these buckets.
    pub fn of(buckets: Buckets, floor: u64) -> Room {
        let there = buckets.clone();
        let place = Box::new(move |name: &str| buckets.is_granted(name).then(|| name.into()));
        Room::new(place, Box::new(move |name| there.free_bytes(name)), floor)
    }

    /// Without a floor.
    pub fn boundless() -> Arc<Room> {
        Arc::new(Room::new(Box::new(|_| None), Box::new(|_| None), 0))
    }

    fn new(place: Box<dyn Fn(&str) -> Place + Send + Sync>, free: Free, floor: u64) -> Room {
        Room {
            place,
            free,
            floor,
            last: Mutex::default(),
        }
    }

    /// Takes room for so many bytes of a bucket.
    /// # Errors
    /// `RUN0006` as text: its disk has less than the floor.
    pub fn take(&self, bucket: &str, bytes: usize) -> Result<(), String> {
        let mut last = self.last.lock();
        let last = last.entry((self.place)(bucket)).or_default();
        last.written = last.written.saturating_add(bytes);
        let good = last.good.is_some_and(|at| at.elapsed() < GOOD);
        if !good || last.written >= BYTES {
            *last = Reading {
                good: Some(Instant::now()),
                written: bytes,
                free: (self.free)(bucket),
            };
        }
        let taken = last.written as u64;
        match last.free {
            Some(free) if free.saturating_sub(taken) < self.floor => Err(Error::DiskFull {
                free_mib: free >> 20,
                floor_mib: self.floor >> 20,
            }
            .to_string()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use stepwell_buckets::{Buckets, Options};
    use stepwell_host_api::objects::Objects as _;

    use super::*;
    use crate::objects::InBuckets;

    #[test]
    fn what_steps_and_bridges_write_leaves_the_disk_its_floor() {
        let dir = tempfile::tempdir().unwrap();
        let buckets = Buckets::open(&Options {
            kept: Some(dir.path().to_path_buf()),
            granted: Vec::new(),
            object_bytes_max: 1 << 30,
            instance: "here".to_owned(),
        });
        let free = Arc::new(AtomicU64::new(300 << 20));
        let read = Arc::clone(&free);
        let place = Box::new(|name: &str| (name == "other").then(|| name.into()));
        let read = Box::new(move |name: &str| match name {
            "other" => Some(1 << 40),
            _ => Some(read.load(Ordering::Relaxed)),
        });
        let room = Arc::new(Room::new(place, read, 256 << 20));
        let (objects, _sure) = InBuckets::queued(buckets.unwrap(), room);

        let mut begun = objects.begin("data", "a").unwrap();
        let mut arriving = objects.create("data", "b").unwrap();
        let piece = vec![0; 8 << 20];
        begun.write(&piece).unwrap();
        arriving.write_all(&piece).unwrap();
        // The disk fills while they come.
        free.store(100 << 20, Ordering::Relaxed);
        let refused = (0..3).find_map(|_| begun.write(&piece).err()).unwrap();
        let floor = "100 MiB left, below the floor of 256 MiB";
        assert_eq!(refused.error.as_ref(), "Stepwell.ObjectFailed");
        assert!(refused.cause.contains("RUN0006"), "{refused:?}");
        assert!(refused.cause.contains(floor), "{refused:?}");
        let refused = arriving.write_all(&piece).unwrap_err().to_string();
        assert!(refused.contains(floor), "{refused}");
        let refused = objects.begin("data", "c").err().unwrap();
        assert!(refused.cause.contains("RUN0006"), "{refused:?}");
        let refused = objects.create("data", "c").err().unwrap();
        assert_eq!(refused.error.as_ref(), "Stepwell.FileTransferFailed");
        // A bucket on another disk is not short of room.
        let mut elsewhere = objects.begin("other", "a").unwrap();
        elsewhere.write(&piece).unwrap();
        drop(elsewhere);
        // Nothing is left of what was refused.
        drop((begun, arriving));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        free.store(1 << 40, Ordering::Relaxed);
        std::thread::sleep(GOOD);
        objects.begin("data", "a").unwrap().write(&piece).unwrap();
    }
}
