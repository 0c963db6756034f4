//! Class accuracy: how often a classifier finds the class a sample was made for.

use crate::MetricsError;

/// Overall and per-class accuracy, each in [0, 1].
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Accuracy {
    /// Fraction of samples classified as intended.
    pub overall: f64,
    /// The same among the samples of each class; `None` for a class without samples.
    pub per_class: Vec<Option<f64>>,
}

/// Accuracy from `logits` (one row of class scores per sample) and the intended `classes`.
///
/// ```
/// use metrics::{Matrix, class_accuracy};
/// let logits = Matrix::new(vec![2.0, 1.0, 0.0, 3.0], 2, 2)?;
/// assert_eq!(class_accuracy(&logits, &[0, 0])?.overall, 0.5);
/// # Ok::<(), metrics::MetricsError>(())
/// ```
pub fn class_accuracy(logits: &crate::Matrix, classes: &[i64]) -> Result<Accuracy, MetricsError> {
    let what = "class accuracy";
    if logits.rows() != classes.len() || classes.is_empty() {
        let message = format!("{} rows of scores for {} classes", logits.rows(), classes.len());
        return Err(MetricsError::Shape { what, message });
    }
    let count = logits.columns();
    let mut seen = vec![0usize; count];
    let mut right = vec![0usize; count];
    for (i, &class) in classes.iter().enumerate() {
        let Some(class) = usize::try_from(class).ok().filter(|&c| c < count) else {
            let message = format!("sample {i} is of class {class}, the classifier knows 0 to {}", count - 1);
            return Err(MetricsError::Shape { what, message });
        };
        seen[class] += 1;
        right[class] += usize::from(argmax(logits.row(i)) == class);
    }
    let per_class = seen.iter().zip(&right).map(|(&s, &r)| (s > 0).then(|| r as f64 / s as f64)).collect();
    Ok(Accuracy { overall: right.iter().sum::<usize>() as f64 / classes.len() as f64, per_class })
}

/// Index of the largest score; the first of equals.
pub fn argmax(scores: &[f32]) -> usize {
    let mut best = 0;
    for (i, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = i;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Matrix;

    #[test]
    fn accuracy_counts_each_class_by_itself() {
        let logits = Matrix::new(vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.5], 3, 3).unwrap();
        let got = class_accuracy(&logits, &[0, 1, 0]).unwrap();
        assert_eq!(got.overall, 2.0 / 3.0);
        assert_eq!(got.per_class, [Some(0.5), Some(1.0), None]);
        for classes in [&[0, 1][..], &[0, 1, 3], &[0, -1, 0]] {
            assert!(class_accuracy(&logits, classes).is_err());
        }
    }
}
