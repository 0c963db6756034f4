//! Collections: folders with classes, an LDraw library as folder and as tar, a catalogue of furniture.

use super::*;
use crate::shape::{mesh::cuboid, write};
use std::fs;
use std::io::Write;

const PART: &str = "0 BFC CERTIFY CCW\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 tri.dat\n";

#[test]
fn a_folder_of_meshes_has_classes_and_says_what_it_left_out() {
    let root = tempfile::tempdir().unwrap();
    for name in ["chairs/arm_chair2.stl", "chairs/stool.ply", "lamp.obj"] {
        write::write(&root.path().join(name), &cuboid([0.0; 3], [1.0; 3])).unwrap();
    }
    fs::write(root.path().join("readme.md"), "x").unwrap();
    let set = Collection::open(root.path()).unwrap();
    let entry = &set.entries()[0];
    assert_eq!(
        (entry.caption.as_str(), entry.class.as_str(), entry.family.as_str()),
        ("arm chair2", "chairs", "arm_chair")
    );
    assert_eq!((set.entries().len(), set.entries()[2].class.as_str()), (3, ""));
    assert!(set.notes()[0].contains("1 files (.md)"), "{:?}", set.notes());
    assert_eq!(set.load(1).unwrap().mesh.faces.len(), 12);
    let empty = tempfile::tempdir().unwrap();
    assert!(Collection::open(empty.path()).err().unwrap().to_string().contains("no mesh"));
    assert!(Collection::open(&root.path().join("gone")).is_err());
}

#[test]
fn an_ldraw_library_is_the_same_as_folder_and_as_tar() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("parts/3001.dat", format!("0 Brick  2 x  4\n{PART}")),
        ("parts/3001p01.dat", format!("0 Brick  2 x  4 with Pattern\n{PART}")),
        ("parts/x.dat", format!("0 ~Moved to 3001\n{PART}")),
        ("parts/st.dat", format!("0 Sticker 1 x 1\n{PART}")),
        ("parts/s/3001s01.dat", format!("0 ~Sub\n{PART}")),
        ("p/tri.dat", "0 T\n0 BFC CERTIFY CCW\n3 16 0 0 0 1 0 0 0 0 1\n".to_string()),
    ];
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in &files {
        let path = root.path().join("ldraw").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    fs::create_dir_all(root.path().join("packed")).unwrap();
    fs::write(root.path().join("packed/ldraw.tar"), tar.into_inner().unwrap()).unwrap();
    let folder = Collection::open(&root.path().join("ldraw")).unwrap();
    let packed = Collection::open(&root.path().join("packed")).unwrap();
    assert_eq!(folder.entries(), packed.entries());
    assert_eq!(folder.notes(), ["left out: 1 parts that only move, alias or help others", "left out: 1 stickers"]);
    let [plain, printed] = folder.entries() else { panic!("two parts are left") };
    assert_eq!((plain.caption.as_str(), plain.class.as_str()), ("Brick 2 x 4", "Brick"));
    assert_eq!((plain.family.as_str(), printed.family.as_str()), ("3001", "3001"));
    for set in [&folder, &packed] {
        let loaded = set.load(0).unwrap();
        assert_eq!((loaded.mesh.faces.len(), loaded.notes.len()), (1, 0), "{:?}", loaded.notes);
    }
    fs::write(root.path().join("packed/ldraw.tar"), b"no tar").unwrap();
    assert!(Collection::open(&root.path().join("packed")).err().unwrap().to_string().contains("ldraw.tar"));
}

#[test]
fn a_catalogue_names_and_sorts_its_models() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("small.sh3f");
    let mut zip = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    let list = "name#1=Bed 2\ncategory#1=Bedroom\nmodel#1=/m/bed.obj\nname#2=Lamp\ncategory#2=Lights\nmodel#2=/m/lamp.3ds\n\
        name#3=Gone\ncategory#3=Lights\nmodel#3=/m/gone.obj\n";
    for (name, text) in [(furniture_list(), list), ("m/bed.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    let set = Collection::open(root.path()).unwrap();
    let bed = &set.entries()[0];
    assert_eq!((bed.name.as_str(), bed.caption.as_str()), ("small/m/bed.obj", "Bed 2"));
    assert_eq!((bed.class.as_str(), bed.family.as_str()), ("Bedroom", "bed"));
    assert_eq!(set.notes(), ["left out: 1 models of small that are no .obj"]);
    assert_eq!(set.load(0).unwrap().caption.as_deref(), Some("Bed 2"));
    assert!(set.load(1).unwrap_err().to_string().contains("m/gone.obj"));
}

fn furniture_list() -> &'static str {
    "PluginFurnitureCatalog.properties"
}
