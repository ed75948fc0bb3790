//! `stepwell graph`: a definition as a picture.

use serde_json::json;
use stepwell_flow::graph as draw;
use stepwell_flow::resource::Bound;
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args::{self, Format};
use crate::exit::{Exit, Trouble};
use crate::validate::{self, Anywhere};
use crate::{filling, input, output};

/// The name, if the argument is no file here but may be that of a published flow.
pub fn published(args: &args::Graph) -> Option<&str> {
    let name = args.file.to_str()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let file = name == "-"
        || args.file.exists()
        || !name.bytes().all(plain)
        || [".json", ".yaml", ".yml"]
            .iter()
            .any(|end| name.ends_with(end));
    (args.flow_version.is_some() || !file).then_some(name)
}

/// 0, or 2 when the definition is wrong.
pub fn graph(args: &args::Graph, as_json: bool) -> Result<Exit, Trouble> {
    let text = input::text(&args.file, DEFINITION_BYTES_MAX)?;
    let values = filling::values(&args.filling)?;
    let map = filling::resources(args.filling.resources.as_deref())?;
    // A picture shows states, whatever stands for what they name.
    let resolve = Bound {
        inner: &Anywhere {
            express: false,
            binds_later: true,
        },
        map: &map,
    };
    let checked = filling::compile(&text, &values, &resolve)?;
    let file = args.file.display().to_string();
    let Some(program) = checked.program else {
        let mut trouble = Trouble::usage(format!("{file} is not a valid flow"));
        if as_json {
            trouble.problem = Some(json!({ "diagnostics": checked.diagnostics }));
        } else {
            validate::show(&file, &text, &checked.diagnostics);
        }
        return Err(trouble);
    };
    let picture = match args.format {
        Format::Mermaid => draw::mermaid(&program),
        Format::Dot => draw::dot(&program),
        Format::Svg => draw::svg(&program),
    };
    show(args.format, &picture, as_json);
    Ok(Exit::Ok)
}

/// The picture as it is, or as `{"format", "graph"}`.
pub fn show(format: Format, picture: &str, as_json: bool) {
    if as_json {
        let shown = json!({ "format": format.name(), "graph": picture });
        output::print_json(&shown.to_string());
    } else {
        output::print_raw(picture.as_bytes());
    }
}
