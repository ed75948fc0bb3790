//! Flows, modules, triggers, secrets and namespaces: what is published or kept, and what names mean.
//!
//! Changes go one at a time and are durable before they are seen. A published version
//! never changes: the modules that it names were resolved to digests when it came.

mod absent;
mod flows;
mod landings;
mod modules;
mod namespaces;
mod programs;
mod secrets;
mod triggers;
mod withdraw;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use stepwell_flow::Program;
use stepwell_flow::program::{Mode, TaskGrants};
use stepwell_flow::resource::ResourceMap;
use stepwell_store::{Batch, Key, Range, Reader};
use stepwell_types::limits::NAME_BYTES_MAX;
use stepwell_types::{Digest, FlowRef, Grants, Timestamp};
use tokio::sync::oneshot;

pub use landings::landings;
pub use modules::Upload;

use crate::Error;
use crate::api::Permission;
use crate::committer::Committer;
use crate::ports::{Clock, Keeper, ModuleStore, Programs, Vault};
use crate::rows::{self, FlowRow, ModuleRow, TriggerRow};
use flows::Compiled;
use programs::Kept;
use triggers::Routes;

/// Rows read at a time.
const ROWS: usize = 256;

/// What the catalog knows of one flow version without its text.
#[derive(Debug, Clone)]
struct FlowMeta {
    published: Timestamp,
    digest: Digest,
    modules: Vec<(Arc<str>, Digest)>,
    mode: Mode,
    substitutions: Vec<(Arc<str>, Arc<str>)>,
    resources: Vec<(Arc<str>, Arc<str>)>,
    grants: TaskGrants,
}

#[derive(Clone, Default)]
struct Index {
    flows: BTreeMap<Arc<str>, BTreeMap<u32, FlowMeta>>,
    /// Deleted versions, whose executions can still be told of: what is published under such a
    /// name goes on counting, and they stay deleted.
    withdrawn: BTreeMap<Arc<str>, BTreeMap<u32, FlowMeta>>,
    /// Flows that are being deleted: nothing of them begins.
    closing: BTreeSet<Arc<str>>,
    modules: BTreeMap<Arc<str>, ModuleRow>,
    triggers: BTreeMap<Arc<str>, TriggerRow>,
    /// The same, by what requests they answer.
    routes: Routes,
}

impl Index {
    /// Gives a flow these endpoints instead of those that it had.
    fn set_triggers(&mut self, flow: Arc<str>, row: TriggerRow) {
        if let Some(before) = self.triggers.get(&flow) {
            self.routes.remove(before);
        }
        self.routes.add(&flow, &row);
        self.triggers.insert(flow, row);
    }
}

/// The catalog: an index in memory over rows in the store.
#[derive(Clone)]
pub(crate) struct Catalog(Arc<Inner>);

struct Inner {
    /// Shared, so that a definition is checked against it without holding the lock.
    index: RwLock<Arc<Index>>,
    programs: Mutex<Kept>,
    /// Held while one change is decided and committed.
    changing: tokio::sync::Mutex<()>,
    /// Held shared from before an upload looks for its bytes until its row is durable, and alone
    /// while bytes are removed.
    uploads: Arc<tokio::sync::RwLock<()>>,
    /// Bytes that lost their row, or never got one: they go when no upload is on its way.
    orphans: Mutex<BTreeSet<Digest>>,
    /// Held while one definition is checked, also when nobody waits for it any more:
    /// a check may take seconds, and all others keep the rest of the processors.
    checking: Arc<tokio::sync::Semaphore>,
    /// Held while all definitions are looked through for a flow that is to be deleted: hundreds of
    /// such wishes must not take every thread that may block.
    looking: tokio::sync::Semaphore,
    reader: Arc<dyn Reader>,
    store: Arc<dyn ModuleStore>,
    vault: Arc<dyn Vault>,
    keeper: Arc<dyn Keeper>,
    committer: Arc<Committer>,
    clock: Arc<dyn Clock>,
    /// The server's own bindings.
    resources: ResourceMap,
}

impl Catalog {
    /// Reads the index from the store.
    pub fn open(
        reader: Arc<dyn Reader>,
        store: Arc<dyn ModuleStore>,
        (vault, keeper): (Arc<dyn Vault>, Arc<dyn Keeper>),
        committer: Arc<Committer>,
        clock: Arc<dyn Clock>,
        resources: ResourceMap,
    ) -> Result<Catalog, Error> {
        let mut index = Index::default();
        let mut after: Option<(Arc<str>, u32)> = None;
        loop {
            let found = reader.scan(
                &Range::Flows {
                    name: None,
                    after: after.clone(),
                },
                ROWS,
            )?;
            for (key, value) in &found {
                let Key::Flow { name, version } = key else {
                    continue;
                };
                let row: FlowRow = rows::decode(value)?;
                let meta = FlowMeta {
                    published: row.published,
                    digest: Digest::of(row.definition.as_bytes()),
                    modules: row.modules,
                    mode: row.mode,
                    substitutions: row.substitutions,
                    resources: row.resources,
                    grants: row.grants,
                };
                let versions = index.flows.entry(name.clone()).or_default();
                versions.insert(*version, meta);
                after = Some((name.clone(), *version));
            }
            if found.len() < ROWS {
                break;
            }
        }
        let names: Vec<_> = index.flows.keys().cloned().collect();
        for name in names {
            if let Some(row) = reader.get(&withdraw::mark(&name))? {
                index.withdraw(&name, rows::decode(&row)?);
            }
        }
        let mut after: Option<Arc<str>> = None;
        loop {
            let range = Range::Modules {
                after: after.clone(),
            };
            let found = reader.scan(&range, ROWS)?;
            for (key, value) in &found {
                if let Key::Module { name } = key {
                    index.modules.insert(name.clone(), rows::decode(value)?);
                    after = Some(name.clone());
                }
            }
            if found.len() < ROWS {
                break;
            }
        }
        // An upload whose process died before its row was durable left its bytes.
        store.keep_only(&index.digests())?;
        for (key, value) in reader.scan(&Range::Triggers, usize::MAX)? {
            if let Key::Trigger { flow } = key {
                index.set_triggers(flow, rows::decode(&value)?);
            }
        }
        Ok(Catalog(Arc::new(Inner {
            index: RwLock::new(Arc::new(index)),
            programs: Mutex::new(Kept::default()),
            changing: tokio::sync::Mutex::new(()),
            uploads: Arc::default(),
            orphans: Mutex::default(),
            checking: Arc::new(tokio::sync::Semaphore::new(1)),
            looking: tokio::sync::Semaphore::new(1),
            reader,
            store,
            vault,
            keeper,
            committer,
            clock,
            resources,
        })))
    }

    /// The programs of published versions, compiled when they are wanted and not at hand.
    pub fn programs(&self) -> Arc<dyn Programs> {
        Arc::new(self.clone())
    }

    /// How a version's executions are kept.
    pub fn mode(&self, flow: &FlowRef) -> Result<Mode, Error> {
        let index = self.0.index.read();
        let versions = index.flows.get(&flow.name);
        let meta = versions.and_then(|v| v.get(&flow.version));
        meta.map(|meta| meta.mode)
            .ok_or_else(|| index.no_flow(&flow.name, Some(flow.version)))
    }

    /// The version that `flow` without a version means now.
    pub fn newest(&self, flow: &str) -> Result<u32, Error> {
        let index = self.0.index.read();
        let versions = index.flows.get(flow);
        let newest = versions.and_then(|v| v.last_key_value());
        newest
            .map(|(v, _)| *v)
            .ok_or_else(|| index.no_flow(flow, None))
    }

    /// Makes a change on a task of its own: who asked may go, and what was begun is ended all the same.
    async fn apart<T: Send + 'static>(
        change: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match tokio::spawn(change).await {
            Ok(made) => made,
            Err(e) if e.is_panic() => Err(Error::Store(
                "a change failed half way; please report it, with the server's log".into(),
            )),
            Err(_) => Err(Error::Stopping),
        }
    }

    /// Commits rows; returns when they are durable.
    async fn commit(&self, batch: Batch) -> Result<(), Error> {
        let (durable, done) = oneshot::channel();
        self.0.committer.submit(
            batch,
            1,
            Box::new(move || {
                let _ = durable.send(());
            }),
        );
        done.await.map_err(|_| Error::Stopping)
    }
}

impl Programs for Catalog {
    fn program(&self, flow: &FlowRef) -> Result<Arc<Program>, Error> {
        if let Some(program) = self.0.programs.lock().get(flow) {
            return Ok(program);
        }
        let key = Key::Flow {
            name: flow.name.clone(),
            version: flow.version,
        };
        let row = self.0.reader.get(&key)?;
        let absent = || self.0.index.read().no_flow(&flow.name, Some(flow.version));
        let row = row.ok_or_else(absent)?;
        let row: FlowRow = rows::decode(&row)?;
        let Compiled { program, .. } = flows::compile_pinned(&row)?;
        let bytes = flows::text_bytes(&row.definition, &row.substitutions);
        let mut programs = self.0.programs.lock();
        programs.put(flow.clone(), program.clone(), bytes);
        Ok(program)
    }

    fn may_begin(&self, flow: &FlowRef) -> Result<(), Error> {
        let index = self.0.index.read();
        if index.closing.contains(&flow.name) {
            return Err(Error::Busy {
                reason: "the flow is being deleted",
                retry_after_s: 1,
            });
        }
        let versions = index.flows.get(&flow.name);
        if versions.is_some_and(|versions| versions.contains_key(&flow.version)) {
            return Ok(());
        }
        Err(index.no_flow(&flow.name, Some(flow.version)))
    }

    fn is_ready(&self, flow: &FlowRef) -> bool {
        self.0.programs.lock().contains(flow)
    }

    fn newest(&self, flow: &str) -> Result<u32, Error> {
        // A flow that starts thousands under a wrong name is told so thousands of times: nothing
        // is looked for then.
        if self.0.index.read().flows.contains_key(flow) {
            return Catalog::newest(self, flow);
        }
        Err(Error::NoFlow(format!("named {}", shown(flow))))
    }
}

/// The manifest of a new version: a given one is checked, without one that of the version
/// before goes on.
/// # Errors
/// `RUN0026`; `RUN0027` when it reaches further and nobody confirmed that.
fn permitted(
    what: &'static str,
    name: &str,
    before: Option<(u32, &Grants)>,
    permission: &Permission,
) -> Result<Option<Arc<Grants>>, Error> {
    let Some(given) = &permission.grants else {
        return Ok(before.map(|(_, grants)| Arc::new(grants.clone())));
    };
    given.check().map_err(Error::BadGrants)?;
    if let Some((version, before)) = before.filter(|_| !permission.confirmed) {
        let beyond = given.beyond(before);
        if !beyond.is_empty() {
            return Err(Error::WiderGrants {
                what,
                name: shown(name),
                version,
                beyond,
            });
        }
    }
    Ok(Some(Arc::new(given.clone())))
}

/// A name as error messages show it: cut, and without control characters.
pub(crate) fn shown(name: &str) -> String {
    let cut: String = name.chars().take(64).collect();
    cut.escape_debug().to_string()
}

/// Checks a flow's, module's or execution's name.
/// # Errors
/// `RUN0014`.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), Error> {
    let fine = name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    let begins = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if fine && begins && name.len() <= NAME_BYTES_MAX {
        return Ok(());
    }
    Err(Error::BadName {
        what,
        name: shown(name),
    })
}
