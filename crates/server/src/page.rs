//! A page: one file with all that it needs, so that it works where nothing else can be reached. Colours and buttons are the house's.

use crate::http::Reply;
use base64::{Engine, prelude::BASE64_STANDARD};
use rectiflow::report::viewer;
use sha2::{Digest, Sha256};

/// What all pages look like; it stands where a page's style says so.
const HOUSE: &str = include_str!("house.css");
const PLACE: &str = "/* house */";
/// Where the viewer of meshes stands in the script of a page that has one.
const VIEWER: &str = "/* viewer */";

/// A page, and what browsers may do with it.
pub struct Page {
    html: String,
    policy: String,
}

impl Page {
    /// The page's own script and style are let run, known by their digests, and nothing else.
    pub fn new(html: &str) -> Self {
        let html = html.replacen(PLACE, HOUSE, 1).replacen(VIEWER, viewer::SCRIPT, 1);
        let digest = |tag: &str| {
            let inside = between(&html, &format!("<{tag}>"), &format!("</{tag}>"));
            format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(inside.as_bytes())))
        };
        let (script, style) = (digest("script"), digest("style"));
        let policy = format!(
            "default-src 'none'; script-src {script}; style-src {style}; img-src 'self' data:; media-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html, policy }
    }

    /// As an answer.
    pub fn reply(&self) -> Reply {
        Reply::new(200, "text/html; charset=utf-8", self.html.as_str()).with("Content-Security-Policy", &self.policy)
    }
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> &'a str {
    let inside = text.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    inside.map_or("", |(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the page needed from elsewhere would be missing offline.
    #[test]
    fn pages_stand_alone() {
        for page in [include_str!("page.html"), include_str!("label/page.html")] {
            assert_eq!(page.matches(PLACE).count(), 1);
            let html = Page::new(page).html;
            assert!(!html.contains(PLACE) && !html.contains(VIEWER));
            for tag in ["script", "style"] {
                assert!(!between(&html, &format!("<{tag}>"), &format!("</{tag}>")).is_empty());
                assert_eq!(html.matches(&format!("<{tag}")).count(), 1);
            }
            for outside in ["http://", "https://", "@import", "src=\"/", " onclick", " style=\""] {
                assert!(!html.contains(outside), "{outside}");
            }
        }
    }
}
