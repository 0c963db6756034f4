//! Shapes that show what a picture shows, as the command line draws them.

use crate::{
    changing::{bomb, png},
    client::{Answer, form},
    house::{House, learn, runs},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use image::{GrayImage, Luma};
use rectiflow::{
    Context,
    codec::CodecRecipe,
    overrides::SampleOverrides,
    verbs::{
        codec::codec,
        sample::{SampleRequest, sample},
    },
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

const CODEC: &str = r#"
name = "codec"
data = { name = "solids", classes = ["sphere", "box"], limit = 16 }
[codec]
type = "shape"
tokens = 4
cloud = 64
on = 8
near = 32
points = { surface = 256, near = 256, volume = 128 }
network = { encoder_width = 32, encoder_depth = 1, decoder_width = 32, decoder_depth = 1, heads = 2, channels = 4 }
[train]
images = 1600
batch = 8
optim = { lr = 4e-3, warmup = 160 }
"#;

/// A flow that draws what a picture shows, which has only to draw something.
fn flow(folder: &Path) -> PathBuf {
    let place = folder.join("codec");
    codec(&CodecRecipe::parse(CODEC, "the tests' codec").unwrap(), &place, None, &mut Context::silent()).unwrap();
    let recipe = format!(
        "name = \"seen\"\ndata = {{ name = \"solids\", classes = [\"sphere\", \"box\"], limit = 16 }}\nsample = {{ steps = 4 }}\n\
         [task]\ntype = \"generate\"\ncodec = {place:?}\npicture = {{ size = 16, patch = 8, views = 2 }}\n\
         [network]\ntype = \"set_transformer\"\nwidth = 32\nheads = 2\ndepth = 3\neye = {{ depth = 1 }}\ncondition = {{ tokens = 64 }}\n\
         [train]\nimages = 320\nbatch = 16\ncondition_dropout = 0.1\nvalidate_every = 0\noptim = {{ lr = 3e-3, warmup = 80 }}\n"
    );
    learn(&recipe, &folder.join("seen"));
    folder.join("seen")
}

/// What is dark on white, and what is dark all over.
fn shown(is_dark: fn(i32, i32) -> bool) -> Vec<u8> {
    png(&GrayImage::from_fn(60, 50, |x, y| Luma([if is_dark(x as i32 - 30, y as i32 - 20) { 90 } else { 255 }])))
}

/// What `rectiflow sample RUN --image FILE --num 2 --seed 4 --resolution 32 -o made/part.glb` writes.
fn drawn(run: &Path, picture: &[u8]) -> [Vec<u8>; 2] {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("picture.png");
    fs::write(&file, picture).unwrap();
    let request = SampleRequest {
        checkpoint: run.to_path_buf(),
        ema: None,
        overrides: SampleOverrides { guidance: Some(1.5), ..SampleOverrides::default() },
        seed: 4,
        count: 2,
        data: None,
        class: None,
        prompts: Vec::new(),
        images: vec![file],
        output: folder.path().join("part.glb"),
        columns: 0,
        resolution: 32,
        first_step: None,
        noise: None,
        reward: None,
    };
    sample(&request, &mut Context::silent()).unwrap();
    ["0000", "0001"].map(|number| fs::read(folder.path().join(format!("part-{number}.glb"))).unwrap())
}

/// Mutants: the first job's picture for all of a batch; a picture let go while its job waits, or kept when it has ended; another lattice; noise of
/// number 0 for both.
#[test]
fn shapes_show_what_pictures_show() {
    let folder = tempfile::tempdir().unwrap();
    let run = flow(folder.path());
    let models = vec![runs()[0].display().to_string(), run.display().to_string()];
    let house = House::open(|options| options.models = models);
    let model = house.get("/v1/models/seen").json();
    let known = [
        ("makes", json!("shapes")),
        ("reads_pictures", json!(true)),
        ("guided", json!(true)),
        ("classes", json!([])),
        ("does", json!(["sample"])),
    ];
    known.iter().for_each(|(key, value)| assert_eq!(&model[*key], value, "{key}"));
    let disc = shown(|x, y| x * x + y * y < 150);
    let square = shown(|x, y| x.abs() < 12 && y.abs() < 12);
    // Both wait, so that they are drawn together.
    let long = house.busy();
    let body = json!({
        "model": "seen", "n": 2, "seed": 4, "resolution": 32, "guidance_scale": 1.5, "image": BASE64_STANDARD.encode(&disc),
    });
    let texts = [("model", "seen"), ("n", "2"), ("seed", "4"), ("resolution", "32"), ("guidance_scale", "1.5")];
    let jobs =
        [house.post("/api/jobs", body.clone()), form(house.address, "/api/jobs", &texts, &[("image", square.clone())])];
    let ids =
        jobs.each_ref().map(|job| job.json()["id"].as_str().unwrap_or_else(|| panic!("{}", job.text())).to_string());
    let before = house.metric("rectiflow_batches_total");
    house.cancel(&long);
    let result = |id: &str, at: usize| house.get(&format!("/api/jobs/{id}/results/{at}.glb"));
    for (id, picture) in ids.iter().zip([&disc, &square]) {
        let job = house.until(id, "done");
        assert_eq!((&job["resolution"], &job["note"], &job["size"]), (&json!(32), &Value::Null, &Value::Null));
        for (at, own) in drawn(&run, picture).iter().enumerate() {
            let answer = result(id, at);
            assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "model/gltf-binary"));
            assert!(&answer.body == own, "shape {at}");
        }
    }
    assert_eq!(house.metric("rectiflow_batches_total") - before, 1.0, "one batch for both");
    assert!(result(&ids[0], 0).body != result(&ids[1], 0).body && result(&ids[0], 0).body != result(&ids[0], 1).body);

    let with = |key: &str, value: Value| {
        let mut body = body.clone();
        body[key] = value;
        house.post("/api/jobs", body)
    };
    let whole = with("image", json!(BASE64_STANDARD.encode(shown(|_, _| true)))).json();
    assert!(whole["note"].as_str().is_some_and(|note| note.contains("cut it out")), "{whole}");
    let blank = BASE64_STANDARD.encode(shown(|_, _| false));
    let bomb = BASE64_STANDARD.encode(bomb());
    let told = with("image", json!(bomb));
    assert!(told.text().contains("million pixels"), "{}", told.text());
    for (key, value, param) in [
        ("image", Value::Null, "image"),
        ("image", json!("aGVsbG8="), "image"),
        ("image", json!(blank), "image"),
        ("image", json!(bomb), "image"),
        ("class", json!("box"), "class"),
        ("prompt", json!("a box"), "prompt"),
        ("resolution", json!(100), "resolution"),
        ("resolution", json!(512), "resolution"),
        ("size", json!("28x28"), "size"),
        ("do", json!("restore"), "do"),
        ("previews", json!("yes"), "previews"),
    ] {
        let answer = with(key, value.clone());
        assert_eq!((answer.status, param_of(&answer).as_str()), (400, param), "{key} {value}: {}", answer.text());
        assert!(!answer.text().contains("/tmp") && !answer.text().contains("--"), "{}", answer.text());
    }
    let picture = house.post("/v1/images/generations", json!({ "model": "seen", "prompt": "" }));
    assert_eq!(picture.status, 400, "{}", picture.text());
}

fn param_of(answer: &Answer) -> String {
    answer.json()["error"]["param"].as_str().unwrap_or_default().into()
}
