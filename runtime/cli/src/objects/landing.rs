//! Makes what is sure: at the start what the process before left, then what comes, many at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use stepwell_buckets::{Buckets, Error, Holding, Landing};
use stepwell_orchestrator::Orchestrator;
use stepwell_store::Reader;
use tokio::time::Instant;

use crate::exit::Trouble;

/// Tries of a change that the disk refuses before readers are let past it.
const TRIES: u32 = 5;
/// Between the tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Steps whose changes are made together: their directories are synced once, and one commit forgets them.
const TOGETHER: usize = 256;

/// What a start found sure and unmade.
pub struct Recovered {
    /// Rows of what is made now: they can be forgotten.
    made: Vec<Arc<str>>,
    /// What the disk refuses.
    late: Holding,
}

/// Makes what the process before this one left sure and unmade, and removes what never will be.
pub fn recover(buckets: &Buckets, reader: &dyn Reader) -> Result<Recovered, Trouble> {
    let rows = stepwell_orchestrator::landings(reader).map_err(Trouble::system)?;
    let names: BTreeSet<String> = rows.iter().map(|row| row.name.to_string()).collect();
    buckets.sweep_staged(&names).map_err(Trouble::system)?;
    let landings = rows.iter().map(|row| Landing {
        name: row.name.to_string(),
        bucket: row.bucket.to_string(),
        place: row.place.as_ref().map(ToString::to_string),
        key: row.key.to_string(),
        gone: row.gone.as_ref().map(ToString::to_string),
    });
    let (landed, late) = buckets.land_all(&landings.collect::<Vec<_>>());
    let mut made = Vec::new();
    for (row, landed) in rows.into_iter().zip(landed) {
        match landed {
            Ok(()) => made.push(row.name),
            Err(e) => complain(&e),
        }
    }
    Ok(Recovered { made, late })
}

fn complain(e: &Error) {
    tracing::error!(code = e.code(), reason = %e, "an object that a step changed is not as it should be; nobody else can write to its key until it is");
}

/// Makes changes that are sure, until nobody brings any more, those that were recovered and refused too,
/// and forgets them. Blocks: for a thread of its own. Needs a runtime's handle.
pub fn land(
    sure: &Receiver<Holding>,
    recovered: Recovered,
    orchestrator: &Orchestrator,
    runtime: &tokio::runtime::Handle,
) {
    let Recovered { mut made, late } = recovered;
    let mut late = Late::of(late);
    loop {
        if !made.is_empty() {
            // A server that stops leaves the rows: what they ask for is done, and is seen to be.
            let _ = runtime.block_on(orchestrator.landed(std::mem::take(&mut made)));
        }
        let mut come = match sure.recv_timeout(late.pause()) {
            Ok(first) => vec![first],
            Err(RecvTimeoutError::Timeout) => Vec::new(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        come.extend(sure.try_iter().take(TOGETHER - 1));
        made = late.make(come);
    }
}

/// Changes that the disk refused, with how often.
struct Late {
    again: Vec<(Holding, u32)>,
    tried: Option<Instant>,
}

impl Late {
    /// Those that were refused at the start: of them was complained, and readers are let past.
    fn of(late: Holding) -> Late {
        let again = (!late.is_empty()).then_some((late, TRIES));
        Late {
            again: again.into_iter().collect(),
            tried: Some(Instant::now()),
        }
    }

    /// How long nobody need look at them.
    fn pause(&self) -> Duration {
        match (self.again.is_empty(), self.tried) {
            (false, Some(tried)) => PAUSE.saturating_sub(tried.elapsed()),
            _ => Duration::from_secs(3_600),
        }
    }

    /// Makes these changes, and late ones whose time has come; the rows of those that are made.
    fn make(&mut self, come: Vec<Holding>) -> Vec<Arc<str>> {
        let mut all: Vec<(Holding, u32)> = come.into_iter().map(|holding| (holding, 0)).collect();
        if self.tried.is_none_or(|tried| tried.elapsed() >= PAUSE) {
            all.append(&mut self.again);
            self.tried = Some(Instant::now());
        }
        let (mut holdings, tries): (Vec<Holding>, Vec<u32>) = all.into_iter().unzip();
        let mut made: BTreeSet<Arc<str>> = holdings.iter().flat_map(names).collect();
        let landed = Holding::land_all(&mut holdings);
        for ((mut holding, tries), landed) in holdings.into_iter().zip(tries).zip(landed) {
            let Err(e) = landed else { continue };
            for name in names(&holding) {
                made.remove(&name);
            }
            if tries + 1 == TRIES {
                complain(&e);
                holding.give_way();
            }
            self.again.push((holding, tries + 1));
        }
        made.into_iter().collect()
    }
}

fn names(holding: &Holding) -> Vec<Arc<str>> {
    let names = holding.landings().map(|landing| landing.name.as_str());
    names.map(Arc::from).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use stepwell_buckets::{Change, Options};

    use super::*;

    fn open(kept: &Path) -> Buckets {
        let options = Options {
            kept: Some(kept.to_path_buf()),
            granted: Vec::new(),
            object_bytes_max: 1_000,
            instance: "here".to_owned(),
        };
        Buckets::open(&options).unwrap()
    }

    #[test]
    fn what_the_start_could_not_make_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let buckets = open(dir.path());
        let upload = buckets.bucket("data").unwrap().put_later("k").unwrap();
        let change = Change::Put(upload.stage().unwrap());
        let mut holding = buckets.hold(vec![change], &[]).unwrap();
        let sure: Vec<Landing> = holding.landings().cloned().collect();
        holding.leave();
        drop(holding);

        let obstacle = dir.path().join("data/k/x");
        std::fs::create_dir_all(&obstacle).unwrap();
        let buckets = open(dir.path());
        let (_, late) = buckets.land_all(&sure);
        let mut late = Late::of(late);
        assert!(late.pause() <= PAUSE, "it is looked at again soon");
        std::thread::sleep(late.pause());
        assert!(late.make(Vec::new()).is_empty());

        std::fs::remove_dir_all(dir.path().join("data/k")).unwrap();
        std::thread::sleep(late.pause());
        assert_eq!(late.make(Vec::new()), [Arc::from(&*sure[0].name)]);
        buckets.bucket("data").unwrap().get("k").unwrap();
        assert!(late.pause() > PAUSE, "there is nothing left to look at");
    }
}
