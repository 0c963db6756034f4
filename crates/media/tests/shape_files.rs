//! Mesh files: what is written comes back; what is damaged is refused with words, never with a panic or without end.

use media::shape::{self, Library, Mesh, condition, mesh::cuboid, read, sample, vector, write};
use std::path::Path;

/// A box and a smaller one, so that there is more than one piece and no symmetry.
fn mesh() -> Mesh {
    let mut mesh = cuboid([-0.5, -0.25, -1.0], [0.5, 0.125, 2.0]);
    mesh.append(&cuboid([1.0, 2.0, 3.0], [1.5, 2.25, 3.5]));
    mesh
}

fn written(name: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write::write(&path, &mesh()).unwrap();
    std::fs::read(&path).unwrap()
}

fn decode(bytes: &[u8], name: &str) -> Result<read::Loaded, media::MediaError> {
    read::decode(bytes, Path::new(name), &Library::default())
}

/// The same boxes in text forms that are only read.
fn others() -> Vec<(&'static str, Vec<u8>)> {
    let mesh = mesh();
    let mut ply = format!(
        "ply\nformat ascii 1.0\ncomment by hand\nelement vertex {}\nproperty double x\nproperty double y\nproperty double z\n\
         element face {}\nproperty list uchar int vertex_index\nend_header\n",
        mesh.points.len(),
        mesh.faces.len()
    );
    let mut big = ply.replace("ascii", "binary_big_endian").into_bytes();
    let mut stl = String::from("solid two boxes\n");
    let mut dat = String::from("0 Two boxes\n0 BFC CERTIFY CCW\n");
    for [x, y, z] in &mesh.points {
        ply += &format!("{x} {y} {z}\n");
        [x, y, z].iter().for_each(|v| big.extend(v.to_be_bytes()));
    }
    for (i, face) in mesh.faces.iter().enumerate() {
        let [a, b, c] = face;
        ply += &format!("3 {a} {b} {c}\n");
        big.push(3);
        face.iter().for_each(|at| big.extend((*at as i32).to_be_bytes()));
        stl += "facet normal 0 0 0\nouter loop\n";
        dat += "3 16";
        for [x, y, z] in mesh.corners(i) {
            stl += &format!("vertex {x} {y} {z}\n");
            dat += &format!(" {x} {} {}", -y, -z); // y points down there
        }
        stl += "endloop\nendfacet\n";
        dat += "\n";
    }
    stl += "endsolid two boxes\n";
    vec![("a.ply", ply.into_bytes()), ("b.ply", big), ("a.stl", stl.into_bytes()), ("a.dat", dat.into_bytes())]
}

fn all() -> Vec<(&'static str, Vec<u8>)> {
    let mut files: Vec<_> = ["x.obj", "x.ply", "x.stl", "x.glb"].map(|name| (name, written(name))).to_vec();
    files.extend(others());
    files
}

#[test]
fn every_format_brings_the_same_shape() {
    let wanted = condition(&mesh());
    for (name, bytes) in all() {
        let loaded = decode(&bytes, name).unwrap();
        let found = condition(&loaded.mesh);
        assert_eq!((found.faces, found.points, found.pieces), (wanted.faces, wanted.points, 2), "{name}");
        assert!(found.watertight && loaded.notes.is_empty(), "{name}: {:?}", loaded.notes);
        assert!((found.volume.unwrap() - wanted.volume.unwrap()).abs() < 1e-6, "{name}");
        let gap = vector::sub(loaded.mesh.centroid(), mesh().centroid());
        assert!(vector::norm(gap) < 1e-6, "{name}: nothing is mirrored or moved");
    }
}

#[test]
fn a_binary_stl_that_begins_with_solid_is_still_binary() {
    let mut bytes = written("x.stl");
    bytes[..11].copy_from_slice(b"solid boxes");
    assert_eq!(decode(&bytes, "x.stl").unwrap().mesh.faces.len(), 24);
}

#[test]
fn a_scene_puts_each_mesh_where_its_nodes_say() {
    let bytes = written("x.glb");
    let length = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[20..20 + length]).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = json.clone();
        change(&mut json);
        let mut text = json.to_string().into_bytes();
        text.resize(text.len().next_multiple_of(4), b' ');
        let mut file = bytes[..8].to_vec();
        let rest = &bytes[20 + length..];
        file.extend(((20 + text.len() + rest.len()) as u32).to_le_bytes());
        file.extend((text.len() as u32).to_le_bytes());
        file.extend(b"JSON");
        file.extend(text);
        file.extend(rest);
        decode(&file, "x.glb")
    };
    let volume = condition(&mesh()).volume.unwrap();
    // A mirrored node inside a scaled and moved one, and the same mesh again at rest.
    let moved = with(&|json| {
        json["nodes"] = serde_json::json!([
            { "children": [1], "scale": [2.0, 2.0, 2.0], "translation": [10.0, 0.0, 0.0] },
            { "mesh": 0, "scale": [-1.0, 1.0, 1.0] }, { "mesh": 0 }
        ]);
        json["scenes"][0]["nodes"] = serde_json::json!([0, 2]);
    });
    let moved = moved.unwrap().mesh;
    assert!((moved.volume() - 9.0 * volume).abs() < 1e-5, "{} of {}", moved.volume(), 9.0 * volume);
    assert!((moved.bounds().unwrap()[1][0] - 11.0).abs() < 1e-6);
    // A quarter turn about y, said as a quaternion and as a matrix: x goes to -z, z to x.
    let half = std::f64::consts::FRAC_1_SQRT_2;
    let turned = with(&|json| json["nodes"][0]["rotation"] = serde_json::json!([0.0, half, 0.0, half])).unwrap().mesh;
    let matrix = [0., 0., -1., 0., 0., 1., 0., 0., 1., 0., 0., 0., 0., 0., 0., 1.];
    let same = with(&|json| json["nodes"][0]["matrix"] = serde_json::json!(matrix)).unwrap().mesh;
    let [low, high] = turned.bounds().unwrap();
    let wanted = [[-1.0, -0.25, -1.5], [3.5, 2.25, 0.5]];
    assert!(vector::norm(vector::sub(low, wanted[0])) < 1e-6 && vector::norm(vector::sub(high, wanted[1])) < 1e-6);
    assert!(turned.points.iter().zip(&same.points).all(|(a, b)| vector::norm(vector::sub(*a, *b)) < 1e-6));
    let refused = [
        with(&|json| {
            let twice = |i: usize| {
                if i < 60 { serde_json::json!({ "children": [i + 1, i + 1] }) } else { serde_json::json!({}) }
            };
            json["nodes"] = (0..=60).map(twice).collect();
        }),
        with(&|json| json["bufferViews"][0]["byteStride"] = serde_json::json!(4)),
        with(&|json| json["extensionsRequired"] = serde_json::json!(["KHR_draco_mesh_compression"])),
        with(&|json| json["nodes"][0]["children"] = serde_json::json!([0])),
        with(&|json| json["accessors"][2]["count"] = serde_json::json!(3_000_000_000u32)),
        with(&|json| {
            json["accessors"][0]["sparse"] = serde_json::json!({ "count": 1,
            "indices": { "bufferView": 2, "componentType": 5125 }, "values": { "bufferView": 0 } })
        }),
        with(&|json| json["accessors"][0]["componentType"] = serde_json::json!(5123)),
    ];
    let words = [
        "unfold to more than",
        "outside the file",
        "KHR_draco_mesh_compression",
        "in a ring",
        "outside the file",
        "sparse",
        "32-bit floats",
    ];
    for (refused, words) in refused.into_iter().zip(words) {
        let message = refused.unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("x.glb"), "{message} should speak of {words}");
    }
}

#[test]
fn no_cut_and_no_flip_makes_a_reader_panic_or_run_away() {
    for (name, bytes) in all() {
        let step = (bytes.len() / 400).max(1);
        for end in (0..bytes.len()).step_by(step) {
            let _ = decode(&bytes[..end], name);
        }
        let mut refused = 0;
        for i in 0..1500u64 {
            let mut damaged = bytes.clone();
            for lane in 0..=i % 3 {
                let at = (sample::uniform(11, 0, i, lane) * bytes.len() as f64) as usize;
                damaged[at] ^= 1 << (sample::uniform(11, 1, i, lane) * 8.0) as u32;
            }
            match decode(&damaged, name) {
                Ok(loaded) => {
                    let count = loaded.mesh.points.len() as u32;
                    assert!(loaded.mesh.faces.iter().flatten().all(|&at| at < count), "{name}");
                }
                Err(error) => {
                    refused += 1;
                    assert!(error.to_string().contains(name), "{error}");
                }
            }
        }
        println!("{name}: {refused} of 1500 damaged files refused");
    }
}

#[test]
fn a_header_that_promises_what_is_not_there_costs_no_memory() {
    let ply = "ply\nformat binary_little_endian 1.0\nelement vertex 4000000000\nelement face 0\nend_header\n";
    assert!(decode(ply.as_bytes(), "x.ply").unwrap_err().to_string().contains("4000000000 elements"));
    let mut stl = vec![0; 84];
    stl[80..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(decode(&stl, "x.stl").is_err());
}

#[test]
fn what_is_no_mesh_is_told_with_the_remedy() {
    for (name, bytes, words) in [
        ("x.fbx", &b""[..], "obj, ply, stl, glb"),
        ("x.obj", b"", "no face is left"),
        ("x.glb", b"{\"asset\":{}}", "one binary .glb"),
        ("x.obj", b"v 0 0 0\nv 1 0 0\nv nan 0 0\nf 1 2 3\n", "no numbers"),
        ("x.obj", b"v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "without area"),
    ] {
        let message = decode(bytes, name).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains(name), "{message}");
    }
    let missing = read::read(Path::new("nowhere/x.obj")).unwrap_err().to_string();
    assert!(missing.contains("nowhere/x.obj"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.fbx");
    assert!(write::write(&path, &mesh()).unwrap_err().to_string().contains(".glb") && !path.exists());
}

#[test]
fn points_with_normals_are_written_for_other_programs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ply");
    let cloud = shape::sample::surface(&mesh(), 100, 0);
    write::write_cloud(&path, &cloud).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let head = b"end_header\n";
    let start = bytes.windows(head.len()).position(|w| w == head).unwrap() + head.len();
    assert_eq!(bytes.len() - start, 100 * 24);
    let first = f32::from_le_bytes(bytes[start..start + 4].try_into().unwrap());
    assert_eq!(first, cloud.points[0][0] as f32);
}
