//! Deleting flows.
//!
//! Refuses to delete a version's row: executions that have ended are told of by walking their
//! logs through the program that they ran. A deleted flow is one that nobody can start or see.

use std::sync::Arc;

use stepwell_store::{Batch, Key, Range, Reader};
use stepwell_types::ExecutionId;

use super::{Catalog, Index, ROWS, flows, shown};
use crate::Error;
use crate::rows::{self, FlowRow, SummaryRow};

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
        let _one_at_a_time = self.0.changing.lock().await;
        let last = self.newest(&name)?;
        // Before it is closed: nobody is held up by a wish that is refused anyway.
        self.unused(&name).await?;
        // A start that looked the flow up before is refused by its loop from here on, or was let
        // in and is seen.
        let _closing = Closing::begin(&self, name.clone());
        if let Some(id) = settled.await? {
            return Err(in_use(&name, runs(id)));
        }
        self.unused(&name).await?;
        let mut batch = Batch::default();
        batch.put(mark(&name), rows::encode(&last));
        batch.delete(Key::Trigger { flow: name.clone() });
        self.commit(batch).await?;
        Arc::make_mut(&mut self.0.index.write()).withdraw(&name, last);
        Ok(())
    }

    /// # Errors
    /// `RUN0029`.
    async fn unused(&self, name: &Arc<str>) -> Result<(), Error> {
        let endpoints = self.0.index.read().triggers.get(name).map(|row| row.list());
        if let Some(first) = endpoints.iter().flatten().next() {
            let by = format!("its endpoint {} {}", first.method, first.path);
            return Err(in_use(name, by));
        }
        let (reader, wanted) = (self.0.reader.clone(), name.clone());
        let by = self
            .check(move |index, _| match starter(&*reader, index, &wanted)? {
                Some(flow) => Ok(Some(format!("flow {flow}"))),
                None => Ok(running(&*reader, &wanted)?.map(runs)),
            })
            .await?;
        by.map_or(Ok(()), |by| Err(in_use(name, by)))
    }
}

fn in_use(flow: &str, by: String) -> Error {
    Error::FlowInUse {
        name: shown(flow),
        by,
    }
}

fn runs(id: ExecutionId) -> String {
    format!("execution {id}, which runs")
}

/// Another flow whose newest version starts this one by its name.
fn starter(reader: &dyn Reader, index: &Index, flow: &str) -> Result<Option<Arc<str>>, Error> {
    for (name, versions) in index.flows.iter().filter(|(name, _)| &***name != flow) {
        let Some((version, _)) = versions.last_key_value() else {
            continue;
        };
        let key = Key::Flow {
            name: name.clone(),
            version: *version,
        };
        let Some(row) = reader.get(&key)? else {
            continue;
        };
        let row: FlowRow = rows::decode(&row)?;
        let values = row.substitutions.iter().map(|(_, value)| value);
        let mut texts = values.chain([&row.definition]);
        // A text that doesn't say the name need not be compiled.
        if texts.any(|text| text.contains(flow))
            && flows::compile_pinned(&row)?.starts.contains(flow)
        {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

/// An execution of the flow that has not ended.
fn running(reader: &dyn Reader, flow: &Arc<str>) -> Result<Option<ExecutionId>, Error> {
    let mut before = None;
    loop {
        let range = Range::FlowExecutions {
            flow: flow.clone(),
            before,
        };
        let found = reader.scan(&range, ROWS)?;
        for (key, _) in &found {
            let Key::FlowExecution { execution, .. } = key else {
                continue;
            };
            before = Some(*execution);
            let key = Key::Summary {
                execution: *execution,
            };
            if let Some(row) = reader.get(&key)?
                && rows::decode::<SummaryRow>(&row)?.status == 0
            {
                return Ok(Some(*execution));
            }
        }
        if found.len() < ROWS {
            return Ok(None);
        }
    }
}
