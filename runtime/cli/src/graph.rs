//! `stepwell graph`: a definition as a picture.

use stepwell_flow::resource::Bound;
use stepwell_flow::{AnyModule, graph as draw};
use stepwell_types::limits::DEFINITION_BYTES_MAX;

use crate::args::{self, Format};
use crate::exit::{Exit, Trouble};
use crate::{filling, input, output, validate};

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
pub fn graph(args: &args::Graph) -> Result<Exit, Trouble> {
    let text = input::text(&args.file, DEFINITION_BYTES_MAX)?;
    let values = filling::values(&args.filling)?;
    let map = filling::resources(args.filling.resources.as_deref())?;
    let resolve = Bound {
        inner: &AnyModule,
        map: &map,
    };
    let checked = filling::compile(&text, &values, &resolve)?;
    let file = args.file.display().to_string();
    let Some(program) = checked.program else {
        validate::show(&file, &text, &checked.diagnostics);
        return Err(Trouble::usage(format!("{file} is not a valid flow")));
    };
    let picture = match args.format {
        Format::Mermaid => draw::mermaid(&program),
        Format::Dot => draw::dot(&program),
        Format::Svg => draw::svg(&program),
    };
    output::print_raw(picture.as_bytes());
    Ok(Exit::Ok)
}
