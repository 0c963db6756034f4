//! Attention layers by number and by name, so that somebody can say which of them share what they know.

use crate::Error;
use std::ops::Range;

/// A network's attention layers, in the order of a forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layers {
    /// Their names, `kind.number` where there are several kinds.
    pub names: Vec<String>,
    /// Those that share where nobody says otherwise.
    pub usual: Range<usize>,
}

impl Layers {
    /// So many layers of one kind, of which the second half shares.
    pub fn numbered(count: usize) -> Self {
        Self { names: (0..count).map(|i| i.to_string()).collect(), usual: count / 2..count }
    }

    /// The layers that `text` names: `2..6` by number in a pass, or `single.20..38` by the number among their kind.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else, and layers that there are not.
    pub fn chosen(&self, text: &str) -> Result<Range<usize>, Error> {
        let form = || {
            Error::Usage(format!(
                "--blocks {text}: give the first layer and the one after the last, as in 2..6{}",
                self.kinds()
            ))
        };
        let (first, end) = text.split_once("..").map(|(a, b)| (a.trim(), b.trim())).ok_or_else(form)?;
        let (kind, first) = first.rsplit_once('.').map_or(("", first), |(kind, first)| (kind, first));
        let end = end.strip_prefix(kind).map_or(end, |rest| rest.trim_start_matches('.'));
        let (Ok(first), Ok(end)) = (first.parse::<usize>(), end.parse::<usize>()) else { return Err(form()) };
        if first >= end {
            return Err(form());
        }
        if kind.is_empty() {
            return self.within(first..end, text);
        }
        let place = |number: usize| self.names.iter().position(|name| *name == format!("{kind}.{number}"));
        match (place(first), place(end - 1)) {
            (Some(first), Some(last)) => Ok(first..last + 1),
            _ => Err(self.absent(text)),
        }
    }

    /// `range`, which must be of layers that there are.
    fn within(&self, range: Range<usize>, text: &str) -> Result<Range<usize>, Error> {
        if range.end > self.names.len() { Err(self.absent(text)) } else { Ok(range) }
    }

    fn absent(&self, text: &str) -> Error {
        let count = self.names.len();
        Error::Usage(format!(
            "--blocks {text}: this network has {count} attention layers{}{}",
            self.kinds(),
            without(count)
        ))
    }

    /// What they are called, where they have kinds.
    fn kinds(&self) -> String {
        let named = |name: &&String| name.contains('.');
        match (self.names.iter().find(named), self.names.iter().rfind(named)) {
            (Some(first), Some(last)) => format!(" ({first} to {last})"),
            _ => String::new(),
        }
    }
}

/// What there is left to do without attention.
pub(crate) fn without(count: usize) -> &'static str {
    if count == 0 { ", so that RF-Edit has nothing to share; use flow-edit or inversion" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: numbers of a kind read as numbers of a pass; the end taken for the last.
    #[test]
    fn layers_are_chosen_by_number_and_by_kind() {
        let kinds = |kind: &str, n: usize| (0..n).map(|i| format!("{kind}.{i}")).collect::<Vec<_>>();
        let flux = Layers { names: [kinds("double", 19), kinds("single", 38)].concat(), usual: 39..57 };
        assert_eq!(flux.chosen("single.20..38").unwrap(), 39..57);
        assert_eq!(flux.chosen("single.20..single.38").unwrap(), 39..57);
        assert_eq!(flux.chosen("double.3..19").unwrap(), 3..19);
        assert_eq!(flux.chosen("39..57").unwrap(), 39..57);
        assert_eq!(
            Layers::numbered(5),
            Layers { names: ["0", "1", "2", "3", "4"].map(String::from).into(), usual: 2..5 }
        );
        for text in ["single.20..39", "middle.1..2", "0..58", "3", "5..5", "a..b", "single.2..1", ""] {
            let error = flux.chosen(text).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains(&format!("--blocks {text}:")), "{error}");
        }
        assert!(flux.chosen("0..58").unwrap_err().to_string().contains("double.0 to single.37"));
        assert!(Layers::numbered(0).chosen("0..1").unwrap_err().to_string().contains("flow-edit"));
    }
}
