//! `restore`, end to end with a tiny network: what is known stays, what is written is measured, what makes no sense is refused.

mod common;

use assert_cmd::Command;
use common::{json, rectiflow, run};
use serde_json::Value;
use std::{fs, path::Path};

const EXACT: &str = "{ type = \"flowchef\", rule = { type = \"descent\", kappa = 1.0 }, last_step = true }";

fn restore(out: &Path, args: &[&str]) -> Command {
    let mut command = rectiflow();
    command.arg("restore").arg(run()).args(args).arg("-o").arg(out);
    command
}

fn embedded(out: &Path, args: &[&str]) -> Command {
    let mut command = restore(out, args);
    command.args(["--input", "fashion-mnist-mini", "--degrade", "--num", "3", "--steps", "4"]);
    command
}

fn pixels(file: &Path) -> Vec<u8> {
    image::open(file).unwrap().to_luma8().into_raw()
}

/// Known pixels come back to the byte whatever the network says, the hole does not, and the figures are those of the files.
#[test]
fn a_hole_is_filled_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let report = json(&mut embedded(&out, &["--task", "inpaint", "--box", "7,9,14,10", "--method", EXACT]));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(
        (&rows[1]["method"], &rows[1]["nfe"], &rows[1]["differentiated"]),
        (&"flowchef".into(), &4.into(), &0.into())
    );
    assert!(rows[1]["residual"].as_f64().unwrap() < 1e-5, "{}", rows[1]);
    let (restored, degraded) = (pixels(&out.join("flowchef/000001.png")), pixels(&out.join("degraded/000001.png")));
    let inside = |i: usize| (7..21).contains(&(i / 28)) && (9..19).contains(&(i % 28));
    assert!((0..784).all(|i| inside(i) || restored[i].abs_diff(degraded[i]) <= 1));
    assert!((0..784).any(|i| inside(i) && restored[i].abs_diff(degraded[i]) > 3));
    assert!((0..784).all(|i| !inside(i) || degraded[i] == 128), "unknown is middle grey");
    // PSNR of the whole is that of the hole, spread over all pixels: 10 log10(784/140).
    let whole = |row: &Value| (row["psnr"].as_f64().unwrap(), row["psnr_hole"].as_f64().unwrap());
    for row in rows {
        let (all, hole) = whole(row);
        assert!((all - hole - 10.0 * (784.0f64 / 140.0).log10()).abs() < 1e-3, "{row}");
    }
    for file in ["sheet.png", "index.html", "metrics.json", "flowchef/000002.png"] {
        assert!(out.join(file).is_file(), "{file}");
    }
    assert!(!out.join("flowchef/000003.png").exists());
    let page = fs::read_to_string(out.join("index.html")).unwrap();
    assert!(page.contains("data:image/png;base64,") && page.contains("14 x 10 pixels") && !page.contains("src=\"http"));
    let kept: Value = serde_json::from_slice(&fs::read(out.join("metrics.json")).unwrap()).unwrap();
    assert_eq!(kept["rows"], report["rows"]);
}

/// Pictures that are degraded already, with originals of the same names: the same restoration as from the originals.
#[test]
fn degraded_pictures_are_restored_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let first = json(&mut embedded(&at("a"), &["--task", "super", "--scale", "2", "--method", EXACT]));
    assert_eq!(image::open(at("a/degraded/000000.png")).unwrap().to_luma8().dimensions(), (14, 14));
    let input = at("a/degraded").display().to_string();
    let originals = at("a/flowchef").display().to_string();
    let common = ["--task", "super", "--method", EXACT, "--steps", "4", "--input", &input];
    let second = json(restore(&at("b"), &common).args(["--originals", &originals]));
    assert_eq!(second["pictures"], 3);
    // Their "originals" are what the first run restored from the same values, but for the rounding to bytes.
    assert!(second["rows"][1]["psnr"].as_f64().unwrap() > 30.0, "{second}");
    let blind = json(&mut restore(&at("c"), &common));
    assert_eq!((&blind["rows"][1]["psnr"], &blind["rows"][1]["ssim"]), (&Value::Null, &Value::Null));
    assert!(blind["rows"][1]["residual"].is_number() && first["rows"][1]["psnr"].is_number());
    fs::remove_file(at("a/flowchef/000001.png")).unwrap();
    let mut refused = restore(&at("d"), &common);
    let output = refused.args(["--originals", &originals]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("000001"), "{said}");
    assert!(!at("d").exists());
}

/// Every method on one task, with and without a tape; what each costs is said; batches and the other methods change nothing.
#[test]
fn methods_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let methods = "flowchef,mpgd,dps,freedom,ot-ode,pnp-flow";
    let all =
        json(&mut embedded(&folder.path().join("a"), &["--task", "deblur", "--kappa", "0.2", "--method", methods]));
    let cost = |row: &Value| (row["nfe"].as_u64().unwrap(), row["differentiated"].as_u64().unwrap());
    let rows = all["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["degraded", "flowchef", "mpgd", "dps", "freedom", "ot_ode", "pnp_flow"]);
    assert_eq!(rows.iter().map(cost).collect::<Vec<_>>(), [(0, 0), (4, 0), (4, 0), (4, 3), (7, 3), (4, 4), (20, 0)]);
    let args = ["--task", "deblur", "--kappa", "0.2", "--method", "pnp-flow,dps", "--batch-size", "2"];
    let two = json(&mut embedded(&folder.path().join("b"), &args));
    for (row, same) in [(&two["rows"][1], &rows[6]), (&two["rows"][2], &rows[3])] {
        let (a, b) = (row["psnr"].as_f64().unwrap(), same["psnr"].as_f64().unwrap());
        assert!((a - b).abs() < 1e-3, "{row} {same}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mask = |name: &str, side: u32, white: bool| {
        let value = if white { 255 } else { 0 };
        image::GrayImage::from_pixel(side, side, image::Luma([value])).save(at(name)).unwrap();
        at(name).display().to_string()
    };
    let (small, full, none) = (mask("small.png", 14, true), mask("full.png", 28, true), mask("none.png", 28, false));
    fs::write(at("torn.png"), b"\x89PNG\r\n\x1a\nno").unwrap();
    let torn = at("torn.png").display().to_string();
    let absent = at("absent.png").display().to_string();
    let wide = at("wide");
    fs::create_dir(&wide).unwrap();
    image::GrayImage::new(32, 32).save(wide.join("a.png")).unwrap();
    let wide = wide.display().to_string();
    let out = at("out");
    let inpaint = ["--task", "inpaint", "--box", "14"];
    for (args, code, words) in [
        (vec!["--task", "inpaint"], 2, vec!["--box or --mask"]),
        (vec!["--task", "inpaint", "--box", "29"], 2, vec!["larger than the model's pictures of 28 x 28"]),
        (vec!["--task", "inpaint", "--box", "20,20,10,2"], 2, vec!["leaves an image of 28 x 28"]),
        (vec!["--task", "inpaint", "--box", "28"], 2, vec!["knows no value"]),
        (vec!["--task", "inpaint", "--box", "a"], 2, vec!["--box a", "side of a square"]),
        (vec!["--task", "inpaint", "--box", "4", "--mask", &small], 2, vec!["give one"]),
        (vec!["--task", "inpaint", "--mask", &small], 2, vec!["14 x 14", "28 x 28"]),
        (vec!["--task", "inpaint", "--mask", &full], 2, vec!["knows no value"]),
        (vec!["--task", "inpaint", "--mask", &none], 2, vec!["knows every value"]),
        (vec!["--task", "inpaint", "--mask", &torn], 1, vec!["torn.png", "give a PNG"]),
        (vec!["--task", "inpaint", "--mask", &absent], 1, vec!["no such file"]),
        (vec!["--task", "super", "--scale", "3"], 2, vec!["do not shrink by 3"]),
        (vec!["--task", "super", "--box", "4"], 2, vec!["belongs to --task inpaint"]),
        (vec!["--task", "deblur", "--taps", "4"], 2, vec!["odd number of taps"]),
        (vec!["--task", "colour"], 2, vec!["no colour to restore"]),
        ([&inpaint[..], &["--kappa", "2"]].concat(), 2, vec!["kappa = 2", "1 - kappa", "force"]),
        ([&inpaint[..], &["--kappa", "-1"]].concat(), 2, vec!["must be positive"]),
        ([&inpaint[..], &["--method", "dsp"]].concat(), 2, vec!["--method dsp", "there are flowchef"]),
        ([&inpaint[..], &["--noise", "NaN"]].concat(), 2, vec!["--noise"]),
        ([&inpaint[..], &["--class", "Hat"]].concat(), 2, vec!["--class Hat", "Sneaker"]),
        ([&inpaint[..], &["--solver", "heun"]].concat(), 2, vec!["--solver"]),
        ([&inpaint[..], &["--originals", "x"]].concat(), 2, vec!["--originals with --degrade"]),
    ] {
        let output = embedded(&out, &args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
        assert!(!out.exists(), "{args:?}");
    }
    let mut other = restore(&out, &[&inpaint[..], &["--input", &wide, "--degrade"]].concat());
    let said = String::from_utf8_lossy(&other.output().unwrap().stderr).into_owned();
    assert!(
        said.contains("32 x 32") && said.contains("28 x 28") && said.contains("--resize") && !out.exists(),
        "{said}"
    );
    let report = json(&mut restore(
        &out,
        &[&inpaint[..], &["--input", &wide, "--degrade", "--resize", "--steps", "2"]].concat(),
    ));
    assert_eq!(report["pictures"], 1);
    let forced = json(&mut embedded(&out, &[&inpaint[..], &["--kappa", "2.5", "--force"]].concat()));
    assert_eq!(forced["rows"].as_array().unwrap().len(), 2);
}
