//! `reward bench`: how often a reward says what people said, on the pairs of a file (Liu et al., arXiv 2501.13918, §5.1): of decided pairs
//! alone, and with ties, its threshold of a tie calibrated on them (Deutsch et al., arXiv 2305.14324, §4).

use crate::{
    Context, Error,
    align::{People, PeopleRequest, judge_of},
};
use methods::align::{Accuracy, Verdict, accuracy};
use serde::Serialize;
use std::path::PathBuf;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct BenchRequest {
    /// A reward's run or file, or `oracle:…`.
    pub judge: String,
    /// The model whose samples they are; a reward knows without.
    pub model: Option<PathBuf>,
    /// What people said.
    pub pairs: PeopleRequest,
    /// Which axis of the reward an axis of the file is held to, `VQ=contrast,…`; the one of its name without.
    pub by: Option<String>,
}

/// One axis of the file.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// Its name.
    pub axis: String,
    /// The axis of the reward; all of them together where the file asks for the whole.
    pub by: String,
    /// How often they agree.
    pub accuracy: Accuracy,
    /// What somebody who knows nothing reaches with ties: a third, or always saying tie.
    pub chance: f64,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct BenchReport {
    /// Who was held to the file.
    pub judge: String,
    /// The file.
    pub pairs: PathBuf,
    /// Each axis.
    pub axes: Vec<Bench>,
}

/// An axis of this name is about the whole.
const OVERALL: &str = "overall";

/// Has the pairs judged and compares.
///
/// # Errors
/// Those of opening, reading and judging; no axis that both have.
pub fn bench(request: &BenchRequest, context: &mut Context) -> Result<BenchReport, Error> {
    let (judge, subject) = judge_of(&request.judge, request.model.as_deref(), context)?;
    let people = People::read(&request.pairs, (&subject, judge.asks()), 0, context)?;
    people.note_unread((&subject, judge.asks()), context);
    let (said, own) = (&people.candidates.scores.axes, judge.axes());
    let held = held(said, &own, request.by.as_deref())?;
    judge.check_texts(&people.candidates.drawn.prompts)?;
    let scores = judge.score(&people.candidates.drawn)?;
    let whole = scores.weighted(&vec![1.0; own.len()]);
    let pairs = people.candidates.pairs();
    let mut axes = Vec::new();
    for (axis, name) in said.iter().enumerate() {
        let value = |i: usize| match held[axis] {
            Some(Held::Axis(at)) => scores.of(i)[at],
            _ => whole[i],
        };
        let by = match held[axis] {
            Some(Held::Axis(at)) => own[at].clone(),
            Some(Held::Whole) => "all".into(),
            None => {
                context.note(format!("{name}: the reward has no axis of that name ({}); see --by", own.join(", ")));
                continue;
            }
        };
        let differences: Vec<f64> = (0..pairs).map(|k| value(2 * k) - value(2 * k + 1)).collect();
        let verdicts: Vec<Verdict> = (0..pairs).map(|k| people.verdicts[k * said.len() + axis]).collect();
        let accuracy = accuracy(&differences, &verdicts);
        let tied = (accuracy.valid - accuracy.decided) as f64 / accuracy.valid.max(1) as f64;
        axes.push(Bench { axis: name.clone(), by, accuracy, chance: tied.max(1.0 / 3.0) });
    }
    Ok(BenchReport { judge: judge.label(), pairs: people.file, axes })
}

/// What an axis of the file is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Axis(usize),
    Whole,
}

/// For each axis that was `said` what it is held to: as `by` says, else the axis of its name, whatever its capitals.
fn held(said: &[String], own: &[String], by: Option<&str>) -> Result<Vec<Option<Held>>, Error> {
    let of = |name: &str| own.iter().position(|axis| axis.eq_ignore_ascii_case(name.trim())).map(Held::Axis);
    let whole = |name: &String| name.eq_ignore_ascii_case(OVERALL).then_some(Held::Whole);
    let mut held: Vec<Option<Held>> = said.iter().map(|name| of(name).or(whole(name))).collect();
    let (there, here) = (said.join(", "), own.join(", "));
    for part in by.into_iter().flat_map(|text| text.split(',')) {
        let refuse = |why: &str| {
            Error::Usage(format!(
                "--by {part}: {why}; the file says {there}, the reward {here}, and `all` is all of its axes"
            ))
        };
        let (name, other) = part.split_once('=').ok_or_else(|| refuse("write AXIS=AXIS,..."))?;
        let at = said.iter().position(|axis| axis == name.trim()).ok_or_else(|| refuse("the file has no such axis"))?;
        let all = other.trim().eq_ignore_ascii_case("all").then_some(Held::Whole);
        held[at] = Some(of(other).or(all).ok_or_else(|| refuse("the reward has no such axis"))?);
    }
    if held.iter().all(Option::is_none) {
        return Err(Error::Usage(format!(
            "--pairs: the file says {there} and the reward {here}: none is the same; say by --by {}={} which is held to which",
            said.first().map_or("AXIS", String::as_str),
            own.first().map_or("AXIS", String::as_str)
        )));
    }
    Ok(held)
}

impl std::fmt::Display for BenchReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{} on {}", self.judge, self.pairs.display())?;
        for Bench { axis, by, accuracy, chance } in &self.axes {
            let Accuracy { without_ties, with_ties, threshold, decided, valid } = accuracy;
            let name = if axis.eq_ignore_ascii_case(by) { axis.clone() } else { format!("{axis} ({by})") };
            writeln!(
                f,
                "{name:<20} right {:5.1} % of {decided} decided (chance 50.0), {:5.1} % of {valid} with ties up to {threshold:.4} \
                 (chance {:.1})",
                without_ties * 100.0,
                with_ties * 100.0,
                chance * 100.0
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_held_to_those_of_their_names_or_as_said() {
        let names = |all: &[&str]| all.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let (said, own) = (names(&["VQ", "Overall", "MQ"]), names(&["vq", "motion"]));
        assert_eq!(held(&said, &own, None).unwrap(), [Some(Held::Axis(0)), Some(Held::Whole), None]);
        let by = Some("MQ=motion, VQ=all");
        assert_eq!(held(&said, &own, by).unwrap(), [Some(Held::Whole), Some(Held::Whole), Some(Held::Axis(1))]);
        let said_of = |by: &str| held(&said, &own, Some(by)).unwrap_err().to_string();
        assert!(said_of("MQ").contains("AXIS=AXIS") && said_of("TA=vq").contains("no such axis"));
        assert!(said_of("MQ=beauty").contains("the reward has no such axis"));
        let none = held(&names(&["MQ"]), &names(&["contrast"]), None).unwrap_err().to_string();
        assert!(none.contains("--by MQ=contrast"), "{none}");
    }
}
