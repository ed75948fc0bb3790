//! The functions of a case, as the compiler asks for them.
//!
//! Refuses no name: the recordings hold placeholders.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use stepwell_flow::{AnyModule, Resolve, Unresolved};
use stepwell_types::Digest;

use crate::Case;

/// Every module is there, and by name the functions of the case.
#[derive(Debug)]
pub struct Functions<'a> {
    functions: &'a Value,
    /// What is refused of an express machine must be asked as one; what runs may be either.
    express: bool,
}

impl Functions<'_> {
    /// Those of a case.
    #[must_use]
    pub fn of(case: &Case) -> Functions<'_> {
        Functions {
            functions: &case.json["task_behaviour"],
            express: case.is_refused() && case.is_express(),
        }
    }
}

impl Resolve for Functions<'_> {
    fn module(
        &self,
        name: &str,
        version: Option<&str>,
        function: Option<&str>,
    ) -> Result<Digest, Unresolved> {
        AnyModule.module(name, version, function)
    }

    fn modules(&self) -> Vec<(Arc<str>, Digest)> {
        let names = self.functions.as_object().into_iter().flatten();
        let all = names.map(|(name, _)| (name.as_str().into(), Digest([0; 32])));
        let sorted: BTreeMap<Arc<str>, Digest> = all.collect();
        sorted.into_iter().collect()
    }

    fn express(&self) -> bool {
        self.express
    }
}
