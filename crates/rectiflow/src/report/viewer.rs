//! Meshes that whoever reads a page may turn: the viewer's script, and a mesh inside the page. It needs no network and no other file.

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{Markup, PreEscaped, html};

/// The script: `meshes.show(canvas, bytes)`. It goes into a page's only once.
pub const SCRIPT: &str = include_str!("viewer.js");

/// Shows each canvas of a page its own mesh.
const BEGIN: &str = "for (const canvas of document.querySelectorAll(\"canvas[data-glb]\")) \
    meshes.show(canvas, Uint8Array.from(atob(canvas.dataset.glb), (byte) => byte.charCodeAt(0)).buffer);";

/// The bytes of a .glb file as an element to turn; `about` says what it is.
pub(super) fn canvas(glb: &[u8], about: &str) -> Markup {
    html! { canvas class="mesh" aria-label=(about) data-glb=(STANDARD.encode(glb)) {} }
}

/// What makes the canvases of a page turn, behind all of them; nothing for a page without any.
pub(super) fn script(page: &str) -> Option<Markup> {
    page.contains("data-glb").then(|| html! { script { (PreEscaped(SCRIPT)) (PreEscaped(BEGIN)) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a script that ends early or asks for another file; one in a page that has no mesh.
    #[test]
    fn the_script_stands_alone_behind_meshes() {
        for outside in ["</", "http", "import ", "fetch(", "eval("] {
            assert!(!SCRIPT.contains(outside) && !BEGIN.contains(outside), "{outside}");
        }
        let page = canvas(b"glTF", "a \"chair\"").into_string();
        assert_eq!(page, "<canvas class=\"mesh\" aria-label=\"a &quot;chair&quot;\" data-glb=\"Z2xURg==\"></canvas>");
        assert!(script(&page).is_some_and(|script| script.into_string().contains("meshes.show(canvas")));
        assert!(script("<p>nothing to turn</p>").is_none());
    }
}
