//! Binary glTF 2.0 (.glb): the triangles of the default scene, each where its node puts it.
//!
//! Own reader: the `gltf` crate panics on values that overlap, and asks a feature of `serde_json` that rebuilds every crate here.

mod document;

use super::{Loaded, broken};
use crate::MediaError;
use crate::shape::{
    Mesh,
    vector::{Affine, Point},
};
use document::{Accessor, Document, Node, Primitive};
use std::collections::BTreeMap;
use std::path::Path;

/// Nodes may lie in one another so deep; a file whose nodes form a ring would otherwise never end.
const DEPTH: usize = 64;
/// A node may be used by many others, so that a short file could unfold to any size.
const FACES: usize = 20_000_000;
/// Nodes that use each other twice double with every level, faces or not.
const VISITS: usize = 1_000_000;

const FLOAT: u64 = 5126;
const BYTE: u64 = 5121;
const SHORT: u64 = 5123;
const WORD: u64 = 5125;

struct Reader<'a> {
    path: &'a Path,
    document: Document,
    bin: &'a [u8],
    mesh: Mesh,
    visits: usize,
    skipped: BTreeMap<&'static str, usize>,
}

/// Reads a GLB file.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Loaded, MediaError> {
    let fail = |what: String| broken("GLB", path, what);
    if bytes.first() == Some(&b'{') {
        return Err(fail("this is a .gltf with its data in other files; export it as one binary .glb".into()));
    }
    let (json, bin) = chunks(bytes).map_err(|what| fail(what.into()))?;
    let document: Document = serde_json::from_slice(json).map_err(|error| fail(format!("its JSON: {error}")))?;
    for extension in &document.extensions_required {
        if !matches!(extension.as_str(), "KHR_materials_unlit" | "KHR_texture_transform") {
            let what = format!("it needs the extension {extension}; export it without compression and extensions");
            return Err(fail(what));
        }
    }
    let scene = document.scenes.get(document.scene.unwrap_or(0)).ok_or_else(|| fail("it holds no scene".into()))?;
    let roots = scene.nodes.clone();
    let animated = !document.animations.is_empty();
    let mut reader = Reader { path, document, bin, mesh: Mesh::default(), visits: 0, skipped: BTreeMap::new() };
    for root in roots {
        reader.node(root, &Affine::IDENTITY, 0)?;
    }
    if animated {
        reader.skip("sets of animations (the shape is taken at rest)");
    }
    let notes = reader.skipped.into_iter().map(|(what, count)| format!("left out: {count} {what}")).collect();
    Ok(Loaded { mesh: reader.mesh, caption: None, notes })
}

/// The JSON chunk and the binary one, empty where there is none.
fn chunks(bytes: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    const CUT: &str = "the file is cut short";
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes).ok_or(CUT);
    if bytes.get(..4) != Some(b"glTF") {
        return Err("it does not begin as a binary glTF does");
    }
    if word(4)? != 2 {
        return Err("it is not of version 2; export it anew");
    }
    let chunk = |at: usize, kind: &[u8; 4]| {
        let length = word(at)? as usize;
        if bytes.get(at + 4..at + 8) != Some(kind) {
            return Err("its chunks are not JSON and binary in this order");
        }
        bytes.get(at + 8..).and_then(|rest| rest.get(..length)).ok_or(CUT)
    };
    let json = chunk(12, b"JSON")?;
    let next = 20 + json.len();
    let bin = if bytes.len() >= next + 8 { chunk(next, b"BIN\0")? } else { &[] };
    Ok((json, bin))
}

impl Reader<'_> {
    fn fail(&self, what: impl Into<String>) -> MediaError {
        broken("GLB", self.path, what.into())
    }

    fn skip(&mut self, what: &'static str) {
        *self.skipped.entry(what).or_default() += 1;
    }

    fn node(&mut self, at: usize, outer: &Affine, depth: usize) -> Result<(), MediaError> {
        if depth > DEPTH {
            return Err(self.fail(format!("its nodes lie more than {DEPTH} deep in one another, or in a ring")));
        }
        self.visits += 1;
        if self.visits > VISITS {
            return Err(self.fail(format!("its nodes unfold to more than {VISITS}")));
        }
        let node = self.document.nodes.get(at).ok_or_else(|| self.fail(format!("node {at} is not there")))?;
        let place = outer.after(&place(node));
        let children = node.children.clone();
        if let Some(mesh) = node.mesh {
            let found = self.document.meshes.get(mesh).ok_or_else(|| self.fail(format!("mesh {mesh} is not there")))?;
            for primitive in found.primitives.clone() {
                self.primitive(&primitive, &place)?;
            }
        }
        for child in children {
            self.node(child, &place, depth + 1)?;
        }
        Ok(())
    }

    fn primitive(&mut self, primitive: &Primitive, place: &Affine) -> Result<(), MediaError> {
        let mode = primitive.mode.unwrap_or(4);
        if !(4..=6).contains(&mode) {
            self.skip("primitives of points or lines");
            return Ok(());
        }
        if !primitive.targets.is_empty() {
            self.skip("sets of morph targets");
        }
        let at = primitive.attributes.get("POSITION").ok_or_else(|| self.fail("a primitive has no positions"))?;
        let positions = self.accessor(*at)?;
        if positions.component_type != FLOAT || positions.kind != "VEC3" {
            return Err(self.fail("positions that are not three 32-bit floats; export it without quantisation"));
        }
        let value =
            |b: &[u8], i: usize| f64::from(f32::from_le_bytes([b[4 * i], b[4 * i + 1], b[4 * i + 2], b[4 * i + 3]]));
        let points: Vec<Point> = self.values(positions, 12)?.map(|b| [value(b, 0), value(b, 1), value(b, 2)]).collect();
        let order: Vec<u32> = match primitive.indices {
            None => (0..points.len() as u32).collect(),
            Some(at) => {
                let indices = self.accessor(at)?;
                let size = match indices.component_type {
                    BYTE => 1,
                    SHORT => 2,
                    WORD => 4,
                    _ => return Err(self.fail("indices that are not unsigned whole numbers")),
                };
                let number = |b: &[u8]| b.iter().rev().fold(0u32, |sum, &byte| (sum << 8) | u32::from(byte));
                self.values(indices, size)?.map(number).collect()
            }
        };
        if let Some(bad) = order.iter().find(|&&at| at as usize >= points.len()) {
            return Err(self.fail(format!("a face names point {bad}, there are {}", points.len())));
        }
        let faces: Vec<[u32; 3]> = match mode {
            5 => {
                let turned =
                    |(i, w): (usize, &[u32])| if i.is_multiple_of(2) { [w[0], w[1], w[2]] } else { [w[1], w[0], w[2]] };
                order.windows(3).enumerate().map(turned).collect()
            }
            6 => order.windows(2).skip(1).map(|w| [order[0], w[0], w[1]]).collect(),
            _ => order.as_chunks::<3>().0.to_vec(),
        };
        if self.mesh.faces.len() + faces.len() > FACES {
            return Err(self.fail(format!("more than {FACES} faces; simplify it first")));
        }
        self.mesh.append(&Mesh { points, faces }.moved(place));
        Ok(())
    }

    fn accessor(&self, at: usize) -> Result<&Accessor, MediaError> {
        let found = self.document.accessors.get(at).ok_or_else(|| self.fail(format!("accessor {at} is not there")))?;
        if found.sparse.is_some() {
            return Err(self.fail("sparse accessors are not read; export it without them"));
        }
        Ok(found)
    }

    /// The bytes of each value of an accessor whose values have `size` bytes.
    fn values(&self, accessor: &Accessor, size: usize) -> Result<impl Iterator<Item = &[u8]>, MediaError> {
        let find = || {
            let view = self.document.buffer_views.get(accessor.buffer_view?)?;
            let inside = view.buffer == 0 && self.document.buffers.first()?.uri.is_none();
            let bytes = self.bin.get(view.byte_offset..)?.get(..view.byte_length)?.get(accessor.byte_offset..)?;
            let stride = view.byte_stride.unwrap_or(size);
            let length = accessor.count.checked_sub(1)?.checked_mul(stride)?.checked_add(size)?;
            (inside && stride >= size).then_some((bytes.get(..length)?, stride))
        };
        let lost = "positions or indices lie outside the file or in another file; export it as one whole .glb";
        let (bytes, stride) = find().ok_or_else(|| self.fail(lost))?;
        Ok(bytes.chunks(stride).map(move |chunk| &chunk[..size]))
    }
}

/// Where a node lies in the one around it.
fn place(node: &Node) -> Affine {
    if let Some(m) = node.matrix {
        let row = |i: usize| [m[i], m[4 + i], m[8 + i]]; // columns in the file
        return Affine { rows: [row(0), row(1), row(2)], shift: [m[12], m[13], m[14]] };
    }
    let [x, y, z, w] = node.rotation.unwrap_or([0.0, 0.0, 0.0, 1.0]);
    let [sx, sy, sz] = node.scale.unwrap_or([1.0; 3]);
    let rows = [
        [(1.0 - 2.0 * (y * y + z * z)) * sx, 2.0 * (x * y - z * w) * sy, 2.0 * (x * z + y * w) * sz],
        [2.0 * (x * y + z * w) * sx, (1.0 - 2.0 * (x * x + z * z)) * sy, 2.0 * (y * z - x * w) * sz],
        [2.0 * (x * z - y * w) * sx, 2.0 * (y * z + x * w) * sy, (1.0 - 2.0 * (x * x + y * y)) * sz],
    ];
    Affine { rows, shift: node.translation.unwrap_or_default() }
}
