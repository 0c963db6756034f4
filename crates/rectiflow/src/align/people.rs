//! Pairs that people judged: a pair file and the samples it names, as a model's own candidates would stand there.

use super::{Candidates, Scores, pair_samples::PairSamples};
use crate::{Context, Error, model::Subject, sampling::Drawn};
use base::{Key, RandomStream};
use data::preferences::{Pair, PairFile, Said};
use methods::align::Verdict;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which pair file, and how it is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeopleRequest {
    /// `.csv`, `.tsv` or `.jsonl`.
    pub file: PathBuf,
    /// Its axes; every column that looks like one without.
    pub axes: Option<Vec<String>>,
    /// Whether pairs whose samples cannot be used are left out instead of refused.
    pub skip: bool,
}

/// Pairs with what people said of them.
pub struct People {
    /// The samples; their scores have no values unless every pair has one of each sample on every axis.
    pub candidates: Candidates,
    /// What was said, `[pairs axes]`.
    pub verdicts: Vec<Verdict>,
    /// The pair file.
    pub file: PathBuf,
    /// What each sample was asked for, as the file says; two to a pair.
    pub prompts: Vec<String>,
}

impl People {
    /// Reads the file and its samples, which are of `subject`'s shape and classes, in an order that `seed` draws. Where nobody `asks` what
    /// a sample was to show, a prompt that is no class is none.
    ///
    /// # Errors
    /// A pair file or a sample that cannot be used, by its line, unless it may be left out; no pair that is left.
    pub fn read(
        request: &PeopleRequest,
        (subject, asks): (&Subject, bool),
        seed: u64,
        context: &mut Context,
    ) -> Result<Self, Error> {
        let file = data::preferences::read(&request.file, request.axes.as_deref())?;
        let shown = file.path.display().to_string();
        for left in &file.left_out {
            context.note(format!("{shown}: not used: {left}"));
        }
        let loaded = PairSamples::read(&file, subject, context)?;
        let pairs = loaded.usable(&file, (subject, asks), request.skip, context)?;
        // What is said of the file from here on is said of what is used of it.
        let file = PairFile { pairs: pairs.iter().map(|(pair, _)| pair.clone()).collect(), ..file };
        loaded.speeds(&file, &pairs, context)?;
        let said = |axis: usize| {
            let [a, b, same, invalid] = file.counts(axis);
            format!("{} {a} A, {b} B, {same} same, {invalid} invalid", file.axes[axis])
        };
        let each: Vec<String> = (0..file.axes.len()).map(said).collect();
        let (count, files) = (pairs.len(), loaded.rows.len());
        context.note(format!("{shown}: {} rows, {count} pairs of {files} samples: {}", file.rows, each.join("; ")));
        for (axis, name) in file.axes.iter().enumerate() {
            let [a, b, same, _] = file.counts(axis);
            if same == 0 && a + b > 1 && a.min(b) == 0 {
                let side = if a > 0 { "A" } else { "B" };
                context.note(format!(
                    "warning: {shown}: {name} says {side} every time; if that is the order of the columns and not an opinion, mix it"
                ));
            }
        }
        let mut order: Vec<usize> = (0..count).collect();
        let key = Key::of(seed, RandomStream::JudgedPairs);
        order.sort_by_key(|place| key.bits(*place as u64));
        let pairs: Vec<&(Pair, i64)> = order.into_iter().map(|place| &pairs[place]).collect();
        let row = |path: &String| loaded.rows.get(path).map(|sample| sample.row.as_slice()).unwrap_or_default();
        let rows = pairs.iter().flat_map(|(pair, _)| pair.paths.iter().flat_map(row)).copied().collect();
        let classes = pairs.iter().flat_map(|(_, class)| [*class; 2]).collect();
        let scores: Option<Vec<&[Vec<f64>; 2]>> = pairs.iter().map(|(pair, _)| pair.scores.as_ref()).collect();
        let values = scores.map(|all| all.iter().flat_map(|two| two.iter().flatten().copied()).collect());
        let verdict = |said: &Said| match said {
            Said::A => Verdict::First,
            Said::B => Verdict::Second,
            Said::Same => Verdict::Tie,
            Said::Invalid => Verdict::Invalid,
        };
        let verdicts = pairs.iter().flat_map(|(pair, _)| pair.said.iter().map(verdict)).collect();
        let prompts: Vec<String> =
            pairs.iter().flat_map(|(pair, _)| [pair.prompt.clone(), pair.prompt.clone()]).collect();
        let mut drawn = Drawn::given(rows, subject.shape, classes);
        if subject.classes.is_empty() {
            drawn.prompts = prompts.clone();
        }
        let scores = Scores { axes: file.axes.clone(), values: values.unwrap_or_default() };
        Ok(Self { candidates: Candidates { drawn, scores }, verdicts, file: file.path, prompts })
    }

    /// Says that prompts are not read, where there are some and nobody does: no class stands for them, and they are not `read` as texts.
    pub fn note_unread(&self, (subject, read): (&Subject, bool), context: &mut Context) {
        let count = self.prompts.iter().filter(|prompt| !prompt.is_empty()).count() / 2;
        if count > 0 && subject.classes.is_empty() && !read {
            context.note(format!("{}: {count} prompts are not read: nothing here asks for them", self.file.display()));
        }
    }

    /// Which of each pair is preferred along all axes: the sum of their weights for the first less those for the second.
    pub fn preferred(&self, weights: &[f64]) -> Vec<Verdict> {
        let sum = |said: &[Verdict]| -> f64 {
            said.iter().zip(weights).map(|(said, weight)| weight * f64::from(said.sign().unwrap_or(0))).sum()
        };
        // 0.1 + 0.2 - 0.3 is nobody's opinion.
        let rounding = 1e-9 * weights.iter().map(|weight| weight.abs()).sum::<f64>();
        self.verdicts.chunks(weights.len()).map(|said| Verdict::of(sum(said), 0.0, rounding)).collect()
    }

    /// For reports.
    pub fn label(&self) -> String {
        format!("people ({})", self.file.display())
    }
}

#[cfg(test)]
mod tests {
    use super::super::pair_samples::class_of;
    use super::*;
    use crate::context::Event;
    use base::NULL_CLASS;

    #[test]
    fn axes_are_weighed_and_prompts_are_classes() {
        use Verdict::{First, Invalid, Second, Tie};
        let drawn = Drawn::given(vec![0.0; 8], [1], vec![0; 8]);
        let scores = Scores { axes: vec!["VQ".into(), "MQ".into()], values: Vec::new() };
        let verdicts = vec![First, Second, /**/ Tie, Second, /**/ Invalid, First, /**/ Tie, Invalid];
        let people =
            People { candidates: Candidates { drawn, scores }, verdicts, file: "p.csv".into(), prompts: Vec::new() };
        assert_eq!(people.preferred(&[1.0, 0.5]), [First, Second, First, Tie]);
        assert_eq!(people.preferred(&[0.0, 1.0]), [Second, Second, First, Tie]);
        let three = People { verdicts: vec![First, First, Second], ..people };
        assert_eq!(three.preferred(&[0.1, 0.2, 0.3]), [Tie], "no more than rounding");
        let classes = ["Bag".to_string(), "Dress".to_string()];
        assert_eq!(class_of("dress", &classes), Ok(1));
        assert_eq!((class_of("0", &classes), class_of("", &classes)), (Ok(0), Ok(NULL_CLASS)));
        assert!(class_of("cat", &classes).unwrap_err().contains("Bag, Dress"));
        assert_eq!(class_of("cat", &[]), Ok(NULL_CLASS));
    }

    fn subject(shape: &[usize]) -> Subject {
        let classes = vec!["Bag".to_string(), "Dress".to_string()];
        let shape = base::Shape::new(shape).unwrap();
        Subject { stage: "base".into(), shape, classes, data: "d".into(), codec: None, encoder: None }
    }

    /// A clip of `values`, one grey a frame, 4x4, each shown for so many milliseconds.
    fn film(values: &[u8], milliseconds: u16) -> Vec<u8> {
        let frame = |v: &u8| media::Bitmap { pixels: vec![*v; 48], height: 4, width: 4, channels: 3 };
        media::animation::encode(&values.iter().map(frame).collect::<Vec<_>>(), milliseconds, milliseconds).unwrap()
    }

    /// What was read, and the lines that were told.
    fn read(rows: &str, skip: bool, shape: &[usize]) -> (Result<People, Error>, String) {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("slow.png"), film(&[0, 50, 100, 150], 125)).unwrap();
        std::fs::write(at("fast.png"), film(&[0, 60, 110, 160, 220, 230, 240], 40)).unwrap();
        std::fs::write(at("short.png"), film(&[1, 2], 125)).unwrap();
        std::fs::write(at("broken.png"), &film(&[1, 2, 3, 4], 125)[..90]).unwrap();
        std::fs::write(at("p.csv"), format!("path_A,path_B,prompt,VQ,MQ,fps_A,fps_B\n{rows}")).unwrap();
        let request = PeopleRequest { file: at("p.csv"), axes: None, skip };
        let told = std::cell::RefCell::new(String::new());
        let mut context = Context::new(crate::device::Chosen::cpu(), Default::default(), |event| {
            if let Event::Note(line) = event {
                *told.borrow_mut() += &format!("{line}\n");
            }
        });
        let found = People::read(&request, (&subject(shape), true), 3, &mut context);
        drop(context);
        (found, told.into_inner())
    }

    /// Mutants: frames of a long clip taken from its beginning; a verdict that stays with its place when pairs are drawn in another order.
    #[test]
    fn clips_become_candidates_and_speeds_are_told() {
        let rows = "slow.png,fast.png,Bag,A,same,8,\nfast.png,slow.png,dress,B,A,,\n";
        let (people, told) = read(rows, false, &[4, 4, 4]);
        let people = people.unwrap();
        let at = people.candidates.drawn.classes.iter().position(|class| *class == 0).unwrap();
        let (first, second) = (people.candidates.row(at), people.candidates.row(at + 1));
        let levels = |row: &[f32]| row.chunks(16).map(|frame| data::denormalize(frame[0])).collect::<Vec<u8>>();
        assert_eq!((levels(first), levels(second)), (vec![0, 50, 100, 150], vec![0, 110, 220, 240]));
        assert_eq!(people.verdicts[at..at + 2], [Verdict::First, Verdict::Tie]);
        assert_eq!(people.candidates.drawn.classes.len(), 4);
        assert!(people.candidates.scores.is_empty());
        for line in [
            "2 rows, 2 pairs of 2 samples: VQ 1 A, 1 B, 0 same, 0 invalid; MQ 1 A, 0 B, 1 same",
            "pairs of clips at different frames to a second (2, the first line 2: 8.000 and 25.000)",
            "clips of several lengths (1 of 4, 1 of 7 frames)",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        assert!(!told.contains("every time"), "{told}");
        let (_, told) = read("slow.png,fast.png,Bag,A,A,30,\nfast.png,slow.png,Dress,A,A,,\n", false, &[4, 4, 4]);
        assert!(told.contains("themselves contradict (1, the first line 2 says 30 for 8.000)"), "{told}");
        let (_, told) = read("slow.png,fast.png,Bag,A,B,,\nfast.png,slow.png,Dress,A,A,,\n", false, &[4, 4, 4]);
        assert!(told.contains("VQ says A every time") && !told.contains("MQ says"), "{told}");
    }

    #[test]
    fn what_cannot_be_used_is_refused_or_counted() {
        let rows = "slow.png,fast.png,Bag,A,A,,\nslow.png,gone.png,Bag,A,A,,\nslow.png,broken.png,Bag,A,A,,\n\
                    slow.png,short.png,Bag,A,A,,\nslow.png,fast.png,cat,A,B,,\n";
        let (refused, _) = read(rows, false, &[4, 4, 4]);
        let said = refused.err().unwrap().to_string();
        assert!(said.contains("line 3: ") && said.contains("gone.png") && said.contains("4 of 5 pairs"), "{said}");
        let (people, told) = read(rows, true, &[4, 4, 4]);
        assert_eq!(people.unwrap().candidates.pairs(), 1);
        assert!(told.contains("4 of 5 pairs are left out, the first: line 3"), "{told}");
        assert!(told.contains("VQ 1 A, 0 B"), "of the pairs that are used: {told}");
        let (refused, _) = read("slow.png,short.png,Bag,A,A,,\n", true, &[4, 4, 4]);
        assert!(refused.err().unwrap().to_string().contains("2 frames, and 4 are wanted"));
        let (refused, _) = read("slow.png,fast.png,cat,A,A,,\n", false, &[4, 4, 4]);
        assert!(refused.err().unwrap().to_string().contains("no class of this model; there are Bag, Dress"));
    }
}
