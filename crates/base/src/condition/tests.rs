//! Conditions keep samples apart whatever is done to them, and know what they are contrasted with.

use super::*;

fn device() -> Device {
    Device::flex()
}

fn classes(condition: &Condition) -> Vec<i64> {
    condition.class.clone().unwrap().into_data().iter::<i64>().collect()
}

fn floats<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    x.clone().into_data().iter::<f32>().collect()
}

fn mask(tokens: &Tokens) -> Vec<bool> {
    tokens.mask.clone().into_data().iter::<bool>().collect()
}

/// `b` samples of `n` tokens of width 1; token `k` of sample `i` is `10 i + k` from `first` on, and sample `i` has `i + 1`.
fn tokens(b: usize, n: usize, first: f32) -> Tokens {
    let values: Vec<f32> = (0..b * n).map(|at| first + (10 * (at / n) + at % n) as f32).collect();
    let real: Vec<bool> = (0..b * n).map(|at| at % n <= at / n).collect();
    Tokens {
        embedding: Tensor::from_data(TensorData::new(values, [b, n, 1]), &device()),
        mask: Tensor::from_data(TensorData::new(real, [b, n]), &device()),
    }
}

fn rows(values: &[f32], d: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / d, d]), &device())
}

/// Three samples with every part.
fn whole() -> Condition {
    Condition {
        class: Condition::classes(&[3, 5, 7], &device()).class,
        vector: Some(rows(&[1.0, 2.0, 3.0], 1)),
        tokens: Some(tokens(3, 2, 0.0)),
        dense: Some(Dense { rows: rows(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 2), shape: Shape::from([1, 2]) }),
        reach: Some(Tensor::from_floats([0.1, 0.2, 0.3], &device())),
        guidance: Some(Tensor::from_floats([1.0, 2.0, 3.0], &device())),
        null: None,
    }
}

#[test]
fn every_part_keeps_its_samples() {
    let picked = whole().select(&Tensor::<1, Int>::from_ints([2, 0], &device()));
    assert_eq!(classes(&picked), [7, 3]);
    assert_eq!(floats(&picked.vector.clone().unwrap()), [3.0, 1.0]);
    assert_eq!(floats(&picked.tokens.as_ref().unwrap().embedding), [20.0, 21.0, 0.0, 1.0]);
    assert_eq!(mask(picked.tokens.as_ref().unwrap()), [true, true, true, false]);
    let map = picked.dense.as_ref().unwrap();
    assert_eq!((floats(&map.rows), map.shape), (vec![0.5, 0.6, 0.1, 0.2], Shape::from([1, 2])));
    assert_eq!(floats(&picked.reach.clone().unwrap()), [0.3, 0.1]);
    assert_eq!(floats(&picked.guidance.clone().unwrap()), [3.0, 1.0]);
    let again = picked.cat(&whole().slice(1..2)).unwrap().repeated(2);
    assert_eq!(classes(&again), [7, 3, 5, 7, 3, 5]);
    assert_eq!(again.batch(), Some(6));
    assert_eq!(floats(&again.on(&device()).reach.unwrap())[..3], [0.3, 0.1, 0.2]);
}

#[test]
fn conditions_are_equal_by_their_numbers() {
    assert_eq!(whole(), whole().on(&device()));
    assert_ne!(whole(), whole().null());
    assert_ne!(whole(), Condition { class: None, ..whole() });
    assert_ne!(whole(), Condition { reach: None, ..whole() });
    let null = Condition { vector: Some(rows(&[9.0], 1)), ..Condition::none() };
    assert_ne!(whole(), whole().contrasted(null).unwrap());
}

#[test]
fn nothing_is_left_out_of_a_join() {
    let said = |a: &Condition, b: &Condition| a.cat(b).unwrap_err().to_string();
    let bare = Condition::classes(&[1], &device());
    assert!(said(&whole(), &bare).contains("has vector"), "{}", said(&whole(), &bare));
    assert!(said(&bare, &whole()).contains("has vector"));
    let wide = Condition { vector: Some(rows(&[1.0, 2.0], 2)), ..Condition::none() };
    let narrow = Condition { vector: Some(rows(&[1.0], 1)), ..Condition::none() };
    assert!(said(&narrow, &wide).contains("1 and 2 numbers"));
    // Token sequences of other lengths are padded with what is no token.
    let short = Condition { tokens: Some(tokens(1, 1, 50.0)), ..Condition::none() };
    let long = Condition { tokens: Some(tokens(1, 3, 0.0)), ..Condition::none() };
    let both = short.cat(&long).unwrap().tokens.unwrap();
    assert_eq!(floats(&both.embedding), [50.0, 0.0, 0.0, 0.0, 1.0, 2.0]);
    assert_eq!(mask(&both), [true, false, false, true, false, false]);
}

#[test]
fn the_null_takes_away_what_is_drawn_and_keeps_what_stands_beside() {
    let null = whole().null();
    assert_eq!(classes(&null), [-1, -1, -1]);
    assert_eq!(floats(&null.vector.clone().unwrap()), [0.0; 3]);
    assert!(mask(null.tokens.as_ref().unwrap()).iter().all(|real| !real));
    assert_eq!(floats(&null.tokens.as_ref().unwrap().embedding), [0.0; 6]);
    let beside = whole();
    assert_eq!(floats(&null.dense.as_ref().unwrap().rows), floats(&beside.dense.as_ref().unwrap().rows));
    assert_eq!(floats(&null.reach.clone().unwrap()), floats(&beside.reach.clone().unwrap()));
    assert_eq!(floats(&null.guidance.clone().unwrap()), floats(&beside.guidance.clone().unwrap()));
    assert_eq!(classes(&whole().doubled()), [3, 5, 7, -1, -1, -1]);
    assert!(!whole().is_none() && Condition::none().is_none());
    let aside = Condition { class: None, vector: None, tokens: None, ..whole() };
    assert!(aside.is_none(), "what stays on both sides is nothing to contrast");
}

#[test]
fn a_given_null_is_one_row_for_all_or_one_for_each() {
    let empty = Condition { vector: Some(rows(&[9.0], 1)), tokens: Some(tokens(1, 3, 70.0)), ..Condition::none() };
    let condition = whole().contrasted(empty).unwrap();
    let null = condition.null();
    assert_eq!(classes(&null), [-1, -1, -1], "a part without a given null has its own");
    assert_eq!(floats(&null.vector.clone().unwrap()), [9.0; 3]);
    let doubled = condition.doubled();
    let both = doubled.tokens.as_ref().unwrap();
    assert_eq!(both.embedding.dims(), [6, 3, 1], "the longer of prompt and empty prompt");
    assert_eq!(floats(&both.embedding)[9..12], [70.0, 71.0, 72.0]);
    assert_eq!(mask(both)[9..12], [true, false, false]);
    // The shared row survives whatever is done to the samples.
    let last = condition.slice(2..3).select(&Tensor::<1, Int>::from_ints([0, 0], &device()));
    assert_eq!(floats(&last.null().vector.unwrap()), [9.0; 2]);
    assert_eq!(floats(&doubled.null().vector.unwrap()), [9.0; 6]);

    let each = Condition { vector: Some(rows(&[7.0, 8.0, 9.0], 1)), ..Condition::none() };
    let condition = whole().contrasted(each).unwrap();
    let picked = condition.select(&Tensor::<1, Int>::from_ints([2, 0], &device()));
    assert_eq!(floats(&picked.null().vector.unwrap()), [9.0, 7.0]);
    assert_eq!(floats(&condition.doubled().vector.unwrap()), [1.0, 2.0, 3.0, 7.0, 8.0, 9.0]);
    assert_eq!(floats(&condition.doubled().null().vector.unwrap()), [7.0, 8.0, 9.0, 7.0, 8.0, 9.0]);
    let joined = condition.cat(&whole()).unwrap();
    assert_eq!(floats(&joined.null().vector.unwrap()), [7.0, 8.0, 9.0, 0.0, 0.0, 0.0]);

    let said = |null: Condition| whole().contrasted(null).unwrap_err().to_string();
    assert!(
        said(Condition { vector: Some(rows(&[1.0, 2.0], 1)), ..Condition::none() }).contains("2 rows for 3 samples")
    );
    assert!(said(Condition { vector: Some(rows(&[1.0, 2.0], 2)), ..Condition::none() }).contains("numbers a row"));
    let bare = Condition::none().contrasted(Condition::classes(&[1], &device())).unwrap_err();
    assert_eq!(bare, ConditionError::Missing { part: "class" });
}

#[test]
fn dropped_rows_become_their_null() {
    let each = Condition { vector: Some(rows(&[7.0, 8.0, 9.0], 1)), ..Condition::none() };
    let dropped = whole().contrasted(each).unwrap().without(&[false, true, false]);
    assert_eq!(classes(&dropped), [3, -1, 7]);
    assert_eq!(floats(&dropped.vector.clone().unwrap()), [1.0, 8.0, 3.0]);
    assert_eq!(mask(dropped.tokens.as_ref().unwrap()), [true, false, false, false, true, true]);
    assert_eq!(floats(&dropped.reach.clone().unwrap()), [0.1, 0.2, 0.3]);
    assert_eq!(floats(&dropped.null().vector.unwrap()), [7.0, 8.0, 9.0]);
}
