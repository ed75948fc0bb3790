//! Photos as JSON carries them: base64 of PNG, bounded in bytes and pixels.
//!
//! Refuses other formats, and photos that would not fit a step's memory.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, ImageReader, Limits, RgbImage};
use serde::{Deserialize, Serialize};
use stepwell_guest::Failure;

/// Longest side of a photo, in pixels.
pub const SIDE_MAX: u32 = 2_048;

/// Where a face is, in pixels from the top left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Face {
    /// Left edge; negative when the face is cut by the photo's edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width and height: the detector finds squares.
    pub side: u32,
    /// How sure the detector is; 2 is its threshold here.
    pub score: f64,
}

/// Reads a photo.
///
/// # Errors
/// `Photo.NotBase64`, `Photo.NotPng`, `Photo.TooLarge`.
pub fn decode(text: &str) -> Result<RgbImage, Failure> {
    let bytes = STANDARD
        .decode(text)
        .map_err(|error| Failure::new("Photo.NotBase64", error.to_string()))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(64 << 20);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    match reader.decode() {
        Ok(photo) => Ok(photo.into_rgb8()),
        Err(image::ImageError::Limits(error)) => {
            Err(Failure::new("Photo.TooLarge", error.to_string()))
        }
        Err(error) => Err(Failure::new("Photo.NotPng", error.to_string())),
    }
}

/// Writes a photo as base64 of PNG.
///
/// # Errors
/// `Photo.NotPng`: the encoder refused it.
pub fn encode(photo: &RgbImage) -> Result<String, Failure> {
    let mut bytes = Cursor::new(Vec::new());
    photo
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Failure::new("Photo.NotPng", error.to_string()))?;
    Ok(STANDARD.encode(bytes.into_inner()))
}

/// Reads a PNG file as a step would get it, for tests.
///
/// # Panics
/// There is no such file.
#[must_use]
pub fn file(name: &str) -> String {
    let path = format!("{}/../../photos/{name}", env!("CARGO_MANIFEST_DIR"));
    STANDARD.encode(std::fs::read(path).expect("a photo of the example"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_photos_are_named() {
        let check = |text: &str, error: &str| {
            assert_eq!(decode(text).expect_err("a bad photo").error, error);
        };
        check("not base64!", "Photo.NotBase64");
        check("aGVsbG8=", "Photo.NotPng");
        let wide = encode(&RgbImage::new(SIDE_MAX + 1, 1)).expect("a wide photo");
        check(&wide, "Photo.TooLarge");
    }

    #[test]
    fn a_photo_survives_the_way_through_text() {
        let photo = decode(&file("chelsea.png")).expect("the cat");
        assert_eq!(photo.dimensions(), (451, 300));
        let again = decode(&encode(&photo).expect("text")).expect("the cat again");
        assert_eq!(again, photo);
    }
}
