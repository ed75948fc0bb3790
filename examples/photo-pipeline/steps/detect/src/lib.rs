//! Step: finds the faces in a photo.
//!
//! Refuses to fail on a photo without one: no face is an answer, and the flow
//! chooses by it.

use photo::Face;
use rustface::{ImageData, create_detector_with_model, read_model};
use serde::{Deserialize, Serialize};
use stepwell_guest::{Context, Failure};

/// The detector's model (SeetaFace), which ships in the crate `rustface`.
const MODEL: &[u8] = include_bytes!(env!("FACE_MODEL"));

/// What the flow hands in.
#[derive(Debug, Deserialize)]
pub struct Input {
    /// Base64 of PNG.
    photo: String,
}

/// What the flow gets.
#[derive(Debug, PartialEq, Serialize)]
pub struct Output {
    /// Pixels.
    width: u32,
    /// Pixels.
    height: u32,
    /// How many faces were found.
    count: usize,
    /// The best one; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    face: Option<Face>,
}

fn run(_: &Context, input: Input) -> Result<Output, Failure> {
    let photo = photo::decode(&input.photo)?;
    let (width, height) = photo.dimensions();
    let grey: Vec<u8> = photo.pixels().map(|pixel| luma(pixel.0)).collect();
    let model =
        read_model(MODEL).map_err(|error| Failure::new("Photo.BadModel", error.to_string()))?;
    let mut detector = create_detector_with_model(model);
    detector.set_min_face_size(40);
    detector.set_score_thresh(2.0);
    detector.set_pyramid_scale_factor(0.8);
    detector.set_slide_window_step(4, 4);
    let faces = detector.detect(&ImageData::new(&grey, width, height));
    let best = faces.iter().max_by(|a, b| a.score().total_cmp(&b.score()));
    Ok(Output {
        width,
        height,
        count: faces.len(),
        face: best.map(|found| Face {
            x: found.bbox().x(),
            y: found.bbox().y(),
            side: found.bbox().width(),
            score: (found.score() * 10.0).round() / 10.0,
        }),
    })
}

/// Brightness by ITU-R BT.709, in whole numbers so that every machine agrees.
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let sum = u32::from(r) * 2_126 + u32::from(g) * 7_152 + u32::from(b) * 722;
    u8::try_from(sum / 10_000).unwrap_or(u8::MAX)
}

stepwell_guest::step!(run);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_astronaut_has_a_face_and_the_cat_has_none() {
        let find = |name: &str| {
            let photo = photo::file(name);
            run(&Context::for_test(), Input { photo }).expect("an answer")
        };
        let found = find("astronaut.png");
        assert_eq!((found.width, found.height, found.count), (512, 512, 1));
        let face = found.face.expect("a face");
        assert!(
            (160..190).contains(&face.x) && (55..80).contains(&face.y),
            "{face:?}"
        );
        assert!((90..110).contains(&face.side), "{face:?}");
        assert_eq!(find("chelsea.png").face, None);
    }
}
