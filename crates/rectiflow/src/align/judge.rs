//! Who prefers: oracles computed from a sample, or a reward trained on verdicts.

use super::RewardModel;
use crate::{Error, Model, device::Chosen, sampling::Drawn};
use base::{NULL_CLASS, Shape};
use metrics::{classifier::Classifier, oracles};
use serde::Serialize;
use std::path::Path;

/// An axis computed from the sample itself. None of them is a person's preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oracle {
    /// How bright the brightest tenth is.
    Contrast,
    /// How far and how smoothly a clip moves.
    Motion,
    /// How surely the shipped classifier sees the class that was asked for.
    Match,
}

impl Oracle {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Contrast, Self::Motion, Self::Match];

    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Contrast => "contrast",
            Self::Motion => "motion",
            Self::Match => "match",
        }
    }

    /// Whether it depends on the class asked for.
    pub fn asks(self) -> bool {
        self == Self::Match
    }
}

/// Somebody who gives samples a number on each axis.
pub enum Judge {
    /// Oracles, with the classifier that `match` needs.
    Oracles(Vec<Oracle>, Option<Box<Classifier>>),
    /// A reward that learned.
    Learned(Box<RewardModel>),
}

/// Numbers of samples on axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Names of the axes.
    pub axes: Vec<String>,
    /// `[n axes]`, row after row.
    pub values: Vec<f64>,
}

/// Pixels of a clip across a garment, as `data::moving` draws them.
const GARMENT: f64 = 12.0;
/// Side of what the shipped classifier sees.
const SIDE: usize = 28;

impl Judge {
    /// `oracle:contrast,motion,match` or the path of a trained reward, for samples of `model`.
    ///
    /// # Errors
    /// An oracle that is unknown or does not apply to such samples; a reward that cannot be opened or is for others.
    pub fn parse(text: &str, model: &Model, device: &Chosen) -> Result<Self, Error> {
        match text.strip_prefix("oracle:") {
            Some(names) => Self::oracles(names, model.drawn(), (&model.subject.classes, model.words.is_some()), device),
            None => {
                let reward = RewardModel::open(Path::new(text), device)?;
                reward.check_for(model)?;
                Ok(Self::Learned(Box::new(reward)))
            }
        }
    }

    /// The oracles named, for samples of `shape` in `classes`, or of texts where the model `reads` them.
    ///
    /// # Errors
    /// One that is unknown, named twice or has nothing to look at.
    pub fn oracles(
        names: &str,
        shape: Shape,
        (classes, reads): (&[String], bool),
        device: &Chosen,
    ) -> Result<Self, Error> {
        let refuse = |why: String| Err(Error::Usage(format!("oracle:{names}: {why}")));
        let mut chosen = Vec::new();
        for name in names.split(',').map(str::trim) {
            let Some(oracle) = Oracle::ALL.into_iter().find(|oracle| oracle.name() == name) else {
                return refuse(format!("`{name}` is unknown; there are contrast, motion and match"));
            };
            if chosen.contains(&oracle) {
                return refuse(format!("`{name}` is named twice"));
            }
            chosen.push(oracle);
        }
        let Ok([frames, height, width]) = shape.image() else {
            return refuse(format!("they look at clips [f h w] and images [c h w], and these samples are {shape}"));
        };
        if chosen.contains(&Oracle::Motion) && frames < 4 {
            return refuse(format!("`motion` looks at clips of four frames or more, and these samples are {shape}"));
        }
        let classifier = match chosen.contains(&Oracle::Match) {
            false => None,
            true => {
                let shipped = Classifier::fashion_mnist(&device.device)?;
                let sees = (frames, height, width) == (1, SIDE, SIDE) || (frames, height, width) == data::CLIP.into();
                if !(reads || shipped.layout().classes == classes) || !sees {
                    return refuse(format!(
                        "`match` asks the shipped classifier, which knows the classes of Fashion-MNIST, or texts that name them, in images \
                         [1, 28, 28] and clips {:?}; these samples are {shape} in {} classes",
                        data::CLIP,
                        classes.len()
                    ));
                }
                Some(Box::new(shipped))
            }
        };
        Ok(Self::Oracles(chosen, classifier))
    }

    /// Names of the axes.
    pub fn axes(&self) -> Vec<String> {
        match self {
            Self::Oracles(oracles, _) => oracles.iter().map(|oracle| oracle.name().to_string()).collect(),
            Self::Learned(reward) => reward.axes(),
        }
    }

    /// Whether an axis depends on what was asked for.
    pub fn asks(&self) -> bool {
        match self {
            Self::Oracles(oracles, _) => oracles.iter().any(|oracle| oracle.asks()),
            Self::Learned(reward) => reward.recipe.reward.axes.iter().any(|axis| axis.asks),
        }
    }

    /// Why an axis cannot ask by `text`, where it cannot: an oracle knows classes, and a text must name exactly one of them.
    pub fn deaf_to(&self, text: &str) -> Option<String> {
        let Self::Oracles(_, Some(classifier)) = self else { return None };
        let classes = &classifier.layout().classes;
        named_in(text, classes).is_none().then(|| {
            let known = classes.join(", ");
            format!(
                "oracle match: the text `{text}` does not name exactly one class that its classifier knows ({known})"
            )
        })
    }

    /// Refuses texts that an axis cannot ask by.
    ///
    /// # Errors
    /// [`Error::Usage`] with the first such text and how many there are.
    pub fn check_texts(&self, texts: &[String]) -> Result<(), Error> {
        let mut lost = texts.iter().filter_map(|text| self.deaf_to(text));
        match lost.next() {
            None => Ok(()),
            Some(first) => {
                let (count, all) = (1 + lost.count(), texts.len());
                Err(Error::Usage(format!("{first}; {count} of {all} texts do not; leave `match` out")))
            }
        }
    }

    /// What it is, for reports.
    pub fn label(&self) -> String {
        match self {
            Self::Oracles(..) => format!("oracle ({})", self.axes().join(", ")),
            Self::Learned(reward) => format!("reward {}", reward.file.display()),
        }
    }

    /// What samples are worth.
    ///
    /// # Errors
    /// Samples that are not finite: a reward of those means nothing.
    pub fn score(&self, drawn: &Drawn) -> Result<Scores, Error> {
        let numbers = drawn.shape.numel();
        if let Some(at) = drawn.rows.iter().position(|value| !value.is_finite()) {
            let sample = at / numbers.max(1);
            return Err(Error::Failure(format!("sample {sample} holds {}: it cannot be judged", drawn.rows[at])));
        }
        let axes = self.axes();
        let (oracles, classifier) = match self {
            Self::Learned(reward) => return Ok(Scores { axes, values: reward.rewards(drawn, 1.0)? }),
            Self::Oracles(oracles, classifier) => (oracles, classifier),
        };
        let shape = drawn.shape.image()?;
        let chance = match classifier {
            Some(classifier) => seen(classifier, drawn, shape)?,
            None => Vec::new(),
        };
        let mut values = Vec::with_capacity(drawn.len() * axes.len());
        for (i, row) in drawn.rows.chunks(numbers).enumerate() {
            values.extend(oracles.iter().map(|oracle| match oracle {
                Oracle::Contrast => oracles::contrast(row),
                Oracle::Motion => oracles::motion(row, shape),
                Oracle::Match => chance[i],
            }));
        }
        Ok(Scores { axes, values })
    }
}

/// The class of `classes` that `text` names as words of its own, in the plural too, whatever the case; `None` for none and for several. A hyphen or
/// a slash between letters is inside a word: `t-shirt` names no `Shirt`, and is a name of `T-shirt/top`. A name within a longer one that is there is
/// not named by itself.
fn named_in(text: &str, classes: &[String]) -> Option<usize> {
    let text = text.to_lowercase();
    let ends = |at: usize| ["", "s", "es"].into_iter().map(move |plural| (at, plural));
    let mut found: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
    for (class, name) in
        classes.iter().enumerate().flat_map(|(class, name)| forms(name).into_iter().map(move |f| (class, f)))
    {
        for (at, _) in text.match_indices(&name) {
            let whole = ends(at + name.len()).find_map(|(end, plural)| {
                let rest = text[end..].strip_prefix(plural)?;
                edge(rest.chars()).then_some(end + plural.len())
            });
            if let Some(end) = whole.filter(|_| edge(text[..at].chars().rev())) {
                found.push((class, at..end));
            }
        }
    }
    let inside =
        |a: &std::ops::Range<usize>, b: &std::ops::Range<usize>| a != b && b.start <= a.start && a.end <= b.end;
    let mut whole =
        found.iter().filter(|(_, own)| !found.iter().any(|(_, other)| inside(own, other))).map(|(class, _)| *class);
    let first = whole.next()?;
    whole.all(|class| class == first).then_some(first)
}

/// Whether a word ends where `beyond` goes on.
fn edge(mut beyond: impl Iterator<Item = char>) -> bool {
    match beyond.next() {
        Some('-' | '/' | '\u{2010}' | '\u{2011}') => !beyond.next().is_some_and(char::is_alphanumeric),
        Some(c) => !c.is_alphanumeric(),
        None => true,
    }
}

/// What a class is called: its name, each part between slashes, and those with their words joined otherwise (`t shirt`, `ankle-boot`).
fn forms(name: &str) -> Vec<String> {
    const SHORTEST: usize = 3; // a part like the `a` of `n/a` is a word of any text
    let name = name.to_lowercase();
    let parts = name.split('/').map(str::trim).filter(|part| part.len() >= SHORTEST && *part != name);
    let all: Vec<String> = std::iter::once(&name[..]).chain(parts).map(String::from).collect();
    let joined = |form: &String| ["-", " ", ""].map(|by| form.replace(['-', ' '], by));
    let mut forms: Vec<String> = all.iter().flat_map(joined).chain(all.iter().cloned()).collect();
    forms.retain(|form| !form.is_empty());
    forms.sort();
    forms.dedup();
    forms
}

/// The classifier's probability of the class each sample was asked for, or that its text names; of none where it was asked for none.
fn seen(classifier: &Classifier, drawn: &Drawn, shape: [usize; 3]) -> Result<Vec<f64>, Error> {
    let images: Vec<f32> = match shape[0] {
        1 => drawn.rows.iter().map(|value| value.clamp(-1.0, 1.0)).collect(),
        _ => {
            let clips = drawn.rows.chunks(drawn.shape.numel());
            clips.flat_map(|clip| oracles::still(clip, shape, GARMENT, SIDE)).collect()
        }
    };
    let logits = classifier.logits(&images, [drawn.len(), 1, SIDE, SIDE])?;
    let probability = |(row, class): (usize, &i64)| {
        let class = match drawn.prompts.get(row) {
            Some(text) => named_in(text, &classifier.layout().classes).map_or(NULL_CLASS, |class| class as i64),
            None => *class,
        };
        let logits = &logits.data()[row * logits.columns()..][..logits.columns()];
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let all: f64 = logits.iter().map(|l| f64::from(l - largest).exp()).sum();
        let asked = usize::try_from(class).ok().and_then(|class| logits.get(class));
        asked.map_or(0.0, |l| f64::from(l - largest).exp() / all)
    };
    Ok(drawn.classes.iter().enumerate().map(probability).collect())
}

impl Scores {
    /// The numbers of sample `i`.
    pub fn of(&self, i: usize) -> &[f64] {
        &self.values[i * self.axes.len()..][..self.axes.len()]
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.values.len() / self.axes.len().max(1)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Mean and standard deviation of each axis.
    pub fn moments(&self) -> Vec<[f64; 2]> {
        let (axes, count) = (self.axes.len(), self.len().max(1) as f64);
        let of = |axis: usize| {
            let values = || self.values.iter().skip(axis).step_by(axes);
            let mean = values().sum::<f64>() / count;
            [mean, (values().map(|v| (v - mean).powi(2)).sum::<f64>() / count).sqrt()]
        };
        (0..axes).map(of).collect()
    }

    /// One number for each sample: its axes in standard deviations, weighted.
    pub fn weighted(&self, weights: &[f64]) -> Vec<f64> {
        let moments = self.moments();
        let one = |i: usize| {
            let parts = self.of(i).iter().zip(&moments).zip(weights);
            parts.map(|((v, [mean, std]), w)| if *std > 0.0 { w * (v - mean) / std } else { 0.0 }).sum()
        };
        (0..self.len()).map(one).collect()
    }
}

/// `vq=1,ta=0.5` as a weight for each axis, one for all without.
///
/// # Errors
/// [`Error::Usage`] for an axis that is not there or a weight that is no number.
pub fn weights(text: Option<&str>, axes: &[String]) -> Result<Vec<f64>, Error> {
    let Some(text) = text else { return Ok(vec![1.0; axes.len()]) };
    let mut weights = vec![0.0; axes.len()];
    for part in text.split(',') {
        let known = axes.join(", ");
        let refuse = |why: &str| Error::Usage(format!("--weights {text}: {why}; the axes are {known}"));
        let (name, value) = part.split_once('=').ok_or_else(|| refuse("write AXIS=NUMBER,..."))?;
        let at = axes.iter().position(|axis| axis == name.trim()).ok_or_else(|| refuse("there is no such axis"))?;
        weights[at] =
            value.trim().parse().ok().filter(|w: &f64| w.is_finite()).ok_or_else(|| refuse("a weight is a number"))?;
    }
    if weights.iter().all(|weight| *weight == 0.0) {
        return Err(Error::Usage(format!("--weights {text}: all are zero, so nothing is preferred")));
    }
    Ok(weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_in_their_own_deviations() {
        let scores = Scores { axes: vec!["a".into(), "b".into()], values: vec![0.0, 500.0, 2.0, 700.0, 4.0, 500.0] };
        let first = scores.weighted(&[1.0, 0.0]);
        let scale = (8f64 / 3.0).sqrt();
        assert!(first.iter().zip([-2.0 / scale, 0.0, 2.0 / scale]).all(|(a, b)| (a - b).abs() < 1e-12), "{first:?}");
        let flat = Scores { axes: vec!["a".into()], values: vec![3.0; 4] };
        assert_eq!(flat.weighted(&[1.0]), [0.0; 4]);
    }

    /// Mutants: the shorter of two names taken; a part of a word; the first of two classes; a hyphen as the end of a word (`t-shirt` a shirt);
    /// the whole of a slashed name alone; no plural.
    #[test]
    fn a_text_names_one_class_or_none() {
        let classes = ["T-shirt/top", "Shirt", "Ankle boot", "Bag"].map(String::from);
        let of = |text: &str| named_in(text, &classes);
        assert_eq!(
            (of("a t-shirt/top on grey"), of("A white shirt."), of("shirt, shirt")),
            (Some(0), Some(1), Some(1))
        );
        assert_eq!((of("an ankle boot"), of("baggage"), of("a shirt and a bag"), of("")), (Some(2), None, None, None));
        for (class, texts) in [
            (0, &["a white t-shirt", "T-Shirts, two", "a t shirt", "tshirts", "a red top", "tops", "t-shirt/top"][..]),
            (1, &["white shirts", "a shirt - white", "(shirt)", "shirt/"]),
            (2, &["Ankle boots!", "ankle-boots"]),
            (3, &["bags on grey"]),
        ] {
            texts.iter().for_each(|text| assert_eq!(of(text), Some(class), "{text}"));
        }
        for text in ["a sweat-shirt", "shirt-dress", "shirt/bag", "shirtss", "topping", "a t-shirt and a shirt"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn weights_and_oracles_that_make_no_sense_are_refused() {
        let axes = ["contrast".to_string(), "match".to_string()];
        assert_eq!(weights(Some("match=2"), &axes).unwrap(), [0.0, 2.0]);
        assert_eq!(weights(None, &axes).unwrap(), [1.0, 1.0]);
        for wrong in ["motion=1", "match", "match=x", "match=nan", "match=0"] {
            assert!(matches!(weights(Some(wrong), &axes), Err(Error::Usage(_))), "{wrong}");
        }
        let device = Chosen::cpu();
        let said = |names: &str, shape: Shape| {
            Judge::oracles(names, shape, (&["a".to_string()], false), &device).err().unwrap().to_string()
        };
        assert!(said("beauty", [1, 28, 28].into()).contains("there are contrast"));
        assert!(said("motion", [1, 28, 28].into()).contains("four frames"));
        assert!(said("match", [1, 28, 28].into()).contains("Fashion-MNIST"));
        assert!(said("contrast", [2].into()).contains("images [c h w]"));
        assert!(said("contrast,contrast", [1, 28, 28].into()).contains("twice"));
    }
}
