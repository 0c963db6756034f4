//! Arguments of `shape`.

use super::{ModelArgs, SolverArgs};
use clap::{Args, Subcommand, ValueEnum, ValueHint};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub struct Shape {
    #[command(subcommand)]
    pub action: ShapeVerb,
}

#[derive(Debug, Subcommand)]
pub enum ShapeVerb {
    /// Say what a mesh or a collection holds, and draw a sheet of views.
    Show {
        /// A mesh (obj, ply, stl, glb, LDraw dat), a folder of them, an LDraw library, a .sh3f catalogue, or a named set.
        what: String,
        /// Where the sheet goes.
        #[arg(long, short, default_value = "shape.png", value_hint = ValueHint::FilePath)]
        output: PathBuf,
        /// Of a collection: shapes on the sheet, spread evenly over it.
        #[arg(long, short, default_value_t = 64)]
        num: usize,
        /// Of a collection: only shapes whose caption has these words.
        #[arg(long)]
        find: Option<String>,
        /// Pixels of each picture to a side.
        #[arg(long, default_value_t = 128)]
        size: usize,
    },
    /// Draw points of a mesh into a .ply or .npy file.
    Sample {
        /// The mesh.
        #[arg(value_hint = ValueHint::FilePath)]
        path: PathBuf,
        /// Where they lie: on the surface with normals, near it, or in the cube around it.
        #[arg(long, value_enum, default_value = "surface")]
        place: Place,
        /// How many.
        #[arg(long, default_value_t = 20_480)]
        points: usize,
        /// Keep of them so many, each the farthest from all before it.
        #[arg(long, default_value_t = 0)]
        farthest: usize,
        /// Near the surface: standard deviation, as a share of half the cube the mesh is fitted into.
        #[arg(long, default_value_t = 0.05)]
        spread: f64,
        /// Seed; point i depends on the seed and i alone.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Give them in the cube [-1, 1]³ that the mesh is fitted into, not in the file's own coordinates.
        #[arg(long)]
        fit: bool,
        /// A .ply or .npy file.
        #[arg(long, short, default_value = "points.ply", value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// Write the signed distance of a mesh, negative inside, as .npy.
    Sdf {
        /// The mesh.
        #[arg(value_hint = ValueHint::FilePath)]
        path: PathBuf,
        /// Ask at these points, an .npy of shape [n 3], in the file's own coordinates.
        #[arg(long, value_hint = ValueHint::FilePath)]
        points: Option<PathBuf>,
        /// Without points: cells to a side of a lattice over the cube that the mesh is fitted into.
        #[arg(long, default_value_t = 64)]
        resolution: usize,
        /// An .npy file.
        #[arg(long, short, default_value = "distance.npy", value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// Write the surface of a lattice of distances, or of a mesh's own distance, which closes what was open.
    Extract {
        /// A mesh, or an .npy lattice [x y z] of signed distances over the cube [-1, 1]³.
        #[arg(value_hint = ValueHint::FilePath)]
        path: PathBuf,
        /// Cells to a side; a lattice has its own.
        #[arg(long, default_value_t = 128)]
        resolution: usize,
        /// Where a mesh's distance is asked: everywhere, or near the surface alone.
        #[arg(long, value_enum, default_value = "octree")]
        extract: Extract,
        /// A .obj, .ply, .stl or .glb file.
        #[arg(long, short, default_value = "shape.glb", value_hint = ValueHint::FilePath)]
        output: PathBuf,
    },
    /// Draw from a flow over shapes and measure its samples: coverage, 1-NNA, share of the right class.
    Measure {
        #[command(flatten)]
        model: ModelArgs,
        #[command(flatten)]
        solver: SolverArgs,
        /// Samples, and held-out shapes at most.
        #[arg(long, short, default_value_t = 100)]
        num: usize,
    },
    /// Measure how near two meshes are: Chamfer, F-scores, normals, volume.
    Compare {
        /// The mesh to be met.
        #[arg(value_hint = ValueHint::FilePath)]
        first: PathBuf,
        /// The mesh to be measured.
        #[arg(value_hint = ValueHint::FilePath)]
        second: PathBuf,
        /// Points drawn from each surface.
        #[arg(long, default_value_t = 10_000)]
        points: usize,
        /// Seed of the points.
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Fit each into the cube by itself, so that size and place do not count.
        #[arg(long)]
        fit: bool,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Place {
    Surface,
    Near,
    Volume,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Extract {
    Dense,
    Octree,
}
