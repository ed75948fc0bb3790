//! The drawings of a flow: whatever its names, each is whole, and no larger than its states.
//!
//! Refuses to look at them: how they look is reviewed beside the renderer.

use stepwell_flow::{AnyModule, compile, graph};

/// Bytes of a drawing for each state, way and byte of the text; and for the frame.
const BYTES_EACH: usize = 4_096;

pub(super) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(program) = compile(&text, &AnyModule).program else {
        return;
    };
    let svg = graph::svg(&program);
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "cut off"
    );
    let count = |c: char| svg.matches(c).count();
    assert_eq!(count('<'), count('>'), "a text that is not escaped");
    for path in svg.split(" d=\"").skip(1) {
        let data = path.split('"').next().unwrap_or_default();
        let known = |c: char| c.is_ascii_digit() || "MLCQHVz.- ".contains(c);
        assert!(data.chars().all(known), "no path: {data}");
    }
    let most = BYTES_EACH * (1 + program.states.len() + text.len());
    for drawing in [svg, graph::dot(&program), graph::mermaid(&program)] {
        assert!(drawing.len() <= most, "{} bytes", drawing.len());
    }
}
