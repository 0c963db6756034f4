//! Naming the class of an image, as the engine trains it: cross entropy with smoothed labels and, beside it, telling how the image was spoiled.

use super::lesson::{Lesson, kinds, targets};
use super::spoil::KINDS;
use super::{ClassifierConfig, Labelled, accuracy};
use base::{Device, Tensor, Times};
use burn::module::Module;
use metrics::classifier::{Classifier, Layout, SmallCnn};
use nets::{Init, init::Weights, layers::Linear};
use train::{Ahead, Live, Task, TrainError, Work};

/// The classifier, and a second head behind its features that training has and a saved classifier has not.
#[derive(Module, Debug)]
pub(super) struct Pupil {
    pub network: SmallCnn,
    second: Option<Linear>,
}

impl Pupil {
    /// Of `layout`, told how images were spoiled if `tells`.
    pub fn new(layout: &Layout, tells: bool, seed: u64, device: &Device) -> Self {
        let init = Init::new(seed, device);
        let std = (layout.features as f64).powf(-0.5);
        let second = || Linear::new(&init.child("second"), layout.features, KINDS, Weights::Normal(std));
        Self { network: SmallCnn::new(layout, &init), second: tells.then(second) }
    }
}

/// Naming classes.
pub(super) struct Naming<'a> {
    pub config: &'a ClassifierConfig,
    pub layout: &'a Layout,
    /// What it is tried on after each epoch.
    pub test: Option<&'a Labelled>,
    /// Images of an epoch.
    pub epoch: u64,
}

impl Naming<'_> {
    /// The classifier that `pupil` is, off the tape.
    pub fn classifier(&self, pupil: &Pupil) -> Classifier {
        let network = pupil.network.valid();
        let device = network.devices().into_iter().next().unwrap_or_default();
        Classifier::new(self.layout.clone(), network, device)
    }
}

/// `-sum target log softmax(scores)` of each row, `[b]`.
fn cross_entropy(scores: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
    (burn::tensor::activation::log_softmax(scores, 1) * target).sum_dim(1).neg().squeeze_dim(1)
}

impl Task<Pupil, Lesson> for Naming<'_> {
    fn loss(&self, live: &Live<'_, Pupil>, batch: &Lesson, device: &Device) -> Result<Tensor<1>, TrainError> {
        let (features, scores) = live.within(|pupil| pupil.network.forward(batch.images(device)));
        let labels = batch.labels.iter().map(|label| *label as usize);
        let target = targets(labels, self.layout.classes.len(), self.config.label_smoothing, device);
        let loss = cross_entropy(scores, target);
        Ok(match live.within(|pupil| pupil.second.as_ref().map(|second| second.forward(features))) {
            Some(told) => loss + cross_entropy(told, kinds(batch, device)) * self.config.tell,
            None => loss,
        })
    }

    fn loss_at(
        &self,
        live: &Live<'_, Pupil>,
        batch: &Lesson,
        _: &Times,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        self.loss(live, batch, device) // an image has no time, and nothing is dropped
    }

    fn identity(&self) -> (String, String) {
        let network = serde_json::to_string(self.layout).expect("a layout holds strings and integers only");
        ("\"classifier\"".into(), network)
    }

    /// Between epochs it is tried on images that it does not learn from.
    fn before(&self, pupil: &Pupil, images: u64, _: &mut dyn FnMut(Work<'_>)) -> Result<Ahead, TrainError> {
        let Some(test) = self.test.filter(|_| images > 0 && images.is_multiple_of(self.epoch)) else {
            return Ok(Ahead::default());
        };
        let right =
            accuracy(&self.classifier(pupil), test).map_err(|error| TrainError::Objective(error.to_string()))?;
        Ok(Ahead::Step(vec![(ACCURACY.into(), right)]))
    }
}

/// What the share of test images that is named rightly is called.
pub(super) const ACCURACY: &str = "test_accuracy";

#[cfg(test)]
mod tests {
    use super::*;

    /// The loss is the definition, computed here in f64 from the network's own scores. Mutants: labels not smoothed; the second head's
    /// weight forgotten; the mean over classes in place of the sum.
    #[test]
    fn the_loss_is_the_cross_entropy_of_both_heads() {
        let device = Device::flex();
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let layout = Layout { name: "t".into(), input: [1, 8, 8], widths: [8; 3], pool: 1, features: 6, classes };
        let images: Vec<f32> = base::Key::new(1, base::Purpose::Probe).normals(0, 128).collect();
        let lesson = Lesson { images: images.clone(), input: [1, 8, 8], labels: vec![2, 0], spoiled: vec![4, 0] };
        for tell in [0.0, 0.3] {
            let config = ClassifierConfig { label_smoothing: 0.2, tell, ..ClassifierConfig::default() };
            let pupil = Pupil::new(&layout, tell > 0.0, 3, &device);
            let task = Naming { config: &config, layout: &layout, test: None, epoch: 2 };
            let loss: Vec<f32> =
                task.loss(&Live::plain(&pupil), &lesson, &device).unwrap().into_data().iter().collect();
            let classifier = task.classifier(&pupil);
            let (features, logits) = classifier.run(&images, [2, 1, 8, 8]).unwrap();
            let log_chance = |scores: &[f32], which: usize| {
                let sum: f64 = scores.iter().map(|s| f64::from(*s).exp()).sum();
                f64::from(scores[which]) - sum.ln()
            };
            for row in 0..2 {
                let scores = &logits.data()[row * 3..][..3];
                let label = lesson.labels[row] as usize;
                let own = |class: usize| 0.2 / 3.0 + if class == label { 0.8 } else { 0.0 };
                let mut known: f64 = (0..3).map(|class| -own(class) * log_chance(scores, class)).sum();
                if let Some(second) = &pupil.second {
                    let x = base::TensorData::new(features.data()[row * 6..][..6].to_vec(), [1, 6]);
                    let told: Vec<f32> =
                        second.forward(Tensor::<2>::from_data(x, &device)).into_data().iter().collect();
                    known -= tell * log_chance(&told, lesson.spoiled[row]);
                }
                assert!((f64::from(loss[row]) - known).abs() < 1e-5, "{} is not {known}", loss[row]);
            }
        }
    }
}
