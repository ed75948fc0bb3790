//! Step: asks a supplier for an offer and orders what it offers, over HTTPS.
//!
//! Two calls in one step: a server that dies between them, or within the second, does not ask again for the
//! offer, and repeats the order under the key that it had. Refuses an offer above the limit.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepwell_guest::http::Request;
use stepwell_guest::{Context, Failure, info};

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Wish {
    /// The supplier's URL.
    supplier: String,
    article: String,
    pieces: u32,
    /// Most that one piece may cost, in cents.
    cents_max: u64,
    /// How long the supplier may take for an answer.
    patience_ms: u64,
}

/// What a supplier says that it would take.
#[derive(Debug, Deserialize)]
struct Offer {
    cents: u64,
}

#[derive(Debug, Serialize)]
struct Order<'a> {
    article: &'a str,
    pieces: u32,
    cents: u64,
}

/// What a supplier says to an order.
#[derive(Debug, Deserialize)]
struct Taken {
    number: String,
}

/// What the flow gets.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Output {
    /// The supplier's number of the order.
    number: String,
    cents: u64,
}

fn run(_: &Context, wish: Wish) -> Result<Output, Failure> {
    let patience = Duration::from_millis(wish.patience_ms);
    let url = format!("{}/offers/{}", wish.supplier, wish.article);
    let offer = Request::get(&url).timeout(patience).send()?.ok()?;
    let Offer { cents } = offer.json()?;
    check(&wish, cents)?;
    info!("{} offered for {cents}", wish.article);
    let order = Order {
        article: &wish.article,
        pieces: wish.pieces,
        cents,
    };
    let url = format!("{}/orders", wish.supplier);
    let request = Request::post(&url).json(&order)?.timeout(patience);
    let Taken { number } = request.send()?.ok()?.json()?;
    let cents = cents * u64::from(wish.pieces);
    Ok(Output { number, cents })
}

fn check(wish: &Wish, cents: u64) -> Result<(), Failure> {
    if cents <= wish.cents_max {
        return Ok(());
    }
    let cause = format!(
        "{} costs {cents}, more than {}",
        wish.article, wish.cents_max
    );
    Err(Failure::new("Order.TooDear", cause))
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dear_offer_is_refused() {
        let wish = Wish {
            supplier: String::new(),
            article: "screw".into(),
            pieces: 2,
            cents_max: 12,
            patience_ms: 1,
        };
        assert!(check(&wish, 12).is_ok());
        let refused = check(&wish, 13).map_err(|failure| failure.error);
        assert_eq!(refused, Err("Order.TooDear".to_owned()));
    }
}
