//! `/openapi.json` (OpenAPI 3.1): the table of addresses, and the keys of each body with an example that is served.

use crate::{options::Limits, routes::TABLE};
use serde_json::{Map, Value, json};

/// A key of a body: its name, its type, what it means, and what stands in `examples`.
struct Key(&'static str, &'static str, &'static str, Value);

/// The document.
pub fn document(limits: &Limits) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for entry in TABLE {
        let names = entry.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let parameter = |name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } });
        let mut operation = json!({
            "operationId": format!("{}_{}", entry.method.to_lowercase(), entry.path.trim_matches('/').replace(['/', '{', '}', '.', '-'], "_")),
            "summary": entry.about,
            "parameters": names.map(parameter).collect::<Vec<_>>(),
            "responses": {
                "200": { "description": "What was asked for.", "content": { (entry.kind): {} } },
                "default": { "description": "Why not.", "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } } },
            },
        });
        if let Some(body) = entry.body {
            let schema = json!({ "schema": { "$ref": format!("#/components/schemas/{body}") } });
            let mut content = json!({ "application/json": schema });
            if entry.files {
                content["multipart/form-data"] = schema;
            }
            operation["requestBody"] = json!({ "required": true, "content": content });
        }
        if entry.open {
            operation["security"] = json!([]);
        }
        let path = paths.entry(entry.path).or_insert_with(|| json!({}));
        path[entry.method.to_lowercase()] = operation;
    }
    let error = json!({
        "type": "object",
        "properties": { "error": {
            "type": "object",
            "properties": {
                "message": { "type": "string" }, "type": { "type": "string" },
                "param": { "type": ["string", "null"] }, "code": { "type": "string" },
            },
        } },
    });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Rectiflow", "version": env!("CARGO_PKG_VERSION"), "description": "Models of rectified flows, served. See docs/serve.md." },
        "paths": paths,
        "security": [{ "key": [] }],
        "components": {
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Error": error,
                "Generation": object([common(limits), sample(), openai()]),
                "Change": object([common(limits), sample(), change(), openai()]),
                "Job": { "oneOf": [
                    { "$ref": "#/components/schemas/Sample" }, { "$ref": "#/components/schemas/Restore" },
                    { "$ref": "#/components/schemas/Edit" }, { "$ref": "#/components/schemas/Separate" },
                ] },
                "Sample": object([common(limits), sample(), solid(), vec![doing("sample"), previews()]]),
                "Restore": object([common(limits), sample(), restore(), vec![doing("restore")]]),
                "Edit": object([common(limits), sample(), edit(), vec![doing("edit")]]),
                "Separate": object([separate(limits), vec![doing("separate")]]),
                "Text2Image": loose([a1111()]),
                "Image2Image": loose([a1111(), image2image()]),
                "Options": loose([vec![Key("sd_model_checkpoint", "string", "The model of later requests.", Value::Null)]]),
            },
        },
    })
}

/// Of clients that send whatever they have.
fn loose<const N: usize>(keys: [Vec<Key>; N]) -> Value {
    let mut schema = object(keys);
    schema["additionalProperties"] = json!(true);
    schema
}

fn object<const N: usize>(keys: [Vec<Key>; N]) -> Value {
    let one = |Key(name, kind, about, example): Key| {
        let mut schema = json!({ "type": kind, "description": about });
        if kind == "file" {
            schema = json!({ "type": "string", "contentEncoding": "base64", "description": about });
        }
        if !example.is_null() {
            schema["examples"] = json!([example]);
        }
        (name.to_string(), schema)
    };
    let properties: Map<String, Value> = keys.into_iter().flatten().map(one).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn doing(what: &'static str) -> Key {
    Key("do", "string", "What is done; what each model can do stands in its `does`.", json!(what))
}

fn numbers(limits: &Limits) -> Vec<Key> {
    vec![
        Key("model", "string", "Needed where several are served.", Value::Null),
        Key("seed", "integer", "Another one each time without.", json!(7)),
        Key("steps", "integer", "Steps of the solver; the recipe's without.", json!(3.min(limits.steps))),
        Key("guidance_scale", "number", "1 is none; the recipe's without.", json!(1.5)),
    ]
}

fn common(limits: &Limits) -> Vec<Key> {
    let mut keys = numbers(limits);
    keys.extend([
        Key(
            "prompt",
            "string",
            "Text, for a model that reads text; the name of a class, for one of classes.",
            json!(""),
        ),
        Key("class", "string", "Name or number of a class, in place of `prompt`; `none` for anything.", json!("1")),
        Key("n", "integer", "How many, numbers 0 to n - 1 under the seed.", json!(2)),
        Key("size", "string", "WIDTHxHEIGHT, or auto.", json!("auto")),
    ]);
    keys
}

fn sample() -> Vec<Key> {
    vec![Key("negative_prompt", "string", "Of released models: what guidance leads away from.", json!(""))]
}

fn solid() -> Vec<Key> {
    vec![
        Key("frames", "integer", "Of released models of clips: how many.", Value::Null),
        Key("image", "file", "Of models that draw what a picture shows: the picture.", Value::Null),
        Key("resolution", "integer", "Of shapes: cells to a side of the lattice, 16 to 256.", Value::Null),
    ]
}

fn previews() -> Key {
    Key("previews", "boolean", "Whether events show pictures on their way.", json!(true))
}

fn openai() -> Vec<Key> {
    vec![
        Key("response_format", "string", "`url` or `b64_json`.", json!("b64_json")),
        Key("output_format", "string", "`png`.", json!("png")),
        Key("quality", "string", "`auto`.", json!("auto")),
        Key("background", "string", "`auto`.", json!("auto")),
        Key("moderation", "string", "Changes nothing.", json!("auto")),
        Key("input_fidelity", "string", "Changes nothing.", json!("low")),
        Key("user", "string", "Changes nothing.", json!("somebody")),
        Key("stream", "boolean", "`false`; progress is streamed by jobs.", json!(false)),
    ]
}

fn image() -> Key {
    Key("image", "file", "PNG, JPEG or WebP.", Value::Null)
}

fn mask() -> Key {
    Key("mask", "file", "White, or transparent, where the picture is drawn anew.", Value::Null)
}

fn hole() -> Key {
    Key("box", "string", "Row, column, height and width of what is drawn anew, in place of a mask.", json!("8,8,4,4"))
}

fn strength() -> Key {
    Key("strength", "number", "Of an edit: 0.01 keeps almost all, 1 nothing.", json!(0.5))
}

fn method() -> Key {
    Key("method", "string", "The way, as on the command line.", Value::Null)
}

fn change() -> Vec<Key> {
    vec![image(), mask(), hole(), method(), strength(), source()]
}

fn source() -> Key {
    Key("source", "string", "Of an edit: what the picture shows; not for `sd-edit`.", json!("none"))
}

fn restore() -> Vec<Key> {
    vec![
        image(),
        mask(),
        hole(),
        method(),
        Key("strength", "number", "Of holes, by released models: 0.01 keeps almost all, 1 nothing.", Value::Null),
        Key("task", "string", "`inpaint`, `super`, `deblur`, `colour`, `dequantise` or `jpeg`.", json!("inpaint")),
        Key("scale", "integer", "Of `super`: pixels to a side that one was made of.", Value::Null),
        Key("bicubic", "boolean", "Of `super`: by cubic convolution and not by averages.", Value::Null),
        Key("taps", "integer", "Of `deblur`: the size of the Gaussian, odd.", Value::Null),
        Key("sigma", "number", "Of `deblur`: its deviation in pixels.", Value::Null),
        Key("motion", "number", "Of `deblur`: pixels of a motion in place of a Gaussian.", Value::Null),
        Key("angle", "number", "Of `deblur`: degrees of the motion against the clock.", Value::Null),
        Key("bits", "integer", "Of `dequantise`: bits that are left of a value.", Value::Null),
        Key("quality", "integer", "Of `jpeg`: from 1 to 100.", Value::Null),
    ]
}

fn edit() -> Vec<Key> {
    vec![image(), method(), strength(), source()]
}

fn separate(limits: &Limits) -> Vec<Key> {
    let mut keys = numbers(limits);
    keys.extend([
        Key("sound", "file", "WAV, FLAC, Ogg or MP3.", Value::Null),
        Key("query", "string", "What should be heard; a text or a list of texts.", Value::Null),
        Key("resynthesis", "string", "`mask` or `griffinlim`.", json!("mask")),
    ]);
    keys
}

fn a1111() -> Vec<Key> {
    vec![
        Key("prompt", "string", "As `prompt` of generations.", json!("")),
        Key("negative_prompt", "string", "Read by released models.", json!("")),
        Key("seed", "integer", "Of the first picture, the next has the next; -1 is any.", json!(7)),
        Key("steps", "integer", "Steps of the solver; the recipe's without.", json!(3)),
        Key("cfg_scale", "number", "Guidance.", json!(1.5)),
        Key("width", "integer", "Read by released models.", json!(512)),
        Key("height", "integer", "Read by released models.", json!(512)),
        Key("batch_size", "integer", "Pictures, times `n_iter`.", json!(2)),
        Key("n_iter", "integer", "Pictures, times `batch_size`.", json!(1)),
        Key("send_images", "boolean", "Whether the answer has the pictures.", json!(true)),
        Key("override_settings", "object", "`sd_model_checkpoint`: the model of this request.", json!({})),
    ]
}

fn image2image() -> Vec<Key> {
    vec![
        Key("init_images", "array", "One picture in base64.", Value::Null),
        Key("mask", "string", "White where it is drawn anew, in base64.", Value::Null),
        Key("denoising_strength", "number", "Without a mask: as `strength` of edits; 0.75.", json!(0.5)),
    ]
}
