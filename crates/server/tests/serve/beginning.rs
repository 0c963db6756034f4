//! Released models that begin with a picture: what the command line makes of it (`sample --init-image`), under each interface.

use crate::{
    changing::png,
    client::{Answer, form},
    house::{House, pixels},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use image::{GrayImage, Luma, Rgb, RgbImage};
use rectiflow::{
    Context,
    released::{self, ReleasedRequest, Shown},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

const MODELS: [&str; 6] =
    ["sd3_tiny", "flux_dev_tiny", "sd15_tiny", "instaflow_tiny", "z_image_tiny", "qwen_image_tiny"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

/// A picture, and a mask of its right half, which nobody would mistake for its left or its lower one.
fn sent() -> (RgbImage, GrayImage) {
    let colour =
        |x: u32, y: u32| Rgb([(8 * x) as u8, (8 * y) as u8, if (x / 4 + y / 8).is_multiple_of(2) { 200 } else { 30 }]);
    (RgbImage::from_fn(32, 32, colour), GrayImage::from_fn(32, 32, |x, _| Luma([if x >= 16 { 255 } else { 0 }])))
}

/// What `rectiflow sample MODEL --init-image FILE --strength S [--mask FILE] --seed 7 --num 2 --steps 4 -o FOLDER` writes.
fn drawn(model: &str, strength: f64, masked: bool) -> [RgbImage; 2] {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (picture, mask) = sent();
    picture.save(at("picture.png")).unwrap();
    mask.save(at("mask.png")).unwrap();
    let shown = |name: &str| Shown::File(at(name).display().to_string());
    let request = ReleasedRequest {
        init_image: Some((shown("picture.png"), strength)),
        mask: masked.then(|| shown("mask.png")),
        steps: Some(4),
        height: Some(32),
        width: Some(32),
        seed: 7,
        count: Some(2),
        output: at("drawn"),
        ..ReleasedRequest::new(fixture(model), "a red fox")
    };
    released::sample(&request, &mut Context::silent()).unwrap();
    [0, 1].map(|i| pixels(&fs::read(at("drawn").join(format!("{i:06}.png"))).unwrap()))
}

fn house() -> House {
    House::open(|options| {
        options.models = MODELS.iter().chain(&["wan_tiny"]).map(|name| fixture(name).display().to_string()).collect();
    })
}

fn made(house: &House, answer: &Answer) -> (Value, [RgbImage; 2]) {
    let id = answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_string();
    let job = house.until(&id, "done");
    (job, [0, 1].map(|at| pixels(&house.get(&format!("/api/jobs/{id}/results/{at}.png")).body)))
}

/// Mutants: another strength; the steps taken told for those asked for; black drawn anew for white; noise of number 0 for both; the picture let go of before it is drawn from; the mask left
/// out.
#[test]
fn released_models_change_pictures_as_the_command_line_does() {
    let house = house();
    let (picture, mask) = sent();
    let (whole, part) = (png(&picture), png(&mask));
    let texts = |model: &'static str| {
        [("model", model), ("prompt", "a red fox"), ("n", "2"), ("seed", "7"), ("steps", "4"), ("size", "32x32")]
    };
    for model in MODELS {
        let own = drawn(model, 0.6, false);
        let job = [&texts(model)[..], &[("do", "edit"), ("strength", "0.6")]].concat();
        let (job, found) = made(&house, &form(house.address, "/api/jobs", &job, &[("image", whole.clone())]));
        assert_eq!((&job["do"], &found), (&json!("edit"), &own), "{model}");
        // What would draw it again, and not the steps that were left of four.
        assert_eq!((&job["steps"], &job["strength"]), (&json!(4), &json!(0.6)), "{model}");
        assert_ne!(own[0], own[1], "{model}");
        let masked = drawn(model, 1.0, true);
        let files = [("image", whole.clone()), ("mask", part.clone())];
        let job = [&texts(model)[..], &[("do", "restore")]].concat();
        let (job, found) = made(&house, &form(house.address, "/api/jobs", &job, &files));
        assert_eq!((&job["do"], &found), (&json!("restore"), &masked), "{model}");
        assert!((0..32).all(|y| masked[0].get_pixel(3, y) == picture.get_pixel(3, y)), "{model}: what is known stays");
    }
    // OpenAI's way, and A1111's.
    let model = "flux_dev_tiny";
    let own = drawn(model, 0.6, false);
    let edits = [&texts(model)[..], &[("strength", "0.6"), ("response_format", "b64_json")]].concat();
    let answer = form(house.address, "/v1/images/edits", &edits, &[("image", whole.clone())]).json();
    let inside = |text: &Value| pixels(&BASE64_STANDARD.decode(text.as_str().unwrap_or_default()).unwrap());
    assert_eq!([0, 1].map(|at| inside(&answer["data"][at]["b64_json"])), own);
    let theirs = |more: Value| {
        let mut body = json!({
            "prompt": "a red fox", "batch_size": 2, "seed": 7, "steps": 4, "width": 32, "height": 32, "denoising_strength": 0.6,
            "init_images": [BASE64_STANDARD.encode(&whole)], "override_settings": { "sd_model_checkpoint": model },
        });
        more.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        house.post("/sdapi/v1/img2img", body)
    };
    let answer = theirs(json!({})).json();
    assert_eq!([0, 1].map(|at| inside(&answer["images"][at])), own, "{}", answer["detail"]);
    let answer = theirs(json!({ "mask": BASE64_STANDARD.encode(&part) })).json();
    assert_eq!([0, 1].map(|at| inside(&answer["images"][at])), drawn(model, 0.6, true), "{}", answer["detail"]);
    // Once it has ended, nothing waits.
    assert_eq!(house.metric("rectiflow_queued_images"), 0.0);
}

/// A picture counts by what it unfolds to, for as long as its job may need it. Mutants: the body's bytes counted alone; the picture held when its
/// job has ended.
#[test]
fn pictures_are_counted_as_they_are_held() {
    let picture = BASE64_STANDARD.encode(png(&sent().0));
    let body =
        json!({ "model": "sd3_tiny", "do": "edit", "prompt": "a fox", "size": "32x32", "steps": 4, "image": picture });
    let with = |uploads: usize| {
        House::open(move |options| {
            options.models = vec![fixture("sd3_tiny").display().to_string()];
            options.limits.uploads = uploads;
        })
    };
    // Three numbers of four bytes for each pixel, and what is sent beside them.
    let (held, sent) = (12 * 32 * 32, body.to_string().len());
    assert!(sent < held / 2, "{sent}");
    let answer = with(held).post("/api/jobs", body.clone());
    assert_eq!(
        (answer.status, answer.json()["error"]["code"].as_str()),
        (503, Some("too_many_uploads")),
        "{}",
        answer.text()
    );
    let house = with(held + 2 * sent);
    for _ in 0..3 {
        made_once(&house, &house.post("/api/jobs", body.clone()));
    }
}

fn made_once(house: &House, answer: &Answer) {
    let id = answer.json()["id"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_string();
    house.until(&id, "done");
}

/// Each is refused by its name, and nothing tells of this machine.
#[test]
fn beginnings_that_make_no_sense() {
    let house = house();
    let (picture, mask) = sent();
    let [picture, mask] = [png(&picture), png(&mask)].map(|bytes| BASE64_STANDARD.encode(bytes));
    let white = BASE64_STANDARD.encode(png(&GrayImage::from_pixel(32, 32, Luma([255]))));
    let body = |more: Value| {
        let mut body =
            json!({ "model": "sd3_tiny", "do": "edit", "prompt": "a fox", "size": "32x32", "image": picture });
        more.as_object().unwrap().iter().for_each(|(key, value)| body[key] = value.clone());
        body
    };
    for (more, param) in [
        (json!({ "image": null }), "image"),
        (json!({ "image": "aGVsbG8=" }), "image"),
        (json!({ "size": "48x32" }), "image"), // not its own size, and no square
        (json!({ "prompt": "" }), "prompt"),
        (json!({ "class": 1 }), "class"),
        (json!({ "strength": 0 }), "strength"),
        (json!({ "strength": 2 }), "strength"),
        (json!({ "strength": 0.9, "steps": 2 }), "strength"), // no step is skipped
        (json!({ "method": "rf-edit" }), "method"),
        (json!({ "source": "a cat" }), "source"),
        (json!({ "mask": mask }), "mask"),
        (json!({ "do": "restore" }), "mask"),
        (json!({ "do": "restore", "mask": white }), "mask"),
        (json!({ "do": "restore", "box": "40" }), "mask"),
        (json!({ "do": "restore", "box": "8", "mask": mask }), "box"),
        (json!({ "do": "restore", "box": "8", "task": "super" }), "task"),
        (json!({ "do": "restore", "box": "8", "scale": 2 }), "scale"),
        (json!({ "do": "separate" }), "do"),
        (json!({ "frames": 5 }), "frames"),
        (json!({ "model": "wan_tiny" }), "do"),
    ] {
        let answer = house.post("/api/jobs", body(more.clone()));
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["param"]), (400, &json!(param)), "{more}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(!message.contains("--") && !message.contains("fixtures") && !message.contains("/tmp"), "{message}");
    }
    let clips = json!({ "model": "wan_tiny", "prompt": "a fox", "image": picture });
    let answer = house.post("/v1/images/edits", clips);
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("model")), "{}", answer.text());
    assert_eq!(house.metric("rectiflow_queued_images"), 0.0);
}
