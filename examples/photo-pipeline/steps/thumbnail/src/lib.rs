//! Step: makes a photo small, keeping its proportions.
//!
//! Refuses a side of zero; never makes a photo larger.

use image::imageops::{FilterType, resize};
use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// Base64 of PNG.
    photo: String,
    /// The longer side of the result, in pixels; 1 to 512.
    side: u32,
}

/// What the flow gets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    /// Base64 of PNG.
    photo: String,
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    if !(1..=512).contains(&input.side) {
        return Err(Failure::new("Photo.BadSide", "side: 1 to 512 pixels"));
    }
    let photo = photo::decode(&input.photo)?;
    let (width, height) = fit(photo.dimensions(), input.side);
    let small = resize(&photo, width, height, FilterType::Triangle);
    Ok(Output {
        photo: photo::encode(&small)?,
        width,
        height,
    })
}

/// The largest size of these proportions whose longer side is at most `side`.
fn fit((width, height): (u32, u32), side: u32) -> (u32, u32) {
    let longer = width.max(height).max(1);
    if longer <= side {
        return (width, height);
    }
    let scale = |length: u32| {
        let scaled = u64::from(length) * u64::from(side) / u64::from(longer);
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    (scale(width), scale(height))
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_are_kept() {
        assert_eq!(fit((451, 300), 128), (128, 85));
        assert_eq!(fit((300, 451), 128), (85, 128));
        assert_eq!(fit((100, 50), 128), (100, 50), "never larger");
        assert_eq!(fit((2_000, 1), 128), (128, 1));
    }

    #[test]
    fn the_cat_becomes_small() {
        let photo = photo::file("chelsea.png");
        let small = run(&Context::for_test(), Input { photo, side: 128 }).expect("a thumbnail");
        assert_eq!((small.width, small.height), (128, 85));
        let photo = photo::decode(&small.photo).expect("a PNG");
        assert_eq!(photo.dimensions(), (128, 85));
        let none = run(
            &Context::for_test(),
            Input {
                photo: small.photo,
                side: 0,
            },
        );
        assert_eq!(none.map_err(|f| f.error), Err("Photo.BadSide".into()));
    }
}
