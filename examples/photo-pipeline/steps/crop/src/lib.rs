//! Step: cuts a face out of a photo, with room around it.
//!
//! Refuses a face that lies outside the photo.

use photo::Face;
use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// Base64 of PNG.
    photo: String,
    /// Where the face is.
    face: Face,
    /// Room on each side, in per cent of the face's side.
    margin_percent: u32,
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
    let photo = photo::decode(&input.photo)?;
    let Face { x, y, side, .. } = input.face;
    let margin = i64::from(side) * i64::from(input.margin_percent.min(200)) / 100;
    let (left, right) = clip(x, side, margin, photo.width());
    let (top, bottom) = clip(y, side, margin, photo.height());
    let (width, height) = (right - left, bottom - top);
    if width == 0 || height == 0 {
        let cause = format!("a face at {x},{y} of {side} pixels lies outside the photo");
        return Err(Failure::new("Photo.FaceOutside", cause));
    }
    let cut = image::imageops::crop_imm(&photo, left, top, width, height).to_image();
    Ok(Output {
        photo: photo::encode(&cut)?,
        width,
        height,
    })
}

/// Start and end of the cut along one side of the photo.
fn clip(start: i32, side: u32, margin: i64, length: u32) -> (u32, u32) {
    let within = |at: i64| u32::try_from(at.max(0)).unwrap_or(u32::MAX).min(length);
    let start = i64::from(start);
    (
        within(start - margin),
        within(start + i64::from(side) + margin),
    )
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(x: i32, y: i32, side: u32) -> Result<(u32, u32), String> {
        let face = Face {
            x,
            y,
            side,
            score: 18.5,
        };
        let photo = photo::file("chelsea.png");
        let input = Input {
            photo,
            face,
            margin_percent: 50,
        };
        let done = run(&Context::for_test(), input);
        done.map(|o| (o.width, o.height)).map_err(|f| f.error)
    }

    #[test]
    fn the_cut_keeps_to_the_photo() {
        assert_eq!(cut(100, 100, 40), Ok((80, 80)));
        assert_eq!(
            cut(-10, 0, 40),
            Ok((50, 60)),
            "cut by the left and top edge"
        );
        assert_eq!(
            cut(440, 290, 40),
            Ok((31, 30)),
            "cut by the right and bottom edge"
        );
        assert_eq!(cut(900, 100, 40), Err("Photo.FaceOutside".into()));
    }
}
