//! Released networks as single files: the names their authors give, and diffusers' names for the same tensors.
//!
//! A [`Layout`] is told from a file's names alone; its [`Map`] says line by line which tensor, or which rows of one, stands under
//! which of diffusers' names, so that one table serves reading and writing. What the shapes say of a configuration is read off in
//! [`shapes`].

mod flux;
mod ldm;
mod sd3;
pub mod shapes;

pub use ldm::autoencoder;

use crate::NetsError;
use crate::weights::{Part, Renamed, TensorSource};
use std::collections::{BTreeMap, BTreeSet};

/// How one stored tensor holds those of diffusers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// One, as it is.
    Same,
    /// One, whose halves of rows stand in the other order: (shift, scale) here, (scale, shift) there.
    Swapped,
    /// One, a matrix there and a 1x1 convolution here.
    Kernel,
    /// Several, row under row, so many parts each.
    Rows(&'static [usize]),
}

/// One line of a map. Names that end in a dot are beginnings of names, whose ends are the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// In the single file.
    pub single: String,
    /// diffusers'.
    pub diffusers: Vec<String>,
    /// How the one holds the others.
    pub how: How,
}

impl Line {
    fn new(single: impl Into<String>, diffusers: impl Into<String>) -> Self {
        Self { single: single.into(), diffusers: vec![diffusers.into()], how: How::Same }
    }

    fn swapped(self) -> Self {
        Self { how: How::Swapped, ..self }
    }

    fn kernel(self) -> Self {
        Self { how: How::Kernel, ..self }
    }

    /// `single` is the tensors `names` of diffusers under `place`, row under row.
    fn rows(single: impl Into<String>, place: &str, names: &[&str], parts: &'static [usize]) -> Self {
        let diffusers = names.iter().map(|name| format!("{place}{name}.")).collect();
        Self { single: single.into(), diffusers, how: How::Rows(parts) }
    }
}

/// A layout of single files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Stable Diffusion 3 and 3.5 under Stability's names.
    Sd3,
    /// FLUX under Black Forest Labs' names.
    Flux,
    /// The U-Net of Stable Diffusion 1 and 2 under latent diffusion's names.
    Unet,
}

impl Layout {
    /// What a network with tensors of these names is, its prefix taken off.
    pub fn of(names: &BTreeSet<String>) -> Option<Self> {
        let has = |name: &str| names.contains(name);
        if has("joint_blocks.0.x_block.attn.qkv.weight") {
            return Some(Self::Sd3);
        }
        if has("double_blocks.0.img_attn.qkv.weight") {
            return Some(Self::Flux);
        }
        (has("input_blocks.0.0.weight") && has("middle_block.0.in_layers.0.weight")).then_some(Self::Unet)
    }

    /// The map of a network with tensors of these names in the single file.
    pub fn map(self, names: &BTreeSet<String>) -> Map {
        Map::new(match self {
            Self::Sd3 => sd3::lines(count(names, "joint_blocks.")),
            Self::Flux => flux::lines(count(names, "double_blocks."), count(names, "single_blocks.")),
            Self::Unet => ldm::unet(ldm::Levels::of_single(names)),
        })
    }

    /// The map of a network with tensors of these names in diffusers.
    pub fn map_back(self, names: &BTreeSet<String>) -> Map {
        Map::new(match self {
            Self::Sd3 => sd3::lines(count(names, "transformer_blocks.")),
            Self::Flux => flux::lines(count(names, "transformer_blocks."), count(names, "single_transformer_blocks.")),
            Self::Unet => ldm::unet(ldm::Levels::of_diffusers(names)),
        })
    }
}

/// How many numbered things stand under `place`, from 0 up to the first number that is missing. So there are never more than names, whatever
/// numbers a file says; what stands behind a gap belongs to nothing.
pub fn count(names: &BTreeSet<String>, place: &str) -> usize {
    let number = |name: &String| name.strip_prefix(place)?.split('.').next()?.parse::<usize>().ok();
    let numbers: BTreeSet<usize> = names.iter().filter_map(number).collect();
    numbers.iter().enumerate().take_while(|(i, number)| i == *number).count()
}

/// A tensor's name in diffusers today, which renamed an autoencoder's attention.
pub fn modern(name: &str) -> String {
    let old = [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];
    match name.contains(".attentions.") {
        true => old.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new)),
        false => name.to_owned(),
    }
}

/// The lines of a layout.
#[derive(Clone, Debug)]
pub struct Map {
    lines: BTreeMap<String, Line>,
}

impl Map {
    /// Lines of any number.
    pub fn new(lines: Vec<Line>) -> Self {
        Self { lines: lines.into_iter().map(|line| (line.single.clone(), line)).collect() }
    }

    /// The line of a name, and what of the name stands behind the line's.
    fn line<'a>(&self, name: &'a str) -> Option<(&Line, &'a str)> {
        if let Some(line) = self.lines.get(name) {
            return Some((line, ""));
        }
        let dots = name.rmatch_indices('.').map(|(at, _)| at + 1);
        dots.filter_map(|at| Some((self.lines.get(&name[..at])?, &name[at..]))).next()
    }

    /// Whether a line speaks of the tensor `name` of the single file.
    pub fn knows(&self, name: &str) -> bool {
        self.line(name).is_some()
    }

    /// What the tensor `name` of the single file holds, under diffusers' names; a name that no line knows stays.
    pub fn parts(&self, name: &str) -> Vec<(String, Part)> {
        let Some((line, rest)) = self.line(name) else { return vec![(name.to_owned(), Part::Whole)] };
        let full = |name: &String| format!("{name}{rest}");
        match line.how {
            How::Same => vec![(full(&line.diffusers[0]), Part::Whole)],
            How::Swapped => vec![(full(&line.diffusers[0]), Part::Swapped)],
            How::Kernel => vec![(full(&line.diffusers[0]), Part::Matrix)],
            How::Rows(parts) => {
                let of = parts.iter().sum();
                let mut first = 0;
                let part = |(name, count): (&String, &usize)| {
                    first += count;
                    (full(name), Part::Rows { first: first - count, count: *count, of })
                };
                line.diffusers.iter().zip(parts).map(part).collect()
            }
        }
    }

    /// The single file's tensors made of those with diffusers' `names`: each with the names it holds and how. What no line knows, or
    /// lacks a companion, comes back beside them.
    pub fn joined(&self, names: &BTreeSet<String>) -> (Vec<Line>, Vec<String>) {
        let mut back: BTreeMap<&str, &Line> = BTreeMap::new();
        for line in self.lines.values() {
            back.insert(line.diffusers[0].as_str(), line);
        }
        let mut used = BTreeSet::new();
        let mut joined = Vec::new();
        for name in names {
            let ends = std::iter::once(name.len()).chain(name.rmatch_indices('.').map(|(at, _)| at + 1));
            let Some((line, rest)) = ends.filter_map(|at| Some((*back.get(&name[..at])?, &name[at..]))).next() else {
                continue;
            };
            let full = |name: &String| format!("{name}{rest}");
            let diffusers: Vec<String> = line.diffusers.iter().map(full).collect();
            if diffusers.iter().all(|name| names.contains(name)) {
                used.extend(diffusers.iter().cloned());
                joined.push(Line { single: full(&line.single), diffusers, how: line.how });
            }
        }
        let left = names.iter().filter(|name| !used.contains(*name)).cloned().collect();
        (joined, left)
    }

    /// A single file's tensors under diffusers' names.
    ///
    /// # Errors
    /// [`NetsError::Tensor`] where two stored tensors claim one name.
    pub fn apply<'a, S: TensorSource + ?Sized>(&self, source: &'a S) -> Result<Renamed<'a, S>, NetsError> {
        Renamed::new(source, |name| self.parts(name))
    }
}

#[cfg(test)]
mod tests;
