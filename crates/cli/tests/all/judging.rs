//! What judges say beside their figures: real images, errors, other features, what they see; and whether images may be mirrored.

use crate::common::{json, rectiflow, run, train_tiny};
use predicates::prelude::*;
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// The embedded garments face left as often as not to be told; two kinds of shoe always do.
#[test]
fn data_show_and_train_say_what_mirroring_does() {
    let folder = tempfile::tempdir().unwrap();
    let sheet = folder.path().join("sheet.png");
    let facts = json(rectiflow().args(["data", "show", "fashion-mnist-mini", "-o"]).arg(&sheet));
    assert!(number(&facts["mirror"]["told_apart"]) > 0.6 && number(&facts["mirror"]["p"]) < 1e-6, "{facts}");
    assert!(facts["mirror"]["says"].as_str().unwrap().contains("data.flip = false"), "{facts}");
    let warned = predicate::str::contains("warning: data.flip = true changes what is learned");
    let shoes = r#"data.classes=["Sneaker", "Ankle boot"]"#;
    let train = |name: &str, flip: &str| {
        let mut command = train_tiny();
        command.args(["--set", shoes, "--set", flip, "-o"]).arg(folder.path().join(name)).assert().success()
    };
    train("mirrored", "data.flip=true").stderr(warned.clone());
    train("plain", "data.flip=false").stderr(warned.not());
}

/// Mutants: the floor measured on the reference's own images (then 0), errors left at 0, one extractor twice.
#[test]
fn figures_stand_beside_real_images_and_say_what_they_see() {
    let folder = tempfile::tempdir().unwrap();
    let found = json(rectiflow().arg("eval").arg(run()).args(["--steps", "2", "--num", "80", "--explain"]));
    let row = &found["stages"]["base"]["nfe"]["2"];
    let real = &found["real"];
    // 64 images of training draw noise: far above real images, which are not at 0 either.
    assert!(number(&real["frechet"]) > 0.01 && number(&row["frechet"]) > 3.0 * number(&real["frechet"]), "{found}");
    assert!(number(&row["frechet_error"]) > 0.0 && number(&row["kid_error"]) > 0.0, "{row}");
    assert!(number(&row["coverage"]) < number(&real["coverage"]), "{row}");
    assert_eq!(row["class_precision"].as_array().unwrap().len(), 10);
    assert!(number(&row["nearest"]["distance"]) > number(&real["nearest"]["distance"]), "{row}");
    let beside = &row["also"]["pixels@16, 256-d"];
    assert!(number(&beside["frechet"]) > 3.0 * number(&real["also"]["pixels@16, 256-d"]["frechet"]), "{row}");
    let tables = found["sensitivity"].as_array().unwrap();
    assert_eq!(tables.len(), 3);
    for table in &tables[..2] {
        let factor = |at: usize| number(&table["seen"][at]["factor"]);
        assert!(table["seen"].as_array().unwrap().len() > 10, "{table}");
        assert!(factor(1) > factor(0) && factor(0) > 1.0, "mirrored images: {table}");
    }
    // The same figures for samples in a file.
    let samples = folder.path().join("samples.npy");
    rectiflow().arg("sample").arg(run()).args(["--num", "80", "--output"]).arg(&samples).assert().success();
    let score = ["--data", "fashion-mnist-mini", "--reference", "96", "--also", "none"];
    let found = json(rectiflow().arg("score").arg(&samples).args(score));
    assert!(number(&found["frechet"]) > 3.0 * number(&found["real"]["frechet"]), "{found}");
    assert!(found["also"].is_null() && found["sensitivity"].is_null(), "{found}");
    rectiflow()
        .arg("score")
        .arg(&samples)
        .args(["--also", "vgg61"])
        .assert()
        .code(2)
        .stderr(predicate::str::contains("vgg61").and(predicate::str::contains("pixels@16")));
}
