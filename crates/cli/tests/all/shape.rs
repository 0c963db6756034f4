//! `shape`: files to facts, points, distances, surfaces and figures, and what it says to bad ones.

use crate::common::{json, rectiflow};
use predicates::prelude::*;
use rectiflow::{
    device::Chosen,
    overrides::SampleOverrides,
    serving::{Asked, Makes, Medium, Opened, Wanted},
};
use std::{fs, path::Path};

/// An octahedron of radius `r` around `(x, 0, 0)` as OBJ text: volume 4/3 r³, eight faces.
fn octahedron(r: f64, x: f64) -> String {
    let mut text = String::new();
    for [a, b, c] in [[r, 0.0, 0.0], [-r, 0.0, 0.0], [0.0, r, 0.0], [0.0, -r, 0.0], [0.0, 0.0, r], [0.0, 0.0, -r]] {
        text += &format!("v {} {b} {c}\n", a + x);
    }
    for [a, b, c] in [[1, 3, 5], [3, 2, 5], [2, 4, 5], [4, 1, 5], [3, 1, 6], [2, 3, 6], [4, 2, 6], [1, 4, 6]] {
        text += &format!("f {a} {b} {c}\n");
    }
    text
}

fn shape(folder: &Path, line: &str) -> assert_cmd::Command {
    let mut command = rectiflow();
    command.current_dir(folder).arg("shape").args(line.split(' '));
    command
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn a_mesh_is_shown_sampled_measured_extracted_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("o.obj"), octahedron(30.0, 100.0)).unwrap();
    let facts = json(&mut shape(at, "show o.obj -o sheet.png"));
    assert!((number(&facts["volume"]) - 36_000.0).abs() < 1e-6);
    assert_eq!((facts["faces"].as_u64(), facts["watertight"].as_bool()), (Some(8), Some(true)));
    assert!(facts["notes"][0].as_str().unwrap().contains("millimetres"), "{facts}");
    assert!(fs::metadata(at.join("sheet.png")).unwrap().len() > 1000);

    json(&mut shape(at, "sample o.obj --points 500 -o p.npy"));
    let bytes = fs::read(at.join("p.npy")).unwrap();
    let rows: Vec<f32> =
        bytes[bytes.len() - 500 * 24..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    for row in rows.chunks(6) {
        // On the octahedron |x - 100| + |y| + |z| = 30, in the file's own coordinates.
        assert!(((row[0] - 100.0).abs() + row[1].abs() + row[2].abs() - 30.0).abs() < 1e-3, "{row:?}");
    }
    let far = json(&mut shape(at, "sample o.obj --points 500 --farthest 6 -o few.ply"));
    assert_eq!(far["points"], 6);

    json(&mut shape(at, "sdf o.obj --resolution 32 -o d.npy"));
    let again = json(&mut shape(at, "extract d.npy -o lattice.glb"));
    // Fitted into the cube its radius is 0.9; a lattice of 32 cells cuts corners and edges off.
    assert!((number(&again["volume"]) / (4.0 / 3.0 * 0.729) - 1.0).abs() < 0.03, "{again}");
    for (method, name) in [("dense", "dense.stl"), ("octree", "tree.ply")] {
        let made = json(&mut shape(at, &format!("extract o.obj --resolution 64 --extract {method} -o {name}")));
        assert!((number(&made["volume"]) / 36_000.0 - 1.0).abs() < 0.01 && made["watertight"] == true, "{made}");
        let near = json(&mut shape(at, &format!("compare o.obj {name}")));
        assert!(number(&near["f_far"]) > 0.999 && number(&near["volume_iou"]) > 0.97, "{near}");
        assert!(number(&near["normal_consistency"]) > 0.97 && number(&near["chamfer_l1"]) < 0.02, "{near}");
    }
    // Half the size: apart as they lie, the same once each is fitted.
    fs::write(at.join("small.obj"), octahedron(15.0, 0.0)).unwrap();
    assert_eq!(number(&json(&mut shape(at, "compare o.obj small.obj"))["volume_iou"]), 0.0);
    assert_eq!(number(&json(&mut shape(at, "compare o.obj small.obj --fit"))["volume_iou"]), 1.0);
}

#[test]
fn distances_at_points_are_those_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("o.obj"), octahedron(30.0, 100.0)).unwrap();
    json(&mut shape(at, "sample o.obj --points 3 --place volume -o p.npy"));
    let mut bytes = fs::read(at.join("p.npy")).unwrap();
    let start = bytes.len() - 36;
    // The centre is 30 / sqrt(3) inside, a corner lies 0 away, and (140, 0, 0) 10 outside.
    for (i, value) in [100f32, 0.0, 0.0, 130.0, 0.0, 0.0, 140.0, 0.0, 0.0].iter().enumerate() {
        bytes[start + 4 * i..start + 4 * i + 4].copy_from_slice(&value.to_le_bytes());
    }
    fs::write(at.join("p.npy"), &bytes).unwrap();
    json(&mut shape(at, "sdf o.obj --points p.npy -o d.npy"));
    let bytes = fs::read(at.join("d.npy")).unwrap();
    let found: Vec<f32> = bytes[bytes.len() - 12..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    for (found, wanted) in found.iter().zip([-30.0 / 3f32.sqrt(), 0.0, 10.0]) {
        assert!((found - wanted).abs() < 1e-3, "{found} {wanted}");
    }
}

#[test]
fn a_folder_is_shown_as_a_collection() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (name, text) in
        [("big/one.obj", octahedron(1.0, 0.0)), ("big/two.obj", octahedron(2.0, 0.0)), ("small/bad.obj", "f".into())]
    {
        fs::create_dir_all(at.join(name).parent().unwrap()).unwrap();
        fs::write(at.join(name), text).unwrap();
    }
    fs::write(at.join("notes.txt"), "x").unwrap();
    let facts = json(&mut shape(at, "show . -o sheet.png"));
    assert_eq!((facts["shapes"].as_u64(), facts["shown"].as_array().map(Vec::len)), (Some(3), Some(2)));
    let notes = facts["notes"].to_string();
    assert!(notes.contains("1 files (.txt)") && notes.contains("bad.obj") && notes.contains("line 1"), "{notes}");
    let found = json(&mut shape(at, "show . --find TWO -o sheet.png"));
    assert_eq!(found["shown"][0]["caption"], "two");
}

#[test]
fn bad_requests_name_the_option_and_bad_files_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("o.obj"), octahedron(1.0, 0.0)).unwrap();
    fs::write(at.join("flat.npy"), b"nonsense").unwrap();
    fs::write(at.join("short.obj"), "v 0 0 0\nv 1 0\n").unwrap();
    for (line, code, words) in [
        ("extract o.obj --resolution 100 -o x.glb", 2, "octree halves"),
        ("extract o.obj --resolution 1 -o x.glb", 2, "from 2 to 1024"),
        ("extract o.obj -o x.fbx", 2, ".glb"),
        ("sample o.obj --points 0 -o x.ply", 2, "--points 0"),
        ("sample o.obj -o x.txt", 2, ".ply or .npy"),
        ("sample o.obj --spread nan -o x.ply", 2, "--spread"),
        ("sdf o.obj -o x.ply", 2, ".npy"),
        ("show o.obj --find x -o x.png", 2, "one mesh"),
        ("show . --find zebra -o x.png", 1, "zebra"),
        ("show gone.obj -o x.png", 1, "gone.obj"),
        ("show short.obj -o x.png", 1, "line 2"),
        ("extract flat.npy -o x.glb", 1, "flat.npy"),
        ("sdf o.obj --points flat.npy -o x.npy", 1, "flat.npy"),
        ("compare o.obj short.obj", 1, "short.obj"),
    ] {
        shape(at, line).assert().code(code).stderr(predicate::str::contains(words));
    }
    let left: Vec<_> = fs::read_dir(at).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "a refused command leaves nothing: {left:?}");
}

const CODEC: &str = r#"
name = "codec"
[data]
name = "solids"
classes = ["sphere", "box"]
limit = 16
[codec]
type = "shape"
tokens = 4
cloud = 64
on = 8
near = 32
[codec.points]
surface = 256
near = 256
volume = 128
[codec.network]
encoder_width = 32
encoder_depth = 1
decoder_width = 32
decoder_depth = 1
heads = 2
channels = 4
[train]
images = 1600
batch = 8
optim = { lr = 4e-3, warmup = 160 }
"#;

const FLOW: &str = r#"
name = "flow"
task = { type = "generate", codec = "runs/codec" }
data = { name = "solids", classes = ["sphere", "box"], limit = 16 }
network = { type = "set_transformer", width = 32, heads = 2, depth = 3 }
sample = { steps = 8 }
[train]
images = 1600
batch = 16
validate_every = 800
optim = { lr = 2e-3, warmup = 160 }
"#;

/// From solids to a codec, from its tokens to a flow, from a class to files.
/// Mutants: tokens not brought back to their own width before they are decoded; meshes of one number written over another; pictures
/// that are read and not told.
#[test]
fn a_flow_over_shapes_draws_the_class_asked_for_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("codec.toml"), CODEC).unwrap();
    fs::write(at.join("flow.toml"), FLOW).unwrap();
    let run = |line: &str| {
        let mut command = rectiflow();
        command.current_dir(at).args(line.split(' '));
        command
    };
    let codec = json(&mut run("codec codec.toml"));
    assert!(number(&codec["shapes"]["volume_iou"]) > 0.15 && number(&codec["shapes"]["chamfer_l1"]) < 0.3, "{codec}");
    assert!(at.join("runs/codec/samples/round-trip.png").is_file());
    let page = |run: &str| fs::read_to_string(at.join(run).join("report.html")).unwrap();
    assert!(at.join("runs/codec/samples/round-trip-0.glb").is_file() && page("runs/codec").contains("data-glb=\""));
    json(&mut run("train flow.toml --set train.sample_every=1600"));
    // The sheet shows meshes, of which some lie beside it and in the page. Mutants: of another seed, width or lattice; one for all.
    json(&mut run("sample runs/flow --num 4 --resolution 64 --output sheet.glb"));
    for i in 0..4 {
        let left = fs::read(at.join(format!("runs/flow/samples/000000001600-{i}.glb"))).unwrap();
        assert!(left == fs::read(at.join(format!("sheet-{i:04}.glb"))).unwrap(), "mesh {i}");
    }
    assert!(at.join("runs/flow/samples/000000001600.png").is_file());
    assert_eq!(page("runs/flow").matches("data-glb=\"").count(), 4);
    json(&mut run("sample runs/flow --class box --num 2 --resolution 32 --output made/part.glb"));
    for name in ["part-0000.glb", "part-0001.glb", "part.png"] {
        assert!(at.join("made").join(name).is_file(), "{name}");
    }
    assert_ne!(fs::read(at.join("made/part-0000.glb")).unwrap(), fs::read(at.join("made/part-0001.glb")).unwrap());
    // Served, they are the same to the byte. Mutant: tokens at another width; another lattice.
    let opened = Opened::open(&at.join("runs/flow"), &Chosen::cpu()).unwrap();
    let config = opened.config(&SampleOverrides::default()).unwrap();
    let wanted = [0, 1].map(|index| Wanted { seed: 0, index, asked: Asked::Class(1) });
    let drawn = opened.draw(&config, &wanted, None).unwrap();
    for (number, file) in opened.files("flow", &config, &wanted, &drawn, 5).unwrap().into_iter().enumerate() {
        let file = file.unwrap();
        assert_eq!((opened.makes(), file.medium), (Makes::Shapes, Medium::Glb));
        assert!(file.bytes == fs::read(at.join(format!("made/part-{number:04}.glb"))).unwrap(), "shape {number}");
    }
    json(&mut run("sample runs/flow --class sphere --num 1 --resolution 32 --output one.obj"));
    let facts = json(&mut shape(at, "show one.obj -o one.png"));
    assert!(number(&facts["faces"]) > 100.0, "{facts}");
    let found = json(&mut shape(at, "measure runs/flow --num 8"));
    assert!(number(&found["sets"]["one_nearest"]) <= 1.0 && number(&found["judge"]) > 0.5, "{found}");
    experts(at, &run);
    // What a picture shows is drawn: of a disc another shape than of a square, and one that was never rendered is framed like those.
    fs::write(at.join("seen.toml"), SEEN).unwrap();
    json(&mut run("train seen.toml"));
    let picture = |name: &str, is_dark: fn(i32, i32) -> bool| {
        let grey = |x, y| image::Luma([if is_dark(x as i32 - 30, y as i32 - 20) { 90u8 } else { 255 }]);
        image::GrayImage::from_fn(60, 50, grey).save(at.join(name)).unwrap();
    };
    picture("disc.png", |x, y| x * x + y * y < 150);
    picture("square.png", |x, y| x.abs() < 12 && y.abs() < 12);
    picture("blank.png", |_, _| false);
    let drawn = |line: &str| {
        json(&mut run(&format!("sample {line} --output seen.npy")));
        fs::read(at.join("seen.npy")).unwrap()
    };
    assert_ne!(drawn("runs/seen --image disc.png"), drawn("runs/seen --image square.png"));
    assert_ne!(drawn("runs/seen --image disc.png"), drawn("runs/seen --image disc.png --guidance-scale 2"));
    json(&mut run("sample runs/seen --image disc.png --image square.png --resolution 16 --output both.glb"));
    assert!(at.join("both-0001.glb").is_file() && !at.join("both-0002.glb").exists());
    let found = json(&mut shape(at, "measure runs/seen --num 3"));
    assert!(found["right_class"].is_number() && found["right_shape"].is_number(), "{found}");
    let pairs = "-n 24 --images 32 --set train.batch=8 --set pairs.generate.steps=2 --set pairs.guidance.scale=1.5";
    json(&mut run(&format!("reflow --teacher runs/seen -o runs/straight {pairs}")));
    assert_ne!(drawn("runs/straight --steps 1 --image disc.png"), drawn("runs/straight --steps 1 --image square.png"));
    run("sample runs/seen --image blank.png").assert().code(1).stderr(predicate::str::contains("shows nothing"));
    // A frozen encoder in the eye's place. Mutants: its tokens not those of the picture that is given; one of another width.
    let encoder = triposg().join("image_encoder_dinov2");
    let frozen = SEEN.replace("\"seen\"", "\"frozen\"").replace("images = 480", "images = 96");
    let frozen = frozen.replace("size = 16, patch = 8", &format!("size = 28, encoder = {encoder:?}"));
    let frozen = frozen.replace("eye = { depth = 1 }, condition = { tokens = 64 }", "condition = { tokens = 12 }");
    fs::write(at.join("frozen.toml"), frozen).unwrap();
    json(&mut run("train frozen.toml"));
    assert_ne!(drawn("runs/frozen --image disc.png"), drawn("runs/frozen --image square.png"));
    // Another encoder in its place is refused, where it draws, goes on or begins another run. Mutants: the fingerprint not kept; not looked at by
    // one of the three.
    let moved = at.join("encoder");
    fs::create_dir(&moved).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(encoder.join(file), moved.join(file)).unwrap();
    }
    let here = fs::read_to_string(at.join("frozen.toml")).unwrap().replace(&format!("{encoder:?}"), "\"encoder\"");
    fs::write(at.join("moved.toml"), here.replace("\"frozen\"", "\"moved\"")).unwrap();
    json(&mut run("train moved.toml"));
    json(&mut run("sample runs/moved --image disc.png --output seen.npy"));
    let mut weights = fs::read(moved.join("model.safetensors")).unwrap();
    let last = weights.len() - 2;
    weights[last] ^= 1;
    fs::write(moved.join("model.safetensors"), weights).unwrap();
    for line in [
        "sample runs/moved --image disc.png --output seen.npy",
        "train moved.toml --images 192 --resume latest",
        "train moved.toml --init runs/moved -o runs/moved-on",
    ] {
        run(line).assert().code(1).stderr(predicate::str::contains("encoder of the fingerprint"));
    }
    let refused = |line: &str, words: &str| {
        run(line).assert().code(2).stderr(predicate::str::contains(words));
    };
    refused("train frozen.toml --set network.condition.tokens=16 -o runs/other", "network.condition.tokens = 12");
    refused("train frozen.toml --set network.eye={} -o runs/other", "leave `network.eye` out");
    refused("sample runs/seen --output x.glb", "--image FILE");
    refused("train seen.toml --set train.sample_every=480 -o runs/other", "what a picture shows");
    refused("sample runs/flow --image disc.png --output x.glb", "task.picture");
    refused("reflow --teacher runs/seen -o runs/other --set pairs.generate.inverted=0.25", "inverted");
    refused("train seen.toml --set network.condition.tokens=63 -o runs/other", "patches of 64 numbers");
    refused("train flow.toml --set task.picture={} -o runs/other", "eye = {}");
    refused("sample runs/flow --resolution 100 --output x.glb", "--resolution 100");
    refused("codec codec.toml --set data.size=32 -o runs/other", "data.size");
    refused("codec codec.toml --set codec.tokens=99 -o runs/other", "codec.tokens");
    refused(&format!("sample {} --output x.glb", crate::common::run().display()), "draws no shapes");
    assert!(!at.join("runs/other").exists() && !at.join("x.glb").exists());
}

/// The numbers of a file that `sample` wrote.
fn floats(file: &Path) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[header..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// How far apart samples are, as a share of their width.
fn apart(ours: &[f32], theirs: &[f32]) -> f64 {
    assert!(ours.len() == theirs.len() && !ours.is_empty());
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b)) / norm(&mut theirs.iter().copied())
}

/// A dense flow grows experts, and what takes flows takes the one that has them; `at` is where `runs/flow` is.
/// Mutants: weights of `--init` not taken; a resumed run begun there again; a student begun fresh; corrections hung on fresh weights, at the
/// beginning or where a run goes on; another codec of equal latents, or another class, let through.
fn experts(at: &Path, run: &dyn Fn(&str) -> assert_cmd::Command) {
    let held_out = |folder: &str| {
        let lines = fs::read_to_string(at.join(folder).join("stats.jsonl")).unwrap();
        let said = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        said.filter(|line| line["kind"] == "validation").map(|line| number(&line["loss"])).collect::<Vec<f64>>()
    };
    let some = "--set network.experts={blocks=1,count=4} --set train.validate_every=16";
    let (dense, grown) = (json(&mut run("plan flow.toml")), json(&mut run(&format!("plan flow.toml {some}"))));
    assert!(number(&grown["parameters"]) > 1.4 * number(&dense["parameters"]), "{grown}");
    assert!(number(&grown["forward_flops"]) < 2.0 * number(&dense["forward_flops"]), "{grown}");
    json(&mut run(&format!("train flow.toml --init runs/flow {some} --images 32 -o runs/experts")));
    let (before, after) = (held_out("runs/flow"), held_out("runs/experts"));
    assert!((after[0] / before[before.len() - 1] - 1.0).abs() < 0.02, "{before:?} {after:?}");
    json(&mut run(&format!("train flow.toml --init runs/gone {some} --images 48 -o runs/experts --resume latest")));
    json(&mut run("sample runs/experts --class box --num 2 --resolution 16 --output experts.glb"));
    json(&mut run("slim runs/experts -o experts.safetensors"));
    let drawn = |model: &str| {
        json(&mut run(&format!("sample {model} --class box --num 2 --output drawn.npy")));
        floats(&at.join("drawn.npy"))
    };
    assert_eq!(drawn("runs/experts"), drawn("experts.safetensors"));
    let pairs = "-n 24 --images 16 --set train.batch=8 --set pairs.generate.steps=2";
    json(&mut run(&format!("reflow --teacher runs/experts -o runs/experts-straight {pairs}")));
    json(&mut run(&format!(
        "distill --teacher runs/experts-straight -o runs/experts-one {pairs} --set lora={{rank=2}}"
    )));
    // A student that learns next to nothing says what its teacher says.
    let still = "--set train.optim.lr=1e-9";
    json(&mut run(&format!(
        "reflow --teacher runs/flow -o runs/experts-grown {pairs} --set network.experts={{blocks=1}} {still}"
    )));
    let dense = drawn("runs/flow --steps 4");
    let gap = apart(&drawn("runs/experts-grown --steps 4"), &dense);
    assert!(gap < 1e-3, "{gap}");
    // So does a run that begins at another with corrections, also where it goes on.
    json(&mut run(&format!("train flow.toml --init runs/flow --lora 2 {still} --images 32 -o runs/begun")));
    assert!(apart(&drawn("runs/begun --steps 4"), &dense) < 1e-3);
    json(&mut run(&format!(
        "train flow.toml --init runs/gone --lora 2 {still} --images 64 -o runs/begun --resume latest"
    )));
    assert!(apart(&drawn("runs/begun --steps 4"), &dense) < 1e-3);
    let facts = json(&mut run("train flow.toml --init runs/flow --lora --dry-run -o runs/never"));
    assert_eq!(number(&facts["recipe"]["lora"]["rank"]), 16.0, "{facts}");
    assert_ne!(drawn("runs/experts-one --steps 1"), drawn("runs/experts-straight --steps 1"));
    let refused = |line: &str, words: &str| {
        run(&format!("{line} -o runs/refused")).assert().code(2).stderr(predicate::str::contains(words));
    };
    refused("train flow.toml --init runs/flow --set network.width=64", "has another network");
    refused("train flow.toml --init runs/flow --set parameterization.type=data", "another path");
    refused("train flow.toml --init runs/flow --set data.classes=[\"box\"]", "2 classes and these data have 1");
    refused(
        "train flow.toml --init runs/flow --set data.classes=[\"sphere\",\"cone\"]",
        "where these data have `cone`",
    );
    refused("train flow.toml --lora", "name a released model by --from or a run by --init");
    refused("reflow --teacher runs/flow --set init=runs/flow", "`init` cannot be set for `reflow`");
    refused("align sft runs/flow --reward oracle:match --set init=runs/flow", "`init` cannot be set for align");
    // Latents of the same shape that mean something else.
    json(&mut run("codec codec.toml --set train.images=16 --set seed=1 -o runs/codec-two"));
    refused("train flow.toml --init runs/flow --set task.codec=runs/codec-two", "runs/codec-two");
    // What can be known without data is said before they are read. Mutant: looked at when the stage begins.
    refused(
        "train flow.toml --init runs/flow --set network.width=64 --set task.codec=runs/gone",
        "has another network",
    );
    refused("train flow.toml --set network.experts={}", "set_transformer.experts.blocks is 6");
}

fn triposg() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/triposg_tiny")
}

/// TripoSG's released folder draws from the command line, and verbs and options that do not go with it say so.
/// Mutants: options passed over in silence; the folder taken for one of pictures.
#[test]
fn a_released_folder_of_shapes_draws_meshes() {
    let (folder, model) = (tempfile::tempdir().unwrap(), triposg());
    let run = |words: &str| {
        let mut command = rectiflow();
        command.current_dir(folder.path());
        let parts = words.split(' ').map(|word| if word == "MODEL" { model.as_os_str() } else { word.as_ref() });
        command.args(parts);
        command
    };
    let picture = model.join("picture.png");
    fs::copy(picture, folder.path().join("ring.png")).unwrap();
    let drawn = json(&mut run("sample MODEL --image ring.png --tokens 6 --steps 2 --resolution 64 --output ring.glb"));
    assert!(drawn["nfe"] == 2 && number(&drawn["faces"][0]) > 100.0, "{drawn}");
    let facts = json(&mut shape(folder.path(), "show ring.glb"));
    assert_eq!(facts["faces"], drawn["faces"][0]);
    assert_eq!(json(&mut run("inspect MODEL"))["model"], "TripoSG");
    assert_eq!(json(&mut run("plan MODEL"))["tokens"], 2048);
    let refused = |words: &str, code: i32, why: &str| {
        run(words).assert().code(code).stderr(predicate::str::contains(why));
    };
    refused("sample MODEL --output x.glb", 2, "--image is missing");
    refused("sample MODEL --prompt chair --output x.glb", 2, "use --image");
    refused("sample MODEL --image ring.png --height 64 --output x.glb", 2, "models of pictures");
    refused("sample MODEL --image ring.png --resolution 100 --output x.glb", 2, "--resolution 100");
    refused("sample MODEL --image gone.png --output x.glb", 1, "gone.png");
    refused("plan MODEL --height 64", 2, "draws shapes");
    refused("plan MODEL --frames 17", 2, "--frames");
    refused("plan MODEL --seed 1", 2, "--seed");
    refused("sample MODEL --image ring.png --columns 2 --output x.npy", 2, "--columns");
    refused("convert MODEL y --layout diffusers", 1, "draws shapes");
    assert!(!folder.path().join("x.glb").exists());
}

const SEEN: &str = r#"
name = "seen"
task = { type = "generate", codec = "runs/codec", picture = { size = 16, patch = 8, views = 2 } }
data = { name = "solids", classes = ["sphere", "box"], limit = 16 }
network = { type = "set_transformer", width = 32, heads = 2, depth = 3, eye = { depth = 1 }, condition = { tokens = 64 } }
sample = { steps = 8 }
[train]
images = 480
batch = 16
condition_dropout = 0.1
validate_every = 240
optim = { lr = 3e-3, warmup = 80 }
"#;

const VIEWS: &str = r#"
name = "views"
whitening = "zca"
data = { name = "solids", classes = ["sphere", "box"], limit = 16 }
[codec]
type = "triplane"
inputs = 2
rays = 64
samples = 10
[codec.cameras]
size = 16
views = [
    { azimuth = 20.0, elevation = 25.0 },
    { azimuth = 110.0, elevation = -20.0 },
    { azimuth = 230.0, elevation = 25.0 },
]
[codec.network]
width = 32
depth = 1
heads = 2
channels = 4
side = 8
hidden = 16
[train]
images = 1600
batch = 8
optim = { lr = 5e-3, warmup = 160 }
"#;

const PLANES: &str = r#"
name = "planes"
task = { type = "generate", codec = "runs/views", latents = { space = "original", w_bg = 0.2 } }
data = { name = "solids", classes = ["sphere", "box"], limit = 16 }
network = { type = "triflow", width = 32, heads = 2, latents = 8, stages = 1, blocks = 1 }
sample = { steps = 8 }
[train]
images = 1600
batch = 16
validate_every = 800
sample_every = 1600
optim = { lr = 2e-3, warmup = 160 }
"#;

/// From solids to views, from views to planes, from planes to a flow, from a class to pictures and meshes.
/// Mutants: planes decoded before their surface is taken; views below one another on the sheet; whitened planes rendered.
#[test]
fn a_flow_over_planes_draws_views_and_meshes() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    fs::write(at.join("views.toml"), VIEWS).unwrap();
    fs::write(at.join("planes.toml"), PLANES).unwrap();
    let run = |line: &str| {
        let mut command = rectiflow();
        command.current_dir(at).args(line.split(' '));
        command
    };
    let wide = |name: &str| {
        let bytes = fs::read(at.join(name)).unwrap();
        u32::from_be_bytes(bytes[16..20].try_into().unwrap())
    };
    let shown = json(&mut run("data show solids --num 4 --size 16 -o solids.png"));
    assert_eq!((shown["samples"].as_u64(), shown["shape"].to_string()), (Some(2000), "[4,4,16,16]".into()));
    assert_eq!(wide("solids.png"), 2 * (4 * 16 + 2) + 2);
    let codec = json(&mut run("codec views.toml"));
    assert!(number(&codec["lost"]["psnr"]) > 13.0, "{codec}");
    let level = &codec["level"];
    assert!(number(&level["volume_iou"]) > 0.2 && number(&level["volume_iou"]) >= number(&level["at_ten"]), "{codec}");
    assert!(fs::read_to_string(at.join("runs/views/codec.json")).unwrap().contains("\"offset\""));
    assert!(at.join("runs/views/samples/round-trip.png").is_file());
    json(&mut run("train planes.toml"));
    assert!(at.join("runs/planes/samples/000000001600.png").is_file());
    json(&mut run("sample runs/planes --class box --num 2 --columns 1 --output views.png"));
    // Narrower than is visible: enlarged twice.
    assert_eq!(wide("views.png"), 2 * 3 * 16 + 4);
    json(&mut run("sample runs/planes --class box --num 1 --output views.npy"));
    json(&mut run("sample runs/planes --class sphere --num 1 --resolution 16 --output one.glb"));
    assert!(number(&json(&mut shape(at, "show one.glb -o one.png"))["faces"]) > 10.0);
    let found = json(&mut shape(at, "measure runs/planes --num 4"));
    assert!(number(&found["judge"]) > 0.5, "{found}");
    // How wide its channels are is told, and kept. Mutant: the condition after whitening, which is 1.
    let condition = number(&codec["condition"]);
    let facts = json(&mut run("inspect runs/views"));
    assert!(condition > 1.5 && number(&facts["latents"]["condition"]) == condition, "{condition} {facts}");
    assert_eq!(facts["latents"]["whitening"], "zca");
    // What latents look like counts. Mutants: a rendering that reaches no gradient; one that is in no plan.
    let render = |more: &str| format!("train planes.toml --images 64 --set train.sample_every=0 {more}");
    let some = "--set task.latents.render={lpips=0.0,patch=8,from=0.0}";
    json(&mut run(&render(&format!("{some} -o runs/rendered"))));
    json(&mut run(&render("-o runs/unrendered")));
    let stats = |folder: &str| fs::read_to_string(at.join(format!("runs/{folder}/stats.jsonl"))).unwrap();
    let loss = |folder: &str| {
        let first: serde_json::Value = serde_json::from_str(stats(folder).lines().next().unwrap()).unwrap();
        number(&first["loss"])
    };
    assert!(loss("rendered") > loss("unrendered"));
    let drawn = |folder: &str| {
        json(&mut run(&format!("sample runs/{folder} --class box --num 2 --output drawn.npy")));
        floats(&at.join("drawn.npy"))
    };
    let moved = apart(&drawn("rendered"), &drawn("unrendered"));
    assert!(moved > 1e-5, "{moved}"); // 2e-4 here
    let kept = |more: &str| number(&json(&mut run(&format!("plan planes.toml{more}")))["activation_bytes"]);
    // A window of 8 pixels to a side, 10 places to a ray, 96 numbers at least of the corners' features, for each of 16 samples.
    let windows = kept(&format!(" {some}")) - kept("");
    assert!(windows > 16.0 * 64.0 * 10.0 * 96.0 * 4.0 && windows < 1e8, "{windows}");
    let refused = |line: &str, words: &str| {
        run(line).assert().code(2).stderr(predicate::str::contains(words));
    };
    let other = |more: &str| render(&format!("--set task.latents.render={{lpips=0.0{more}}} -o runs/other"));
    refused(&other(",weight=0.0"), "task.latents.render.weight = 0");
    refused(&other(",from=1.0"), "task.latents.render.from = 1");
    refused(&other(",patch=32"), "16 pixels to a side");
    refused(&format!("{} --set data.classes=[\"nothing\"]", other(",patch=32")), "16 pixels to a side");
    refused(
        "align sft runs/planes --reward oracle:match --set task.latents.render={lpips=0.0} -o runs/other",
        "`task.latents.render` cannot be set for align",
    );
    refused("codec views.toml --set codec.inputs=4 -o runs/other", "codec.inputs");
    refused("codec views.toml --set codec.cameras.size=20 -o runs/other", "codec.cameras.size");
    refused("train planes.toml --set task.latents.w_bg=0 -o runs/other", "task.latents.w_bg = 0");
    refused("eval runs/planes --num 32", "draws shapes");
    refused("sample runs/planes --resolution 100 --output x.glb", "--resolution 100");
    refused("sample runs/planes --resolution 512 --output x.glb", "at most 256");
    assert!(!at.join("runs/other").exists() && !at.join("x.glb").exists());
}
