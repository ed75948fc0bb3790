//! Pass: its literal result.

use crate::document::At;
use crate::program::Kind;

/// `Result` is literal JSON: nothing in it is evaluated.
pub(super) fn pass(at: &At<'_, '_>) -> Kind {
    Kind::Pass {
        result: at.get("Result").map(|field| field.node.value()),
    }
}
