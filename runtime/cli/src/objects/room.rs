//! How much room the disk has for what steps write.
//!
//! Refuses to ask the system at every piece: what it said is good for a while, and for some bytes.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stepwell_orchestrator::Error;
use stepwell_store::Reader;
use tokio::time::Instant;

/// How long a reading is good.
const GOOD: Duration = Duration::from_millis(500);
/// Bytes that are written before the next reading at the latest: less than any floor worth its name.
const BYTES: usize = 16 << 20;

type Free = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// What is left on the disk of the data directory, against the floor.
pub struct Room {
    /// Bytes that are free; `None`: nobody knows.
    free: Free,
    floor: u64,
    last: Mutex<Reading>,
}

struct Reading {
    good: Option<Instant>,
    written: usize,
    free: Option<u64>,
}

impl Room {
    /// That of a store's disk.
    pub fn of(reader: Arc<dyn Reader>, floor: u64) -> Room {
        Room::new(Box::new(move || reader.free_bytes().ok()), floor)
    }

    /// Without a floor.
    pub fn boundless() -> Room {
        Room::new(Box::new(|| None), 0)
    }

    fn new(free: Free, floor: u64) -> Room {
        Room {
            free,
            floor,
            last: Mutex::new(Reading {
                good: None,
                written: 0,
                free: None,
            }),
        }
    }

    /// Takes room for so many bytes.
    /// # Errors
    /// `RUN0006` as text: the disk has less than its floor.
    pub fn take(&self, bytes: usize) -> Result<(), String> {
        let mut last = self.last.lock();
        last.written = last.written.saturating_add(bytes);
        let good = last.good.is_some_and(|at| at.elapsed() < GOOD);
        if !good || last.written >= BYTES {
            *last = Reading {
                good: Some(Instant::now()),
                written: bytes,
                free: (self.free)(),
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
        let read = Box::new(move || Some(read.load(Ordering::Relaxed)));
        let room = Room::new(read, 256 << 20);
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
        // Nothing is left of what was refused.
        drop((begun, arriving));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        free.store(1 << 40, Ordering::Relaxed);
        std::thread::sleep(GOOD);
        objects.begin("data", "a").unwrap().write(&piece).unwrap();
    }
}
