//! Stanford PLY, text and both binary orders, through the `ply-rs-bw` crate.

use super::{Loaded, broken};
use crate::MediaError;
use crate::shape::{Mesh, triangulate};
use ply_rs_bw::parser::Parser;
use ply_rs_bw::ply::{DefaultElement, Property};
use std::path::Path;

/// Reads a PLY file.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Loaded, MediaError> {
    let parser = Parser::<DefaultElement>::new();
    // A header can promise any number of rows, and rows without properties take no bytes, so that reading them would never end.
    let header = parser.read_ply_header(&mut &*bytes).map_err(|error| broken("PLY", path, error.to_string()))?;
    for element in header.elements.values() {
        if element.count > bytes.len() || (element.properties.is_empty() && element.count > 0) {
            let what = format!("its header promises {} elements `{}`, more than it holds", element.count, element.name);
            return Err(broken("PLY", path, what));
        }
    }
    let ply = parser.read_ply(&mut &*bytes).map_err(|error| broken("PLY", path, error.to_string()))?;
    let mut mesh = Mesh::default();
    let mut notes = Vec::new();
    for (row, vertex) in ply.payload.get("vertex").into_iter().flatten().enumerate() {
        let mut point = [0.0; 3];
        for (axis, name) in ["x", "y", "z"].into_iter().enumerate() {
            point[axis] = vertex
                .get(name)
                .and_then(number)
                .ok_or_else(|| broken("PLY", path, format!("vertex {row} has no number `{name}`")))?;
        }
        mesh.points.push(point);
    }
    for (row, face) in ply.payload.get("face").into_iter().flatten().enumerate() {
        let list = face.get("vertex_indices").or_else(|| face.get("vertex_index")).and_then(indices);
        let corners = list
            .ok_or_else(|| broken("PLY", path, format!("face {row} has no list `vertex_indices` of whole numbers")))?;
        if let Some(bad) = corners.iter().find(|&&at| at >= mesh.points.len() as u64) {
            let what = format!("face {row} names point {bad}, there are {}", mesh.points.len());
            return Err(broken("PLY", path, what));
        }
        if corners.len() < 3 {
            return Err(broken("PLY", path, format!("face {row} has {} corners, it needs three", corners.len())));
        }
        let corners: Vec<u32> = corners.iter().map(|&at| at as u32).collect();
        triangulate::polygon(&mesh.points, &corners, &mut mesh.faces);
    }
    for (name, rows) in &ply.payload {
        if !matches!(name.as_str(), "vertex" | "face") && !rows.is_empty() {
            notes.push(format!("left out: {} elements `{name}`", rows.len()));
        }
    }
    Ok(Loaded { mesh, caption: None, notes })
}

fn number(property: &Property) -> Option<f64> {
    Some(match *property {
        Property::Char(v) => v.into(),
        Property::UChar(v) => v.into(),
        Property::Short(v) => v.into(),
        Property::UShort(v) => v.into(),
        Property::Int(v) => v.into(),
        Property::UInt(v) => v.into(),
        Property::Float(v) => v.into(),
        Property::Double(v) => v,
        _ => return None,
    })
}

/// Numbers of points; a negative one becomes one that no mesh has.
fn indices(property: &Property) -> Option<Vec<u64>> {
    let signed = |v: i64| u64::try_from(v).unwrap_or(u64::MAX);
    Some(match property {
        Property::ListChar(v) => v.iter().map(|&v| signed(v.into())).collect(),
        Property::ListUChar(v) => v.iter().map(|&v| v.into()).collect(),
        Property::ListShort(v) => v.iter().map(|&v| signed(v.into())).collect(),
        Property::ListUShort(v) => v.iter().map(|&v| v.into()).collect(),
        Property::ListInt(v) => v.iter().map(|&v| signed(v.into())).collect(),
        Property::ListUInt(v) => v.iter().map(|&v| v.into()).collect(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nelement face 1\n\
        property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n";

    #[test]
    fn text_is_read_and_errors_say_where() {
        let loaded = decode(TEXT.as_bytes(), Path::new("x.ply")).unwrap();
        assert!((loaded.mesh.area() - 1.0).abs() < 1e-12);
        let far = TEXT.replace("0 1 2 3\n", "0 1 2 9\n");
        let message = decode(far.as_bytes(), Path::new("x.ply")).unwrap_err().to_string();
        assert!(message.contains("face 0 names point 9"), "{message}");
        let negative = TEXT.replace("0 1 2 3\n", "0 1 2 -3\n");
        assert!(decode(negative.as_bytes(), Path::new("x.ply")).is_err());
    }
}
