//! One self-contained page of a restoration: what was done, the pictures side by side, the figures, the command.

use super::Figures;
use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{DOCTYPE, PreEscaped, html};

/// What the page shows.
pub struct Page<'a> {
    /// The task in words.
    pub task: &'a str,
    /// The model's file.
    pub model: &'a str,
    /// The pictures' set and their number.
    pub pictures: (&'a str, usize),
    /// Headings of the sheet's columns.
    pub columns: &'a [String],
    /// The sheet as the bytes of a PNG.
    pub sheet: &'a [u8],
    /// A row per method.
    pub rows: &'a [Figures],
    /// Name of the perceptual distance.
    pub distance: Option<&'a str>,
    /// How it was made.
    pub command: &'a str,
}

impl Page<'_> {
    /// As HTML, in need of no network.
    pub fn html(&self) -> String {
        let number = |v: Option<f64>, digits: usize| v.map_or("–".into(), |v| format!("{v:.digits$}"));
        let best = |of: &dyn Fn(&Figures) -> Option<f64>, sign: f64| {
            self.rows[1.min(self.rows.len())..]
                .iter()
                .filter_map(of)
                .map(|v| v * sign)
                .fold(f64::NEG_INFINITY, f64::max)
        };
        let (psnr, ssim) = (best(&|r| r.psnr, 1.0), best(&|r| r.ssim, 1.0));
        let lpips = best(&|r| r.lpips, -1.0);
        let (set, count) = self.pictures;
        let layout = format!("grid-template-columns: repeat({}, 1fr)", self.columns.len());
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    title { "Restored: " (self.task) }
                    link rel="icon" href="data:,";
                    style { (PreEscaped(include_str!("../report/style.css"))) }
                }
                body { main {
                    header {
                        h1 { "Restored" }
                        p.lede { (self.task) }
                        p.quiet { (count) " pictures of " (set) ", by " (self.model) }
                    }
                    h2 { "Side by side" }
                    div.card.scroll {
                        div style=(format!("display: grid; {layout}; text-align: center")) {
                            @for column in self.columns { span { (column) } }
                        }
                        img style="width: 100%; image-rendering: pixelated" alt="Degraded, restored and original pictures"
                            src=(format!("data:image/png;base64,{}", STANDARD.encode(self.sheet)));
                    }
                    h2 { "Figures" }
                    p.note { "Means over the pictures. Higher is better for PSNR and SSIM, lower for LPIPS "
                        @if let Some(distance) = self.distance { "(" (distance) ")" } @else { "(its weights are not here)" }
                        "; the best method is marked. NFE: evaluations of the network per picture; backward: how many of them "
                        "were differentiated. The residual says how well a picture fits what was known." }
                    div.card.scroll { table {
                        thead { tr { th { "Method" } th { "PSNR dB" } th { "± s.e." } th { "Hole" } th { "SSIM" } th { "LPIPS" }
                            th { "Residual" } th { "NFE" } th { "Backward" } th { "ms / picture" } } }
                        tbody { @for row in self.rows { tr {
                            td { (row.method) }
                            td.best[row.psnr == Some(psnr)] { (number(row.psnr, 2)) }
                            td { (number(row.psnr_error, 2)) }
                            td { (number(row.psnr_hole, 2)) }
                            td.best[row.ssim == Some(ssim)] { (number(row.ssim, 4)) }
                            td.best[row.lpips == Some(-lpips)] { (number(row.lpips, 4)) }
                            td { (format!("{:.1e}", row.residual)) }
                            td { (row.nfe) } td { (row.differentiated) }
                            td { (format!("{:.1}", 1e3 * row.seconds / count.max(1) as f64)) }
                        } } }
                    } }
                    h2 { "Make it again" }
                    pre { (self.command) }
                    footer { "Written by rectiflow " (env!("CARGO_PKG_VERSION")) ". The same figures for scripts: "
                        code { "metrics.json" } " beside this page." }
                } }
            }
        };
        page.into_string()
    }
}
