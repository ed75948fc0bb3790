//! One execution in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_interpreter::codec::Row;
use stepwell_interpreter::{Outcome, State};
use stepwell_types::{Data, Digest, EntryId, Failure, FlowRef, StepTarget, Timestamp};

use crate::ready::FlowNumber;

use super::away::Input;
use super::express::Express;
use super::journal::Journals;
use super::places::{Kind, Place, Places};

/// An attempt that was begun or waits to begin.
#[derive(Debug)]
pub(super) struct Running {
    /// The surroundings were told to run it.
    pub started: bool,
    /// The place that it takes when it runs.
    pub place: Place,
    /// It has taken it.
    counted: bool,
    /// It is in the queue for that.
    pub queued: bool,
    /// Whose step it is, and since when it is there.
    pub state: Arc<str>,
    pub since: Timestamp,
    /// It waits for its turn outside.
    pub waits: bool,
    /// The stopping gate refused its call, or it waited: how it ends says nothing, and the next
    /// process runs it again.
    pub set_aside: bool,
    /// Of a file of results: the slot with which the next one begins, if there is one.
    pub next_slot: Option<u32>,
}

impl Running {
    /// One that has not begun.
    pub fn new(place: Place, state: Arc<str>, since: Timestamp) -> Running {
        Running {
            started: false,
            place,
            counted: false,
            queued: false,
            state,
            since,
            waits: false,
            set_aside: false,
            next_slot: None,
        }
    }

    /// It runs, and takes its place.
    pub fn take(&mut self, places: &mut Places) {
        if !std::mem::replace(&mut self.counted, true) {
            places.take(self.place);
        }
    }

    /// It needs its place no more.
    pub fn give_back(&mut self, places: &mut Places) {
        if std::mem::take(&mut self.counted) {
            places.give_back(self.place);
        }
    }

    /// It waits for its turn outside. A guest has its instance meanwhile.
    pub fn wait(&mut self, places: &mut Places) {
        self.waits = true;
        if self.place.kind == Kind::Call {
            self.give_back(places);
        }
    }

    /// How it ends is for the next process.
    pub fn set_aside(&mut self, places: &mut Places) {
        self.set_aside = true;
        self.give_back(places);
    }
}

/// A task of an activity that a worker has.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub entry: EntryId,
    pub attempt: u32,
    pub activity: Arc<str>,
    /// It may have a row, which counts after a crash.
    pub kept: bool,
}

/// One execution in memory: its state, and what of it is durable.
pub(super) struct Hot {
    pub program: Arc<Program>,
    /// Shared with a turn that is away; nothing changes it meanwhile.
    pub state: Arc<State>,
    pub flow: FlowRef,
    /// `None`: named by its id.
    pub given_name: Option<Arc<str>>,
    pub events: FlowNumber,
    /// Its flow's numbers among what waits to begin: steps of modules, and all else.
    pub steps_queue: FlowNumber,
    pub calls_queue: FlowNumber,
    pub started: Timestamp,
    pub last_at: Timestamp,
    /// Records so far, sealed or not.
    pub logged: u64,
    /// Records that are not in a sealed batch, encoded, and the number of the first.
    pub row: Row,
    pub row_seq: u64,
    /// Blob rows that the open row refers to.
    pub blobs: Vec<(Digest, Arc<[u8]>)>,
    /// The batch that holds, or will hold, the newest record.
    pub batch: u64,
    pub is_dirty: bool,
    pub steps: BTreeMap<(EntryId, u32), Running>,
    pub journals: Journals,
    /// Token answers taken while in memory: digest of each, for repeats.
    pub answered: HashMap<(EntryId, u32), Digest>,
    pub queued_events: u32,
    /// The batch that makes it durable at all.
    pub first_batch: u64,
    pub hot_row: bool,
    pub timer_row: Option<Timestamp>,
    /// What `Driver::timers` holds for this execution.
    pub timer: Option<Timestamp>,
    /// Number of the newest parcel that it sent, 0 before the first since it came into memory.
    pub outbox: u64,
    pub log_bytes: usize,
    pub has_checkpoint: bool,
    pub summary_saved: bool,
    /// The stored one says that reading it back may take long.
    pub heavy_saved: bool,
    /// Set for an express execution.
    pub express: Option<Express>,
    /// What is written of an express execution at its end: number of its first record, and bytes.
    pub kept_row: Option<(u64, Vec<u8>)>,
    /// Its start record goes with its end.
    pub forget_start: bool,
    /// The stored one says that it has ended, and it goes on.
    pub summary_stale: bool,
    pub ended: Option<Timestamp>,
    pub parked: Option<Failure>,
    /// Its state is half walked: it is parked, leaves memory as soon as that is durable, and
    /// what comes meanwhile waits here. Boxed, since it is never there.
    #[allow(
        clippy::box_collection,
        reason = "a word instead of three in each execution"
    )]
    pub spoiled: Option<Box<Vec<Input>>>,
    pub fuel: u64,
    pub counted_transitions: u64,
    /// What of `Driver::hot_bytes` is this execution's.
    pub weight: usize,
    /// What its state had taken in when what it holds was last looked at.
    pub looked_at: u64,
    /// It is one of `Driver::parents`.
    pub is_parent: bool,
    /// Tasks of activities that workers have, once somebody has looked. Boxed, since it is rarely there.
    #[allow(
        clippy::box_collection,
        reason = "a word instead of three in each execution"
    )]
    pub taken: Option<Box<Vec<Taken>>>,
    pub taken_known: bool,
}

impl Hot {
    /// Nothing to do until a timer, a callback or a cancel comes.
    pub fn is_idle(&self) -> bool {
        self.ended.is_none()
            && self.express.is_none()
            && self.steps.is_empty()
            && self.state.fleets() == 0
            && self.queued_events == 0
    }

    /// Whether it may take in more.
    pub fn goes_on(&self) -> bool {
        self.ended.is_none() && self.parked.is_none()
    }

    /// Whether the end of an attempt changes anything.
    pub fn wants_end(&self, entry: EntryId, attempt: u32) -> bool {
        self.goes_on() && self.spoiled.is_none() && self.state.awaits(entry, attempt)
    }

    /// Where an attempt of this target runs.
    pub fn place(&self, target: &StepTarget) -> Place {
        if target.leaves() {
            let (kind, flow) = (Kind::Call, self.calls_queue);
            return Place { kind, flow };
        }
        let (kind, flow) = (Kind::Step, self.steps_queue);
        Place { kind, flow }
    }

    /// Bytes of text that it keeps in memory, ended or not.
    pub fn holds_bytes(&self) -> usize {
        let output = match self.state.outcome() {
            Some(Outcome::Succeeded(output)) => output.len_bytes(),
            _ => 0,
        };
        let input = self.state.input().map_or(0, Data::len_bytes);
        self.weight.max(input).max(output)
    }

    /// Drops the journal of an attempt that ended.
    pub fn forget_journal(&mut self, entry: EntryId, attempt: u32) {
        self.journals.remove(&(entry, attempt));
    }
}
