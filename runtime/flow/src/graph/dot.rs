//! Graphviz's DOT text.

use std::fmt::Write as _;

use super::{End, edges, inner, names, states};
use crate::Program;
use crate::program::{GraphIdx, StateIdx};

/// The program as a DOT digraph.
#[must_use]
pub fn dot(program: &Program) -> String {
    let mut out = String::from(
        "digraph flow {\n  compound=true;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n",
    );
    graph(program, GraphIdx(0), 1, &mut out);
    out.push_str("}\n");
    out
}

/// The node by which edges reach a state: a cluster's is its own invisible one.
fn anchor(state: StateIdx) -> String {
    format!("s{}", state.0)
}

/// Depth is bounded by that of definitions.
fn graph(program: &Program, index: GraphIdx, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let g = index.0;
    let _ = writeln!(
        out,
        "{pad}g{g}_start [shape=circle, style=filled, fillcolor=black, label=\"\", width=0.15];"
    );
    for state in states(program, index) {
        node(program, state, depth, out);
    }
    let edges = edges(program, index);
    if edges.iter().any(|e| e.to == End::Stop) {
        let _ = writeln!(
            out,
            "{pad}g{g}_end [shape=doublecircle, style=filled, fillcolor=black, label=\"\", width=0.12];"
        );
    }
    for edge in edges {
        let end = |end| match end {
            End::Start => format!("g{g}_start"),
            End::Stop => format!("g{g}_end"),
            End::State(state) => anchor(state),
        };
        let style = if edge.caught { ", style=dashed" } else { "" };
        let _ = writeln!(
            out,
            "{pad}{} -> {} [label=\"{}\"{style}];",
            end(edge.from),
            end(edge.to),
            escape(&edge.label)
        );
    }
}

fn node(program: &Program, state: StateIdx, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let (name, kind) = names(program, state);
    let (id, name) = (anchor(state), escape(name));
    let graphs = inner(program, state);
    if graphs.is_empty() {
        let shape = if kind == "Choice" {
            ", shape=diamond, style=solid"
        } else {
            ""
        };
        let _ = writeln!(out, "{pad}{id} [label=\"{name}\\n{kind}\"{shape}];");
        return;
    }
    let _ = writeln!(
        out,
        "{pad}subgraph cluster_{id} {{\n{pad}  label=\"{name} ({kind})\";"
    );
    let _ = writeln!(out, "{pad}  {id} [shape=point, style=invis];");
    for (title, index) in graphs {
        let _ = writeln!(
            out,
            "{pad}  subgraph cluster_g{} {{\n{pad}    label=\"{title}\"; style=dotted;",
            index.0
        );
        graph(program, index, depth + 2, out);
        let _ = writeln!(out, "{pad}  }}");
    }
    let _ = writeln!(out, "{pad}}}");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Graphviz reads `&lt;` and its like in labels.
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
