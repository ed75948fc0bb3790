//! Mermaid's flowchart text.
//!
//! Names are quoted and escaped: no text of a flow becomes Mermaid's syntax or HTML.

use std::fmt::Write as _;

use super::{End, edges, inner, names, states};
use crate::Program;
use crate::program::{GraphIdx, StateIdx};

/// The program as a Mermaid flowchart.
#[must_use]
pub fn mermaid(program: &Program) -> String {
    let mut out = String::from("flowchart TD\n");
    graph(program, GraphIdx(0), 1, &mut out);
    out
}

/// Depth is bounded by that of definitions.
fn graph(program: &Program, index: GraphIdx, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let g = index.0;
    let _ = writeln!(out, "{pad}g{g}_start((\" \"))");
    for state in states(program, index) {
        node(program, state, depth, out);
    }
    let edges = edges(program, index);
    if edges.iter().any(|e| e.to == End::Stop) {
        let _ = writeln!(out, "{pad}g{g}_end(((\" \")))");
    }
    for edge in edges {
        let end = |end| match end {
            End::Start => format!("g{g}_start"),
            End::Stop => format!("g{g}_end"),
            End::State(state) => format!("s{}", state.0),
        };
        let arrow = if edge.caught { "-.->" } else { "-->" };
        let label = if edge.label.is_empty() {
            String::new()
        } else {
            format!("|\"{}\"|", escape(&edge.label))
        };
        let _ = writeln!(
            out,
            "{pad}{} {arrow}{label} {}",
            end(edge.from),
            end(edge.to)
        );
    }
}

fn node(program: &Program, state: StateIdx, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    let (name, kind) = names(program, state);
    let (id, name) = (state.0, escape(name));
    let graphs = inner(program, state);
    if graphs.is_empty() {
        let _ = match kind {
            "Choice" => writeln!(out, "{pad}s{id}{{\"{name}\"}}"),
            "Succeed" | "Fail" => writeln!(out, "{pad}s{id}([\"{name}<br/>{kind}\"])"),
            _ => writeln!(out, "{pad}s{id}[\"{name}<br/>{kind}\"]"),
        };
        return;
    }
    let _ = writeln!(out, "{pad}subgraph s{id}[\"{name} ({kind})\"]");
    for (title, index) in graphs {
        let _ = writeln!(out, "{pad}  subgraph g{}[\"{title}\"]", index.0);
        graph(program, index, depth + 2, out);
        let _ = writeln!(out, "{pad}  end");
    }
    let _ = writeln!(out, "{pad}end");
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // What may be the mark of a list in Markdown, which Mermaid reads in labels: `- a`, `1. a`.
    let mut head = true;
    let mut dollar = false;
    for c in text.chars() {
        // Two of them begin mathematics, which Mermaid hands to another library.
        let second = std::mem::replace(&mut dollar, c == '$') && c == '$';
        let mark = second || (head && matches!(c, '-' | '.' | ')'));
        head &= c == ' ' || c.is_ascii_digit();
        match c {
            c if mark => {
                let _ = write!(out, "#{};", u32::from(c));
            }
            'a'..='z'
            | 'A'..='Z'
            | '0'..='9'
            | ' '
            | '-'
            | '_'
            | '.'
            | ','
            | '$'
            | '='
            | '('
            | ')' => {
                out.push(c);
            }
            c if c.is_alphanumeric() => out.push(c),
            // Mermaid's own spelling of a character that would mean something.
            c => {
                let _ = write!(out, "#{};", u32::from(c));
            }
        }
    }
    out
}
