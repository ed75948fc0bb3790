//! A layered layout: states in rows from top to bottom, graphs within graphs.
//!
//! Long edges pass through places of their own in the rows between, and turn only between
//! rows; edges that go back run along the right side. No edge runs over a state. Bounded: beyond [`BENDS_MAX`] places an edge goes straight.

use std::collections::{BTreeMap, HashMap};

use super::{Edge, End, edges, inner, label, names, states};
use crate::Program;
use crate::program::{GraphIdx, StateIdx};

/// Most places of long edges in one graph.
const BENDS_MAX: usize = 20_000;
const GAP_X: f64 = 34.0;
const GAP_Y: f64 = 50.0;
const PAD: f64 = 16.0;
const TITLE: f64 = 24.0;
/// Between two edges that go back.
const LANE: f64 = 14.0;
const CHAR: f64 = 7.6;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) w: f64,
    pub(super) h: f64,
}

impl Rect {
    pub(super) fn middle(&self) -> f64 {
        self.x + self.w / 2.0
    }
}

/// An edge with the points that it passes.
pub(super) struct Way {
    pub(super) edge: Edge,
    pub(super) points: Vec<(f64, f64)>,
    /// It goes back, along this x: its points are joined by straight lines.
    pub(super) lane: Option<f64>,
}

/// One graph, laid out from (0, 0).
pub(super) struct Placed {
    pub(super) w: f64,
    pub(super) h: f64,
    pub(super) nodes: Vec<(End, Rect)>,
    pub(super) ways: Vec<Way>,
    /// Title, place and content of the graphs inside of states.
    pub(super) inner: Vec<(String, f64, f64, Placed)>,
}

/// A place in a row: a state, or where a long edge passes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Spot {
    Node(End),
    Bend(usize, usize),
}

pub(super) fn place(program: &Program, graph: GraphIdx) -> Placed {
    let edges = edges(program, graph);
    let mut ends = vec![End::Start];
    ends.extend(states(program, graph).into_iter().map(End::State));
    if edges.iter().any(|e| e.to == End::Stop) {
        ends.push(End::Stop);
    }
    let mut nested: HashMap<StateIdx, Vec<(String, Placed)>> = HashMap::new();
    let mut sizes: HashMap<End, (f64, f64)> = HashMap::new();
    for end in &ends {
        let size = match end {
            End::State(state) => {
                let graphs = inner(program, *state);
                let laid = graphs.into_iter().map(|(t, g)| (t, place(program, g)));
                let laid: Vec<_> = laid.collect();
                let size = state_size(program, *state, &laid);
                nested.insert(*state, laid);
                size
            }
            _ => (14.0, 14.0),
        };
        sizes.insert(*end, size);
    }
    let ranks = ranks(&ends, &edges);
    let rows = rows(&ends, &edges, &ranks);
    let (spots, bands, width) = coordinates(&rows, &sizes);
    let height = bands.last().map_or(0.0, |(_, bottom)| *bottom);
    let (ways, width) = ways(edges, &ranks, &spots, &bands, width);
    let mut placed = Placed {
        w: width,
        h: height,
        nodes: Vec::with_capacity(ends.len()),
        ways,
        inner: Vec::new(),
    };
    for end in ends {
        let Some(rect) = spots.get(&Spot::Node(end)).copied() else {
            continue;
        };
        placed.nodes.push((end, rect));
        let End::State(state) = end else { continue };
        let mut x = rect.x + PAD;
        for (title, content) in nested.remove(&state).unwrap_or_default() {
            let w = content.w + 2.0 * PAD;
            placed.inner.push((title, x, rect.y + TITLE + PAD, content));
            x += w + PAD;
        }
    }
    placed
}

fn state_size(program: &Program, state: StateIdx, inner: &[(String, Placed)]) -> (f64, f64) {
    let (name, kind) = names(program, state);
    #[allow(
        clippy::cast_precision_loss,
        reason = "a name has at most 80 characters"
    )]
    let text = label::columns(name).max(kind.len()) as f64 * CHAR + 28.0;
    let text = if kind == "Choice" { text + 36.0 } else { text };
    if inner.is_empty() {
        return (text.max(90.0), 44.0);
    }
    let w: f64 = inner.iter().map(|(_, p)| p.w + 3.0 * PAD).sum();
    let h = inner.iter().map(|(_, p)| p.h).fold(0.0, f64::max);
    let title = text + 70.0;
    (title.max(w + PAD), h + 2.0 * (TITLE + PAD) + PAD)
}

/// The row of each place: one more than that of whatever leads to it, but for edges that go back.
fn ranks(ends: &[End], edges: &[Edge]) -> BTreeMap<End, usize> {
    let mut onward: HashMap<End, Vec<End>> = HashMap::new();
    for edge in edges {
        onward.entry(edge.from).or_default().push(edge.to);
    }
    // Depth first without recursion; `order` has every place after all that it leads to.
    let mut seen: HashMap<End, bool> = HashMap::new();
    let mut order = Vec::with_capacity(ends.len());
    for root in ends {
        let mut stack = vec![(*root, 0)];
        while let Some((end, next)) = stack.pop() {
            if next == 0 {
                if seen.contains_key(&end) {
                    continue;
                }
                seen.insert(end, false);
            }
            match onward.get(&end).and_then(|all| all.get(next)) {
                Some(to) => {
                    stack.push((end, next + 1));
                    stack.push((*to, 0));
                }
                None => {
                    seen.insert(end, true);
                    order.push(end);
                }
            }
        }
    }
    order.reverse();
    let at: HashMap<End, usize> = order.iter().enumerate().map(|(i, e)| (*e, i)).collect();
    let mut ranks: BTreeMap<End, usize> = ends
        .iter()
        .map(|e| (*e, usize::from(*e != End::Start)))
        .collect();
    for end in &order {
        let rank = ranks.get(end).copied().unwrap_or(0);
        for to in onward.get(end).into_iter().flatten() {
            if at.get(to) > at.get(end)
                && let Some(r) = ranks.get_mut(to)
            {
                *r = (*r).max(rank + 1);
            }
        }
    }
    let last = ranks.values().copied().max().unwrap_or(0);
    if let Some(stop) = ranks.get_mut(&End::Stop) {
        *stop = last.max(*stop);
    }
    ranks
}

/// The places of each row, ordered by where what leads to them stands.
fn rows(ends: &[End], edges: &[Edge], ranks: &BTreeMap<End, usize>) -> Vec<Vec<Spot>> {
    let rank = |end: &End| ranks.get(end).copied().unwrap_or(0);
    let count = ends.iter().map(rank).max().unwrap_or(0) + 1;
    let mut rows: Vec<Vec<Spot>> = vec![Vec::new(); count];
    let mut before: HashMap<Spot, Vec<Spot>> = HashMap::new();
    for end in ends {
        if let Some(row) = rows.get_mut(rank(end)) {
            row.push(Spot::Node(*end));
        }
    }
    let mut bends = 0;
    for (n, edge) in edges.iter().enumerate() {
        let (from, to) = (rank(&edge.from), rank(&edge.to));
        if to <= from {
            continue;
        }
        let mut last = Spot::Node(edge.from);
        if bends + (to - from) <= BENDS_MAX {
            for step in from + 1..to {
                let bend = Spot::Bend(n, step);
                bends += 1;
                if let Some(row) = rows.get_mut(step) {
                    row.push(bend);
                }
                before.entry(bend).or_default().push(last);
                last = bend;
            }
        }
        before.entry(Spot::Node(edge.to)).or_default().push(last);
    }
    let mut places: HashMap<Spot, f64> = HashMap::new();
    for row in &mut rows {
        #[allow(clippy::cast_precision_loss, reason = "at most some ten thousand")]
        let mut keyed: Vec<(f64, Spot)> = row
            .iter()
            .map(|spot| {
                let all: Vec<f64> = before
                    .get(spot)
                    .into_iter()
                    .flatten()
                    .filter_map(|b| places.get(b).copied())
                    .collect();
                let mean = if all.is_empty() {
                    0.5
                } else {
                    all.iter().sum::<f64>() / all.len() as f64
                };
                (mean, *spot)
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        #[allow(clippy::cast_precision_loss, reason = "at most some ten thousand")]
        for (i, (_, spot)) in keyed.iter().enumerate() {
            places.insert(*spot, (i as f64 + 0.5) / keyed.len() as f64);
        }
        *row = keyed.into_iter().map(|(_, spot)| spot).collect();
    }
    rows
}

/// Rows below each other, each centred: the places, the top and bottom of each row, and the
/// width. What stands in a row begins at its top, so that edges come in from above.
fn coordinates(
    rows: &[Vec<Spot>],
    sizes: &HashMap<End, (f64, f64)>,
) -> (HashMap<Spot, Rect>, Vec<(f64, f64)>, f64) {
    let size = |spot: &Spot| match spot {
        Spot::Node(end) => sizes.get(end).copied().unwrap_or_default(),
        Spot::Bend(..) => (12.0, 0.0),
    };
    #[allow(clippy::cast_precision_loss, reason = "at most some ten thousand")]
    let width_of = |row: &[Spot]| {
        let gaps = row.len().saturating_sub(1) as f64 * GAP_X;
        row.iter().map(|s| size(s).0).sum::<f64>() + gaps
    };
    let width = rows.iter().map(|r| width_of(r)).fold(0.0, f64::max);
    let mut spots = HashMap::new();
    let mut bands = Vec::with_capacity(rows.len());
    let mut y = 0.0;
    for row in rows {
        let height = row.iter().map(|s| size(s).1).fold(0.0, f64::max);
        let mut x = (width - width_of(row)) / 2.0;
        for spot in row {
            let (w, h) = match spot {
                // It passes the whole row, beside what stands there.
                Spot::Bend(..) => (size(spot).0, height),
                Spot::Node(_) => size(spot),
            };
            spots.insert(*spot, Rect { x, y, w, h });
            x += w + GAP_X;
        }
        bands.push((y, y + height));
        y += height + GAP_Y;
    }
    (spots, bands, width)
}

/// The edges' points, and the width with the lanes of those that go back.
fn ways(
    edges: Vec<Edge>,
    ranks: &BTreeMap<End, usize>,
    spots: &HashMap<Spot, Rect>,
    bands: &[(f64, f64)],
    mut width: f64,
) -> (Vec<Way>, f64) {
    let mut all = Vec::with_capacity(edges.len());
    let band = |rank: usize| bands.get(rank).copied().unwrap_or_default();
    // The right end of each row: what stands there has nothing to its right.
    let mut ends: HashMap<usize, f64> = HashMap::new();
    for (spot, rect) in spots {
        if let Spot::Node(end) = spot {
            let right = ends
                .entry(ranks.get(end).copied().unwrap_or(0))
                .or_default();
            *right = right.max(rect.x + rect.w);
        }
    }
    let mut backs = 0u32;
    for (n, edge) in edges.into_iter().enumerate() {
        let rank = |end: &End| ranks.get(end).copied().unwrap_or(0);
        let at = |end: End| spots.get(&Spot::Node(end)).copied().unwrap_or_default();
        let (from, to) = (at(edge.from), at(edge.to));
        if rank(&edge.to) <= rank(&edge.from) {
            // Its label stands on the lane, and reaches out to both sides.
            let half = label::width(&edge.label) / 2.0;
            width += LANE.max(half + 8.0);
            let last = |rank: usize, rect: &Rect| {
                let end = ends.get(&rank).copied().unwrap_or(0.0);
                rect.x + rect.w >= end - 0.5
            };
            let (leaves, arrives) = (rank(&edge.from), rank(&edge.to));
            // Those of a row turn at heights of their own.
            let turn = 10.0 + 4.0 * f64::from(backs % 4);
            backs += 1;
            let mut points = Vec::with_capacity(6);
            if last(leaves, &from) {
                points.push((from.x + from.w, from.y + from.h / 2.0));
                points.push((width, from.y + from.h / 2.0));
            } else {
                let (x, y) = (from.middle() + from.w / 5.0, band(leaves).1 + turn);
                points.extend([(x, from.y + from.h), (x, y), (width, y)]);
            }
            if last(arrives, &to) {
                // Below the middle, where a loop of one state has left.
                let y = to.y + to.h * if edge.from == edge.to { 0.8 } else { 0.5 };
                points.extend([(width, y), (to.x + to.w, y)]);
            } else {
                let (x, y) = (to.middle() + to.w / 5.0, band(arrives).0 - turn);
                points.extend([(width, y), (x, y), (x, to.y)]);
            }
            all.push(Way {
                edge,
                points,
                lane: Some(width),
            });
            width += (half - LANE).max(0.0);
            continue;
        }
        let mut points = vec![(from.middle(), from.y + from.h)];
        let bottom = band(rank(&edge.from)).1;
        if bottom > from.y + from.h + 0.5 {
            points.push((from.middle(), bottom));
        }
        for step in rank(&edge.from) + 1..rank(&edge.to) {
            if let Some(bend) = spots.get(&Spot::Bend(n, step)) {
                points.push((bend.middle(), bend.y));
                points.push((bend.middle(), bend.y + bend.h));
            }
        }
        points.push((to.middle(), to.y));
        all.push(Way {
            edge,
            points,
            lane: None,
        });
    }
    (all, width)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{AnyModule, compile};

    /// No way runs over a state that it neither leaves nor reaches.
    fn check(placed: &Placed) {
        for way in &placed.ways {
            for pair in way.points.windows(2) {
                let [a, b] = pair else { continue };
                for (end, rect) in &placed.nodes {
                    if *end == way.edge.from || *end == way.edge.to {
                        continue;
                    }
                    // Curves stay between their ends.
                    let apart = a.0.max(b.0) <= rect.x + 0.5
                        || a.0.min(b.0) >= rect.x + rect.w - 0.5
                        || a.1.max(b.1) <= rect.y + 0.5
                        || a.1.min(b.1) >= rect.y + rect.h - 0.5;
                    assert!(apart, "a way from {a:?} to {b:?} runs over {rect:?}");
                }
            }
        }
        placed.inner.iter().for_each(|(.., inner)| check(inner));
    }

    fn drawn(flow: &Value) {
        let checked = compile(&flow.to_string(), &AnyModule);
        let program = checked.program.expect("a flow");
        check(&place(&program, GraphIdx(0)));
    }

    #[test]
    fn no_way_runs_over_a_state() {
        let task = |next: &str| {
            json!({"Type": "Task", "Resource": "wasm:x", "Next": next,
            "Catch": [{"ErrorEquals": ["a"], "Next": "Wait"}, {"ErrorEquals": ["b"], "Next": "No"}]})
        };
        let tall = json!({"StartAt": "In 1", "States": {
            "In 1": {"Type": "Pass", "Next": "In 2"}, "In 2": {"Type": "Pass", "Next": "In 3"},
            "In 3": {"Type": "Choice", "Default": "In 4",
                "Choices": [{"Variable": "$.again", "BooleanEquals": true, "Next": "In 1"}]},
            "In 4": {"Type": "Succeed"}}});
        let flat = json!({"StartAt": "Flat", "States": {"Flat": {"Type": "Pass", "End": true}}});
        let rule = |next: &str| json!({"Variable": "$.k", "StringEquals": next, "Next": next});
        drawn(&json!({"StartAt": "Pick", "States": {
            "Pick": {"Type": "Choice", "Choices": [rule("Wait"), rule("Tall"), rule("Short"), rule("Done")],
                "Default": "No"},
            "Wait": {"Type": "Wait", "Seconds": 1, "Next": "Pick"},
            "Tall": {"Type": "Map", "ItemProcessor": tall, "Next": "Last",
                "Catch": [{"ErrorEquals": ["a"], "Next": "Short"}]},
            "Short": {"Type": "Parallel", "Branches": [flat], "Next": "Pick"},
            "Last": task("Tall"), "Done": {"Type": "Succeed"}, "No": {"Type": "Fail"}}}));
    }
}
