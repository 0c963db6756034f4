//! The readers: what each is called, what it is given, and what does the reading.

use crate::read::{MEGAPIXELS, checkpoint, drawn, mesh, pairs, set, sound, weights};
use crate::seeds;
use image::ImageFormat;
use rectiflow::data::{self, DataConfig};
use rectiflow::nets::{text::WordPieces, weights::Corrections};
use rectiflow::{Recipe, media};
use std::path::Path;
use std::{fs, io};

/// One reader of files.
pub struct Reader {
    /// What it is called on the command line.
    pub name: &'static str,
    /// The name under which its file lies.
    pub file: &'static str,
    /// Whole files.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What must lie beside the file.
    pub beside: fn(&Path) -> io::Result<()>,
    /// Reads the file all the way; whether it could.
    pub read: fn(&Path) -> bool,
}

fn alone(_: &Path) -> io::Result<()> {
    Ok(())
}

fn sd3(to: &Path) -> io::Result<()> {
    seeds::copy("fixtures/sd3_tiny", to)
}

fn beside_labels(to: &Path) -> io::Result<()> {
    fs::write(to.join("train-labels-idx1-ubyte"), seeds::idx(&[4], 4))
}

fn with_pictures(to: &Path) -> io::Result<()> {
    let picture = &seeds::pictures(ImageFormat::Png)[0];
    ["a.png", "b.png", "c.png"].iter().try_for_each(|name| fs::write(to.join(name), picture))
}

fn recipe() -> Vec<Vec<u8>> {
    seeds::files(&["recipes/demo/base.toml", "recipes/emoji/text.toml", "recipes/sound/instruments.toml"])
}

/// All of them.
pub const READERS: [Reader; 40] = [
    Reader { name: "png", file: "a.png", seeds: || seeds::pictures(ImageFormat::Png), beside: alone, read: set },
    Reader { name: "jpeg", file: "a.jpg", seeds: || seeds::pictures(ImageFormat::Jpeg), beside: alone, read: set },
    Reader { name: "webp", file: "a.webp", seeds: || seeds::pictures(ImageFormat::WebP), beside: alone, read: set },
    Reader { name: "bmp", file: "a.bmp", seeds: || seeds::pictures(ImageFormat::Bmp), beside: alone, read: set },
    Reader { name: "gif", file: "a.gif", seeds: || seeds::pictures(ImageFormat::Gif), beside: alone, read: set },
    Reader {
        name: "upload",
        file: "a.png",
        seeds: || [seeds::pictures(ImageFormat::Png), seeds::pictures(ImageFormat::Jpeg)].concat(),
        beside: alone,
        read: |path| {
            let bytes = fs::read(path).unwrap_or_default();
            data::given(&bytes, [3, 8, 8], MEGAPIXELS).is_ok() & data::grey(&bytes, MEGAPIXELS).is_ok()
        },
    },
    Reader {
        name: "parameters",
        file: "a.png",
        seeds: || seeds::pictures(ImageFormat::Png),
        beside: alone,
        read: |path| media::png::read_text(path).is_ok(),
    },
    Reader {
        name: "clip",
        file: "a.png",
        seeds: seeds::clips,
        beside: alone,
        read: |path| {
            data::clip::frames(path, MEGAPIXELS).is_ok() & data::clip::clip(path, [3, 4, 6, 8], MEGAPIXELS).is_ok()
        },
    },
    Reader { name: "npy", file: "a.npy", seeds: seeds::arrays, beside: alone, read: set },
    Reader {
        name: "npy-samples",
        file: "a.npy",
        seeds: || vec![seeds::arrays().remove(1)],
        beside: alone,
        read: |path| media::arrays::read_npy(path).is_ok() & media::arrays::read_array(path).is_ok(),
    },
    Reader {
        name: "parquet",
        file: "a.parquet",
        seeds: || {
            seeds::files(&["snappy", "zstd", "gzip", "lz4"].map(|name| format!("fixtures/parquet/{name}.parquet")))
        },
        beside: alone,
        read: set,
    },
    Reader {
        name: "npz",
        file: "a.npz",
        seeds: || {
            let labels = seeds::npy("<i8", "(4,)", &[0; 32]);
            let members = [("images.npy", seeds::arrays().remove(0)), ("labels.npy", labels)];
            vec![seeds::zip(&members, true), seeds::zip(&members, false)]
        },
        beside: alone,
        read: set,
    },
    Reader {
        name: "idx",
        file: "train-images-idx3-ubyte",
        seeds: || vec![seeds::idx(&[4, 6, 6], 144)],
        beside: beside_labels,
        read: set,
    },
    Reader {
        name: "idx-gz",
        file: "train-labels-idx1-ubyte.gz",
        seeds: || seeds::files(&["crates/data/assets/train-labels-idx1-ubyte.gz"]),
        beside: |to| {
            let images = seeds::files(&["crates/data/assets/train-images-idx3-ubyte.gz"]).remove(0);
            fs::write(to.join("train-images-idx3-ubyte.gz"), images)
        },
        read: |path| data::open(&DataConfig::at(path.parent().unwrap_or(path))).is_ok(),
    },
    Reader {
        name: "cifar-pickle",
        file: "data_batch_1",
        seeds: || vec![seeds::cifar()],
        beside: |to| {
            fs::write(to.join("batches.meta"), b"x")?;
            (2..6).try_for_each(|i| fs::write(to.join(format!("data_batch_{i}")), seeds::cifar()))
        },
        read: set,
    },
    Reader {
        name: "webdataset",
        file: "a.tar",
        seeds: || {
            let picture = seeds::pictures(ImageFormat::Png).remove(0);
            let members =
                [("a.png", picture.clone()), ("a.cls", b"1".to_vec()), ("b.png", picture), ("b.cls", b"0".to_vec())];
            vec![seeds::tar(&members)]
        },
        beside: alone,
        read: set,
    },
    Reader {
        name: "metadata-csv",
        file: "metadata.csv",
        seeds: || {
            vec![b"file_name,text,label\na.png,\"one, two\",0\nb.png,three,1\nc.png,\"say \"\"x\"\"\",0\n".to_vec()]
        },
        beside: with_pictures,
        read: set,
    },
    Reader {
        name: "metadata-jsonl",
        file: "metadata.jsonl",
        seeds: || {
            vec![b"{\"file_name\":\"a.png\",\"text\":\"one\"}\n{\"file_name\":\"b.png\",\"text\":\"two\"}\n{\"file_name\":\"c.png\",\"text\":\"x\"}\n".to_vec()]
        },
        beside: with_pictures,
        read: set,
    },
    Reader { name: "wav", file: "a.wav", seeds: seeds::waves, beside: alone, read: sound },
    Reader {
        name: "flac",
        file: "a.flac",
        seeds: || seeds::files(&["fixtures/librosa/tone.flac"]),
        beside: alone,
        read: sound,
    },
    Reader {
        name: "ogg",
        file: "a.ogg",
        seeds: || seeds::files(&["fixtures/librosa/tone.ogg"]),
        beside: alone,
        read: sound,
    },
    Reader {
        name: "mp3",
        file: "a.mp3",
        seeds: || seeds::files(&["fixtures/librosa/tone.mp3"]),
        beside: alone,
        read: sound,
    },
    Reader { name: "obj", file: "a.obj", seeds: || seeds::meshes("obj"), beside: alone, read: mesh },
    Reader {
        name: "ply",
        file: "a.ply",
        seeds: || {
            let text = b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n";
            [seeds::meshes("ply"), vec![text.to_vec()]].concat()
        },
        beside: alone,
        read: mesh,
    },
    Reader {
        name: "stl",
        file: "a.stl",
        seeds: || {
            let text = b"solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\nendsolid a\n";
            [seeds::meshes("stl"), vec![text.to_vec()]].concat()
        },
        beside: alone,
        read: mesh,
    },
    Reader { name: "glb", file: "a.glb", seeds: || seeds::meshes("glb"), beside: alone, read: mesh },
    Reader {
        name: "ldraw",
        file: "a.dat",
        seeds: || {
            vec![b"0 Tile\n0 BFC CERTIFY CCW\n3 16 0 0 0 1 0 0 0 1 0\n4 16 0 0 0 1 0 0 1 1 0 0 1 0\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 b.dat\n".to_vec()]
        },
        beside: |to| fs::write(to.join("b.dat"), "3 16 0 0 0 1 0 0 0 1 1\n"),
        read: mesh,
    },
    Reader {
        name: "safetensors",
        file: "a.safetensors",
        seeds: || seeds::files(&["fixtures/lora/sd3_golden.safetensors", "fixtures/flow_sep_tiny/golden.safetensors"]),
        beside: alone,
        read: weights,
    },
    Reader { name: "gguf", file: "a.gguf", seeds: || vec![seeds::gguf()], beside: alone, read: weights },
    Reader { name: "torch", file: "a.ckpt", seeds: || vec![seeds::torch()], beside: alone, read: weights },
    Reader {
        name: "adapter",
        file: "a.safetensors",
        seeds: || seeds::files(&["fixtures/lora/sd3_noalpha.safetensors", "fixtures/lora/flux_kohya_full.safetensors"]),
        beside: alone,
        read: |path| Corrections::open(path, 1.0).is_ok(),
    },
    Reader {
        name: "checkpoint",
        file: "a.safetensors",
        seeds: || seeds::files(&["fixtures/old-layout/image.safetensors", "fixtures/old-layout/points.safetensors"]),
        beside: alone,
        read: checkpoint,
    },
    Reader {
        name: "pairs",
        file: "pairs-000000000000.safetensors",
        seeds: || seeds::files(&["fixtures/old-layout/pairs-000000000000.safetensors"]),
        beside: alone,
        read: pairs,
    },
    Reader {
        name: "preferences",
        file: "pairs.csv",
        seeds: || {
            vec![
                b"path_A,path_B,prompt,VQ,TA,fps_A,MOS_A_VQ\na.png,b.png,1,A,same,8,3.5\nb.png,c.png,0,B,invalid,8,2\n"
                    .to_vec(),
            ]
        },
        beside: with_pictures,
        read: |path| data::preferences::read(path, None).is_ok(),
    },
    Reader {
        name: "tokenizer",
        file: "tokenizer.json",
        seeds: || seeds::files(&["fixtures/sd3_tiny/tokenizer/tokenizer.json"]),
        beside: alone,
        read: |path| {
            let Ok(words) = fs::read(path).map_err(drop).and_then(|bytes| WordPieces::parse(&bytes).map_err(drop))
            else {
                return false;
            };
            words.split("a red heart, Ω 9", 77).is_ok()
        },
    },
    Reader {
        name: "recipe",
        file: "a.toml",
        seeds: recipe,
        beside: alone,
        read: |path| {
            let Ok(text) = fs::read_to_string(path) else { return false };
            Recipe::parse(&text, "a.toml").is_ok_and(|recipe| !recipe.to_toml().is_empty())
        },
    },
    Reader {
        name: "release-index",
        file: "model_index.json",
        seeds: || seeds::files(&["fixtures/sd3_tiny/model_index.json"]),
        beside: sd3,
        read: drawn,
    },
    Reader {
        name: "release-network",
        file: "transformer/config.json",
        seeds: || seeds::files(&["fixtures/sd3_tiny/transformer/config.json"]),
        beside: sd3,
        read: drawn,
    },
    Reader {
        name: "release-decoder",
        file: "vae/config.json",
        seeds: || seeds::files(&["fixtures/sd3_tiny/vae/config.json"]),
        beside: sd3,
        read: drawn,
    },
    Reader {
        name: "release-scheduler",
        file: "scheduler/scheduler_config.json",
        seeds: || seeds::files(&["fixtures/sd3_tiny/scheduler/scheduler_config.json"]),
        beside: sd3,
        read: drawn,
    },
];
