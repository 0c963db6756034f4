//! Binary glTF 2.0: one mesh with positions, smooth normals and indices, in a header, a JSON chunk and a binary chunk.
//!
//! Own writer: there is no kept crate that writes.

use crate::shape::Mesh;
use serde_json::json;

/// The bytes of a .glb file.
pub(super) fn encode(mesh: &Mesh) -> Vec<u8> {
    let mut bin: Vec<u8> = Vec::with_capacity(mesh.points.len() * 24 + mesh.faces.len() * 12);
    let (mut low, mut high) = ([f32::INFINITY; 3], [f32::NEG_INFINITY; 3]);
    for point in &mesh.points {
        for axis in 0..3 {
            let value = point[axis] as f32;
            (low[axis], high[axis]) = (low[axis].min(value), high[axis].max(value));
            bin.extend(value.to_le_bytes());
        }
    }
    let positions = bin.len();
    for normal in mesh.point_normals() {
        // glTF wants unit vectors: a point between faces that cancel gets one at will.
        let normal = if normal == [0.0; 3] { [0.0, 1.0, 0.0] } else { normal };
        normal.iter().for_each(|&v| bin.extend((v as f32).to_le_bytes()));
    }
    let indices = bin.len();
    mesh.faces.iter().flatten().for_each(|at| bin.extend(at.to_le_bytes()));

    let view = |offset: usize, length: usize, target: u32| json!({ "buffer": 0, "byteOffset": offset, "byteLength": length, "target": target });
    let (vertices, elements) = (34962, 34963); // ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER
    let (float, unsigned) = (5126, 5125);
    let count = mesh.points.len();
    let document = json!({
        "asset": { "version": "2.0", "generator": "rectiflow" },
        "scene": 0,
        "scenes": [{ "nodes": [0] }],
        "nodes": [{ "mesh": 0 }],
        "meshes": [{ "primitives": [{ "attributes": { "POSITION": 0, "NORMAL": 1 }, "indices": 2, "material": 0 }] }],
        "materials": [{ "doubleSided": true, "pbrMetallicRoughness": { "metallicFactor": 0.0, "roughnessFactor": 0.8 } }],
        "accessors": [
            { "bufferView": 0, "componentType": float, "count": count, "type": "VEC3", "min": low, "max": high },
            { "bufferView": 1, "componentType": float, "count": count, "type": "VEC3" },
            { "bufferView": 2, "componentType": unsigned, "count": mesh.faces.len() * 3, "type": "SCALAR" },
        ],
        "bufferViews": [
            view(0, positions, vertices),
            view(positions, indices - positions, vertices),
            view(indices, bin.len() - indices, elements),
        ],
        "buffers": [{ "byteLength": bin.len() }],
    });
    let mut text = document.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(4), b' ');
    let total = 12 + 8 + text.len() + 8 + bin.len();
    let mut file = Vec::with_capacity(total);
    let word = |value: u32, file: &mut Vec<u8>| file.extend(value.to_le_bytes());
    file.extend(b"glTF");
    word(2, &mut file);
    word(total as u32, &mut file);
    word(text.len() as u32, &mut file);
    file.extend(b"JSON");
    file.extend(text);
    word(bin.len() as u32, &mut file);
    file.extend(b"BIN\0");
    file.extend(bin);
    file
}
