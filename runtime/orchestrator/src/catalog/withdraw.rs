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

/// The row that says that a flow is deleted.
pub(super) fn mark(flow: &str) -> Key {
    Key::Meta {
        name: format!("deleted-flow/{flow}").into(),
    }
}

impl Index {
    /// From now on nobody finds the flow.
    pub(super) fn withdraw(&mut self, flow: &Arc<str>) {
        if let Some(versions) = self.flows.remove(flow) {
            self.withdrawn.insert(flow.clone(), versions);
        }
        if let Some(row) = self.triggers.remove(flow) {
            self.routes.remove(&row);
        }
    }
}

impl Catalog {
    /// Deletes a flow that has no endpoint, that no other flow starts by name and of which no
    /// execution runs.
    pub async fn delete_flow(&self, name: &str) -> Result<(), Error> {
        let _one_at_a_time = self.0.changing.lock().await;
        let name: Arc<str> = name.into();
        self.newest(&name)?;
        let in_use = |by: String| Error::FlowInUse {
            name: shown(&name),
            by,
        };
        let endpoints = self
            .0
            .index
            .read()
            .triggers
            .get(&name)
            .map(|row| row.list());
        if let Some(first) = endpoints.iter().flatten().next() {
            return Err(in_use(format!(
                "its endpoint {} {}",
                first.method, first.path
            )));
        }
        let (reader, wanted) = (self.0.reader.clone(), name.clone());
        let by = self
            .check(move |index, _| match starter(&*reader, index, &wanted)? {
                Some(flow) => Ok(Some(format!("flow {flow}"))),
                None => {
                    let running = running(&*reader, &wanted)?;
                    Ok(running.map(|id| format!("execution {id}, which runs")))
                }
            })
            .await?;
        if let Some(by) = by {
            return Err(in_use(by));
        }
        let mut batch = Batch::default();
        batch.put(mark(&name), rows::encode(&true));
        batch.delete(Key::Trigger { flow: name.clone() });
        self.commit(batch).await?;
        Arc::make_mut(&mut self.0.index.write()).withdraw(&name);
        Ok(())
    }
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
