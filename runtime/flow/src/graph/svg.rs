//! SVG, drawn by ourselves. Stands alone: no script, no font file, no link; readable on
//! light and on dark pages. Every text of the flow is escaped.

use std::fmt::Write as _;

use super::layout::{Placed, Rect, Way, place};
use super::{End, inner, label, names};
use crate::Program;
use crate::program::GraphIdx;

/// Around the whole picture.
const MARGIN: f64 = 24.0;
const PAD: f64 = 16.0;
const TITLE: f64 = 24.0;
/// Radius of an edge's corner.
const CORNER: f64 = 8.0;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1c2733;text-anchor:middle}\
.k{font-size:10px;fill:#5b6b7b}.l{font-size:11px;fill:#34495e;paint-order:stroke;stroke:#fff;stroke-width:4px}\
.t{text-anchor:start;font-weight:600}.g{text-anchor:start;font-size:11px;fill:#5b6b7b}\
.n{stroke:#5b6b7b;stroke-width:1.2}.e{fill:none;stroke:#5b6b7b;stroke-width:1.4;marker-end:url(#a)}\
.c{stroke:#b3472d;stroke-dasharray:5 4;marker-end:url(#b)}";

/// The program as one SVG document.
#[must_use]
pub fn svg(program: &Program) -> String {
    let placed = place(program, GraphIdx(0));
    let (w, h) = (placed.w + 2.0 * MARGIN, placed.h + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" role=\"img\">\n<style>{STYLE}</style>\n<defs>{}{}</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        arrow("a", "#5b6b7b"),
        arrow("b", "#b3472d"),
    );
    graph(program, &placed, MARGIN, MARGIN, &mut out);
    out.push_str("</svg>\n");
    out
}

fn arrow(id: &str, colour: &str) -> String {
    format!(
        "<marker id=\"{id}\" viewBox=\"0 0 8 8\" refX=\"7.5\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"{colour}\"/></marker>"
    )
}

/// Depth is bounded by that of definitions.
fn graph(program: &Program, placed: &Placed, x: f64, y: f64, out: &mut String) {
    for (end, rect) in &placed.nodes {
        node(program, *end, moved(rect, x, y), out);
    }
    for (title, dx, dy, content) in &placed.inner {
        let (gx, gy) = (x + dx, y + dy);
        let (w, h) = (content.w + 2.0 * PAD, content.h + TITLE + PAD);
        let _ = writeln!(
            out,
            "<rect x=\"{gx:.1}\" y=\"{gy:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" rx=\"6\" fill=\"#fff\" stroke=\"#c3ccd5\"/><text class=\"g\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            gx + 8.0,
            gy + 15.0,
            escape(title)
        );
        graph(program, content, gx + PAD, gy + TITLE, out);
    }
    for way in &placed.ways {
        draw(way, x, y, out);
    }
    // Labels last: no line runs over them.
    let mut taken = Vec::new();
    for way in &placed.ways {
        write_label(way, x, y, &mut taken, out);
    }
}

fn moved(rect: &Rect, x: f64, y: f64) -> Rect {
    Rect {
        x: rect.x + x,
        y: rect.y + y,
        ..*rect
    }
}

fn node(program: &Program, end: End, r: Rect, out: &mut String) {
    let (cx, cy) = (r.middle(), r.y + r.h / 2.0);
    let End::State(state) = end else {
        let _ = writeln!(
            out,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"6\" fill=\"#1c2733\"/>"
        );
        if end == End::Stop {
            let _ = writeln!(
                out,
                "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"9\" fill=\"none\" stroke=\"#1c2733\"/>"
            );
        }
        return;
    };
    let (name, kind) = names(program, state);
    let fill = match kind {
        "Task" => "#e3effb",
        "Choice" => "#fdf3d7",
        "Succeed" => "#e0f3e4",
        "Fail" => "#fae1dc",
        "Wait" => "#efe8f8",
        "Parallel" | "Map" => "#f6f8fa",
        _ => "#eef1f4",
    };
    if kind == "Choice" {
        let (l, t, rt, b) = (r.x, r.y - 4.0, r.x + r.w, r.y + r.h + 4.0);
        let _ = writeln!(
            out,
            "<path class=\"n\" fill=\"{fill}\" d=\"M{l:.1} {cy:.1}L{:.1} {t:.1}H{:.1}L{rt:.1} {cy:.1}L{:.1} {b:.1}H{:.1}z\"/>",
            l + 18.0,
            rt - 18.0,
            rt - 18.0,
            l + 18.0
        );
    } else {
        let round = if matches!(kind, "Succeed" | "Fail") {
            22
        } else {
            6
        };
        let _ = writeln!(
            out,
            "<rect class=\"n\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{round}\" fill=\"{fill}\"/>",
            r.x, r.y, r.w, r.h
        );
    }
    let name = escape(name);
    if inner(program, state).is_empty() {
        let _ = writeln!(
            out,
            "<text x=\"{cx:.1}\" y=\"{:.1}\">{name}</text><text class=\"k\" x=\"{cx:.1}\" y=\"{:.1}\">{kind}</text>",
            cy - 1.0,
            cy + 13.0
        );
    } else {
        let _ = writeln!(
            out,
            "<text class=\"t\" x=\"{:.1}\" y=\"{:.1}\">{name} <tspan class=\"k\">{kind}</tspan></text>",
            r.x + PAD,
            r.y + 22.0
        );
    }
}

fn draw(way: &Way, x: f64, y: f64, out: &mut String) {
    let points: Vec<_> = way.points.iter().map(|(px, py)| (px + x, py + y)).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return;
    };
    let mut d = format!("M{:.1} {:.1}", first.0, first.1);
    if way.lane.is_some() {
        for corner in points.windows(3) {
            if let [before, at, after] = corner {
                let (a, b) = (toward(*at, *before), toward(*at, *after));
                let _ = write!(
                    d,
                    "L{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
                    a.0, a.1, at.0, at.1, b.0, b.1
                );
            }
        }
        let _ = write!(d, "L{:.1} {:.1}", last.0, last.1);
    } else {
        for pair in points.windows(2) {
            if let [from, to] = pair {
                let middle = f64::midpoint(from.1, to.1);
                let _ = write!(
                    d,
                    "C{:.1} {middle:.1} {:.1} {middle:.1} {:.1} {:.1}",
                    from.0, to.0, to.0, to.1
                );
            }
        }
    }
    let class = if way.edge.caught { "e c" } else { "e" };
    let _ = writeln!(out, "<path class=\"{class}\" d=\"{d}\"/>");
}

/// The point on the way from one to another where a round corner begins.
fn toward(from: (f64, f64), to: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length = dx.hypot(dy);
    let part = if length > 0.0 {
        (CORNER / length).min(0.5)
    } else {
        0.0
    };
    (from.0 + dx * part, from.1 + dy * part)
}

/// Labels before this one that it keeps clear of: those of one state follow each other.
const CLEAR_OF: usize = 64;

/// Writes a label where none written before it stands, if its way has such a place.
fn write_label(way: &Way, x: f64, y: f64, taken: &mut Vec<Rect>, out: &mut String) {
    if way.edge.label.is_empty() {
        return;
    }
    let text = label::cut(&way.edge.label);
    let (w, h) = (label::width(&way.edge.label), 14.0);
    let centred = |(cx, cy): (f64, f64)| Rect {
        x: cx - w / 2.0,
        y: cy - h / 2.0,
        w,
        h,
    };
    let places = places(way);
    let free = |at: &&(f64, f64)| {
        let rect = centred(**at);
        let near = taken.iter().rev().take(CLEAR_OF);
        near.into_iter().all(|other| !meet(&rect, other))
    };
    let Some(at) = places.iter().find(free).or(places.first()).copied() else {
        return;
    };
    taken.push(centred(at));
    let _ = writeln!(
        out,
        "<text class=\"l\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        at.0 + x,
        at.1 + y + 4.0,
        escape(&text)
    );
}

fn meet(a: &Rect, b: &Rect) -> bool {
    a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h
}

/// Where a way's label may stand, the best place first.
fn places(way: &Way) -> Vec<(f64, f64)> {
    if let (Some(lane), [from, .., to]) = (way.lane, way.points.as_slice()) {
        let middle = f64::midpoint(from.1, to.1);
        return [0.0, 15.0, -15.0, 30.0, -30.0]
            .map(|dy| (lane, middle + dy))
            .to_vec();
    }
    let mut all = Vec::new();
    // Between rows: along a row other states stand beside the way.
    let along = |pair: &[(f64, f64)]| matches!(pair, [a, b] if a.0.to_bits() == b.0.to_bits());
    let only = way.points.len() == 2;
    for pair in way.points.windows(2).filter(|pair| only || !along(pair)) {
        let [from, to] = pair else { continue };
        // Near the arrow's end, where edges of one state stand apart.
        let on = |fx: f64, fy: f64| (from.0 + (to.0 - from.0) * fx, from.1 + (to.1 - from.1) * fy);
        let (px, py) = on(0.62, 0.58);
        all.extend([(px, py), (px, py + 15.0), (px, py - 15.0)]);
    }
    all
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
