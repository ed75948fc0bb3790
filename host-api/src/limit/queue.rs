//! Who is next: in turn among flows, and within one by ticket.
//!
//! Refuses to let a flow that asks for ten thousand calls hold up one that asks for one.

use std::collections::{BTreeMap, VecDeque};

/// Of two in a line the lower goes first.
pub(super) type Ticket = u128;

/// A queue in turn among lines. A ticket stands in one line once.
#[derive(Debug, Clone)]
pub(super) struct FairQueue<K> {
    lines: BTreeMap<K, VecDeque<Ticket>>,
    /// Every line that is not empty, once; the first one's first ticket is next.
    turns: VecDeque<K>,
    tickets: usize,
}

impl<K: Ord + Clone> FairQueue<K> {
    pub(super) fn new() -> FairQueue<K> {
        FairQueue {
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            tickets: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.tickets
    }

    /// Goes into its line, behind those before it.
    pub(super) fn push(&mut self, line: &K, ticket: Ticket) {
        self.tickets += 1;
        match self.lines.get_mut(line) {
            Some(tickets) => {
                // Nearly always the end.
                let before = tickets.iter().rposition(|other| *other < ticket);
                tickets.insert(before.map_or(0, |at| at + 1), ticket);
            }
            None => {
                self.turns.push_back(line.clone());
                self.lines.insert(line.clone(), VecDeque::from([ticket]));
            }
        }
    }

    /// The ticket whose turn it is.
    pub(super) fn head(&self) -> Option<Ticket> {
        let line = self.lines.get(self.turns.front()?)?;
        line.front().copied()
    }

    /// It goes; its line is last now.
    pub(super) fn pop(&mut self) -> Option<Ticket> {
        let line = self.turns.pop_front()?;
        let tickets = self.lines.get_mut(&line)?;
        let ticket = tickets.pop_front()?;
        self.tickets -= 1;
        if tickets.is_empty() {
            self.lines.remove(&line);
        } else {
            self.turns.push_back(line);
        }
        Some(ticket)
    }

    /// The last of the longest line, if that is longer than this one.
    pub(super) fn crowds(&self, line: &K) -> Option<(K, Ticket)> {
        let own = self.lines.get(line).map_or(0, VecDeque::len);
        let (longest, tickets) = self.lines.iter().max_by_key(|(_, t)| t.len())?;
        let last = tickets.back().filter(|_| tickets.len() > own + 1)?;
        Some((longest.clone(), *last))
    }

    /// All leave.
    pub(super) fn clear(&mut self) {
        *self = FairQueue::new();
    }

    /// Leaves its line, wherever it stands.
    pub(super) fn remove(&mut self, line: &K, ticket: Ticket) {
        let Some(tickets) = self.lines.get_mut(line) else {
            return;
        };
        // Who is crowded out stands last.
        let Some(at) = tickets.iter().rposition(|t| *t == ticket) else {
            return;
        };
        tickets.remove(at);
        self.tickets -= 1;
        if tickets.is_empty() {
            self.lines.remove(line);
            self.turns.retain(|other| other != line);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_take_turns() {
        let mut queue = FairQueue::new();
        for (line, ticket) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)] {
            queue.push(&line, ticket);
        }
        queue.remove(&"c", 5);
        queue.remove(&"c", 5);
        queue.remove(&"a", 2);
        let order: Vec<Ticket> = std::iter::from_fn(|| {
            let head = queue.head();
            assert_eq!(queue.pop(), head);
            head
        })
        .collect();
        assert_eq!(order, [1, 4, 3, 6]);
        assert_eq!((queue.len(), queue.head()), (0, None));
        // A line goes by its tickets, in whatever order they came.
        for ticket in [7, 3, 9, 1, 8] {
            queue.push(&"a", ticket);
        }
        let order: Vec<Ticket> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [1, 3, 7, 8, 9]);
    }

    proptest! {
        /// Nobody is lost, nobody comes twice, a line keeps its order, and between two of one
        /// line no other line that waits all the while goes more than once more.
        #[test]
        fn all_come_in_turn(lines in prop::collection::vec(0u8..5, 0..100)) {
            let mut queue = FairQueue::new();
            for (ticket, line) in lines.iter().enumerate() {
                queue.push(line, ticket as Ticket);
            }
            prop_assert_eq!(queue.len(), lines.len());
            let mut went = Vec::new();
            while let Some(ticket) = queue.pop() {
                went.push(ticket);
            }
            let of = |line: u8| -> Vec<Ticket> {
                let mine = went.iter().filter(|t| lines[**t as usize] == line);
                mine.copied().collect()
            };
            for line in 0..5 {
                prop_assert!(of(line).is_sorted());
            }
            let mut sorted = went.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lines.len() as Ticket).collect::<Vec<_>>());
            // While all wait, each round has each line once.
            let mut waiting: BTreeMap<u8, usize> = BTreeMap::new();
            for line in &lines {
                *waiting.entry(*line).or_default() += 1;
            }
            let rounds = waiting.values().min().copied().unwrap_or(0);
            for round in went.chunks(waiting.len().max(1)).take(rounds) {
                let mut seen: Vec<u8> = round.iter().map(|t| lines[*t as usize]).collect();
                seen.sort_unstable();
                seen.dedup();
                prop_assert_eq!(seen.len(), waiting.len());
            }
        }
    }
}
