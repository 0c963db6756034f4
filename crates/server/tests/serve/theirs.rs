//! A1111's clients are answered in their own words, and `/openapi.json` says what there is.

use crate::{
    changing::{png, restored, sent},
    client::{ask, request, send},
    house::{House, drawn, pixels},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use rectiflow::overrides::SampleOverrides;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every field that a client of theirs sends, most at its default.
fn payload() -> Value {
    json!({
        "enable_hr": false, "denoising_strength": 0, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2, "hr_upscaler": "",
        "prompt": "Bag", "styles": [], "seed": 9, "subseed": -1, "subseed_strength": 0, "seed_resize_from_h": -1,
        "seed_resize_from_w": -1, "sampler_name": "Euler", "batch_size": 2, "n_iter": 1, "steps": 4, "cfg_scale": 1.5, "width": 512,
        "height": 512, "restore_faces": false, "tiling": false, "negative_prompt": "", "eta": null, "s_churn": 0, "s_noise": 1,
        "override_settings": { "sd_model_checkpoint": "tiny" }, "override_settings_restore_afterwards": true, "script_args": [],
        "sampler_index": "Euler", "script_name": null, "send_images": true, "save_images": false, "alwayson_scripts": {},
    })
}

/// Mutants: one seed for both, with numbers; what is not read left unsaid; an idle field named.
#[test]
fn pictures_have_seeds_in_a_row() {
    let house = House::open(|_| {});
    let answer = house.post("/sdapi/v1/txt2img", payload());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let overrides = SampleOverrides { steps: Some(4), guidance: Some(1.5), ..Default::default() };
    for (at, seed) in [9, 10].into_iter().enumerate() {
        let bytes = BASE64_STANDARD.decode(answer["images"][at].as_str().unwrap()).unwrap();
        assert_eq!(pixels(&bytes), drawn(seed, 1, Some("Bag"), overrides.clone())[0], "seed {seed}");
    }
    let ignored = [
        "height",
        "hr_scale",
        "override_settings_restore_afterwards",
        "s_noise",
        "sampler_index",
        "sampler_name",
        "width",
    ];
    assert_eq!(answer["ignored"], json!(ignored));
    let info: Value = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!((&info["all_seeds"], &info["prompt"], &info["width"]), (&json!([9, 10]), &json!("Bag"), &json!(28)));
    let bare = house.post("/sdapi/v1/txt2img", json!({ "prompt": "Bag", "seed": -1, "send_images": false })).json();
    assert_eq!((&bare["images"], &bare["ignored"]), (&json!([]), &json!([])));
}

#[test]
fn a_mask_restores() {
    let house = House::open(|_| {});
    let (picture, mask) = sent();
    let encode = |image| BASE64_STANDARD.encode(png(image));
    let mut body = payload();
    for (key, value) in [
        ("init_images", json!([format!("data:image/png;base64,{}", encode(&picture))])),
        ("mask", json!(encode(&mask))),
        ("seed", json!(5)),
        ("cfg_scale", json!(1)),
        ("mask_blur", json!(4)),
    ] {
        body[key] = value;
    }
    let answer = house.post("/sdapi/v1/img2img", body.clone());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let own = restored(&picture, &mask);
    for (at, own) in own.iter().enumerate() {
        let bytes = BASE64_STANDARD.decode(answer.json()["images"][at].as_str().unwrap()).unwrap();
        assert_eq!(&pixels(&bytes), own, "picture {at}");
    }
    assert!(answer.json()["ignored"].as_array().unwrap().contains(&json!("mask_blur")));
    body["init_images"] = json!([]);
    let refused = house.post("/sdapi/v1/img2img", body);
    assert_eq!((refused.status, refused.json()["error"]["param"].as_str()), (400, Some("init_images")));
    assert!(refused.json()["detail"].as_str().unwrap().contains("init_images"), "{}", refused.text());
}

/// Mutants: the progress of another's job; an interrupt that does not cancel; a choice that is forgotten.
#[test]
fn they_watch_and_choose() {
    let house = House::open(|_| {});
    let get = |path: &str| house.get(&format!("/sdapi/v1/{path}")).json();
    assert_eq!(get("sd-models")[1]["title"], "guideless");
    assert_eq!(get("options")["sd_model_checkpoint"], "tiny");
    assert_eq!(get("samplers")[0]["name"], "euler");
    let idle = house.busy(); // somebody else's
    assert_eq!(get("progress")["progress"], 0.0);
    house.cancel(&idle);
    let mut body = payload();
    body["steps"] = json!(500_000);
    let waiting = send(house.address, &request("POST", "/sdapi/v1/txt2img", &[], &body.to_string()));
    let began = Instant::now();
    while get("progress")["state"]["sampling_step"].as_u64() < Some(3) {
        assert!(began.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(get("progress")["state"]["sampling_steps"], 500_000);
    assert_eq!(house.post("/sdapi/v1/interrupt", json!({})).status, 200);
    assert_eq!(crate::client::read(&waiting).code(), "cancelled");
    assert_eq!(get("progress")["state"]["job_count"], 0);
    let chosen =
        house.post("/sdapi/v1/options", json!({ "sd_model_checkpoint": "guideless", "CLIP_stop_at_last_layers": 2 }));
    assert_eq!(chosen.json()["ignored"], json!(["CLIP_stop_at_last_layers"]));
    let answer = house.post("/sdapi/v1/txt2img", json!({ "prompt": "", "cfg_scale": 7, "steps": 1 })).json();
    assert_eq!((&answer["parameters"]["model"], &answer["ignored"]), (&json!("guideless"), &json!(["cfg_scale"])));
    let unknown = house.post("/sdapi/v1/options", json!({ "sd_model_checkpoint": "sdxl" }));
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "model_not_found"));
}

#[test]
fn their_passwords_are_the_key() {
    let house = House::open(|options| options.key = Some("open sesame".into()));
    let status = |pair: &str| {
        let line = format!("Authorization: Basic {}", BASE64_STANDARD.encode(pair));
        ask(house.address, "GET", "/sdapi/v1/sd-models", &[&line], "").status
    };
    assert_eq!(
        ["user:open sesame", ":open sesame", "open sesame:", "user:open", "open sesame"].map(status),
        [200, 200, 401, 401, 401]
    );
}

/// What the document says is there, and what it says is taken; that nothing else is there follows from the one table.
/// Mutants: an address of another name; a key that no request takes; a body that its files cannot come with.
#[test]
fn the_document_is_true() {
    let house = House::open(|_| {});
    let document = house.get("/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 15);
    for (path, methods) in paths {
        let real =
            path.replace("{model}", "tiny").replace("{id}", "x").replace("{file}", "0.png").replace("{run}", "x");
        for (method, operation) in methods.as_object().unwrap() {
            let answer = ask(house.address, &method.to_uppercase(), &real, &[], "");
            let found = answer.status != 405
                && (answer.status != 404 || matches!(answer.code().as_str(), "no_such_job" | "no_such_run"));
            assert!(found, "{method} {path}: {}", answer.text());
            if operation["requestBody"].is_object() {
                assert_eq!(ask(house.address, "PATCH", &real, &[], "").status, 405, "{path}");
                let name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
                assert!(document.pointer(name.strip_prefix('#').unwrap()).is_some(), "{name}");
            }
        }
    }
    // Every example is served, each key beside what its body needs.
    let image = BASE64_STANDARD.encode(png(&sent().0));
    let bodies = [
        ("Generation", "/v1/images/generations", json!({})),
        ("Change", "/v1/images/edits", json!({ "image": image, "prompt": "Bag" })),
        ("Sample", "/api/jobs", json!({ "do": "sample" })),
        ("Restore", "/api/jobs", json!({ "do": "restore", "image": image, "box": "8,8,4,4" })),
        ("Edit", "/api/jobs", json!({ "do": "edit", "image": image, "prompt": "Bag" })),
        ("Text2Image", "/sdapi/v1/txt2img", json!({})),
        ("Image2Image", "/sdapi/v1/img2img", json!({ "init_images": [image], "prompt": "Bag" })),
    ];
    for (schema, path, base) in bodies {
        let keys = document["components"]["schemas"][schema]["properties"].as_object().unwrap();
        assert!(base.as_object().unwrap().keys().all(|key| keys.contains_key(key)), "{schema}");
        for (key, said) in keys.iter().filter(|(_, said)| said["examples"].is_array()) {
            let mut body = base.clone();
            body["steps"] = json!(1);
            if !path.starts_with("/sdapi") {
                body["model"] = json!("tiny");
            }
            // The class stands in one of two keys.
            match key.as_str() {
                "class" => drop(body.as_object_mut().unwrap().remove("prompt")),
                "prompt" if schema != "Generation" && schema != "Sample" && schema != "Text2Image" => continue,
                "source" | "strength" => drop(body.as_object_mut().unwrap().remove("box")),
                "box" => drop(body.as_object_mut().unwrap().remove("strength")),
                _ => {}
            }
            body[key] = said["examples"][0].clone();
            let answer = house.post(path, body);
            assert!(matches!(answer.status, 200 | 202), "{schema}, {key}: {}", answer.text());
        }
    }
}
