//! Room for answers: what those that are being read may take in memory together.
//!
//! Refuses nothing: an answer that finds no room is read no further until there is some, within its
//! call's time. One at a time reads on without, so that those that have half of theirs do not wait
//! for one another.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes of each answer that are not counted: small ones need no common room.
const FREE: u64 = 64 << 10;
/// Bytes of one permit.
const UNIT: u64 = 1 << 10;

/// All of it.
#[derive(Clone)]
pub(crate) struct Room {
    units: Arc<Semaphore>,
    /// Whose answer may be read on without room.
    beyond: Arc<Semaphore>,
}

/// What one answer has of it. Dropping it gives that back.
pub(crate) struct Share {
    room: Room,
    bytes: u64,
    has: Vec<OwnedSemaphorePermit>,
    beyond: Option<OwnedSemaphorePermit>,
}

impl Room {
    pub(crate) fn new(bytes: u64) -> Room {
        let units = usize::try_from(bytes / UNIT).unwrap_or(usize::MAX);
        Room {
            units: Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))),
            beyond: Arc::new(Semaphore::new(1)),
        }
    }

    pub(crate) fn share(&self) -> Share {
        Share {
            room: self.clone(),
            bytes: FREE,
            has: Vec::new(),
            beyond: None,
        }
    }
}

impl Share {
    /// Waits until it has room for so many bytes.
    pub(crate) async fn up_to(&mut self, bytes: u64) {
        if bytes <= self.bytes || self.beyond.is_some() {
            return;
        }
        let units = (bytes - self.bytes).div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let (room, beyond) = (Arc::clone(&self.room.units), Arc::clone(&self.room.beyond));
        // Neither is ever closed.
        tokio::select! {
            biased;
            Ok(more) = room.acquire_many_owned(units) => {
                self.has.push(more);
                self.bytes += u64::from(units) * UNIT;
            }
            Ok(alone) = beyond.acquire_owned() => self.beyond = Some(alone),
            else => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[tokio::test]
    async fn answers_share_the_room_and_one_reads_on_without() {
        let room = Room::new(1 << 20);
        let mut small = room.share();
        small.up_to(FREE).await;
        assert_eq!(room.units.available_permits(), 1 << 10, "it needs none");
        let mut first = room.share();
        first.up_to(FREE + (1 << 20)).await;
        assert_eq!(room.units.available_permits(), 0);
        // Larger than all of it, and nothing is left.
        let mut second = room.share();
        second.up_to(9 << 20).await;
        second.up_to(10 << 20).await;
        let mut third = room.share();
        {
            let mut waits = Box::pin(third.up_to(FREE + 1));
            assert!(poll!(&mut waits).is_pending());
            drop(first);
            assert!(poll!(&mut waits).is_ready());
        }
        let mut fourth = room.share();
        let mut waits = Box::pin(fourth.up_to(FREE + (1 << 20)));
        assert!(poll!(&mut waits).is_pending());
        drop(second);
        assert!(poll!(&mut waits).is_ready());
        drop(waits);
        drop((third, fourth));
        assert_eq!(room.units.available_permits(), 1 << 10);
        assert_eq!(room.beyond.available_permits(), 1);
    }
}
