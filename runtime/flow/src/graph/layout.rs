//! A layered layout: states in rows from top to bottom, graphs within graphs.
//!
//! Long edges pass through places of their own in the rows between; edges that go back
//! run along the right side. Bounded: beyond [`BENDS_MAX`] places an edge goes straight.

use std::collections::{BTreeMap, HashMap};

use super::{Edge, End, edges, inner, names, states};
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
    /// It leaves and arrives at the right sides, along this x.
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
    let (spots, width, height) = coordinates(&rows, &sizes);
    let (ways, width) = ways(edges, &ranks, &spots, width);
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
    let text = name.chars().count().max(kind.len()) as f64 * CHAR + 28.0;
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

/// Rows below each other, each centred.
fn coordinates(
    rows: &[Vec<Spot>],
    sizes: &HashMap<End, (f64, f64)>,
) -> (HashMap<Spot, Rect>, f64, f64) {
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
            let top = y + (height - h) / 2.0;
            spots.insert(*spot, Rect { x, y: top, w, h });
            x += w + GAP_X;
        }
        y += height + GAP_Y;
    }
    (spots, width, (y - GAP_Y).max(0.0))
}

/// The edges' points, and the width with the lanes of those that go back.
fn ways(
    edges: Vec<Edge>,
    ranks: &BTreeMap<End, usize>,
    spots: &HashMap<Spot, Rect>,
    mut width: f64,
) -> (Vec<Way>, f64) {
    let mut all = Vec::with_capacity(edges.len());
    for (n, edge) in edges.into_iter().enumerate() {
        let rank = |end: &End| ranks.get(end).copied().unwrap_or(0);
        let at = |end: End| spots.get(&Spot::Node(end)).copied().unwrap_or_default();
        let (from, to) = (at(edge.from), at(edge.to));
        if rank(&edge.to) <= rank(&edge.from) {
            width += LANE;
            let points = vec![
                (from.x + from.w, from.y + from.h / 2.0),
                (to.x + to.w, to.y + to.h / 2.0),
            ];
            all.push(Way {
                edge,
                points,
                lane: Some(width),
            });
            continue;
        }
        let mut points = vec![(from.middle(), from.y + from.h)];
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
