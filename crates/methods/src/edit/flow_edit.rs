//! FlowEdit: the sample moves by the difference of two velocities, that of the target and that of the source.
//!
//! Kulikov et al., "FlowEdit: inversion-free text-based editing using pre-trained flow models", arXiv 2412.08629, algorithm 1.
//! At every step the source is noised afresh, the target is noised by the same noise, and `z ← z + h (v_target - v_source)`.

use super::{Edited, check_start};
use crate::MethodError;
use crate::steer::ends::{Ends, path_of};
use base::{Condition, Key, Tensor, Times};
use flow::{Field, Schedule, rows};
use serde::{Deserialize, Serialize};

/// FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models.
pub const FLOW_EDIT: base::Paper = base::Paper::arxiv(
    "kulikov2024flowedit",
    "Kulikov, Vladimir and Kleiner, Matan and Huberman-Spiegelglas, Inbar and Michaeli, Tomer",
    "FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models",
    (2024, "2412.08629"),
    "ICCV 2025",
);

/// Settings of FlowEdit.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FlowEdit {
    /// Where it starts, in [0, 1): the steps nearer to the noise are left out, and keep the sample's layout.
    pub start: f64,
    /// Draws of noise averaged at every step, at least 1.
    pub draws: usize,
}

impl Default for FlowEdit {
    fn default() -> Self {
        Self { start: 0.33, draws: 1 }
    }
}

impl FlowEdit {
    pub(super) fn check(&self) -> Result<(), MethodError> {
        check_start(self.start)?;
        if self.draws == 0 {
            let remedy = "it must be at least 1";
            return Err(MethodError::Setting { setting: "draws", value: "0".into(), remedy });
        }
        Ok(())
    }

    /// `x` `[b ...]`, known as `source` to the first field, as it is under `target` to the second.
    ///
    /// # Errors
    /// [`MethodError::Setting`] for settings out of range, and for a start after which no step of `schedule` begins; a field that does not
    /// know its path.
    pub fn run<const D: usize>(
        &self,
        [plain, guided]: [&dyn Field<D>; 2],
        x: Tensor<D>,
        [source, target]: [&Condition; 2],
        schedule: &Schedule,
        (key, indices): (Key, &[u64]),
    ) -> Result<Edited<D>, MethodError> {
        self.check()?;
        let path = path_of(plain, "flow_edit")?;
        let (dims, device, dtype) = (x.dims(), x.device(), x.dtype());
        let (mut z, mut nfe) = (x.clone(), 0);
        let legs = schedule.times().windows(2).enumerate().filter(|(_, leg)| leg[0] >= self.start);
        if legs.clone().next().is_none() {
            let remedy = "no step begins there, so that nothing would change; take more steps, or start earlier";
            return Err(MethodError::Setting { setting: "start", value: self.start.to_string(), remedy });
        }
        for (step, leg) in legs {
            let at = Times::all(leg[0], dims[0]);
            let mut sum = x.zeros_like();
            for draw in 0..self.draws {
                let key = key.fold((step * self.draws + draw) as u64);
                let noise: Tensor<D> = key.normal_tensor(indices, dims, &device).cast(dtype);
                let noised = Ends { source: noise, data: x.clone() }.at(path, leg[0]);
                let moved = noised.clone() + (z.clone() - x.clone());
                sum = sum + guided.velocity(moved, &at, target) - plain.velocity(noised, &at, source);
                nfe += 2;
            }
            z = z + sum * ((leg[1] - leg[0]) / self.draws as f64);
            rows::check_finite(&z, &at, "the edited state")?;
        }
        Ok(Edited { x: z, nfe, bytes: 0 })
    }
}
