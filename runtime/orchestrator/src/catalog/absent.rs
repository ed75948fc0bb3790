//! What is said of a flow or module that is not there: what there is instead.
//!
//! Refuses to look through more names than a refusal may take.

use std::sync::Arc;

use stepwell_flow::suggest;

use super::{Index, shown};
use crate::Error;

/// Names among which a near one is looked for.
const NAMES_MAX: usize = 2_000;

impl Index {
    /// There is no such flow, or no such version of it.
    pub(super) fn no_flow(&self, name: &str, version: Option<u32>) -> Error {
        let versions = self.flows.get(name);
        let newest = versions.and_then(|versions| versions.last_key_value());
        let newest = newest.map(|(version, _)| *version as usize);
        let names = self.flows.keys();
        Error::NoFlow(absent(name, version, newest, names, "stepwell flow list"))
    }

    /// There is no such module, or no such version of it.
    pub(super) fn no_module(&self, name: &str, version: Option<u32>) -> Error {
        let newest = self.modules.get(name).map(|row| row.versions.len());
        let names = self.modules.keys();
        let list = "stepwell module list";
        Error::NoModule(absent(name, version, newest, names, list))
    }
}

/// `named X` and what to do. `newest`: the newest version that the name has.
fn absent<'a>(
    name: &str,
    version: Option<u32>,
    newest: Option<usize>,
    names: impl Iterator<Item = &'a Arc<str>>,
    list: &str,
) -> String {
    let what = shown(name);
    if let (Some(version), Some(newest)) = (version, newest) {
        return format!("named {what} with version {version}; its newest version is {newest}");
    }
    let names = names.take(NAMES_MAX).map(|name| &**name);
    match suggest::nearest(name, names) {
        Some(near) => format!("named {what}; did you mean {near:?}?"),
        None => format!("named {what}; `{list}` shows those that there are"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_told_with_what_there_is() {
        let names: [Arc<str>; 2] = ["orders".into(), "invoices".into()];
        let check = |name: &str, version, newest, want: &str| {
            let said = absent(name, version, newest, names.iter(), "the list");
            assert_eq!(said, want);
        };
        check("ordrs", None, None, "named ordrs; did you mean \"orders\"?");
        check(
            "Orders",
            Some(1),
            None,
            "named Orders; did you mean \"orders\"?",
        );
        let list = "named pay; `the list` shows those that there are";
        check("pay", None, None, list);
        let newest = "named orders with version 9; its newest version is 3";
        check("orders", Some(9), Some(3), newest);
    }
}
