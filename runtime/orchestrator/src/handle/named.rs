//! Executions by the names that they were given.

use stepwell_store::Key;
use stepwell_types::{Data, ExecutionId};

use super::Orchestrator;
use crate::Error;
use crate::api::Execution;
use crate::rows::{self, NameRow, SummaryRow};
use crate::same::started_with;

impl Orchestrator {
    /// The execution of this name.
    /// # Errors
    /// `RUN0012`.
    pub fn find(&self, flow: &str, name: &str) -> Result<Option<ExecutionId>, Error> {
        let key = Key::Name {
            flow: flow.into(),
            name: name.into(),
        };
        Ok(self.named(&key)?.map(|row| row.execution))
    }

    /// The execution of this name, if it had this input.
    pub(super) fn started_as(&self, key: &Key, input: &Data) -> Result<Option<ExecutionId>, Error> {
        let Some(row) = self.named(key)? else {
            return Ok(None);
        };
        let same = started_with(&*self.shared.reader, &row, input)?;
        Ok(same.then_some(row.execution))
    }

    fn named(&self, key: &Key) -> Result<Option<NameRow>, Error> {
        let row = self.shared.reader.get(key)?;
        row.map(|row| rows::decode(&row)).transpose()
    }

    /// Says by which name the execution was started that started this one.
    pub(super) fn name_parent(&self, found: &mut Execution) -> Result<(), Error> {
        if let Some(execution) = found.parent {
            let row = self.shared.reader.get(&Key::Summary { execution })?;
            let row: Option<SummaryRow> = row.map(|row| rows::decode(&row)).transpose()?;
            found.parent_name = row.and_then(|row| row.name);
        }
        Ok(())
    }
}
