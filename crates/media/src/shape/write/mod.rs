//! Meshes to files: OBJ, PLY (binary), STL (binary) and GLB, told apart by the name's ending.

mod glb;

use super::{Cloud, Mesh, vector};
use crate::{MediaError, atomic};
use std::fmt::Write;
use std::path::Path;

/// Endings of the formats that can be written.
pub const ENDINGS: [&str; 4] = ["obj", "ply", "stl", "glb"];

/// Which format the ending of `path` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Wavefront text.
    Obj,
    /// Stanford, binary.
    Ply,
    /// Stereolithography, binary.
    Stl,
    /// glTF, one binary file.
    Glb,
}

impl Format {
    /// By the ending of `path`.
    ///
    /// # Errors
    /// [`MediaError::Format`] where the ending is none of the four.
    pub fn of(path: &Path) -> Result<Self, MediaError> {
        match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
            Some("obj") => Ok(Self::Obj),
            Some("ply") => Ok(Self::Ply),
            Some("stl") => Ok(Self::Stl),
            Some("glb") => Ok(Self::Glb),
            _ => {
                let reason = format!("meshes are written as .{}", ENDINGS.join(", ."));
                Err(MediaError::Format { kind: "mesh", path: path.into(), reason })
            }
        }
    }
}

/// `mesh` as the bytes of a GLB file.
pub fn to_glb(mesh: &Mesh) -> Vec<u8> {
    glb::encode(mesh)
}

/// Writes `mesh` in the format that the ending of `path` names, whole or not at all.
///
/// # Errors
/// As [`Format::of`] and [`atomic::write`].
pub fn write(path: &Path, mesh: &Mesh) -> Result<(), MediaError> {
    let bytes = match Format::of(path)? {
        Format::Obj => obj(mesh),
        Format::Ply => ply(&mesh.points, None, &mesh.faces),
        Format::Stl => stl(mesh).map_err(MediaError::io("write", path))?,
        Format::Glb => glb::encode(mesh),
    };
    atomic::write(path, &bytes)
}

/// Writes points with their normals as a PLY without faces.
///
/// # Errors
/// As [`atomic::write`].
pub fn write_cloud(path: &Path, cloud: &Cloud) -> Result<(), MediaError> {
    atomic::write(path, &ply(&cloud.points, Some(&cloud.normals), &[]))
}

fn obj(mesh: &Mesh) -> Vec<u8> {
    let mut text = String::from("# written by rectiflow\n");
    for [x, y, z] in &mesh.points {
        let _ = writeln!(text, "v {x} {y} {z}"); // to a string it cannot fail
    }
    for face in &mesh.faces {
        let [a, b, c] = face.map(|at| at + 1);
        let _ = writeln!(text, "f {a} {b} {c}");
    }
    text.into_bytes()
}

fn ply(points: &[vector::Point], normals: Option<&[vector::Point]>, faces: &[[u32; 3]]) -> Vec<u8> {
    let mut head = format!("ply\nformat binary_little_endian 1.0\nelement vertex {}\n", points.len());
    let axes = if normals.is_some() { &["x", "y", "z", "nx", "ny", "nz"][..] } else { &["x", "y", "z"] };
    for axis in axes {
        let _ = writeln!(head, "property float {axis}");
    }
    let _ = write!(head, "element face {}\nproperty list uchar uint vertex_indices\nend_header\n", faces.len());
    let mut bytes = head.into_bytes();
    for (i, point) in points.iter().enumerate() {
        let normal = normals.map(|normals| normals[i]);
        for value in point.iter().chain(normal.iter().flatten()) {
            bytes.extend((*value as f32).to_le_bytes());
        }
    }
    for face in faces {
        bytes.push(3);
        face.iter().for_each(|at| bytes.extend(at.to_le_bytes()));
    }
    bytes
}

fn stl(mesh: &Mesh) -> std::io::Result<Vec<u8>> {
    let vector = |p: vector::Point| stl_io::Vector::new(p.map(|v| v as f32));
    let face = |i: usize| stl_io::Triangle {
        normal: vector(vector::unit(mesh.cross(i))),
        vertices: mesh.corners(i).map(vector),
    };
    let faces: Vec<stl_io::Triangle> = (0..mesh.faces.len()).map(face).collect();
    let mut bytes = Vec::new();
    stl_io::write_stl(&mut bytes, faces.iter())?;
    Ok(bytes)
}
