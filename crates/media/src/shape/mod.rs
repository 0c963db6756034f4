//! Shapes: triangle meshes from and to files, their distance, samples, extraction from a field, and pictures of them.
//!
//! Host numbers only, like everything in this crate; y points up, faces are seen counter-clockwise from outside, a signed distance
//! is negative inside.
//!
//! ```
//! use media::shape::{self, Lattice, SignedDistance, extract};
//! let mesh = shape::mesh::cuboid([-0.5; 3], [0.5; 3]);
//! let distance = SignedDistance::new(&mesh).expect("a box has faces");
//! assert!((distance.at([0.0, 0.0, 0.4]) + 0.1).abs() < 1e-12);
//! let again = extract::dense(Lattice::cube(1.0, 16), &mut |points| Ok::<_, std::convert::Infallible>(distance.of(points)))?;
//! assert!(shape::repair::condition(&again.mesh).watertight);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod boundary;
pub mod bvh;
pub mod collection;
pub mod colour;
pub mod distance;
pub mod extract;
pub mod framed;
pub mod mesh;
pub mod polygon;
pub mod read;
pub mod record;
pub mod render;
pub mod repair;
pub mod sample;
pub mod solid;
pub mod triangulate;
pub mod vector;
pub mod views;
pub mod write;

pub use collection::{Collection, Entry};
pub use distance::SignedDistance;
pub use extract::{Extracted, Lattice, Octree};
pub use mesh::Mesh;
pub use read::{Loaded, ldraw::Library};
pub use render::View;
pub use repair::{Condition, condition, fit};
pub use sample::Cloud;
pub use vector::Point;
pub use views::Cameras;
