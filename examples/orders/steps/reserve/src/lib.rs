//! Step: adds an order up, and starts the execution that keeps its goods.
//!
//! Refuses an order of nothing.

use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure, execution};

/// The flow that keeps goods; the manifest grants it.
const DISPATCH: &str = "dispatch";

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// What is ordered.
    lines: Vec<Line>,
}

/// One article of an order.
#[derive(Debug, Deserialize, Serialize)]
pub struct Line {
    /// What.
    article: String,
    /// How many.
    pieces: u64,
    /// What one costs.
    cents: u64,
}

/// What the flow gets.
#[derive(Debug, Serialize)]
pub struct Output {
    /// What all costs.
    total_cents: u64,
    /// How many pieces all are.
    pieces: u64,
    /// The execution that keeps them.
    dispatch: String,
}

/// What the execution that keeps the goods is given.
#[derive(Serialize)]
struct Goods<'a> {
    lines: &'a [Line],
}

fn add_up(lines: &[Line]) -> Result<(u64, u64), Failure> {
    let pieces: u64 = lines.iter().map(|line| line.pieces).sum();
    if pieces == 0 {
        return Err(Failure::new("Order.Empty", "the order is of nothing"));
    }
    let cost = |line: &Line| line.pieces * line.cents;
    Ok((lines.iter().map(cost).sum(), pieces))
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    let (total_cents, pieces) = add_up(&input.lines)?;
    // Once, however often this step runs: it gets a name that is made of this call.
    let goods = Goods {
        lines: &input.lines,
    };
    let dispatch = execution::start(DISPATCH, None, &goods)?;
    Ok(Output {
        total_cents,
        pieces,
        dispatch,
    })
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_added_up() {
        let check = |lines: &[(u64, u64)], expected: Option<(u64, u64)>| {
            let line = |(pieces, cents): &(u64, u64)| Line {
                article: "bolt".into(),
                pieces: *pieces,
                cents: *cents,
            };
            let lines: Vec<Line> = lines.iter().map(line).collect();
            assert_eq!(add_up(&lines).ok(), expected);
        };
        check(&[(2, 925), (1, 2500)], Some((4350, 3)));
        check(&[(0, 925)], None);
        check(&[], None);
    }
}
