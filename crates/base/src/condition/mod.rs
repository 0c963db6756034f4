//! What a batch is conditioned on: named parts, each one row to a sample, and what they are contrasted with.
//!
//! Everything that happens to a condition between a data set and a network (batches cut and joined, rows chosen, conditions
//! dropped, guidance) happens to rows, so it is said once, as a [`Rowwise`] operation, and holds for every part. A new part is
//! a field here and a line in `Condition::each`.
//!
//! **The null.** Guidance and dropout replace a condition by its null. Each part has one of its own: [`NULL_CLASS`], a vector
//! of zeros, no token. Released text models mean the encoded empty prompt instead; [`Condition::contrasted`] says so. Parts that
//! are no condition on *what* is drawn (a mixture to separate, a map to follow, how far ahead to look) are their own null: they
//! stay on both sides.

mod error;
mod parts;
#[cfg(test)]
mod tests;

pub use error::ConditionError;

use crate::Shape;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use parts::{Chosen, Joined, Kind, On, Part, Repeated, Rowwise};
use std::{ops::Range, sync::Arc};

/// The class index that stands for "no condition"; a network maps it to its own null embedding.
pub const NULL_CLASS: i64 = -1;

/// A padded batch of token embeddings.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// Embeddings, `[b n d]`.
    pub embedding: Tensor<3>,
    /// True where a token is real, `[b n]`; all false is the null condition.
    pub mask: Tensor<2, Bool>,
}

/// A map of values beside each sample: the sound to separate, the picture to follow.
#[derive(Clone, Debug)]
pub struct Dense {
    /// Rows `[b n]`.
    pub rows: Tensor<2>,
    /// What the `n` numbers of a row are.
    pub shape: Shape,
}

/// What a batch is conditioned on. All parts that are present have the same batch size.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// Class index of each sample, `[b]`; [`NULL_CLASS`] for none.
    pub class: Option<Tensor<1, Int>>,
    /// A pooled vector per sample, `[b d]`; zeros for none.
    pub vector: Option<Tensor<2>>,
    /// A token sequence per sample.
    pub tokens: Option<Tokens>,
    /// A map beside each sample. Guidance keeps it.
    pub dense: Option<Dense>,
    /// How far ahead in time the answer should hold, `[b]` in [0, 1]; absent or zero for the time itself. Guidance keeps it.
    /// Read by networks with `condition.reach` (MeanFlow, shortcut models).
    pub reach: Option<Tensor<1>>,
    /// The guidance scale that a distilled network was told in place of guidance, `[b]`. Guidance keeps it.
    pub guidance: Option<Tensor<1>>,
    /// What stands for the null of some parts in place of their own, one row for all samples or one for each. Set by
    /// [`contrasted`](Self::contrasted).
    pub null: Option<Arc<Condition>>,
}

/// Something done to every part of a condition, beside the same part of another where there is one.
trait Each {
    fn part<K: Kind>(
        &mut self,
        name: &'static str,
        own: &Option<K>,
        other: Option<&Option<K>>,
    ) -> Result<Option<K>, ConditionError>;
}

/// Rows of one condition, or of two that have the same parts.
struct Rows<'a, R>(&'a R);

impl<R: Rowwise> Each for Rows<'_, R> {
    fn part<K: Kind>(
        &mut self,
        part: &'static str,
        own: &Option<K>,
        other: Option<&Option<K>>,
    ) -> Result<Option<K>, ConditionError> {
        Ok(match (own, other) {
            (None, None | Some(None)) => None,
            (Some(own), None) => Some(K::rowwise(vec![own], self.0)),
            (Some(own), Some(Some(other))) if own.width() == other.width() => {
                Some(K::rowwise(vec![own, other], self.0))
            }
            (Some(own), Some(Some(other))) => {
                return Err(ConditionError::Width { part, rows: [own.width(), other.width()] });
            }
            _ => return Err(ConditionError::Missing { part }),
        })
    }
}

/// The nulls: given ones, the parts' own, or what stays.
struct Null;

impl Each for Null {
    fn part<K: Kind>(
        &mut self,
        _: &'static str,
        own: &Option<K>,
        given: Option<&Option<K>>,
    ) -> Result<Option<K>, ConditionError> {
        let Some(own) = own else { return Ok(None) };
        Ok(Some(match given.and_then(Option::as_ref) {
            Some(given) if given.batch() == own.batch() => given.clone(),
            Some(given) => K::rowwise(vec![given], &Repeated(own.batch())),
            None => own.null(),
        }))
    }
}

/// Whether a null of so many rows can be given for a condition.
struct Fits(Option<usize>);

impl Each for Fits {
    fn part<K: Kind>(
        &mut self,
        part: &'static str,
        own: &Option<K>,
        null: Option<&Option<K>>,
    ) -> Result<Option<K>, ConditionError> {
        let Some(Some(null)) = null else { return Ok(None) };
        let own = own.as_ref().ok_or(ConditionError::Missing { part })?;
        if own.width() != null.width() {
            return Err(ConditionError::Width { part, rows: [own.width(), null.width()] });
        }
        let rows = Some(null.batch());
        if rows != self.0 || null.batch() != 1 && null.batch() != own.batch() {
            return Err(ConditionError::Count { found: null.batch(), samples: own.batch() });
        }
        Ok(None)
    }
}

/// What there is.
#[derive(Default)]
struct Seen {
    batch: Option<usize>,
    device: Option<Device>,
    /// Whether a part differs from its null.
    contrast: bool,
}

impl Each for &mut Seen {
    fn part<K: Kind>(
        &mut self,
        _: &'static str,
        own: &Option<K>,
        given: Option<&Option<K>>,
    ) -> Result<Option<K>, ConditionError> {
        if let Some(own) = own {
            self.batch.get_or_insert(own.batch());
            self.device.get_or_insert(own.device());
            self.contrast |= K::VANISHES || given.is_some_and(Option::is_some);
        }
        Ok(None)
    }
}

/// Whether two conditions say the same.
struct Same(bool);

impl Each for &mut Same {
    fn part<K: Kind>(
        &mut self,
        _: &'static str,
        own: &Option<K>,
        other: Option<&Option<K>>,
    ) -> Result<Option<K>, ConditionError> {
        self.0 &= own.as_ref().map(Kind::data) == other.and_then(Option::as_ref).map(Kind::data);
        Ok(None)
    }
}

/// By the numbers, wherever they lie.
impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        let mut same = Same(self.null == other.null);
        self.each(Some(other), &mut same).expect("looking refuses nothing");
        same.0
    }
}

impl Condition {
    /// No condition at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// Class-conditional; [`NULL_CLASS`] entries are unconditional.
    pub fn classes(classes: &[i64], device: &Device) -> Self {
        let class = Tensor::from_data(TensorData::new(classes.to_vec(), [classes.len()]), device);
        Self { class: Some(class), ..Self::default() }
    }

    /// The same condition, asked `reach` `[b]` ahead in time.
    pub fn reaching(self, reach: Tensor<1>) -> Self {
        Self { reach: Some(reach), ..self }
    }

    /// The same condition with another null for the parts that `null` has: the encoded empty prompt of a released model, or a
    /// prompt of what should *not* be drawn. One row serves all samples.
    ///
    /// # Errors
    /// [`ConditionError`] for a part that the condition lacks, rows of another size, or another number of rows.
    pub fn contrasted(self, null: Condition) -> Result<Self, ConditionError> {
        self.each(Some(&null), Fits(null.batch()))?;
        Ok(Self { null: Some(Arc::new(Condition { null: None, ..null })), ..self })
    }

    /// Whether nothing is conditioned on that could be taken away.
    pub fn is_none(&self) -> bool {
        !self.seen().contrast
    }

    /// The null condition of the same parts and rows: what guidance contrasts with. Its own null is itself.
    pub fn null(&self) -> Self {
        let null = self.each(self.null.as_deref(), Null).expect("every part has a null");
        Self { null: self.null.clone(), ..null }
    }

    /// What `each` makes of every part, beside `other`'s: the one list of the parts there are.
    fn each(&self, other: Option<&Self>, mut each: impl Each) -> Result<Self, ConditionError> {
        Ok(Self {
            class: each.part("class", &self.class, other.map(|c| &c.class))?,
            vector: each.part("vector", &self.vector, other.map(|c| &c.vector))?,
            tokens: each.part("tokens", &self.tokens, other.map(|c| &c.tokens))?,
            dense: each.part("dense", &self.dense, other.map(|c| &c.dense))?,
            reach: each.part("reach", &self.reach, other.map(|c| &c.reach))?,
            guidance: each.part("guidance", &self.guidance, other.map(|c| &c.guidance))?,
            null: None,
        })
    }

    fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        self.each(self.null.as_deref(), &mut seen).expect("looking refuses nothing");
        seen
    }

    /// This condition's rows treated by `how`.
    fn rows(&self, how: &impl Rowwise) -> Self {
        self.each(None, Rows(how)).expect("one condition has the parts and sizes it has")
    }

    /// The null given for each sample, treated by `how`; one row for all stays as it is.
    fn null_rows(&self, how: &impl Rowwise) -> Option<Arc<Self>> {
        let null = self.null.as_ref()?;
        let shared = self.batch() == Some(1) || null.batch() != self.batch();
        Some(if shared { null.clone() } else { Arc::new(null.rows(how)) })
    }

    fn changed(&self, how: &impl Rowwise) -> Self {
        Self { null: self.null_rows(how), ..self.rows(how) }
    }

    /// Number of samples; `None` without any part.
    pub fn batch(&self) -> Option<usize> {
        self.seen().batch
    }

    /// This batch followed by `other`'s. Token sequences are padded to the longer of the two; the null is spelled out where one
    /// has been given.
    ///
    /// # Errors
    /// [`ConditionError`] for a part that only one of the two has, or whose rows differ in size.
    pub fn cat(&self, other: &Self) -> Result<Self, ConditionError> {
        let both = self.each(Some(other), Rows(&Joined))?;
        if self.null.is_none() && other.null.is_none() {
            return Ok(both);
        }
        let null = self.null().each(Some(&other.null()), Rows(&Joined))?;
        Ok(Self { null: Some(Arc::new(null)), ..both })
    }

    /// This batch `times` times over.
    pub fn repeated(&self, times: usize) -> Self {
        self.changed(&Repeated(times))
    }

    /// This batch followed by its null: what guidance asks in one evaluation.
    pub fn doubled(&self) -> Self {
        let both = self.each(Some(&self.null()), Rows(&Joined));
        let both = both.expect("a null has its condition's parts and sizes, `contrasted` sees to it");
        Self { null: self.null_rows(&Repeated(2)), ..both }
    }

    /// The same condition with its null in the rows where `dropped` is true.
    pub fn without(&self, dropped: &[bool]) -> Self {
        let Seen { device: Some(device), contrast: true, .. } = self.seen() else { return self.clone() };
        if !dropped.contains(&true) {
            return self.clone();
        }
        let b = dropped.len();
        let rows: Vec<i64> =
            dropped.iter().enumerate().map(|(row, gone)| (if *gone { b + row } else { row }) as i64).collect();
        let rows = Tensor::from_data(TensorData::new(rows, [b]), &device);
        Self { null: self.null.clone(), ..self.doubled().rows(&Chosen(&rows)) }
    }

    /// The samples of `range`.
    pub fn slice(&self, range: Range<usize>) -> Self {
        self.changed(&Part(range))
    }

    /// The samples at `rows`, in that order (an adaptive solver drops finished samples with this).
    pub fn select(&self, rows: &Tensor<1, Int>) -> Self {
        self.changed(&Chosen(rows))
    }

    /// A copy on `device`, off any tape, with its null.
    pub fn on(&self, device: &Device) -> Self {
        let null = self.null.as_ref().map(|null| Arc::new(null.on(device)));
        Self { null, ..self.rows(&On(device)) }
    }
}
