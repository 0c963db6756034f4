//! `restore --task gap`, end to end with a tiny codec of mel pictures and a tiny flow over its latents: what lies around a gap stays to the bit.

use crate::common::{json, rectiflow, run};
use assert_cmd::Command;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

const RATE: u32 = 16_000;

/// A WAV file of 16-bit integers, one channel.
fn write_wav(file: &Path, rate: u32, samples: &[i16]) {
    write_channels(file, rate, 1, samples);
}

/// The same of several, frame after frame.
fn write_channels(file: &Path, rate: u32, channels: u32, samples: &[i16]) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let bytes: Vec<u8> = samples.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut all = b"RIFF".to_vec();
    all.extend((36 + bytes.len() as u32).to_le_bytes());
    all.extend(b"WAVEfmt ");
    for number in [16, 0x0000_0001 | (channels << 16), rate, 2 * channels * rate, 0x0010_0000 | (2 * channels)] {
        all.extend(u32::to_le_bytes(number));
    }
    all.extend(b"data");
    all.extend((bytes.len() as u32).to_le_bytes());
    all.extend(bytes);
    fs::write(file, all).unwrap();
}

/// The floats of a WAV file.
fn floats(file: &Path) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let at = bytes.windows(4).position(|word| word == b"data").unwrap() + 8;
    bytes[at..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn tone(hertz: f32, rate: u32) -> Vec<i16> {
    let step = std::f32::consts::TAU * hertz / rate as f32;
    (0..3 * rate / 8).map(|k| (13_000.0 * (k as f32 * step).sin()) as i16).collect()
}

/// Tones, a codec of their pictures and a flow over its latents, which learned a little.
fn place() -> &'static Path {
    static PLACE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = PLACE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (label, hertz) in [("low", 150.0), ("middle", 700.0), ("high", 3000.0)] {
            for i in 0..4 {
                let file = at("sounds").join(format!("{label}/{i}.wav"));
                write_wav(&file, RATE, &tone(hertz * (1.0 + 0.04 * i as f32), RATE));
            }
        }
        let codec = r#"
            name = "mel"
            [codec]
            type = "mel"
            pictures = 256
            held_out = 2
            centre = -3.0
            spread = 2.5
            network = { channels = [8, 16, 16], groups = 4, latent_channels = 4 }
            [codec.mel]
            bins = 32
            floor = 1e-3
            [codec.mixture]
            length = 5120
            absent = 0.1
            [train]
            images = 512
            batch = 8
            optim = { lr = 3e-3, warmup = 64 }
            ema = { decays = [0.9] }
        "#;
        fs::write(at("codec.toml"), codec).unwrap();
        let mut command = rectiflow();
        command.arg("codec").arg(at("codec.toml")).arg("--data").arg(at("sounds")).arg("-o").arg(at("codec"));
        command.assert().success();
        let flow = format!(
            r#"
            name = "draw"
            [task]
            type = "generate"
            codec = '{}'
            [network]
            type = "unet"
            channels = 8
            groups = 4
            patch = 1
            [train]
            images = 512
            batch = 16
            validate_every = 0
            sample_every = 0
            optim = {{ lr = 3e-3, warmup = 64 }}
            ema = {{ decays = [0.9] }}
            "#,
            at("codec").display()
        );
        fs::write(at("flow.toml"), flow).unwrap();
        let mut command = rectiflow();
        command.arg("train").arg(at("flow.toml")).arg("--data").arg(at("sounds")).arg("-o").arg(at("flow"));
        command.assert().success();
        folder
    });
    made.path()
}

fn restore(out: &Path, args: &[&str]) -> Command {
    let mut command = rectiflow();
    command.arg("restore").arg(place().join("flow")).args(args).args(["--steps", "4"]).arg("-o").arg(out);
    command
}

/// Samples around the gap come back to the bit and those in it are new; what stands there is measured beside a straight line and the
/// original's own picture; what was written can be given again with its originals, to the bit; another rate and a drawn gap as well.
///
/// Mutants, named and not run: the gap at another place of the recording; files of whole numbers; a row's folder with another row's sounds.
/// That values of pictures of sound are not cut off at 1, as those of light are, nothing here sees.
#[test]
fn a_gap_is_filled_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sounds = place().join("sounds").display().to_string();
    let gap = ["--task", "gap", "--gap", "0.15,0.02"];
    let many = [&gap[..], &["--input", &sounds, "--degrade", "--num", "5", "--method", "flowchef,pnp-flow"]].concat();
    let report = json(&mut restore(&at("a"), &many));
    let rows = report["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["degraded", "bridge", "flowchef", "pnp_flow", "own_picture"]);
    assert_eq!((&report["pictures"], &report["space"]), (&5.into(), &"latent".into()));
    assert_eq!(report["gaps"][4], serde_json::json!({ "name": "low_0", "start": 0.15, "length": 0.02 }));
    let far = |row: usize| rows[row]["heard"]["spectral_distance"].as_f64().unwrap();
    assert!(far(4) < far(0) && far(1) < far(0), "{report}");
    assert!(
        rows[2]["psnr"].is_null() && rows[0]["heard"]["si_sdr"].is_null() && rows[4]["heard"]["si_sdr"].is_number()
    );
    let original: Vec<f32> = tone(3000.0, RATE).iter().map(|v| f32::from(*v) / 32_768.0).collect();
    let lost = 2400..2720;
    for name in &names {
        let made = floats(&at("a").join(name).join("high_0.wav"));
        assert_eq!(made.len(), original.len(), "{name}");
        assert!((0..made.len()).all(|i| lost.contains(&i) || made[i] == original[i]), "{name}");
        assert_eq!(lost.clone().all(|i| made[i] == 0.0), *name == "degraded", "{name}");
    }
    assert!(at("a/sheet.png").is_file() && at("a/metrics.json").is_file() && !at("a/index.html").exists());
    assert_eq!(fs::read_dir(at("a/flowchef")).unwrap().count(), 5);
    let degraded = at("a/degraded").display().to_string();
    let again = [&gap[..], &["--input", &degraded, "--originals", &sounds, "--num", "5"]].concat();
    let second = json(&mut restore(&at("b"), &again));
    assert_eq!(second["rows"][2]["heard"], rows[2]["heard"]);
    assert_eq!(fs::read(at("b/flowchef/low_0.wav")).unwrap(), fs::read(at("a/flowchef/low_0.wav")).unwrap());
    // One file at another rate, lost anywhere, held through the decoder; nothing to compare with where nobody gives originals.
    write_wav(&at("one.wav"), 44_100, &tone(440.0, 44_100));
    let one = at("one.wav").display().to_string();
    let drawn = ["--task", "gap", "--gap", "0.02", "--input", &one, "--degrade", "--cost", "decoder", "--seed", "3"];
    let report = json(&mut restore(&at("c"), &drawn));
    let start = report["gaps"][0]["start"].as_f64().unwrap();
    let (made, lost) = (floats(&at("c/flowchef/one.wav")), (start * 44_100.0).round() as usize);
    let known: Vec<f32> = tone(440.0, 44_100).iter().map(|v| f32::from(*v) / 32_768.0).collect();
    assert!((0..made.len()).all(|i| (lost..lost + 882).contains(&i) || made[i] == known[i]));
    assert!((lost..lost + 882).any(|i| made[i].abs() > 1e-3) && report["space"] == "decoder");
    let blind = json(&mut restore(&at("d"), &[&gap[..], &["--input", &degraded]].concat()));
    assert!(blind["rows"][1]["heard"].is_null() && blind["rows"].as_array().unwrap().len() == 3);
}

/// Channels that are alike stay alike, by a method that draws noise as well; half as loud comes out half as loud; what an earlier run of pictures
/// left goes; `--num 1` reads one file.
///
/// Mutants: noise by channel in place of recording; a gap filled at the level the model learned from; files of an earlier run that stay; all files
/// of the folder read.
#[test]
fn channels_levels_and_earlier_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let both: Vec<i16> = tone(500.0, RATE).iter().flat_map(|v| [v & !1; 2]).collect();
    write_channels(&at("in/a.wav"), RATE, 2, &both);
    write_channels(&at("in/b.wav"), RATE, 2, &both.iter().map(|v| v / 2).collect::<Vec<_>>());
    fs::write(at("in/c.wav"), b"RIFF\0\0\0\0WAVE").unwrap();
    let input = at("in").display().to_string();
    let args = |count| {
        let task = ["--task", "gap", "--gap", "0.15,0.02", "--degrade", "--method", "flowchef,pnp-flow"];
        [&task[..], &["--num", count, "--input", &input]].concat()
    };
    fs::create_dir_all(at("out")).unwrap();
    for file in ["metrics.json", "index.html", "mask.png", "measured.npy", "measured.json"] {
        fs::write(at("out").join(file), "{}").unwrap();
    }
    json(&mut restore(&at("out"), &args("1")));
    for file in ["index.html", "mask.png", "measured.npy", "measured.json"] {
        assert!(!at("out").join(file).exists(), "{file}");
    }
    let lost = 2400..2720;
    for method in ["bridge", "flowchef", "pnp_flow"] {
        let made = floats(&at("out").join(method).join("a.wav"));
        assert!(made.chunks(2).all(|frame| (frame[0] - frame[1]).abs() < 1e-4), "{method}");
        assert!(lost.clone().any(|i| made[2 * i].abs() > 1e-3), "{method}");
    }
    // The second recording draws other noise; what needs none is the first's half.
    json(&mut restore(&at("two"), &args("2")));
    let [loud, soft] = ["a", "b"].map(|name| floats(&at("two/bridge").join(format!("{name}.wav"))));
    assert!(loud.iter().zip(&soft).all(|(a, b)| (0.5 * a - b).abs() < 1e-5));
    // By itself it draws the first's.
    let alone = at("in/b.wav").display().to_string();
    let task = ["--task", "gap", "--gap", "0.15,0.02", "--degrade", "--method", "flowchef,pnp-flow"];
    json(&mut restore(&at("alone"), &[&task[..], &["--input", &alone]].concat()));
    for method in ["flowchef", "pnp_flow"] {
        let [loud, soft] =
            [at("out").join(method).join("a.wav"), at("alone").join(method).join("b.wav")].map(|file| floats(&file));
        assert!(loud.iter().zip(&soft).all(|(a, b)| (0.5 * a - b).abs() < 1e-4), "{method}");
    }
}

#[test]
fn what_no_recording_can_be_asked_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let sounds = place().join("sounds").display().to_string();
    let input = ["--input", &sounds, "--degrade"];
    let refused = |command: &mut Command, words: &str| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words) && !out.exists(), "{said}");
    };
    let gap = ["--task", "gap", "--gap", "0.15,0.02"];
    for (args, words) in [
        (vec!["--task", "inpaint", "--box", "4"], "--task gap"),
        (vec!["--task", "declip"], "magnitudes"),
        (vec!["--task", "gap"], "with --gap"),
        (vec!["--task", "gap", "--gap", "0.3"], "hears 0.32 s"),
        (vec!["--task", "gap", "--gap", "0.37,0.02"], "has 0.375 s"),
        ([&gap[..], &["--noise", "0.1"]].concat(), "--noise with --task gap"),
        ([&gap[..], &["--resize"]].concat(), "--resize with --task gap"),
        ([&gap[..], &["--toward", "{ type = \"class\", class = \"Bag\", weight = 1 }"]].concat(), "--toward with"),
        ([&gap[..], &["--method", "pnp-flow", "--cost", "decoder"]].concat(), "--method pnp_flow"),
    ] {
        refused(&mut restore(&out, &[&input[..], &args].concat()), words);
    }
    refused(&mut restore(&out, &["--input", &sounds, "--task", "gap", "--gap", "0.02"]), "--gap START,SECONDS");
    let mut pictures = rectiflow();
    pictures.arg("restore").arg(run()).args(input).args(gap).arg("-o").arg(&out);
    refused(&mut pictures, "this model draws pictures");
    let here: PathBuf = folder.path().join("in");
    write_wav(&here.join("a.wav"), RATE, &tone(440.0, RATE));
    let whole = here.display().to_string();
    let apart = |out: &Path, args: &[&str]| {
        let output = restore(out, &[&gap[..], args].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains("written over"), "{said}");
    };
    for name in ["degraded", "bridge", "own_picture", "flowchef"] {
        write_wav(&here.join(name).join("a.wav"), RATE, &tone(440.0, RATE));
        let given = here.join(name).display().to_string();
        // The folder is given, a file in it, or what holds it.
        apart(&here, &["--degrade", "--input", &given]);
        apart(&here, &["--degrade", "--input", &format!("{given}/a.wav")]);
        apart(&here, &["--degrade", "--input", &whole]);
        if name != "degraded" {
            apart(&here, &["--input", &sounds, "--originals", &given]);
        }
        fs::remove_dir_all(here.join(name)).unwrap();
    }
    apart(&here.join("new/deeper"), &["--degrade", "--input", &whole]);
    assert_eq!(fs::read_dir(&here).unwrap().count(), 1);
}
