//! What a reader finds beside the samples and does not use. Nothing is left out silently: whatever is, is counted and named here.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Things of one kind that were found and not used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What they are: "files that are no images".
    pub what: String,
    /// How many.
    pub count: usize,
    /// Names of the first of them.
    pub first: Vec<String>,
    /// Why they are not used, and what to do to have them used.
    pub why: String,
}

/// How many of a kind are named.
const NAMED: usize = 5;

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = if self.count > self.first.len() { ", ..." } else { "" };
        write!(f, "{} {} ({}{more}): {}", self.count, self.what, self.first.join(", "), self.why)
    }
}

/// The list that a reader fills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found(Vec<LeftOut>);

impl Found {
    /// One more thing `name` of the kind `what`, not used because of `why`.
    pub(crate) fn note(&mut self, what: &str, name: impl Into<String>, why: &str) {
        self.count(what, 1, name, why);
    }

    /// `count` things of which `name` is the first.
    pub(crate) fn count(&mut self, what: &str, count: usize, name: impl Into<String>, why: &str) {
        let place = match self.0.iter().position(|kind| kind.what == what && kind.why == why) {
            Some(place) => place,
            None => {
                self.0.push(LeftOut { what: what.into(), count: 0, first: Vec::new(), why: why.into() });
                self.0.len() - 1
            }
        };
        let kind = &mut self.0[place];
        kind.count += count;
        if kind.first.len() < NAMED {
            kind.first.push(name.into());
        }
    }

    /// What another reader found besides.
    pub(crate) fn extend(&mut self, other: Self) {
        for kind in other.0 {
            match self.0.iter_mut().find(|known| known.what == kind.what && known.why == kind.why) {
                Some(known) => {
                    known.count += kind.count;
                    let room = NAMED.saturating_sub(known.first.len());
                    known.first.extend(kind.first.into_iter().take(room));
                }
                None => self.0.push(kind),
            }
        }
    }

    /// `; beside it: ...`, to end the message of an empty set with; nothing where nothing was found.
    pub(crate) fn told(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        format!("; not used: {}", self.0.iter().map(LeftOut::to_string).collect::<Vec<_>>().join("; "))
    }

    pub(crate) fn into_list(self) -> Vec<LeftOut> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_the_first_are_named() {
        let mut found = Found::default();
        (0..7).for_each(|i| found.note("files that are no images", format!("{i}.md"), "not read"));
        found.note("archives", "a.zip", "unpack them");
        let mut more = Found::default();
        more.count("files that are no images", 3, "x", "not read");
        found.extend(more);
        let list = found.into_list();
        assert_eq!((list.len(), list[0].count, list[0].first.len()), (2, 10, 5));
        assert_eq!(list[1].to_string(), "1 archives (a.zip): unpack them");
        assert!(list[0].to_string().contains("4.md, ...)"));
    }
}
