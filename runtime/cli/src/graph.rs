//! `stepwell graph`: a definition as a picture.

use stepwell_flow::resource::Bound;
use stepwell_flow::{AnyModule, graph as draw};

use crate::args::{self, Format};
use crate::exit::{Exit, Trouble};
use crate::{filling, output, validate};

/// 0, or 2 when the definition is wrong.
pub fn graph(args: &args::Graph) -> Result<Exit, Trouble> {
    let text = filling::text(&args.file, &args.filling.set)?;
    let map = filling::resources(args.filling.resources.as_deref())?;
    let resolve = Bound {
        inner: &AnyModule,
        map: &map,
    };
    let checked = stepwell_flow::compile(&text, &resolve);
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
