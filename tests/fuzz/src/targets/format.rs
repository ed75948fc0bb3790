//! The formatter: whatever the text, a result that is its own form and reads as before, or a refusal.
//!
//! Refuses bytes that are no UTF-8: every edge does.

use stepwell_flow::{AnyModule, compile, format};

/// Any text, as it is and behind a comment (then it is YAML in any case).
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    check(text);
    check(&format!("# c\n{text}"));
}

fn check(text: &str) {
    match format(text) {
        Ok(out) => {
            assert_eq!(format(&out).as_ref(), Ok(&out), "its own form");
            let before = compile(text, &AnyModule);
            let after = compile(&out, &AnyModule);
            assert_eq!(before.program.is_some(), after.program.is_some());
            assert_eq!(before.diagnostics.len(), after.diagnostics.len());
        }
        Err(problems) => {
            let first = problems.first().expect("a reason");
            assert!(first.line >= 1 && first.column >= 1);
        }
    }
}
