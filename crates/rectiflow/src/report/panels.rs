//! A small page of panels: a heading, a picture and a sentence each. It needs no other file.

use super::viewer;
use base64::Engine;
use maud::{DOCTYPE, PreEscaped, html};

/// One picture of a page.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above the picture.
    pub heading: String,
    /// Below it.
    pub text: String,
    /// The picture, as SVG or an `img` element.
    pub body: String,
}

/// The bytes of a PNG file as an `img` element.
pub fn image(png: &[u8], about: &str) -> String {
    let source = format!("data:image/png;base64,{}", base64::engine::general_purpose::STANDARD.encode(png));
    html! { img src=(source) alt=(about); }.into_string()
}

const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1d2030; --paper: #fbfbfd; --soft: #6b7086; --card: #ffffff; --edge: #e4e6ef }\
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaf4; --paper: #0e101a; --soft: #969bb3; --card: #161926; --edge: #262a3c } }\
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1120px; margin: 0 auto; padding: 32px 20px }\
h1 { font-size: 28px; letter-spacing: -0.01em } h2 { font-size: 17px; margin: 0 0 8px } p { color: var(--soft); margin: 8px 0 0; font-size: 14px }\
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 18px }\
.panel { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 16px }\
.wide { grid-column: 1 / -1 } img, svg { width: 100%; height: auto; border-radius: 8px; display: block }\
table { border-collapse: collapse; font-size: 14px } th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--edge) }\
.legend span { margin-right: 14px; font-size: 13px; color: var(--soft) } .dot { display: inline-block; width: 9px; height: 9px; border-radius: 50%; margin-right: 5px }\
canvas.mesh { width: 100%; aspect-ratio: 1; display: block; cursor: grab; touch-action: pan-y } canvas.mesh:focus-visible { outline: 2px solid var(--soft) }\
figcaption { font-size: 12px; color: var(--soft) } [data-wide] { overflow-x: auto } pre { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 16px; overflow-x: auto; font-size: 13px }";

/// The page: `title`, the panels, and `figures` as they are printed.
pub fn page(title: &str, figures: &str, panels: &[Panel]) -> String {
    let wide = |panel: &Panel| panel.body.contains("data-wide");
    let turning = panels.iter().find_map(|panel| viewer::script(&panel.body));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                div class="panels" {
                    @for panel in panels {
                        div class=(if wide(panel) { "panel wide" } else { "panel" }) {
                            h2 { (panel.heading) }
                            (PreEscaped(&panel.body))
                            p { (panel.text) }
                        }
                    }
                }
                pre { (figures) }
                @if let Some(script) = turning { (script) }
            }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_pictures_are_not() {
        let panel = Panel { heading: "a < b".into(), text: "x & y".into(), body: image(b"png", "\"quoted\"") };
        let page = page("T <1>", "1 < 2", &[panel]);
        assert!(page.contains("a &lt; b") && page.contains("x &amp; y") && page.contains("T &lt;1&gt;"));
        assert!(page.contains("<img src=\"data:image/png;base64,cG5n\" alt=\"&quot;quoted&quot;\">"));
        assert!(!page.contains("http"), "no other file is needed");
    }
}
