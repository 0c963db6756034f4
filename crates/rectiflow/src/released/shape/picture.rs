//! Pictures as the released model reads them: cut to the object, on white, resized, the middle cut out, each colour normalised.

use super::open::Opened;
use crate::{Context, Error};
use data::{Cut, Seen};
use serde_json::{Map, Value};
use std::path::Path;

/// White around the object on every side, as a share of its longer side.
const MARGIN: f64 = 0.1;
/// The largest picture that is read, in million pixels.
const MEGAPIXELS: u64 = 200;

/// What `preprocessor_config.json` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Preparation {
    cut: Cut,
    mean: [f32; 3],
    deviation: [f32; 3],
}

impl Preparation {
    /// Of the model's feature extractor.
    ///
    /// # Errors
    /// Settings that are not followed here, each by name.
    pub fn of(opened: &Opened) -> Result<Self, Error> {
        let (path, settings) = opened.json("feature_extractor_dinov2", "preprocessor_config.json")?;
        Self::read(&settings).map_err(|what| Error::Failure(format!("{path}: {what}")))
    }

    fn read(settings: &Map<String, Value>) -> Result<Self, String> {
        for step in ["do_resize", "do_center_crop", "do_rescale", "do_normalize"] {
            if settings.get(step).and_then(Value::as_bool) == Some(false) {
                return Err(format!("{step} is false; pictures are resized, cut, scaled and normalised here"));
            }
        }
        let side = |key: &str, inner: [&str; 2], usual: u64| {
            let value = settings.get(key);
            let [a, b] = inner.map(|inner| value.and_then(|value| value.get(inner)).and_then(Value::as_u64));
            let told = match (value, a, b) {
                (None, ..) => Some(usual),
                (Some(plain), None, None) => plain.as_u64(),
                (_, Some(a), Some(b)) if a != b => None,
                (_, a, b) => a.or(b),
            };
            told.filter(|pixels| (1..=4096).contains(pixels))
                .map(|pixels| pixels as usize)
                .ok_or_else(|| format!("{key} is no side of a square of 1 to 4096 pixels"))
        };
        let size = side("size", ["shortest_edge", "shortest_edge"], 256)?;
        let crop = side("crop_size", ["height", "width"], 224)?;
        if crop > size {
            return Err(format!("crop_size is {crop}, more than the {size} pixels that pictures are resized to"));
        }
        if settings.get("resample").is_some_and(|how| how.as_u64() != Some(3)) {
            return Err("resample is not 3; pictures are resized by bicubic interpolation here".into());
        }
        let scale = settings.get("rescale_factor").map_or(Some(1.0 / 255.0), Value::as_f64);
        if scale.is_none_or(|scale| (scale * 255.0 - 1.0).abs() > 1e-6) {
            return Err("rescale_factor is not 1/255".into());
        }
        let colours = |key: &str, usual: [f32; 3]| match settings.get(key) {
            None => Ok(usual),
            Some(value) => serde_json::from_value::<[f32; 3]>(value.clone())
                .ok()
                .filter(|values| values.iter().all(|value| value.is_finite()))
                .ok_or_else(|| format!("{key} is no list of three numbers")),
        };
        let mean = colours("image_mean", [0.485, 0.456, 0.406])?;
        let deviation = colours("image_std", [0.229, 0.224, 0.225])?;
        if deviation.iter().any(|value| *value <= 0.0) {
            return Err("image_std has a number that is not above 0".into());
        }
        Ok(Self { cut: Cut { margin: MARGIN, size, crop }, mean, deviation })
    }

    /// Pixels to a side.
    pub fn side(&self) -> usize {
        self.cut.crop
    }

    /// The picture in `file`, `[3 side side]`.
    ///
    /// # Errors
    /// A file that is no picture, or one that shows nothing.
    pub fn picture(&self, file: &Path, context: &mut Context) -> Result<Vec<f32>, Error> {
        let place = file.display();
        let failed = |what: String| Error::Failure(format!("--image {place}: {what}"));
        let bytes = std::fs::read(file).map_err(|error| failed(error.to_string()))?;
        let seen = data::cut(&bytes, self.cut, MEGAPIXELS).map_err(|error| failed(error.to_string()))?;
        let Some(Seen { mut values, whole }) = seen else {
            return Err(failed("it shows nothing: all of it is white or transparent".into()));
        };
        if whole {
            context.note(format!(
                "{place} is dark to its rims, so all of it is taken for the object: cut it out first, on white or transparent"
            ));
        }
        let pixels = self.side() * self.side();
        for (i, value) in values.iter_mut().enumerate() {
            let colour = i / pixels.max(1);
            *value = (*value - self.mean[colour]) / self.deviation[colour];
        }
        Ok(values)
    }
}
