//! Which pictures of its shapes a flow is conditioned on: the `picture` table of tasks whose codec is one of shapes (TripoSG, arXiv:2502.06608,
//! sec. 3.1: views from the front half).

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Rendered views, framed, in grey, and cut into patches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PictureConfig {
    /// Pixels of a picture to a side.
    pub size: usize,
    /// Pixels of a patch to a side; must divide the size.
    pub patch: usize,
    /// Pictures of each shape, of which each training step takes one.
    pub views: usize,
    /// From where they are taken around the upright axis, in degrees: least and most. 0 is from the front.
    pub azimuth: [f64; 2],
    /// And above the horizon.
    pub elevation: [f64; 2],
    /// Folder of a frozen encoder in DINOv2's layout (`config.json`, `model.safetensors`) that reads pictures whole, so that `patch` says
    /// nothing; without it an eye is trained with the flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<PathBuf>,
}

impl Default for PictureConfig {
    fn default() -> Self {
        Self { size: 32, patch: 8, views: 8, azimuth: [-90.0, 90.0], elevation: [-15.0, 30.0], encoder: None }
    }
}

impl PictureConfig {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        for (key, value, [least, most]) in
            [("size", self.size, [8, 256]), ("patch", self.patch, [1, 64]), ("views", self.views, [1, 64])]
        {
            if !(least..=most).contains(&value) {
                return Err(format!("task.picture.{key} = {value}; give {least} to {most}"));
            }
        }
        if self.encoder.is_none() && !self.size.is_multiple_of(self.patch) {
            return Err(format!("task.picture.patch = {}; it must divide the size, {}", self.patch, self.size));
        }
        for (key, [low, high], most) in [("azimuth", self.azimuth, 360.0), ("elevation", self.elevation, 90.0)] {
            if !(low >= -most && low <= high && high <= most) {
                return Err(format!(
                    "task.picture.{key} = [{low}, {high}]; give least and most, in degrees from -{most} to {most}"
                ));
            }
        }
        Ok(())
    }

    /// Numbers of a picture.
    pub fn numbers(&self) -> usize {
        self.size * self.size
    }

    /// Numbers of a patch: what the network says it reads in `condition.tokens`.
    pub fn features(&self) -> usize {
        self.patch * self.patch
    }

    /// Patches of a picture.
    pub fn patches(&self) -> usize {
        (self.size / self.patch).pow(2)
    }
}
