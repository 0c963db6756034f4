//! Papers that the methods here rest on: whoever names a method in a file says its paper there, as a value, and `rectiflow cite` collects.
//!
//! A paper stands in the file of the method it brought. Those that methods of several rooms rest on stand here, below all of them.

/// A paper: its BibTeX key and what a bibliography needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    /// BibTeX key.
    pub key: &'static str,
    /// Authors, in BibTeX's form.
    pub authors: &'static str,
    /// Title.
    pub title: &'static str,
    /// Year of the first version.
    pub year: u16,
    /// Number on arXiv.
    pub arxiv: Option<&'static str>,
    /// Where it appeared; a page where it appeared nowhere.
    pub venue: &'static str,
}

impl Paper {
    /// One on arXiv.
    pub const fn arxiv(
        key: &'static str,
        authors: &'static str,
        title: &'static str,
        (year, number): (u16, &'static str),
        venue: &'static str,
    ) -> Self {
        Self { key, authors, title, year, arxiv: Some(number), venue }
    }

    /// One that is not.
    pub const fn printed(
        key: &'static str,
        authors: &'static str,
        title: &'static str,
        year: u16,
        venue: &'static str,
    ) -> Self {
        Self { key, authors, title, year, arxiv: None, venue }
    }

    /// The entry.
    pub fn bibtex(&self) -> String {
        let Self { key, authors, title, year, venue, .. } = self;
        let page = venue.starts_with("https://");
        let kind = if self.arxiv.is_some() || page { "misc" } else { "article" };
        let place = match self.arxiv {
            Some(id) => format!("  eprint = {{{id}}},\n  archivePrefix = {{arXiv}},\n  note = {{{venue}}},\n"),
            None if page => format!("  howpublished = {{\\url{{{venue}}}}},\n"),
            None => format!("  journal = {{{venue}}},\n"),
        };
        format!(
            "@{kind}{{{key},\n  author = {{{authors}}},\n  title = {{{{{title}}}}},\n  year = {{{year}}},\n{place}}}\n"
        )
    }
}

/// Denoising Diffusion Probabilistic Models.
pub const DDPM: Paper = Paper::arxiv(
    "ho2020denoising",
    "Ho, Jonathan and Jain, Ajay and Abbeel, Pieter",
    "Denoising Diffusion Probabilistic Models",
    (2020, "2006.11239"),
    "NeurIPS 2020",
);

/// Scaling Rectified Flow Transformers for High-Resolution Image Synthesis.
pub const SD3: Paper = Paper::arxiv(
    "esser2024scaling",
    "Esser, Patrick and Kulal, Sumith and Blattmann, Andreas and others",
    "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis",
    (2024, "2403.03206"),
    "ICML 2024",
);
