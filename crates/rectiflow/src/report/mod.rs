//! The report of a run: one self-contained page for eyes, `summary.json` with the same figures for scripts.

mod charts;
mod page;
pub mod page_of_run;
pub mod panels;
pub mod plot;
mod record;
mod runs;
pub mod summary;
pub mod viewer;
pub(crate) mod words;

pub use record::Record;
pub use runs::render as page_of_runs;
pub use summary::{Distance, Figures, Guided, Stage, Straightness, Summary};

use crate::Error;
use std::path::{Path, PathBuf};

/// Loss against training samples of one stage.
#[derive(Clone, Debug, Default)]
pub struct Curve {
    /// The stage.
    pub stage: String,
    /// `(images seen, training loss)`.
    pub training: Vec<(f64, f64)>,
    /// `(images seen, validation loss)`.
    pub validation: Vec<(f64, f64)>,
}

/// A sheet of samples of one stage at one number of function evaluations; the same seeds stand at the same places of
/// every sheet.
#[derive(Clone, Debug)]
pub struct Sheet {
    /// The stage.
    pub stage: String,
    /// Function evaluations per sample.
    pub nfe: u32,
    /// The sheet as the bytes of a PNG file.
    pub png: Vec<u8>,
}

/// Everything the page shows.
#[derive(Clone, Debug)]
pub struct Report {
    /// The heading.
    pub title: String,
    /// The figures.
    pub summary: Summary,
    /// `(title, TOML)` of each resolved recipe.
    pub recipes: Vec<(String, String)>,
    /// Loss curves, a stage each.
    pub curves: Vec<Curve>,
    /// Sample sheets.
    pub sheets: Vec<Sheet>,
}

impl Report {
    /// The page. It needs no network and no other file.
    pub fn html(&self) -> String {
        page::render(self)
    }

    /// Writes `report.html` and `summary.json` into `folder` and returns the page's path.
    ///
    /// # Errors
    /// Where the folder cannot be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, Error> {
        let json = serde_json::to_string_pretty(&self.summary).expect("figures and strings are always JSON");
        media::atomic::write(&folder.join("summary.json"), json.as_bytes())?;
        let page = folder.join("report.html");
        media::atomic::write(&page, self.html().as_bytes())?;
        Ok(page)
    }
}
