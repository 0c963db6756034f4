//! Everything a user can get wrong ends in a clear error and its exit code, never in a panic (101) or a signal.

use crate::common::{checkpoint, rectiflow, run, train_tiny};
use assert_cmd::Command;
use std::{fs, path::Path};

/// Runs to failure with `code`; the message on standard error must hold every fragment.
fn refused(command: &mut Command, code: i32, fragments: &[&str]) {
    let output = command.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for fragment in fragments {
        assert!(said.contains(fragment), "`{fragment}` is not in: {said}");
    }
    assert!(!said.contains("has a bug"), "{said}");
}

fn recipe(folder: &Path, text: &str) -> String {
    let path = folder.join("r.toml");
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[cfg(unix)]
#[test]
fn folders_whose_names_are_no_text_are_used_or_refused() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"run-\xff"));
    std::fs::create_dir(&odd).unwrap();
    let file = odd.join("model.safetensors");
    std::fs::copy(crate::common::checkpoint(), &file).unwrap();
    let sheet = folder.path().join("s.png");
    crate::common::rectiflow().arg("inspect").arg(&file).assert().success();
    crate::common::rectiflow().args(["sample", "-n", "2", "-o"]).arg(&sheet).arg(&file).assert().success();
    let schedules = ["schedule", "--steps", "2", "--anchors", "4", "--num", "2", "-o"];
    crate::common::rectiflow().args(schedules).arg(folder.path().join("schedules")).arg(&file).assert().success();
    let diagnose = ["diagnose", "--num", "2", "--steps", "2", "-o"];
    let refused = crate::common::rectiflow().args(diagnose).arg(&odd).arg(&file).assert();
    refused.code(1).stderr(predicates::str::contains("cannot be written as JSON"));
}

#[test]
fn recipes() {
    let folder = tempfile::tempdir().unwrap();
    let train = |text: &str| {
        let mut command = rectiflow();
        command.args(["train", "--dry-run", &recipe(folder.path(), text)]);
        command
    };
    refused(&mut train("[train]\nbacth = 3\n"), 2, &["r.toml:2:1", "unknown key `bacth`", "did you mean `batch`"]);
    refused(&mut train("[train]\nbatch = \"many\"\n"), 2, &["r.toml:2:9", "wrong type", "expected usize"]);
    refused(&mut train("path = { type = \"straight\" }\n"), 2, &["unknown value `straight`", "linear"]);
    refused(&mut train("seed = \n"), 2, &["r.toml:1:"]);
    refused(&mut train("time = { law = { type = \"constant\", t = 0.0 } }\n"), 2, &["distillation"]);
    refused(&mut train("coupling = { type = \"stored\" }\n"), 2, &["reflow"]);
    refused(&mut train("[train]\nimages = 0\n"), 2, &["train.images"]);
    refused(rectiflow().args(["train", "no-such.toml"]), 2, &["no-such.toml"]);
    refused(rectiflow().args(["train", "--set", "train.optim.lrr=1"]), 2, &["`lrr`", "did you mean `lr`"]);
    refused(rectiflow().args(["train", "--set", "seed"]), 2, &["there is no `=`"]);
}

#[test]
fn options() {
    refused(rectiflow().args(["sample", "x", "--stepz", "3"]), 2, &["--stepz"]);
    refused(rectiflow().args(["sample", "no-such-run"]), 1, &["no-such-run", "no such file"]);
    refused(rectiflow().args(["plan", "--device", "tpu"]), 2, &["cpu, cuda:0 or wgpu"]);
    refused(rectiflow().args(["plan", "--device", "cuda:x"]), 2, &["device number"]);
    refused(rectiflow().args(["plan", "--dtype", "bf16"]), 2, &["f32"]);
    refused(rectiflow().args(["demo", "--minutes", "0", "--dry-run"]), 2, &["positive"]);
    if !cfg!(feature = "cuda") {
        refused(rectiflow().args(["plan", "--device", "cuda:0"]), 1, &["--features cuda"]);
    } else {
        refused(rectiflow().args(["plan", "--device", "cuda:99"]), 1, &["no such device"]);
    }
    let sample = |args: &[&str]| {
        let mut command = rectiflow();
        command.arg("sample").arg(run()).args(args);
        command
    };
    refused(&mut sample(&["--class", "Spaceship"]), 2, &["9 Ankle boot"]);
    refused(&mut sample(&["--solver", "eular"]), 2, &["dormand_prince"]);
    refused(&mut sample(&["--steps", "0"]), 2, &["at least 1"]);
    refused(&mut sample(&["--num", "0"]), 2, &["at least one"]);
    refused(&mut sample(&["--guidance-scale", "-1"]), 2, &["guidance"]);
    refused(&mut sample(&["--ema", "0.5"]), 1, &["0.5", "0.999"]);
    refused(&mut sample(&["-o", "/tmp/x.gif"]), 2, &[".png, .npy, .safetensors"]);
    refused(&mut sample(&["--num", "100000000000000"]), 2, &["do not fit in memory"]);
    refused(&mut sample(&["--steps", "1000000000000"]), 2, &["at most 1000000"]);
    refused(rectiflow().arg("train").arg("-o").arg(run()), 2, &["--resume latest"]);
    refused(rectiflow().args(["train", "--seed", "18446744073709551615"]), 2, &["--seed"]);
    let toy = |args: &[&str]| {
        let mut command = rectiflow();
        command.args(["toy", "-o", "/tmp/never-made"]).args(args);
        command
    };
    refused(&mut toy(&["--data", "mooons"]), 2, &["no point set", "did you mean `moons`?", "swiss_roll"]);
    refused(&mut toy(&["--data", "/tmp"]), 2, &["data.name", "checkerboard"]);
    refused(&mut toy(&["--set", "coupling={type='sinkhorn',epsilon=0.0}"]), 2, &["coupling.epsilon"]);
    refused(&mut toy(&["--set", "perceptual={}"]), 2, &["perceptual", "images"]);
    refused(&mut toy(&["--set", "path.type=mirror"]), 2, &["mirror", "another path"]);
    refused(&mut toy(&["--set", "parameterization.type=latent", "--set", "path.type=interpolant"]), 1, &["velocity"]);
    refused(rectiflow().args(["train", "--data", "moons", "--set", "network.type=mlp"]), 2, &["rectiflow toy"]);
    let diagnose = |args: &[&str]| {
        let mut command = rectiflow();
        command.arg("diagnose").arg(run()).args(args);
        command
    };
    refused(&mut diagnose(&["--num", "0"]), 2, &["at least one"]);
    refused(&mut diagnose(&["--steps", "0"]), 1, &["no steps"]);
    refused(&mut diagnose(&["--num", "100000000000000"]), 2, &["do not fit in memory"]);
    refused(&mut diagnose(&["--guidance-scale", "-1"]), 1, &["guidance"]);
    refused(&mut diagnose(&["--ema", "0.5"]), 1, &["0.5", "0.999"]);
    refused(rectiflow().args(["diagnose", "no-such-run"]), 1, &["no-such-run", "no such file"]);
    let wide = |channels: &str| {
        let mut command = rectiflow();
        command.args(["train", "-o", "/tmp/never-made", "--set"]).arg(format!("network.channels={channels}"));
        command
    };
    refused(&mut wide("30000"), 1, &["this machine has", "narrower"]);
    refused(&mut wide("100000000000"), 2, &["network", "nothing that large"]);
}

#[test]
fn data_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let train = |data: &Path| {
        let mut command = train_tiny();
        command.arg("--data").arg(data).arg("-o").arg(path("run"));
        command
    };
    refused(&mut train(&path("missing/")), 1, &["missing"]);
    fs::create_dir(path("empty")).unwrap();
    refused(&mut train(&path("empty")), 1, &["empty"]);
    for (name, bytes) in
        [("zero", &b""[..]), ("text", b"not a picture"), ("cut", &[0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0])]
    {
        fs::create_dir(path(name)).unwrap();
        fs::write(path(name).join("a.png"), bytes).unwrap();
        refused(&mut train(&path(name)), 1, &["a.png"]);
    }
    fs::write(path("train-images-idx3-ubyte"), [0, 0, 9, 9, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 7]).unwrap();
    refused(&mut train(&path("train-images-idx3-ubyte")), 1, &["train-images-idx3-ubyte", "magic"]);
    // One 2x2 image with a NaN, as npy.
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 2, 2), }");
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    [0.0f32, 0.5, f32::NAN, 0.0].iter().for_each(|v| npy.extend(v.to_le_bytes()));
    fs::write(path("x.npy"), npy).unwrap();
    refused(&mut train(&path("x.npy")), 1, &["x.npy", "NaN"]);
    refused(train_tiny().args(["--batch-size", "1000"]).arg("-o").arg(path("run")), 1, &["1000", "96"]);
    assert!(!path("run").join("recipe.toml").exists(), "nothing is written before the data are known to be good");
}

#[test]
fn checkpoints_that_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(checkpoint()).unwrap();
    let sample = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let mut command = rectiflow();
        command.arg("sample").arg(path).arg("-o").arg(folder.path().join("x.png"));
        command
    };
    refused(&mut sample("cut.safetensors", &bytes[..bytes.len() / 2]), 1, &["cut.safetensors", "truncated"]);
    refused(&mut sample("empty.safetensors", b""), 1, &["empty.safetensors", "truncated"]);
    refused(
        &mut sample("text.safetensors", b"this is just a text file, long enough"),
        1,
        &["not a Rectiflow checkpoint"],
    );
    // Released models: no checkpoint of a run, and said to be damaged.
    refused(&mut sample("cut.ckpt", b"PK\x03\x04"), 1, &["cut.ckpt", "ends early"]);
    refused(rectiflow().arg("plan").arg(folder.path().join("cut.safetensors")), 1, &["no whole safetensors file"]);
    let mut flipped = bytes.clone();
    let at = flipped.len() - 100;
    flipped[at] ^= 1;
    refused(&mut sample("flipped.safetensors", &flipped), 1, &["flipped.safetensors", "damaged"]);

    let resume = |set: &str| {
        let mut command = train_tiny();
        command.args(["--set", "train.images=128", "--set", set, "--resume"]).arg(checkpoint());
        command.arg("-o").arg(folder.path().join("resumed"));
        command
    };
    refused(&mut resume("network.channels=16"), 1, &["another network"]);
    refused(&mut resume("path.type=trigonometric"), 1, &["trained with path", "linear"]);
    refused(&mut resume("parameterization.type=data"), 1, &["trained with parameterization"]);
    refused(&mut resume("data.limit=80"), 1, &["trained with data"]);

    let reflow = |set: &str| {
        let mut command = rectiflow();
        command.args(["reflow", "--dry-run", "--set", set, "--teacher"]).arg(run());
        command
    };
    refused(&mut reflow("path.type=trigonometric"), 2, &["`path` cannot be set"]);
    refused(&mut reflow("time.shift=3.0"), 2, &["reflow.time"]);
}

#[test]
fn places_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let sample = |output: &Path| {
        let mut command = rectiflow();
        command.arg("sample").arg(run()).args(["-n", "4", "--steps", "1", "-o"]).arg(output);
        command
    };
    for name in ["x.png", "x.npy", "x.safetensors", "folder"] {
        refused(&mut sample(&file.join(name)), 1, &["file"]);
    }
    refused(train_tiny().arg("-o").arg(file.join("run")), 1, &["file"]);
    refused(&mut sample(Path::new("/proc/nobody/x.png")), 1, &["/proc/nobody"]);
}

/// A file system of 100 KiB, where this machine lets a test have one.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let binary = assert_cmd::cargo::cargo_bin("rectiflow");
    let small = |what: &str| {
        let script = format!("mount -t tmpfs -o size=100k none {} && {what}", folder.path().display());
        std::process::Command::new("unshare").args(["-rm", "sh", "-c", &script]).output()
    };
    if !small("true").is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: no private mounts here");
        return;
    }
    let (binary, run, at) = (binary.display(), run(), folder.path().display().to_string());
    let run = run.display();
    let commands = [
        format!("{binary} sample {run} -n 100 --steps 1 -o {at}/x.npy"),
        format!("{binary} pairs {run} -n 64 --steps 1 -o {at}/pairs"),
        format!("{binary} train --set network.channels=8 --set data.limit=96 --images 32 -q -o {at}/run"),
    ];
    for command in commands {
        let output = small(&command).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("space") && said.contains(&at), "{command}: {said}");
    }
}
