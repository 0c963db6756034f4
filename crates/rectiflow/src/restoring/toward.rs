//! What pictures are pulled towards beside what is known of them: a class by a classifier, or another picture.
//!
//! Their costs stand beside `½ |A x - y|²` with a weight: that of a class is `-log p(class | x)`, so that a weight of `σ²` weighs it as a
//! posterior under noise of deviation `σ` would; that of a picture is half the squared distance to it.

use super::task;
use crate::{Error, device::Chosen, judge, sampling, steerable::tape};
use base::{Tensor, TensorData};
use burn::tensor::activation::log_softmax;
use data::Dataset;
use methods::steer::{
    Cost, Measurement, Operator,
    cost::ByTape,
    operator::{Mask, Whole},
};
use metrics::classifier::Classifier;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

/// Something to be pulled towards.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Toward {
    /// A class.
    Class(Class),
    /// A picture.
    Picture(Picture),
}

/// What a classifier should take pictures for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// By number or name.
    pub class: String,
    /// Of `-log p` beside the misfit.
    pub weight: f64,
    /// A classifier's file; the shipped one without, for pictures that it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<PathBuf>,
}

/// What pictures should be near to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Picture {
    /// Of the model's size.
    pub file: PathBuf,
    /// White where it counts; everywhere without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<PathBuf>,
    /// Of half the squared distance beside the misfit.
    pub weight: f64,
}

impl Toward {
    /// Spelled out as a table: `{ type = "class", class = "Sneaker", weight = 4 }`.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else, and a weight that is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Spelled {
            toward: Toward,
        }
        let wrong = |why: &str| {
            Error::Usage(format!(
                "--toward {text}: {why}; spell it out: '{{ type = \"class\", class = \"Sneaker\", weight = 4 }}' or \
                 '{{ type = \"picture\", file = \"x.png\", weight = 0.5 }}'"
            ))
        };
        let spelled: Spelled = toml::from_str(&format!("toward = {text}")).map_err(|error| wrong(error.message()))?;
        let weight = match &spelled.toward {
            Self::Class(class) => class.weight,
            Self::Picture(picture) => picture.weight,
        };
        match weight.is_finite() && weight > 0.0 {
            true => Ok(spelled.toward),
            false => Err(wrong("its weight must be positive")),
        }
    }
}

/// The same with everything opened.
pub(crate) struct Pull {
    weight: f64,
    kind: Kind,
}

enum Kind {
    Class(Box<Classifier>, usize),
    Picture(Arc<dyn Operator>, Vec<f32>),
}

impl Pull {
    /// Opens what `toward` names, for pictures `[c h w]` such as those of `set`.
    ///
    /// # Errors
    /// Files that cannot be read or are of another size; a class that there is not.
    pub fn open(
        toward: &Toward,
        shape: [usize; 3],
        set: Option<&Arc<dyn Dataset>>,
        device: &Chosen,
    ) -> Result<Self, Error> {
        match toward {
            Toward::Class(Class { class, weight, classifier }) => {
                // Weights lie where there is a tape: the pictures' gradient goes through them.
                let taped = tape(device);
                let found = match classifier {
                    Some(file) => Some(Classifier::load(file, &taped.device)?),
                    None => set.map(|set| judge::shipped(set, &taped)).transpose()?.flatten(),
                };
                let found = found.ok_or_else(|| {
                    let who = match set {
                        Some(_) => "the shipped classifier does not know these pictures",
                        None => "numbers do not say which classifier knows their pictures",
                    };
                    let how = "name one by `classifier = \"FILE\"` (`rectiflow classifier train` makes one)";
                    Error::Usage(format!("--toward class {class}: {who}; {how}"))
                })?;
                let (input, names) = (found.layout().input, found.layout().classes.clone());
                if input != shape {
                    return Err(Error::Usage(format!(
                        "--toward class {class}: {} sees pictures of {input:?} and the model makes {shape:?} [c h w]",
                        found.layout().name
                    )));
                }
                let number = || class.parse::<usize>().ok().filter(|number| *number < names.len());
                let at = sampling::named(&names, class).or_else(number).ok_or_else(|| {
                    Error::Usage(format!("--toward class {class}: {} knows {}", found.layout().name, names.join(", ")))
                })?;
                Ok(Self { weight: *weight, kind: Kind::Class(Box::new(found), at) })
            }
            Toward::Picture(Picture { file, mask, weight }) => {
                let [c, h, w] = shape;
                let (values, found) = task::picture(file, c, "--toward picture")?;
                if found != shape {
                    return Err(Error::Usage(format!(
                        "--toward picture {}: it is {} x {} pixels and the model's pictures are {h} x {w}; bring it to that size",
                        file.display(),
                        found[1],
                        found[2]
                    )));
                }
                let operator: Arc<dyn Operator> = match mask {
                    None => Arc::new(Whole(c * h * w)),
                    // White is what a hole hides, and here what counts.
                    Some(mask) => Arc::new(
                        Mask::new(
                            task::known(mask, shape, "--toward picture, mask")?
                                .into_iter()
                                .map(|known| !known)
                                .collect(),
                        )
                        .map_err(|error| Error::Usage(format!("--toward picture, mask {}: {error}", mask.display())))?,
                    ),
                };
                Ok(Self { weight: *weight, kind: Kind::Picture(operator, values) })
            }
        }
    }

    /// Its weight and cost for `count` pictures.
    ///
    /// # Errors
    /// None that opening did not have.
    pub fn cost(
        &self,
        count: usize,
        [c, h, w]: [usize; 3],
        device: &base::Device,
    ) -> Result<(f64, Box<dyn Cost + '_>), Error> {
        let cost: Box<dyn Cost + '_> = match &self.kind {
            Kind::Class(classifier, class) => {
                let cost = move |rows: Tensor<2>| {
                    let (b, plain) = (rows.dims()[0], !rows.is_autodiff());
                    let scores = classifier.score(if plain { rows.autodiff() } else { rows }.reshape([b, c, h, w]));
                    let cost: Tensor<1> = log_softmax(scores, 1).narrow(1, *class, 1).reshape([b]).neg();
                    if plain { cost.inner() } else { cost }
                };
                // Flat beside the misfit, whose curvature the step is measured by.
                Box::new(ByTape { cost, curvature: 0.0 })
            }
            Kind::Picture(operator, values) => {
                let rows = values.repeat(count);
                let rows = Tensor::<2>::from_data(TensorData::new(rows, [count, values.len()]), device);
                Box::new(Measurement::new(operator.clone(), operator.forward(rows), 0.0)?)
            }
        };
        Ok((self.weight, cost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pulled_towards_is_spelled_out() {
        let class = Toward::parse("{ type = \"class\", class = \"Bag\", weight = 4 }").unwrap();
        assert_eq!(class, Toward::Class(Class { class: "Bag".into(), weight: 4.0, classifier: None }));
        for (bad, word) in [
            ("Bag", "spell it out"),
            ("{ type = \"class\", class = \"Bag\" }", "weight"),
            ("{ type = \"class\", class = \"Bag\", weight = 0 }", "positive"),
            ("{ type = \"picture\", file = \"x.png\", weight = 1, maks = \"y\" }", "maks"),
            ("{ type = \"style\" }", "style"),
        ] {
            let error = Toward::parse(bad).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(word), "{bad}: {error}");
        }
    }

    /// The pull towards a class is the classifier's own loss: downhill it is taken for that class.
    ///
    /// Mutants: another class's logit; the gradient of the score in place of that of its logarithm.
    #[test]
    fn pictures_walk_to_a_class() {
        let device = Chosen::cpu();
        let set = data::open(&data::DataConfig { limit: Some(4), ..Default::default() }).unwrap();
        let shape = [1, 28, 28];
        let toward = Toward::parse("{ type = \"class\", class = \"Bag\", weight = 2 }").unwrap();
        let pull = Pull::open(&toward, shape, Some(&set), &device).unwrap();
        let (weight, cost) = pull.cost(4, shape, &device.device).unwrap();
        let rows = data::gather(&*set, &[0, 1, 2, 3]).unwrap().rows;
        let mut x = Tensor::<2>::from_data(TensorData::new(rows.clone(), [4, 784]), &device.device);
        let values = |x: &Tensor<2>| cost.value(x.clone()).into_data().iter::<f32>().collect::<Vec<_>>();
        let judge = Classifier::fashion_mnist(&device.device).unwrap();
        let logits = judge.logits(&rows, [4, 1, 28, 28]).unwrap();
        let bag = judge.layout().classes.iter().position(|name| name == "Bag").unwrap();
        for (i, value) in values(&x).into_iter().enumerate() {
            let row = &logits.data()[i * 10..][..10];
            let top = row.iter().copied().fold(f32::MIN, f32::max);
            let known = top + row.iter().map(|v| (v - top).exp()).sum::<f32>().ln() - row[bag];
            assert!((value - known).abs() < 1e-3, "{value} is not {known}");
        }
        let before = values(&x);
        for _ in 0..20 {
            x = x.clone() - cost.gradient(x) * 0.5;
        }
        assert!(values(&x).iter().zip(&before).all(|(after, before)| *after < 0.5 * before + 0.05), "{before:?}");
        assert_eq!((weight, cost.curvature()), (2.0, 0.0));
        let error = Pull::open(
            &Toward::parse("{ type = \"class\", class = \"Hat\", weight = 1 }").unwrap(),
            shape,
            Some(&set),
            &device,
        );
        assert!(error.err().unwrap().to_string().contains("Sneaker"));
    }
}
