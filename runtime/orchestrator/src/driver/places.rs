//! Places of attempts that run: so many at once, and shared among flows.
//!
//! Steps of modules take of one kind, all that runs outside of the sandbox of another: calls that
//! are slow keep no step from its processor. Refuses to queue: who waits is in [`crate::ready::Ready`].

use std::collections::HashMap;

use crate::ready::FlowNumber;

/// A flow has at most so many times what it leaves free beyond one. So a flow alone gets seven
/// eighths, and others that come find places.
const SHARE: usize = 7;

/// Where an attempt runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// In the sandbox.
    Step,
    /// Outside of it: a call, or a file that the host reads or writes.
    Call,
}

/// The place that an attempt takes, or would take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub kind: Kind,
    pub flow: FlowNumber,
}

/// All places of a driver.
#[derive(Debug)]
pub(super) struct Places {
    steps: Room,
    calls: Room,
}

#[derive(Debug, Default)]
struct Room {
    max: usize,
    taken: usize,
    by_flow: HashMap<FlowNumber, usize>,
}

impl Places {
    pub fn new(steps_max: usize, calls_max: usize) -> Places {
        let room = |max| Room {
            max,
            ..Room::default()
        };
        Places {
            steps: room(steps_max),
            calls: room(calls_max),
        }
    }

    fn room(&mut self, kind: Kind) -> &mut Room {
        match kind {
            Kind::Step => &mut self.steps,
            Kind::Call => &mut self.calls,
        }
    }

    /// Whether an attempt of this flow may begin.
    pub fn has(&self, place: Place) -> bool {
        let room = match place.kind {
            Kind::Step => &self.steps,
            Kind::Call => &self.calls,
        };
        let free = room.max.saturating_sub(room.taken);
        if free == 0 {
            // Asked of every flow that waits, again and again.
            return false;
        }
        let own = room.by_flow.get(&place.flow).copied().unwrap_or(0);
        own == 0 || own < SHARE.saturating_mul(free - 1)
    }

    /// Takes one, whether it is free or not: what runs already runs.
    pub fn take(&mut self, place: Place) {
        let room = self.room(place.kind);
        room.taken += 1;
        *room.by_flow.entry(place.flow).or_default() += 1;
    }

    /// One is free again.
    pub fn give_back(&mut self, place: Place) {
        let room = self.room(place.kind);
        room.taken = room.taken.saturating_sub(1);
        if let Some(own) = room.by_flow.get_mut(&place.flow) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                room.by_flow.remove(&place.flow);
            }
        }
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.steps.taken + self.calls.taken
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ready::Ready;

    /// Takes as many as one flow may have.
    fn fill(places: &mut Places, place: Place) -> usize {
        let mut own = 0;
        while places.has(place) {
            places.take(place);
            own += 1;
        }
        own
    }

    fn flows<const N: usize>(kind: Kind) -> [Place; N] {
        let mut ready = Ready::<()>::default();
        std::array::from_fn(|n| Place {
            kind,
            flow: ready.number(&Arc::from(n.to_string())),
        })
    }

    #[test]
    fn no_flow_has_all_places_and_none_is_left_unused_for_long() {
        let check = |max: usize, shares: [usize; 3]| {
            let mut places = Places::new(max, max);
            let all = flows::<3>(Kind::Call);
            assert_eq!(all.map(|flow| fill(&mut places, flow)), shares, "{max}");
        };
        check(512, [448, 56, 7]);
        check(32, [28, 3, 1]);
        check(4, [3, 1, 0]);
        check(2, [1, 1, 0]);
        check(1, [1, 0, 0]);
    }

    #[test]
    fn calls_take_no_step_of_its_place_and_what_is_given_back_is_there() {
        let mut places = Places::new(8, 8);
        let [step] = flows::<1>(Kind::Step);
        let [call, other, new] = flows::<3>(Kind::Call);
        assert_eq!(fill(&mut places, call), 7);
        assert!(places.has(step));
        places.take(other);
        assert!(!places.has(new));
        // The last one is for whoever has none.
        places.give_back(call);
        assert!(places.has(new) && !places.has(other));
        places.give_back(call);
        assert!(places.has(other));
        assert_eq!(places.taken(), 6);
    }
}
