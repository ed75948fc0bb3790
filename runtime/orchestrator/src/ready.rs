//! Work that is ready, taken turn by turn across flows, so that no flow starves another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A queue per flow, served round robin.
#[derive(Debug)]
pub struct Ready<T> {
    numbers: HashMap<Arc<str>, u32>,
    queues: Vec<VecDeque<T>>,
    turn: VecDeque<u32>,
    len: usize,
}

/// A flow's place in the round: an interned name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowNumber(u32);

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Ready {
            numbers: HashMap::new(),
            queues: Vec::new(),
            turn: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> Ready<T> {
    /// The flow's number, given out at first sight.
    pub fn number(&mut self, flow: &Arc<str>) -> FlowNumber {
        if let Some(n) = self.numbers.get(flow) {
            return FlowNumber(*n);
        }
        let n = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        self.numbers.insert(flow.clone(), n);
        self.queues.push(VecDeque::new());
        FlowNumber(n)
    }

    /// Adds work at the end of its flow's queue.
    pub fn push(&mut self, flow: FlowNumber, item: T) {
        let Some(queue) = self.queues.get_mut(flow.0 as usize) else {
            return;
        };
        if queue.is_empty() {
            self.turn.push_back(flow.0);
        }
        queue.push_back(item);
        self.len += 1;
    }

    /// Takes the next flow's oldest work.
    pub fn pop(&mut self) -> Option<T> {
        self.pop_of(|_| true)
    }

    /// The same, of the flows that may go on; the others keep their turn.
    pub fn pop_of(&mut self, may: impl Fn(FlowNumber) -> bool) -> Option<T> {
        let at = self.turn.iter().position(|flow| may(FlowNumber(*flow)))?;
        let flow = self.turn.remove(at)?;
        let queue = self.queues.get_mut(flow as usize)?;
        let item = queue.pop_front();
        if !queue.is_empty() {
            self.turn.push_back(flow);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// Whether one of the flows that may go on has work.
    #[must_use]
    pub fn has_of(&self, may: impl Fn(FlowNumber) -> bool) -> bool {
        self.turn.iter().any(|flow| may(FlowNumber(*flow)))
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_queue_does_not_starve_a_short_one() {
        let mut ready = Ready::default();
        let (a, b) = (ready.number(&"a".into()), ready.number(&"b".into()));
        for i in 0..5 {
            ready.push(a, ("a", i));
        }
        ready.push(b, ("b", 0));
        let order: Vec<_> = std::iter::from_fn(|| ready.pop()).collect();
        assert_eq!(order[1], ("b", 0));
        assert_eq!(order.len(), 6);
        assert!(ready.is_empty());
    }

    #[test]
    fn a_flow_that_may_not_go_on_holds_nobody_up() {
        let mut ready = Ready::default();
        let (a, b) = (ready.number(&"a".into()), ready.number(&"b".into()));
        ready.push(a, "a");
        ready.push(b, "b1");
        ready.push(b, "b2");
        assert_eq!(ready.pop_of(|flow| flow != a), Some("b1"));
        assert_eq!(ready.pop_of(|flow| flow != a), Some("b2"));
        assert_eq!(ready.pop_of(|flow| flow != a), None);
        assert!(!ready.has_of(|flow| flow != a) && !ready.is_empty());
        assert_eq!(ready.pop(), Some("a"));
    }
}
