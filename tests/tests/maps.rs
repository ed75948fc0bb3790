//! Distributed Maps on the real drivers, over both stores: what is stored of them, what a
//! crash in their middle leaves, and what a redrive takes up again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stepwell_flow::{AnyModule, Program, compile};
use stepwell_interpreter::Event;
use stepwell_interpreter::codec::Logged;
use stepwell_orchestrator::Error;
use stepwell_orchestrator::api::{Execution, Status};
use stepwell_orchestrator::driver::{
    Aside, Driver, Options, Output, Post, Redrive, Reply, Request, Ticket, read_log,
};
use stepwell_orchestrator::ports::Programs;
use stepwell_store::memory::Memory;
use stepwell_store::{Batch, Key, Range, Reader, Writer};
use stepwell_store_rocks::{RocksReader, RocksWriter};
use stepwell_types::id::SHARDS;
use stepwell_types::{
    Data, ExecutionId, Failure, FlowRef, ShardId, Spent, StepOutcome, StepRequest, Timestamp,
};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const LOOPS: usize = 2;
const OPEN_BYTES_MAX: usize = 1 << 20;

struct One(Arc<Program>);

impl Programs for One {
    fn program(&self, _flow: &FlowRef) -> Result<Arc<Program>, Error> {
        Ok(self.0.clone())
    }

    fn newest(&self, _flow: &str) -> Result<u32, Error> {
        Ok(1)
    }
}

/// A Map whose items run these states.
fn flow(kind: &str, states: &str) -> Arc<One> {
    let text = format!(
        r#"{{"StartAt": "M", "States": {{"M": {{"Type": "Map", "MaxConcurrency": 3, "End": true, "ItemProcessor": {{
            "ProcessorConfig": {{"Mode": "DISTRIBUTED", "ExecutionType": "{kind}"}},
            "StartAt": "A", "States": {{{states}}}}}}}}}}}"#
    );
    let program = compile(&text, &AnyModule).program.expect("a flow");
    Arc::new(One(Arc::new(program)))
}

const ONE_STEP: &str = r#""A": {"Type": "Task", "Resource": "wasm:a", "End": true}"#;
const TWO_STEPS: &str = r#""A": {"Type": "Task", "Resource": "wasm:a", "Next": "B"}, "B": {"Type": "Task", "Resource": "wasm:b", "End": true}"#;

/// Where rows are, over crashes.
enum Place {
    Memory(Memory),
    Rocks {
        dir: tempfile::TempDir,
        open: Option<(RocksReader, RocksWriter)>,
    },
}

impl Place {
    fn rocks() -> Place {
        let dir = tempfile::tempdir().expect("a folder");
        let mut place = Place::Rocks { dir, open: None };
        place.reopen();
        place
    }

    fn reader(&self) -> Arc<dyn Reader> {
        match self {
            Place::Memory(memory) => Arc::new(memory.clone()),
            Place::Rocks { open, .. } => Arc::new(open.as_ref().expect("open").0.clone()),
        }
    }

    fn commit(&mut self, batch: Batch) {
        let done = match self {
            Place::Memory(memory) => memory.writer().commit(&[batch]),
            Place::Rocks { open, .. } => open.as_mut().expect("open").1.commit(&[batch]),
        };
        done.expect("it takes rows");
    }

    /// As the next process finds it. Whoever reads must be gone.
    fn reopen(&mut self) {
        if let Place::Rocks { dir, open } = self {
            *open = None;
            let options = stepwell_store_rocks::Options {
                // What is synced is tested elsewhere.
                sync: false,
                ballast_bytes: 0,
                memtable_bytes_max: 1 << 20,
                ..Default::default()
            };
            *open = Some(stepwell_store_rocks::open(dir.path(), options).expect("it opens"));
        }
    }
}

struct World {
    place: Place,
    flow: Arc<One>,
    drivers: Vec<Driver>,
    steps: Vec<StepRequest>,
    posts: Vec<Post>,
    ended: Option<Execution>,
    redriven: bool,
    commits: usize,
    /// Of the largest batch.
    most_bytes: usize,
    /// The commit after which the process dies.
    dies_after: Option<usize>,
}

impl World {
    fn new(place: Place, flow: Arc<One>) -> World {
        let drivers = drivers(&place, &flow);
        World {
            place,
            flow,
            drivers,
            steps: Vec::new(),
            posts: Vec::new(),
            ended: None,
            redriven: false,
            commits: 0,
            most_bytes: 0,
            dies_after: None,
        }
    }

    fn driver_of(&mut self, id: ExecutionId) -> &mut Driver {
        &mut self.drivers[usize::from(id.shard().0) % LOOPS]
    }

    fn request(&mut self, id: ExecutionId, request: Request) {
        self.driver_of(id).request(Ticket(1), request, NOW);
        self.settle();
    }

    fn start(&mut self, items: usize) -> ExecutionId {
        let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
        let items: Vec<usize> = (0..items).collect();
        let request = Request::Start {
            flow: FlowRef {
                name: "f".into(),
                version: 1,
            },
            name: None,
            input: Data::from_value(items.into()),
            id,
            seed: [7; 16],
            wait: true,
        };
        self.request(id, request);
        id
    }

    fn outputs(&mut self) {
        while let Some(output) = self.drivers.iter_mut().find_map(Driver::output) {
            match output {
                Output::Run(request) => self.steps.push(*request),
                Output::Abort {
                    execution,
                    entry,
                    attempt,
                } => self
                    .steps
                    .retain(|s| (s.execution, s.entry, s.attempt) != (execution, entry, attempt)),
                Output::Send(post) => self.posts.push(post),
                Output::Reply(_, Reply::Ended(Some(ended))) => self.ended = Some(*ended),
                Output::Reply(_, Reply::Redriven(_)) => self.redriven = true,
                _ => {}
            }
        }
    }

    /// Does what is ready and commits it, until only steps are left.
    fn settle(&mut self) {
        loop {
            self.outputs();
            if !self.posts.is_empty() {
                let post = self.posts.remove(0);
                let to = post.to();
                self.driver_of(to).post(post, NOW).expect("readable");
                continue;
            }
            if self.drivers.iter_mut().any(|driver| driver.work(NOW)) {
                continue;
            }
            let mut sealed = self.drivers.iter_mut().enumerate();
            let Some((at, (number, batch))) =
                sealed.find_map(|(at, driver)| Some((at, driver.seal()?)))
            else {
                return;
            };
            self.most_bytes = self.most_bytes.max(batch.len_bytes());
            self.place.commit(batch);
            self.commits += 1;
            if self.dies_after == Some(self.commits) {
                self.crash();
            } else {
                self.drivers[at].committed(number, NOW);
            }
        }
    }

    fn end(&mut self, step: &StepRequest, result: Result<&str, &str>) {
        let outcome = StepOutcome {
            result: match result {
                Ok(text) => Ok(Data::from_valid_text(text)),
                Err(error) => Err(Failure::new(error, "as asked")),
            },
            spent: Spent::default(),
            logs: Vec::new(),
            effects: None,
            notes: None,
        };
        let (id, entry, attempt) = (step.execution, step.entry, step.attempt);
        let driver = self.driver_of(id);
        driver.step_ended(id, entry, attempt, outcome, NOW);
        self.settle();
    }

    fn answer(&mut self, text: &str) {
        let step = self.steps.remove(0);
        self.end(&step, Ok(text));
    }

    fn crash(&mut self) {
        self.steps.clear();
        self.posts.clear();
        self.drivers.clear();
        self.place.reopen();
        self.drivers = drivers(&self.place, &self.flow);
        self.outputs();
    }

    fn crash_and_settle(&mut self) {
        self.crash();
        self.settle();
    }

    fn count(&self, range: &Range) -> usize {
        let rows = self.place.reader().scan(range, usize::MAX);
        rows.expect("readable").len()
    }

    /// Rows of results of the first run of the flow's only Map.
    fn results(&self, execution: ExecutionId) -> usize {
        let entry = stepwell_types::EntryId(1);
        self.count(&Range::MapResults {
            execution,
            entry,
            run: 0,
            from: 0,
        })
    }

    fn outbox(&self) -> usize {
        let shards = (0..SHARDS).map(|s| ShardId(s as u8));
        shards
            .map(|shard| self.count(&Range::Outbox { shard, after: None }))
            .sum()
    }

    fn children(&self, parent: ExecutionId) -> Vec<ExecutionId> {
        let range = Range::Children {
            parent,
            before: None,
        };
        let rows = self.place.reader().scan(&range, usize::MAX);
        let keys = rows.expect("readable").into_iter();
        keys.filter_map(|(key, _)| match key {
            Key::Child { execution, .. } => Some(execution),
            _ => None,
        })
        .collect()
    }

    fn log(&self, id: ExecutionId) -> Vec<Event> {
        let log = read_log(&*self.place.reader(), id, 0).expect("readable");
        let events = log.into_iter().filter_map(|logged| match logged {
            Logged::Event(record) => Some(record.event),
            _ => None,
        });
        events.collect()
    }
}

fn drivers(place: &Place, flow: &Arc<One>) -> Vec<Driver> {
    let options = Options {
        // The parent itself is not counted: its children empty the memory.
        hot_max: 2,
        hot_bytes_max: 1 << 30,
        state_bytes_max: 1 << 30,
        open_bytes_max: OPEN_BYTES_MAX,
        steps_running_max: 8,
        calls_running_max: 8,
        checkpoint_bytes_min: 64,
        descendants_max: u32::MAX,
        cautious_ms: 0,
        aside: Aside::never(),
    };
    (0..LOOPS)
        .map(|index| {
            let shards: Vec<_> = (0..SHARDS)
                .filter(|s| usize::from(*s) % LOOPS == index)
                .map(|s| ShardId(s as u8))
                .collect();
            let (options, reader) = (options.clone(), place.reader());
            let mut driver = Driver::new(index as u8, &shards, options, reader, flow.clone());
            driver.recover(true, NOW).expect("readable");
            driver
        })
        .collect()
}

fn places() -> [Place; 2] {
    [Place::Memory(Memory::default()), Place::rocks()]
}

#[test]
fn results_are_rows_until_the_map_is_left() {
    for (kind, children) in [("STANDARD", 5), ("EXPRESS", 0)] {
        for place in places() {
            let mut world = World::new(place, flow(kind, ONE_STEP));
            let id = world.start(5);
            assert!(world.steps.len() <= 3, "{kind}: no more than the window");
            for done in 0..5 {
                assert_eq!(world.results(id), done, "{kind}");
                if done == 2 {
                    world.crash_and_settle();
                    assert_eq!(world.results(id), 2, "{kind}: none is lost");
                }
                let answer = world.steps[0].input.text().to_owned();
                world.answer(&answer);
            }
            assert!(world.steps.is_empty(), "{kind}: nothing runs again");
            assert_eq!(world.results(id), 0, "{kind}");
            assert_eq!(world.outbox(), 0, "{kind}");
            assert_eq!(world.children(id).len(), children);
        }
    }
}

#[test]
fn a_map_does_not_run_far_ahead_of_the_disk() {
    let pass = r#""A": {"Type": "Pass", "End": true}"#;
    let mut world = World::new(Place::Memory(Memory::default()), flow("EXPRESS", pass));
    world.start(10_000);
    let ended = world.ended.expect("it ended");
    assert_eq!(ended.status, Status::Succeeded);
    let output = ended.output.expect("an output");
    assert_eq!(output.value().as_array().map(Vec::len), Some(10_000));
    // The disk is asked only when nothing else is left to do: all of it would be one batch of
    // 800 KB. Keys are not counted.
    let share = OPEN_BYTES_MAX / 16;
    assert!(world.most_bytes < 4 * share, "{}", world.most_bytes);
}

#[test]
fn results_that_are_too_much_together_are_refused_with_advice() {
    let large = format!("\"{}\"", "x".repeat(8 << 20));
    // Small as text, but each part takes some hundred bytes in memory.
    let many = format!("[{}[]]", "[],".repeat(450_000));
    for (each, limit) in [(large, "33554432 bytes"), (many, "2000000 values and keys")] {
        let place = Place::Memory(Memory::default());
        let mut world = World::new(place, flow("EXPRESS", ONE_STEP));
        world.start(5);
        for _ in 0..5 {
            world.answer(&each);
        }
        let ended = world.ended.expect("it ended");
        assert_eq!(ended.status, Status::Failed);
        let failure = ended.failure.expect("a failure");
        assert_eq!(&*failure.error, "States.DataLimitExceeded");
        assert!(failure.cause.contains(limit), "{}", failure.cause);
        assert!(failure.cause.contains("ResultWriter"), "{}", failure.cause);
    }
}

/// Eight items of two steps, whose fourth fails in its second until the redrive, with a death
/// after this commit. Gives what was answered after it: how often each item's each step was.
fn redriven(place: Place, dies_after: Option<usize>) -> (World, BTreeMap<(String, usize), usize>) {
    let mut world = World::new(place, flow("STANDARD", TWO_STEPS));
    world.dies_after = dies_after;
    let id = world.start(8);
    let mut again: BTreeMap<(String, usize), usize> = BTreeMap::new();
    let mut failed = false;
    loop {
        if world.steps.is_empty() {
            if failed {
                break;
            }
            failed = true;
            world.request(id, Request::Redrive(id, Redrive::default()));
            if !world.redriven && world.steps.is_empty() {
                // Death took the answer, or the commit that it would have told of.
                world.request(id, Request::Redrive(id, Redrive::default()));
            }
            continue;
        }
        let step = world.steps.remove(0);
        let input = step.input.text().to_owned();
        let item: usize = input.parse().expect("a number");
        if failed {
            *again.entry((step.state.to_string(), item)).or_default() += 1;
        }
        match (&*step.state, item, failed) {
            ("B", 3, false) => world.end(&step, Err("Boom")),
            _ => world.end(&step, Ok(&input)),
        }
    }
    (world, again)
}

#[test]
fn a_redriven_item_goes_on_where_it_failed() {
    for place in places() {
        let (world, again) = redriven(place, None);
        let id = ExecutionId::new(NOW, ShardId(3), 1 << 8);
        let events = world.log(id);
        let parent = events
            .iter()
            .filter(|e| matches!(e, Event::Redriven { attempt: None, .. }));
        assert_eq!(parent.count(), 1);
        assert_eq!(again.get(&("A".into(), 3)), None, "its first step was done");
        assert_eq!(again.get(&("B".into(), 3)), Some(&1));
        assert!(again.values().all(|n| *n == 1), "{again:?}");
        check_whole(&world, id);
        // It and the two beside it were under way: each goes on in its own log.
        let redriven = world.children(id).into_iter().filter(|child| {
            let log = world.log(*child);
            log.iter().any(|e| matches!(e, Event::Redriven { .. }))
        });
        assert!((1..=3).contains(&redriven.count()));
    }
}

/// All items succeeded, each in one execution that began once, and nothing is left over.
fn check_whole(world: &World, id: ExecutionId) {
    let events = world.log(id);
    let ends = events
        .iter()
        .filter(|e| matches!(e, Event::ItemEnded { .. }));
    assert!(ends.count() >= 8, "{events:?}");
    let row = world.place.reader().get(&Key::Summary { execution: id });
    assert!(row.expect("readable").is_some());
    let state = stepwell_orchestrator::driver::read_state(&*world.place.reader(), &*world.flow, id)
        .expect("readable")
        .state;
    let output = match state.outcome() {
        Some(stepwell_interpreter::Outcome::Succeeded(output)) => output.text().to_owned(),
        other => panic!("{other:?}"),
    };
    assert_eq!(output, "[0,1,2,3,4,5,6,7]");
    assert_eq!(world.outbox(), 0);
    assert_eq!(world.results(id), 0);
    let children = world.children(id);
    let unique: BTreeSet<_> = children.iter().collect();
    assert_eq!((children.len(), unique.len()), (8, 8), "one for each item");
    for child in &children {
        let log = world.log(*child);
        let begun = log.iter().filter(|e| matches!(e, Event::Started { .. }));
        assert_eq!(begun.count(), 1);
    }
}

#[test]
fn a_redrive_survives_a_death_after_every_commit() {
    let (calm, _) = redriven(Place::Memory(Memory::default()), None);
    for commit in 1..=calm.commits {
        let place = Place::Memory(Memory::default());
        let (world, _) = redriven(place, Some(commit));
        check_whole(&world, ExecutionId::new(NOW, ShardId(3), 1 << 8));
    }
    // The other store's rows are the same; a few deaths show that they are.
    for commit in (1..=calm.commits).step_by(7) {
        let (world, _) = redriven(Place::rocks(), Some(commit));
        check_whole(&world, ExecutionId::new(NOW, ShardId(3), 1 << 8));
    }
}
