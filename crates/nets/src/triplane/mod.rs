//! A reconstruction model: views of an object to three planes of features, any point of them to density and colour, and along rays
//! to pictures again. The encoder and decoder of TriFlow (Wizadwongsa et al. 2024, arXiv:2501.00651), whose own is InstantMesh.

mod lrm;
mod planes;
mod render;

pub use lrm::{Lrm, LrmConfig};
pub use planes::{AXES, PLANES, Places, PlaneField, Said, sample};
pub use render::{Rendered, render};
