//! Deleting flows.
//!
//! Refuses to delete a version's row: executions that have ended are told of by walking their
//! logs through the program that they ran. A deleted flow is one that nobody can start or see.

use std::sync::Arc;

use stepwell_store::{Batch, Key, Reader};
use stepwell_types::{ExecutionId, FlowRef};

use super::{Catalog, Index, flows, shown};
use crate::Error;
use crate::driver::open_by_flow;
use crate::rows::{self, FlowRow, TriggerRow};

/// The row that says up to which version a flow is deleted. It stays when something is published
/// under the name again: what was deleted does not come back.
pub(super) fn mark(flow: &str) -> Key {
    Key::Meta {
        name: format!("deleted-flow/{flow}").into(),
    }
}

impl Index {
    /// From now on nobody finds the versions of the flow up to this one.
    pub(super) fn withdraw(&mut self, flow: &Arc<str>, last: u32) {
        let Some(versions) = self.flows.get_mut(flow) else {
            return;
        };
        let later = versions.split_off(&last.saturating_add(1));
        let gone = std::mem::replace(versions, later);
        self.withdrawn.entry(flow.clone()).or_default().extend(gone);
        if versions.is_empty() {
            self.flows.remove(flow);
            if let Some(row) = self.triggers.remove(flow) {
                self.routes.remove(&row);
            }
        }
    }
}

/// Nothing of the flow begins while this is there.
struct Closing<'a>(&'a Catalog, Arc<str>);

impl<'a> Closing<'a> {
    fn begin(catalog: &'a Catalog, flow: Arc<str>) -> Closing<'a> {
        let mut index = catalog.0.index.write();
        Arc::make_mut(&mut index).closing.insert(flow.clone());
        Closing(catalog, flow)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let mut index = self.0.0.index.write();
        Arc::make_mut(&mut index).closing.remove(&self.1);
    }
}

impl Catalog {
    /// Deletes a flow that has no endpoint, that no other flow starts by name and of which no
    /// execution runs. `settled` asks the loops for one that runs, and waits until all that they
    /// let in before is durable.
    ///
    /// What it ever ran is not read. Other flows' definitions are, before other changes are held up:
    /// those wait for the loops, and for the definitions that came meanwhile.
    pub async fn delete_flow(
        &self,
        name: &str,
        settled: impl Future<Output = Result<Option<ExecutionId>, Error>> + Send + 'static,
    ) -> Result<(), Error> {
        Catalog::apart(self.clone().delete_settled(name.into(), settled)).await
    }

    async fn delete_settled(
        self,
        name: Arc<str>,
        settled: impl Future<Output = Result<Option<ExecutionId>, Error>>,
    ) -> Result<(), Error> {
        self.newest(&name)?;
        // Nobody is held up by a wish that is refused anyway.
        let before = {
            let one_at_a_time = self.0.looking.acquire().await;
            let _one_at_a_time = one_at_a_time.map_err(|_| Error::Stopping)?;
            self.unused(&name, None).await?
        };
        let _one_at_a_time = self.0.changing.lock().await;
        let last = self.newest(&name)?;
        // A start that looked the flow up before is refused by its loop from here on, or was let
        // in and is seen.
        let _closing = Closing::begin(&self, name.clone());
        if let Some(id) = settled.await? {
            return Err(in_use(&name, format!("execution {id}, which runs")));
        }
        self.unused(&name, Some(before)).await?;
        let mut batch = Batch::default();
        batch.put(mark(&name), rows::encode(&last));
        batch.delete(Key::Trigger { flow: name.clone() });
        self.commit(batch).await?;
        Arc::make_mut(&mut self.0.index.write()).withdraw(&name, last);
        Ok(())
    }

    /// What was published when nobody used the flow. `before`: what it was when that was last so.
    /// # Errors
    /// `RUN0029`.
    async fn unused(
        &self,
        name: &Arc<str>,
        before: Option<Arc<Index>>,
    ) -> Result<Arc<Index>, Error> {
        let index = self.0.index.read().clone();
        let endpoints = index.triggers.get(name).map(TriggerRow::list);
        if let Some(first) = endpoints.iter().flatten().next() {
            let by = format!("its endpoint {} {}", first.method, first.path);
            return Err(in_use(name, by));
        }
        let (reader, wanted, now) = (self.0.reader.clone(), name.clone(), index.clone());
        let look = move || -> Result<_, Error> {
            let open = open_by_flow(&*reader, &wanted)?;
            if open > 0 {
                return Ok((open, Vec::new()));
            }
            let saying = saying(&*reader, &now, before.as_deref(), &wanted)?;
            Ok((open, saying))
        };
        let looked = tokio::task::spawn_blocking(look).await;
        let (open, saying) = looked.map_err(|_| {
            Error::Store("looking at what is published failed; see the server's log".into())
        })??;
        if open > 0 {
            let by = match open {
                1 => "an execution that has not ended".to_owned(),
                _ => format!("{open} executions that have not ended"),
            };
            return Err(in_use(name, by));
        }
        for other in saying {
            let (reader, wanted, key) = (self.0.reader.clone(), name.clone(), key(&other));
            // One by one: who publishes comes between two of them.
            let starts = self.check(move |_, _| match reader.get(&key)? {
                Some(row) => {
                    let row: FlowRow = rows::decode(&row)?;
                    Ok(flows::compile_pinned(&row)?.starts.contains(&wanted))
                }
                None => Ok(false),
            });
            if starts.await? {
                return Err(in_use(name, format!("flow {}", other.name)));
            }
        }
        Ok(index)
    }
}

fn in_use(flow: &str, by: String) -> Error {
    Error::FlowInUse {
        name: shown(flow),
        by,
    }
}

fn key(flow: &FlowRef) -> Key {
    Key::Flow {
        name: flow.name.clone(),
        version: flow.version,
    }
}

/// Other flows whose newest version may have the name of this one in its text, and start it: any
/// other need not be compiled. Of those that were published in `before` nothing is looked at again.
fn saying(
    reader: &dyn Reader,
    index: &Index,
    before: Option<&Index>,
    flow: &str,
) -> Result<Vec<FlowRef>, Error> {
    let newest = |index: &Index, name: &Arc<str>| {
        let versions = index.flows.get(name)?;
        versions.last_key_value().map(|(version, _)| *version)
    };
    let mut saying = Vec::new();
    for name in index.flows.keys().filter(|name| &***name != flow) {
        let Some(version) = newest(index, name) else {
            continue;
        };
        if before.is_some_and(|before| newest(before, name) == Some(version)) {
            continue;
        }
        let name = name.clone();
        let other = FlowRef { name, version };
        let Some(row) = reader.get(&key(&other))? else {
            continue;
        };
        let row: FlowRow = rows::decode(&row)?;
        if may_say(&row, flow) {
            saying.push(other);
        }
    }
    Ok(saying)
}

/// Whether a definition may have a name in it: as it is, spelt with escapes, put together from what fills
/// the definition in, or in the place of a resource that is bound to it.
fn may_say(row: &FlowRow, name: &str) -> bool {
    let filled = !row.substitutions.is_empty() && row.definition.contains("${");
    let bound = row.resources.iter().map(|(_, target)| target);
    let mut texts = bound.chain([&row.definition]);
    filled || texts.any(|text| text.contains(name) || text.contains('\\'))
}
