//! Clips: animated PNGs, those of the command line, by runs and by released models.

use crate::{
    client::Answer,
    house::{House, learn},
};
use rectiflow::{
    Context,
    overrides::SampleOverrides,
    released::{self, ReleasedRequest},
    verbs::sample::{SampleRequest, sample},
};
use serde_json::json;
use std::{fs, io::Cursor, path::Path};

/// The frames of an animated PNG, and how long each is shown, in thousandths of a second.
fn frames(png: &[u8]) -> Vec<(image::RgbaImage, (u32, u32))> {
    let decoder = image::codecs::png::PngDecoder::new(Cursor::new(png)).expect("a PNG");
    let frames = image::AnimationDecoder::into_frames(decoder.apng().expect("an animated one"));
    frames.map(|frame| frame.unwrap()).map(|frame| (frame.buffer().clone(), frame.delay().numer_denom_ms())).collect()
}

fn result(house: &House, id: &str, at: usize) -> Answer {
    let answer = house.get(&format!("/api/jobs/{id}/results/{at}.png"));
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "image/png"));
    answer
}

/// Mutants: the first frame alone; a sheet of frames; noise of number 0 for both; shown at another rate.
#[test]
fn clips_are_those_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let (run, output) = (folder.path().join("garments"), folder.path().join("drawn"));
    learn(
        "name = \"garments\"\ndata = { name = \"moving-garments\", limit = 96 }\n[network]\ntype = \"unet\"\nchannels = 8\npatch = 2\n\
         [train]\nimages = 64\nbatch = 16\nvalidate_every = 0\n[sample]\nsteps = 3\n",
        &run,
    );
    let request = SampleRequest {
        checkpoint: run.clone(),
        ema: None,
        overrides: SampleOverrides { steps: Some(4), ..SampleOverrides::default() },
        seed: 9,
        count: 2,
        data: None,
        class: Some("Bag".into()),
        prompts: Vec::new(),
        images: Vec::new(),
        output: output.clone(),
        columns: 0,
        resolution: 128,
        first_step: None,
        noise: None,
        reward: None,
    };
    sample(&request, &mut Context::silent()).unwrap();
    let house = House::open(|options| options.models = vec![run.display().to_string()]);
    let model = house.get("/v1/models/garments").json();
    let known = [
        ("makes", json!("clips")),
        ("frames", json!(8)),
        ("fps", json!(8.0)),
        ("size", json!("16x16")),
        ("does", json!(["sample"])),
    ];
    known.iter().for_each(|(key, value)| assert_eq!(&model[*key], value, "{key}"));
    let body = json!({ "class": "Bag", "n": 2, "seed": 9, "steps": 4, "size": "16x16", "previews": true });
    let id = house.post("/api/jobs", body).json()["id"].as_str().unwrap().to_string();
    house.until(&id, "done");
    for at in 0..2 {
        let (found, own) = (result(&house, &id, at).body, fs::read(output.join(format!("{at:06}.png"))).unwrap());
        assert!(frames(&found) == frames(&own), "clip {at}");
        assert_eq!((frames(&found).len(), frames(&found)[0].1), (8, (125, 1)));
        let said = String::from_utf8_lossy(&found).into_owned();
        let told = ["Steps: 4, Sampler: euler", "Seed: 9", "Model: garments", &format!("\"first\":{at}")];
        assert!(told.iter().all(|part| said.contains(part)) && !said.contains("/tmp"), "the file says how it was made");
    }
    assert!(frames(&result(&house, &id, 0).body) != frames(&result(&house, &id, 1).body));
    let still = house.post("/v1/images/generations", json!({ "prompt": "Bag" }));
    assert_eq!((still.status, &still.json()["error"]["param"]), (400, &json!("model")), "{}", still.text());
    for (key, value) in
        [("size", json!("28x28")), ("frames", json!(3)), ("do", json!("edit")), ("resolution", json!(64))]
    {
        let mut body = json!({ "class": "Bag" });
        body[key] = value;
        let answer = house.post("/api/jobs", body);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(key)), "{}", answer.text());
    }
}

/// Mutants: frames of the first clip for both; all frames in one file; more frames than are asked for.
#[test]
fn released_models_draw_clips_too() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wan_tiny");
    let folder = tempfile::tempdir().unwrap();
    let request = ReleasedRequest {
        steps: Some(2),
        frames: Some(5),
        height: Some(32),
        width: Some(32),
        seed: 3,
        count: Some(2),
        output: folder.path().join("drawn"),
        ..ReleasedRequest::new(fixture.clone(), "a red fox")
    };
    released::sample(&request, &mut Context::silent()).unwrap();
    let house = House::open(|options| options.models = vec![fixture.display().to_string()]);
    let model = house.get("/v1/models/wan_tiny").json();
    assert_eq!((&model["makes"], &model["frames"], &model["does"]), (&json!("clips"), &json!(81), &json!(["sample"])));
    let body = json!({ "prompt": "a red fox", "frames": 5, "size": "32x32", "n": 2, "seed": 3, "steps": 2 });
    let job = house.post("/api/jobs", body.clone()).json();
    let id = job["id"].as_str().unwrap_or_else(|| panic!("{job}")).to_string();
    assert_eq!(house.until(&id, "done")["frames"], 5);
    for at in 0..2 {
        let (found, own) =
            (result(&house, &id, at).body, fs::read(folder.path().join(format!("drawn/{at:06}.png"))).unwrap());
        assert!(frames(&found).len() == 5 && frames(&found) == frames(&own), "clip {at}");
        let said = String::from_utf8_lossy(&found).into_owned();
        assert!(
            said.contains("Frames: 5, FPS: 16, Model: wan_tiny") && !said.contains("fixtures"),
            "a place is nobody's business"
        );
    }
    for (key, value) in
        [("frames", json!(6)), ("frames", json!(82)), ("frames", json!(0)), ("image", json!("aGVsbG8="))]
    {
        let mut body = body.clone();
        body[key] = value.clone();
        let answer = house.post("/api/jobs", body);
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(key)), "{value}: {}", answer.text());
    }
}
