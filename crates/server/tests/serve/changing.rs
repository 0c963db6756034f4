//! What is made of something that was sent is what the command line makes of it: pictures restored and edited, sounds separated.

use crate::{
    client::{Answer, form, get, read, request, send},
    house::{House, drawn, learn, pixels, runs},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use image::{GrayImage, Luma, Rgba, RgbaImage};
use rectiflow::{
    Context,
    codec::CodecRecipe,
    editing,
    overrides::SampleOverrides,
    restoring::{self, Hole, Task},
    separator::Resynthesis,
    verbs::{
        codec::codec,
        edit::{Asked, EditRequest, edit},
        restore::{RestoreRequest, restore},
        separate::{SeparateRequest, separate},
    },
};
use serde_json::{Value, json};
use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

pub fn png<P>(image: &image::ImageBuffer<P, Vec<u8>>) -> Vec<u8>
where
    P: image::Pixel<Subpixel = u8> + image::PixelWithColorType,
{
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A picture to change, and a mask of its middle.
pub fn sent() -> (GrayImage, GrayImage) {
    let picture =
        image::DynamicImage::ImageRgb8(drawn(3, 1, Some("Bag"), SampleOverrides::default()).remove(0)).to_luma8();
    let inside = |at: u32| (8..20).contains(&at);
    let mask = GrayImage::from_fn(28, 28, |x, y| Luma([if inside(x) && inside(y) { 255 } else { 0 }]));
    (picture, mask)
}

fn overrides() -> SampleOverrides {
    SampleOverrides { steps: Some(4), ..SampleOverrides::default() }
}

/// What `rectiflow restore runs/tiny --input FOLDER --task inpaint --mask FILE` writes of two copies of a picture.
pub fn restored(picture: &GrayImage, mask: &GrayImage) -> Vec<image::RgbImage> {
    restored_by(&runs()[0], picture, mask)
}

/// The same by the run at `model`.
fn restored_by(model: &Path, picture: &GrayImage, mask: &GrayImage) -> Vec<image::RgbImage> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("in")).unwrap();
    (0..2).for_each(|i| picture.save(at("in").join(format!("{i}.png"))).unwrap());
    mask.save(at("mask.png")).unwrap();
    let request = RestoreRequest {
        checkpoint: model.to_path_buf(),
        ema: None,
        beside: Default::default(),
        input: at("in").display().to_string(),
        degrade: false,
        originals: None,
        count: None,
        resize: false,
        task: Task::Inpaint(Hole::Mask(at("mask.png"))),
        noise: 0.0,
        space: None,
        toward: vec![],
        methods: restoring::methods("flowchef").unwrap(),
        overrides: overrides(),
        class: Some("Bag".into()),
        prompts: vec![],
        seed: 5,
        output: at("out"),
        rows: 2,
        command: String::new(),
    };
    restore(&request, &mut Context::silent()).unwrap();
    let mut files: Vec<PathBuf> = fs::read_dir(at("out/flowchef")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| pixels(&fs::read(file).unwrap())).collect()
}

fn inside(answer: &Answer, at: usize) -> image::RgbImage {
    assert_eq!(answer.status, 200, "{}", answer.text());
    pixels(&BASE64_STANDARD.decode(answer.json()["data"][at]["b64_json"].as_str().unwrap()).unwrap())
}

/// OpenAI's way, as a form: white of a mask, what a mask has transparent, and what the picture itself has are one hole.
/// Mutants: black drawn anew instead; noise of number 0 for both; the class not told; transparency passed over.
#[test]
fn edits_with_a_mask_are_restorations() {
    let house = House::open(|_| {});
    let (picture, mask) = sent();
    let own = restored(&picture, &mask);
    assert_eq!(own.len(), 2);
    let clear = |of: &GrayImage| {
        RgbaImage::from_fn(28, 28, |x, y| {
            let v = of.get_pixel(x, y)[0];
            Rgba([v, v, v, 255 - mask.get_pixel(x, y)[0]])
        })
    };
    let texts = [
        ("model", "tiny"),
        ("prompt", "Bag"),
        ("n", "2"),
        ("seed", "5"),
        ("steps", "4"),
        ("response_format", "b64_json"),
        ("stream", "false"),
    ];
    let cases = [
        vec![("image", png(&picture)), ("mask", png(&mask))],
        vec![("image[]", png(&picture)), ("mask", png(&clear(&picture)))],
    ];
    for files in cases {
        let answer = form(house.address, "/v1/images/edits", &texts, &files);
        (0..2).for_each(|at| assert_eq!(inside(&answer, at), own[at], "picture {at}"));
        assert_eq!((&answer.json()["do"], &answer.json()["seed"]), (&json!("restore"), &json!(5)));
        let said = answer.json().to_string();
        assert!(!said.contains("/tmp") && !said.contains("checkpoints"), "{said}");
    }
    assert_ne!(own[0], own[1]);
    // The picture's own transparency; it is white there, which nobody looks at.
    let answer = form(house.address, "/v1/images/edits", &texts, &[("image", png(&clear(&picture)))]);
    assert_eq!(inside(&answer, 1), own[1]);
    // The same as a job in JSON.
    let job = json!({
        "do": "restore", "model": "tiny", "class": "Bag", "n": 2, "seed": 5, "steps": 4, "box": "8,8,12,12",
        "image": format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png(&picture))),
    });
    let job = house.post("/api/jobs", job).json();
    let job = house.until(job["id"].as_str().unwrap_or_else(|| panic!("{job}")), "done");
    assert_eq!(job["results"][1]["type"], "image/png");
    assert_eq!(pixels(&house.get(job["results"][1]["url"].as_str().unwrap()).body), own[1]);
}

/// What `rectiflow edit MODEL --input FOLDER --class Coat --method METHOD` writes of two copies of a picture.
fn edited_by(model: &Path, picture: &GrayImage, method: &str, source: &str) -> [image::RgbImage; 2] {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("in")).unwrap();
    (0..2).for_each(|i| picture.save(at("in").join(format!("{i}.png"))).unwrap());
    let request = EditRequest {
        checkpoint: model.to_path_buf(),
        ema: None,
        beside: Default::default(),
        input: at("in").display().to_string(),
        count: None,
        resize: false,
        asked: Asked::Classes { source: Some(source.into()), target: "Coat".into() },
        methods: editing::methods(method, None).unwrap(),
        blocks: None,
        features: None,
        overrides: overrides(),
        seed: 6,
        output: at("out"),
        rows: 2,
    };
    let report = edit(&request, &mut Context::silent()).unwrap();
    let folder = at("out").join(&report.rows[1].method);
    [0, 1].map(|i| pixels(&fs::read(folder.join(format!("{i:06}.png"))).unwrap()))
}

/// A run over latents is asked as one over pictures is. Mutants: pixels moved as if they were latents; latents not decoded; a hole of latents where
/// the command line has one of pixels.
#[test]
fn flows_over_latents_change_pictures_too() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("codec");
    let recipe = "name = \"codec\"\ndata = { limit = 96 }\n[codec]\ntype = \"autoencoder\"\nchannels = [8, 8]\ngroups = 4\n\
                  [train]\nimages = 64\nbatch = 16\n";
    codec(&CodecRecipe::parse(recipe, "the tests' codec").unwrap(), &place, None, &mut Context::silent()).unwrap();
    let recipe = format!(
        "name = \"latents\"\ndata = {{ limit = 96 }}\n[task]\ntype = \"generate\"\ncodec = {place:?}\n[network]\ntype = \"unet\"\n\
         channels = 8\npatch = 1\n[train]\nimages = 64\nbatch = 16\ncondition_dropout = 0.2\nvalidate_every = 0\n[sample]\nsteps = 3\n"
    );
    let run = folder.path().join("latents");
    learn(&recipe, &run);
    let house = House::open(|options| options.models = vec![run.display().to_string()]);
    let does = house.get("/v1/models/latents").json()["does"].clone();
    assert_eq!(does, json!(["sample", "restore", "edit"]));
    let (picture, mask) = sent();
    let ask = |seed: &str, class: &str, more: &[(&str, &str)], mask: Option<Vec<u8>>| {
        let texts = [("prompt", class), ("n", "2"), ("seed", seed), ("steps", "4"), ("response_format", "b64_json")];
        let files: Vec<(&str, Vec<u8>)> =
            [("image", png(&picture))].into_iter().chain(mask.map(|mask| ("mask", mask))).collect();
        form(house.address, "/v1/images/edits", &[&texts[..], more].concat(), &files)
    };
    let (answer, own) = (ask("5", "Bag", &[], Some(png(&mask))), restored_by(&run, &picture, &mask));
    (0..2).for_each(|at| assert_eq!(inside(&answer, at), own[at], "restored {at}"));
    assert_ne!(own[0], own[1]);
    let answer = ask("6", "Coat", &[("strength", "0.75")], None);
    let own = edited_by(&run, &picture, "{ type = \"sd_edit\", start = 0.25 }", "none");
    (0..2).for_each(|at| assert_eq!(inside(&answer, at), own[at], "edited {at}"));
}

/// Mutants: the source in place of the target; another strength; noise of another seed.
#[test]
fn edits_without_a_mask_are_edits() {
    let house = House::open(|_| {});
    let (picture, _) = sent();
    let own = |method: &str, source: &str| edited_by(&runs()[0], &picture, method, source);
    let noised = own("{ type = \"sd_edit\", start = 0.25 }", "none");
    let texts = [
        ("model", "tiny"),
        ("prompt", "Coat"),
        ("n", "2"),
        ("seed", "6"),
        ("steps", "4"),
        ("strength", "0.75"),
        ("response_format", "b64_json"),
    ];
    let answer = form(house.address, "/v1/images/edits", &texts, &[("image", png(&picture))]);
    (0..2).for_each(|at| assert_eq!(inside(&answer, at), noised[at], "picture {at}"));
    let body = json!({
        "do": "edit", "model": "tiny", "prompt": "Coat", "source": "Bag", "method": "flow-edit", "seed": 6, "steps": 4,
        "image": BASE64_STANDARD.encode(png(&picture)),
    });
    let job = house.post("/api/jobs", body).json();
    let job = house.until(job["id"].as_str().unwrap_or_else(|| panic!("{job}")), "done");
    assert_eq!((&job["solver"], &job["shows"]), (&json!("flow_edit"), &json!(["Coat"])));
    let own = own("flow-edit", "Bag");
    assert_eq!(pixels(&house.get(job["results"][0]["url"].as_str().unwrap()).body), own[0]);
}

#[test]
fn changes_that_make_no_sense() {
    let house = House::open(|options| options.limits.upload = 100 << 10);
    let picture = BASE64_STANDARD.encode(png(&sent().0));
    let wide = BASE64_STANDARD.encode(png(&GrayImage::new(40, 20)));
    let bomb = BASE64_STANDARD.encode(bomb());
    let black = BASE64_STANDARD.encode(png(&GrayImage::new(28, 28)));
    let cases = [
        (json!({ "do": "edit", "prompt": "Bag" }), "image"),
        (json!({ "do": "edit", "image": picture }), "prompt"),
        (json!({ "do": "edit", "image": picture, "prompt": "Bag", "strength": 0 }), "strength"),
        (json!({ "do": "edit", "image": picture, "prompt": "Bag", "source": "Coat" }), "source"),
        (
            json!({ "do": "edit", "image": picture, "prompt": "Bag", "method": "inversion", "source": "x".repeat(4001) }),
            "source",
        ),
        (json!({ "do": "restore", "image": picture, "box": "3", "sigma": 2 }), "sigma"),
        (json!({ "do": "edit", "image": picture, "prompt": "Bag", "method": "inversion" }), "source"),
        (json!({ "do": "edit", "image": picture, "prompt": "Bag", "method": "rf-edit", "source": "Coat" }), "model"),
        (json!({ "do": "edit", "image": picture, "prompt": "Bag", "method": "{ type = 'sd_edit' }" }), "method"),
        (json!({ "do": "edit", "image": picture, "prompt": "Bag", "method": "magic" }), "method"),
        (json!({ "do": "edit", "image": "no base64!", "prompt": "Bag" }), "image"),
        (json!({ "do": "edit", "image": "aGVsbG8=", "prompt": "Bag" }), "image"),
        (json!({ "do": "edit", "image": bomb, "prompt": "Bag" }), "image"),
        (json!({ "do": "restore", "image": picture }), "mask"),
        (json!({ "do": "restore", "image": picture, "mask": black }), "mask"),
        (json!({ "do": "restore", "image": picture, "mask": picture, "box": "3" }), "box"),
        (json!({ "do": "restore", "image": picture, "box": "99" }), "model"),
        (json!({ "do": "restore", "image": picture, "task": "super", "scale": 3 }), "task"),
        (json!({ "do": "restore", "image": wide, "task": "magic" }), "task"),
        (json!({ "do": "restore", "image": picture, "task": "super", "motion": 3 }), "motion"),
        (json!({ "do": "restore", "image": picture, "box": "3", "bicubic": true }), "bicubic"),
        (json!({ "do": "restore", "image": picture, "task": "deblur", "quality": 3 }), "quality"),
        (json!({ "do": "restore", "image": picture, "task": "deblur", "motion": 28 }), "task"),
        (json!({ "do": "restore", "image": picture, "task": "jpeg" }), "task"),
        (json!({ "do": "restore", "image": wide, "task": "dequantise" }), "image"),
        (json!({ "do": "separate", "sound": picture, "query": "low" }), "do"),
        (json!({ "image": picture, "class": 1 }), "image"),
    ];
    for (mut body, param) in cases {
        body["model"] = json!("tiny");
        let answer = house.post("/api/jobs", body.clone());
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains("--") && !message.contains("/tmp"), "{message}");
    }
    let huge = json!({ "do": "edit", "image": "A".repeat(200 << 10) });
    assert_eq!(house.post("/api/jobs", huge).status, 413);
    // What is sent as a form and is none.
    let lines = ["Content-Type: multipart/form-data; boundary=x"];
    let torn = read(&send(house.address, &request("POST", "/v1/images/edits", &lines, "--x\r\nno head")));
    assert_eq!((torn.status, torn.code().as_str()), (400, "invalid_form"));
    assert_eq!(house.metric("rectiflow_queued_images"), 0.0);
}

/// 16-bit mono.
fn wav(samples: impl Iterator<Item = f32>) -> Vec<u8> {
    claimed(samples, 16_000, 1)
}

/// 16-bit, whose head says this rate and so many channels.
fn claimed(samples: impl Iterator<Item = f32>, rate: u32, channels: u16) -> Vec<u8> {
    let data: Vec<u8> = samples.flat_map(|v| ((v * 32767.0) as i16).to_le_bytes()).collect();
    let frame = 2 * channels;
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    bytes.extend(channels.to_le_bytes());
    bytes.extend(rate.to_le_bytes());
    bytes.extend((rate * u32::from(frame)).to_le_bytes());
    bytes.extend(frame.to_le_bytes());
    bytes.extend(b"\x10\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    [bytes, data].concat()
}

fn tone(hertz: f32, count: usize) -> impl Iterator<Item = f32> {
    (0..count).map(move |k| 0.4 * (k as f32 * std::f32::consts::TAU * hertz / 16_000.0).sin())
}

fn separator(folder: &Path) -> PathBuf {
    for (label, hertz) in [("low", 150.0), ("middle", 700.0), ("high", 3000.0)] {
        fs::create_dir_all(folder.join("sounds").join(label)).unwrap();
        for i in 0..8 {
            let sound = wav(tone(hertz * (1.0 + 0.04 * i as f32), 6000));
            fs::write(folder.join(format!("sounds/{label}/{i}.wav")), sound).unwrap();
        }
    }
    let recipe = format!(
        "name = \"tones\"\nparameterization = {{ type = \"data\" }}\n[data]\npath = {:?}\n[task]\ntype = \"separate\"\n\
         [task.mel]\nbins = 32\n[task.mixture]\nlength = 5120\n[network]\ntype = \"unet\"\nchannels = 8\npatch = 4\ngroups = 4\n\
         condition = {{ dense = 1 }}\n[train]\nimages = 64\nbatch = 16\nvalidate_every = 0\n[sample]\nsteps = 3\n",
        folder.join("sounds")
    );
    learn(&recipe, &folder.join("tones"));
    folder.join("tones")
}

/// Mutants: the answers in another order; the first query for all; sounds at the model's level; a recording's rate, its length in
/// seconds or its channels not looked at; the place of the model told to whoever sends it a picture.
#[test]
fn sounds_come_as_the_command_line_separates_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = separator(folder.path());
    let house = House::open(|options| options.models = vec![run.display().to_string()]);
    let recording = wav(tone(160.0, 12_000).zip(tone(3100.0, 12_000)).map(|(a, b)| 0.5 * (a + b)));
    let at = |name: &str| folder.path().join(name);
    fs::write(at("mixed.wav"), &recording).unwrap();
    let queries = ["high", "low"].map(String::from).to_vec();
    let request = SeparateRequest {
        checkpoint: run,
        ema: None,
        overrides: overrides(),
        seed: 8,
        input: at("mixed.wav"),
        queries,
        resynthesis: Resynthesis::Mask,
        vocoder: None,
        output: at("out"),
    };
    separate(&request, &mut Context::silent()).unwrap();
    let body = json!({ "sound": BASE64_STANDARD.encode(&recording), "query": ["high", "low"], "seed": 8, "steps": 4 });
    let job = house.post("/api/jobs", body).json();
    let job = house.until(job["id"].as_str().unwrap_or_else(|| panic!("{job}")), "done");
    assert_eq!((&job["do"], &job["shows"]), (&json!("separate"), &json!(["high", "low"])));
    for (at, name) in ["mixed-high.wav", "mixed-low.wav"].iter().enumerate() {
        let answer = house.get(job["results"][at]["url"].as_str().unwrap());
        assert_eq!(answer.headers["content-type"], "audio/wav");
        assert!(answer.body == fs::read(folder.path().join("out").join(name)).unwrap(), "{name}");
    }
    let model: Value = get(house.address, "/v1/models/tones").json();
    assert_eq!(
        (&model["makes"], &model["does"], &model["size"]),
        (&json!("sounds"), &json!(["separate"]), &Value::Null)
    );
    let claims = |rate, channels, count| BASE64_STANDARD.encode(claimed(tone(160.0, count), rate, channels));
    for (body, param) in [
        (json!({ "query": "high" }), "sound"),
        (json!({ "sound": "aGVsbG8=", "query": "high" }), "sound"),
        (json!({ "sound": claims(1, 1, 600), "query": "high" }), "sound"),
        (json!({ "sound": claims(3_999, 1, 600), "query": "high" }), "sound"),
        (json!({ "sound": claims(16_000, 3, 600), "query": "high" }), "sound"),
        (json!({ "sound": claims(4_000, 1, 1_200_001), "query": "high" }), "sound"),
        (json!({ "sound": claims(4_000, 1, 600), "query": "x".repeat(4001) }), "query"),
        (json!({ "sound": BASE64_STANDARD.encode(&recording), "query": "a trumpet" }), "query"),
        (json!({ "sound": BASE64_STANDARD.encode(&recording) }), "query"),
        (json!({ "sound": BASE64_STANDARD.encode(&recording), "query": "low", "size": "28x28" }), "size"),
    ] {
        let error = house.post("/api/jobs", body).json()["error"].clone();
        assert_eq!(error["param"], param, "{error}");
    }
    let edits = house.post("/v1/images/edits", json!({ "image": BASE64_STANDARD.encode(&recording) }));
    let said = edits.text();
    assert!(edits.status == 400 && said.contains("changes no pictures") && !said.contains("/tmp"), "{said}");
    let pictures = house.post("/v1/images/generations", json!({ "prompt": "high" }));
    assert_eq!(
        (pictures.status, pictures.json()["error"]["param"].as_str()),
        (400, Some("model")),
        "{}",
        pictures.text()
    );
}

/// A PNG of a few bytes whose head promises a gigapixel, and whose checksum is right.
pub fn bomb() -> Vec<u8> {
    let mut bomb = png(&GrayImage::new(2, 2));
    bomb[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    };
    let crc = !bomb[12..29].iter().fold(!0, step);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    bomb
}
