//! `restore`, end to end with a tiny network: what is known stays, what is written is measured, what makes no sense is refused.

use crate::common::{json, rectiflow, run};
use assert_cmd::Command;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

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

pub fn pixels(file: &Path) -> Vec<u8> {
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
    // A single picture, in another format that folders read.
    image::open(at("a/degraded/000001.png")).unwrap().save(at("one.bmp")).unwrap();
    let one = at("one.bmp").display().to_string();
    json(&mut restore(&at("one"), &["--task", "super", "--method", EXACT, "--steps", "4", "--input", &one]));
    assert_eq!(fs::read_dir(at("one/flowchef")).unwrap().count(), 1);
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
    let methods = "flowchef,mpgd,dps,freedom,ot-ode,pnp-flow,flow-dps,d-flow";
    let all =
        json(&mut embedded(&folder.path().join("a"), &["--task", "deblur", "--kappa", "0.2", "--method", methods]));
    let cost = |row: &Value| (row["nfe"].as_u64().unwrap(), row["differentiated"].as_u64().unwrap());
    let rows = all["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["degraded", "flowchef", "mpgd", "dps", "freedom", "ot_ode", "pnp_flow", "flow_dps", "d_flow"]);
    let costs = [(0, 0), (4, 0), (4, 0), (4, 3), (7, 3), (4, 4), (20, 0), (4, 0)];
    assert_eq!(rows[..8].iter().map(cost).collect::<Vec<_>>(), costs);
    let (evaluated, differentiated) = cost(&rows[8]);
    assert!(differentiated.is_multiple_of(4) && differentiated <= 20 * 4 && evaluated > differentiated, "{}", rows[8]);
    let fits = |row: &Value| row["residual"].as_f64().unwrap();
    assert!(fits(&rows[8]) < 0.5 * fits(&rows[1]), "twenty rounds fit better than four steps: {}", rows[8]);
    let args = ["--task", "deblur", "--kappa", "0.2", "--method", "pnp-flow,dps,flow-dps,d-flow", "--batch-size", "2"];
    let two = json(&mut embedded(&folder.path().join("b"), &args));
    for (row, same) in two["rows"].as_array().unwrap()[1..].iter().zip([6, 3, 7, 8].map(|at| &rows[at])) {
        let (a, b) = (row["psnr"].as_f64().unwrap(), same["psnr"].as_f64().unwrap());
        // D-Flow chooses step lengths, and rounding may choose another one.
        let most = if row["method"] == "d_flow" { 0.1 } else { 1e-3 };
        assert!((a - b).abs() < most, "{row} {same}");
    }
}

/// Every further task there and back: drawn masks can be given again, kernels are the same as picture and as array, numbers and rounded
/// pictures that were written restore to the same as their originals, and what is not linear is refused to methods that solve.
///
/// Mutants: a mask of another seed; the written numbers of another picture; levels read for something else when they come back; the transform of a
/// later run's seed; a file that was given written over (named and not run); what is painted into a hole taken for known; negative magnitudes; files
/// of an earlier run that stay.
#[test]
fn all_that_is_known_can_be_given_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let made = |to: &str, args: &[&str]| -> (Value, Vec<u8>) {
        let report = json(&mut embedded(&at(to), &[args, &["--method", EXACT]].concat()));
        (report["rows"][1].clone(), pixels(&at(to).join("flowchef/000001.png")))
    };
    // Bounds are half of what pictures leave that were not steered at all, or less.
    let fits = |row: &Value| row["residual"].as_f64().unwrap();
    for (name, option, share, seed) in [("dots", "--scattered", "0.7", "1"), ("brush", "--strokes", "0.3", "0")] {
        let (row, restored) = made(name, &["--task", "inpaint", option, share]);
        assert!(fits(&row) < 1e-5 && row["psnr_hole"].is_number(), "{row}");
        let mask = at(name).join("mask.png").display().to_string();
        // The same mask as a file, or another seed's.
        let again = match seed {
            "0" => made("again", &["--task", "inpaint", "--mask", &mask]).1,
            seed => made("other", &["--task", "inpaint", option, share, "--seed", seed]).1,
        };
        assert_eq!(again == restored, seed == "0", "{name}");
        assert!(seed == "0" || fs::read(at("other/mask.png")).unwrap() != fs::read(&mask).unwrap());
    }
    let (row, _) = made("cubic", &["--task", "super", "--bicubic"]);
    assert!(image::open(at("cubic/degraded/000000.png")).unwrap().width() == 14 && fits(&row) < 0.45, "{row}");
    // A kernel as picture and as array.
    let (weights, bytes) = ([0.0f32, 51.0, 0.0, 102.0, 102.0, 255.0, 0.0, 0.0, 0.0], at("kernel.png"));
    image::GrayImage::from_fn(3, 3, |x, y| image::Luma([weights[(3 * y + x) as usize] as u8])).save(&bytes).unwrap();
    write_numbers(&at("kernel.npy"), "(3, 3)", &weights);
    let by = |to: &str, file: &str| made(to, &["--task", "deblur", "--kernel", &at(file).display().to_string()]).1;
    assert_eq!(by("png", "kernel.png"), by("npy", "kernel.npy"));
    let doubles: Vec<u8> = weights.iter().flat_map(|v| f64::from(*v).to_le_bytes()).collect();
    write_array(&at("double.npy"), "<f8", "(3, 3)", &doubles);
    assert_eq!(by("double", "double.npy"), by("npy", "kernel.npy"));
    // What was painted into a hole says nothing.
    let mask = pixels(&at("dots/mask.png"));
    let mut painted = image::open(at("dots/degraded/000001.png")).unwrap().to_luma8();
    painted.pixels_mut().zip(&mask).filter(|(_, mask)| **mask == 255).for_each(|(pixel, _)| pixel.0 = [255]);
    painted.save(at("painted.png")).unwrap();
    let (file, place) = (at("dots/mask.png").display().to_string(), at("painted.png").display().to_string());
    let hole = ["--task", "inpaint", "--mask", &file, "--input", &place, "--steps", "4", "--method", EXACT];
    let report = json(&mut restore(&at("filled"), &hole));
    assert!(fits(&report["rows"][0]) < 1e-5 && fits(&report["rows"][1]) < 1e-5, "{report}");
    // Numbers that are no picture.
    for (task, most) in [("sense", 0.5), ("phase", 0.1)] {
        let (row, restored) = made(task, &["--task", task]);
        assert!(fits(&row) < most, "{row}");
        let numbers = at(task).join("measured.npy").display().to_string();
        let again = ["--task", task, "--input", &numbers, "--steps", "4", "--method", EXACT];
        json(&mut restore(&at("numbers"), &again));
        assert_eq!(pixels(&at("numbers/flowchef/000001.png")), restored, "{task}");
        // Another seed is another sample of the same numbers.
        let report = json(&mut restore(&at("numbers"), &[&again[..], &["--seed", "1"]].concat()));
        let words = report["task"].as_str().unwrap();
        assert!(task != "sense" || words.contains("(seed 0)") && fits(&report["rows"][1]) < most, "{task}: {report}");
        assert_ne!(pixels(&at("numbers/flowchef/000001.png")), restored, "{task}");
    }
    // Rounded pictures, which come back as they were written.
    let (row, restored) = made("dequantise", &["--task", "dequantise", "--bits", "2"]);
    assert!(fits(&row) < 1e-3, "{row}");
    let degraded = at("dequantise/degraded").display().to_string();
    let again = ["--task", "dequantise", "--bits", "2", "--input", &degraded, "--steps", "4", "--method", EXACT];
    json(&mut restore(&at("rounded"), &again));
    assert_eq!(pixels(&at("rounded/flowchef/000001.png")), restored);
    let (row, _) = made("jpeg", &["--task", "jpeg", "--quality", "20"]);
    assert!(fits(&row) < 0.3, "{row}");
    let levels: std::collections::BTreeSet<u8> = pixels(&at("dequantise/degraded/000001.png")).into_iter().collect();
    assert!(levels.iter().all(|v| [0, 85, 170, 255].contains(v)), "{levels:?}");
    let refused = |args: &[&str], words: &str| {
        let output = embedded(&at("no"), args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words) && !at("no").exists(), "{said}");
    };
    refused(&["--task", "jpeg", "--method", "flowchef,ot-ode"], "--task jpeg is none");
    refused(&["--task", "phase", "--method", "pnp-flow"], "--task phase is none");
    refused(&["--task", "dequantise", "--noise", "0.1"], "--noise with --task dequantise");
    refused(&["--task", "super", "--bits", "2"], "--bits: it belongs to --task dequantise");
    refused(&["--task", "inpaint", "--scattered", "1.5"], "share = 1.5");
    refused(&["--task", "jpeg", "--quality", "0"], "quality = 0");
    refused(&["--task", "deblur", "--motion", "40", "--angle=-30"], "a motion of 40 pixels at -30 degrees");
    let flat = at("flat.npy");
    write_numbers(&flat, "(3,)", &[1.0; 3]);
    refused(&["--task", "deblur", "--kernel", &flat.display().to_string()], "height and width");
    // What is given as it is must be what the task says.
    let given = |args: &[&str], words: &str| {
        let output = restore(&at("no"), args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words) && !at("no").exists(), "{said}");
    };
    let numbers = at("sense/measured.npy").display().to_string();
    given(&["--task", "sense", "--input", &flat.display().to_string()], "flat.json");
    given(&["--task", "phase", "--input", &flat.display().to_string()], "3136");
    given(&["--task", "sense", "--share", "0.5", "--input", &numbers], "give --share 0.25");
    given(&["--task", "sense", "--resize", "--input", &numbers], "--resize");
    given(
        &["--task", "sense", "--input", &numbers, "--toward", "{ type = \"class\", class = \"Bag\", weight = 1 }"],
        "numbers",
    );
    given(&["--task", "inpaint", "--scattered", "0.7", "--input", &degraded], "--mask mask.png");
    given(&["--task", "dequantise", "--resize", "--input", &degraded], "--resize");
    given(&["--task", "jpeg", "--input", &degraded], "28 x 28");
    // What was given is never written over.
    let before = fs::read(&numbers).unwrap();
    let output = restore(&at("sense"), &["--task", "sense", "--input", &numbers, "--num", "1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(2) && said.contains("written over"), "{said}");
    assert_eq!(fs::read(&numbers).unwrap(), before);
    let below = at("below.npy");
    write_numbers(&below, "(1, 3136)", &[-0.5; 3136]);
    given(&["--task", "phase", "--input", &below.display().to_string()], "below zero");
    // Noise makes no magnitude negative, and who does not hear of it is named; a later run leaves nothing of an earlier one.
    let noisy = ["--task", "phase", "--noise", "0.1", "--method", "mpgd,flowchef"];
    let said = embedded(&at("dots"), &noisy).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("--noise: mpgd take"), "{said}");
    assert!(at("dots/measured.npy").is_file() && !at("dots/mask.png").exists());
    let bytes = fs::read(at("dots/measured.npy")).unwrap();
    let values = &bytes[bytes.len() - 4 * 3 * 3136..];
    let least = values.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).fold(f32::MAX, f32::min);
    assert_eq!(least, 0.0);
    made("sense", &["--task", "super"]);
    assert!(!at("sense/measured.npy").exists() && !at("sense/measured.json").exists());
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
        (
            [&inpaint[..], &["--method", "ot-ode,d-flow", "--kappa", "0.1"]].concat(),
            2,
            vec!["--kappa", "ot_ode, d_flow"],
        ),
        ([&inpaint[..], &["--method", "{ type = \"d_flow\", rounds = 0 }"]].concat(), 2, vec!["rounds = 0"]),
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

/// What is unknown is pulled towards another picture, what is known stays; a class pulls as well, and what cannot be pulled is refused.
///
/// Mutants: a mask turned round; a weight that is not read; a pull that takes the place of the misfit.
#[test]
fn restored_pictures_are_pulled_towards_others() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    own_pictures(&at("in"));
    let inside = |i: usize| (7..21).contains(&(i / 28)) && (9..19).contains(&(i % 28));
    let mask = image::GrayImage::from_fn(28, 28, |x, y| image::Luma([255 * u8::from(inside((28 * y + x) as usize))]));
    mask.save(at("mask.png")).unwrap();
    let (other, mask) = (at("in/2.png").display().to_string(), at("mask.png").display().to_string());
    // The step is measured by both costs together, so that several are taken.
    let thorough = EXACT.replace(" }, last_step", " }, inner = 12, last_step");
    let hole = ["--task", "inpaint", "--box", "7,9,14,10", "--method", &thorough];
    let away = |to: &str, more: &[&str]| -> (f64, u8) {
        json(&mut embedded(&at(to), &[&hole[..], more].concat()));
        let (made, degraded) =
            (pixels(&at(to).join("flowchef/000001.png")), pixels(&at(to).join("degraded/000001.png")));
        let wanted = pixels(&at("in/2.png"));
        let gap = |i: usize| f64::from(made[i].abs_diff(wanted[i]));
        let moved = (0..784).filter(|i| !inside(*i)).map(|i| made[i].abs_diff(degraded[i])).max().unwrap();
        ((0..784).filter(|i| inside(*i)).map(gap).sum::<f64>(), moved)
    };
    let toward =
        |weight: &str| format!("{{ type = \"picture\", file = '{other}', mask = '{mask}', weight = {weight} }}");
    let (plain, kept) = away("plain", &[]);
    let (little, _) = away("little", &["--toward", &toward("0.1")]);
    let (near, still) = away("near", &["--toward", &toward("1")]);
    assert!(near < 0.5 * little && little < plain, "{near} {little} {plain}");
    assert!(kept <= 1 && still <= 1, "what is known stays: {kept} {still}");
    let bag = "{ type = \"class\", class = \"Bag\", weight = 40 }";
    let report = json(&mut embedded(&at("bag"), &[&hole[..], &["--toward", bag]].concat()));
    assert_eq!(report["toward"][0], serde_json::json!({ "type": "class", "class": "Bag", "weight": 40.0 }));
    assert_ne!(pixels(&at("bag/flowchef/000001.png")), pixels(&at("plain/flowchef/000001.png")));
    let refused = |more: &[&str], words: &str| {
        let output = embedded(&at("no"), &[&["--task", "inpaint", "--box", "14"], more].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words) && !at("no").exists(), "{said}");
    };
    refused(&["--toward", "Bag"], "spell it out");
    refused(&["--toward", bag, "--method", "ot-ode"], "--toward");
    refused(&["--toward", "{ type = \"class\", class = \"Hat\", weight = 1 }"], "Sneaker");
}

/// Clips: a hole goes through all frames, what is known stays in each, files move; they are edited as pictures are, and pictures are
/// refused with what is wanted.
///
/// Mutants: a hole in the first frame alone; files of the first frame alone; frames taken for colours.
#[test]
fn clips_are_restored_and_edited() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut train = crate::common::train_tiny();
    train.args(["--set", "data.name=\"moving-garments\"", "--set", "train.validate_every=0"]);
    train.arg("-o").arg(at("run")).assert().success();
    let of = |verb: &str, to: &str, args: &[&str]| {
        let mut command = rectiflow();
        command.arg(verb).arg(at("run")).args(args).arg("-o").arg(at(to)).args(["--steps", "3"]);
        command
    };
    let frames = |file: PathBuf| -> Vec<Vec<u8>> {
        let decoder = image::codecs::png::PngDecoder::new(std::io::BufReader::new(fs::File::open(file).unwrap()));
        let frames = image::AnimationDecoder::into_frames(decoder.unwrap().apng().unwrap());
        frames.map(|frame| frame.unwrap().buffer().pixels().map(|pixel| pixel[0]).collect()).collect()
    };
    let set = ["--input", "moving-garments", "--num", "2"];
    let hole = [&set[..], &["--degrade", "--task", "inpaint", "--box", "6", "--method", EXACT]].concat();
    let report = json(&mut of("restore", "hole", &hole));
    assert!(report["rows"][1]["residual"].as_f64().unwrap() < 1e-5 && report["rows"][1]["psnr_hole"].is_number());
    let (known, made) = (frames(at("hole/degraded/000001.png")), frames(at("hole/flowchef/000001.png")));
    assert_eq!((known.len(), made.len(), made[7].len()), (8, 8, 256));
    let inside = |i: usize| (5..11).contains(&(i / 16)) && (5..11).contains(&(i % 16));
    for (known, made) in known.iter().zip(&made) {
        assert!((0..256).all(|i| inside(i) || made[i].abs_diff(known[i]) <= 1), "and known in every frame");
        assert!((0..256).filter(|i| inside(*i)).all(|i| known[i] == 128), "unknown in every frame");
    }
    assert!((1..8).any(|i| known[i] != known[0]), "it moves");
    let report = json(&mut of("edit", "edited", &[&set[..], &["--class", "Bag", "--method", "flow-edit"]].concat()));
    assert!(report["rows"][1]["psnr"].is_number() && report["rows"][1]["edited"].is_null(), "{report}");
    assert_eq!(frames(at("edited/flow_edit/000000.png")).len(), 8);
    let refused = |args: &[&str], words: &str| {
        let output = of("restore", "no", args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(words) && !at("no").exists(), "{said}");
    };
    refused(
        &["--input", "fashion-mnist-mini", "--degrade", "--task", "inpaint", "--box", "6"],
        "clips of 8 frames of 16 x 16",
    );
    refused(&[&set[..], &["--degrade", "--task", "colour"]].concat(), "clips of 8 grey frames");
}

/// A tiny run with attention whose velocity bends: it learned a little, and fast.
pub fn attentive() -> PathBuf {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let sets = ["network.attention=[2]", "train.validate_every=0", "train.optim.lr=1e-2"];
        let mut train = crate::common::train_tiny();
        train.args(sets.iter().flat_map(|set| ["--set", set])).arg("-o").arg(folder.path().join("run"));
        train.assert().success();
        folder
    });
    folder.path().join("run")
}

/// Three pictures that a tiny network has not learned, and their values in [-1, 1], one after another.
pub fn own_pictures(folder: &Path) -> Vec<f32> {
    fs::create_dir_all(folder).unwrap();
    let mut values = Vec::new();
    for k in 0..3u32 {
        let at = |x: u32, y: u32| (40 * k + 3 * x + 4 * y * (k + 1)) as u8;
        let picture = image::GrayImage::from_fn(28, 28, |x, y| image::Luma([at(x, y)]));
        values.extend(picture.as_raw().iter().map(|v| f32::from(*v) / 127.5 - 1.0));
        picture.save(folder.join(format!("{k}.png"))).unwrap();
    }
    values
}

/// The numbers of an npy file of float32.
pub fn numbers(file: &Path) -> Vec<f32> {
    let bytes = fs::read(file).unwrap();
    let start = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    bytes[start..].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// An npy file of float32.
fn write_numbers(file: &Path, shape: &str, values: &[f32]) {
    write_array(file, "<f4", shape, &values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
}

fn write_array(file: &Path, kind: &str, shape: &str, values: &[u8]) {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let header = format!("{header:117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values);
    fs::write(file, bytes).unwrap();
}

pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    (a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}
