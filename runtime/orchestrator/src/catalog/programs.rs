//! Compiled flows, kept as long as they fit.
//!
//! Refuses to let go of what is in use: it would not free a byte, and be compiled again
//! beside itself.

use std::collections::HashMap;
use std::sync::Arc;

use stepwell_flow::Program;
use stepwell_types::FlowRef;

/// Bytes of the definitions whose programs are kept. Compiled, a definition of many small
/// states takes some sixteen times as much.
const BYTES_MAX: usize = 8 << 20;
/// What the smallest counts as.
const BYTES_MIN: usize = 4 << 10;

/// Programs by what they are of.
#[derive(Default)]
pub(super) struct Kept {
    programs: HashMap<FlowRef, Entry>,
    bytes: usize,
    looks: u64,
}

struct Entry {
    program: Arc<Program>,
    bytes: usize,
    /// At which look it was wanted last.
    wanted: u64,
}

impl Kept {
    pub fn get(&mut self, flow: &FlowRef) -> Option<Arc<Program>> {
        let entry = self.programs.get_mut(flow)?;
        self.looks += 1;
        entry.wanted = self.looks;
        Some(entry.program.clone())
    }

    pub fn contains(&self, flow: &FlowRef) -> bool {
        self.programs.contains_key(flow)
    }

    /// Keeps the program of a definition of so many bytes.
    pub fn put(&mut self, flow: FlowRef, program: Arc<Program>, bytes: usize) {
        let bytes = bytes.max(BYTES_MIN);
        self.looks += 1;
        let entry = Entry {
            program,
            bytes,
            wanted: self.looks,
        };
        let before = self.programs.insert(flow, entry);
        self.bytes = self.bytes + bytes - before.map_or(0, |entry| entry.bytes);
        if self.bytes > BYTES_MAX {
            self.let_go();
        }
    }

    /// Makes some room at once, so that a busy server does not look through all for each.
    fn let_go(&mut self) {
        let idle = |entry: &Entry| Arc::strong_count(&entry.program) == 1;
        let idle = self.programs.iter().filter(|(_, entry)| idle(entry));
        let mut idle: Vec<_> = idle.map(|(flow, e)| (e.wanted, flow.clone())).collect();
        idle.sort_unstable_by_key(|(wanted, _)| *wanted);
        for (_, flow) in idle {
            if self.bytes <= BYTES_MAX / 4 * 3 {
                return;
            }
            if let Some(entry) = self.programs.remove(&flow) {
                self.bytes -= entry.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unused_longest_goes_and_what_is_in_use_stays() {
        let text = r#"{"StartAt": "P", "States": {"P": {"Type": "Pass", "End": true}}}"#;
        let compiled = || {
            let checked = stepwell_flow::compile(text, &stepwell_flow::AnyModule);
            Arc::new(checked.program.unwrap())
        };
        let flow = |version: u32| FlowRef {
            name: "f".into(),
            version,
        };
        const MIB: usize = 1 << 20;
        let mut kept = Kept::default();
        let used = compiled();
        kept.put(flow(1), used.clone(), MIB);
        for version in 2..=8 {
            kept.put(flow(version), compiled(), MIB);
        }
        assert!(kept.get(&flow(2)).is_some(), "all of it fits");
        // The same again takes no room.
        kept.put(flow(8), compiled(), MIB);
        assert!(kept.contains(&flow(3)));
        for version in 9..100 {
            kept.put(flow(version), compiled(), MIB);
            assert!(kept.bytes <= BYTES_MAX, "{}", kept.bytes);
            assert!(kept.contains(&flow(version)), "the newest is kept");
            assert!(kept.get(&flow(1)).is_some(), "in use");
            assert!(kept.get(&flow(2)).is_some(), "wanted all the time");
            assert!(!kept.contains(&flow(3)), "unused for long");
        }
        drop(used);
        for version in 100..110 {
            kept.put(flow(version), compiled(), MIB);
        }
        assert!(!kept.contains(&flow(1)), "no longer in use");
    }
}
