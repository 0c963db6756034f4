//! Drawings that begin with a picture, with a part of it, and decoding in tiles.

use super::*;

fn golden_of(folder: &str, name: &str) -> String {
    fixture(folder).join(format!("golden.safetensors:{name}")).display().to_string()
}

/// FLUX dev from the golden picture, strength 0.6 of five steps.
fn changed() -> ReleasedRequest {
    let folder = "flux_dev_tiny";
    ReleasedRequest {
        init_image: Some((golden_of(folder, "vae.encode.image").into(), 0.6)),
        noise: Some(golden_of(folder, "img2img.noise")),
        steps: Some(5),
        height: None,
        width: None,
        ..request(folder)
    }
}

/// Mutants: a drawing that starts at the schedule's first time; the picture mixed at the time after; a draw of the latent's
/// Gaussian in place of its mean.
#[test]
fn a_picture_is_changed_as_by_the_reference() {
    holds(&golden("flux_dev_tiny"), "img2img.image", drawn(&changed()));
}

/// The last of fifty steps leaves a picture nearly as it passes through the autoencoder, and takes one step; all of them are asked, and
/// the noise alone counts.
///
/// Mutants: the first steps in place of the last; noise and picture exchanged in the mixture; the picture never encoded.
#[test]
fn strength_is_how_far() {
    for folder in ["sd3_tiny", "sd15_tiny", "instaflow_tiny"] {
        let base = ReleasedRequest {
            noise: None,
            seed: 5,
            steps: Some(50),
            guidance: Some(1.0),
            double_shift: false,
            ..request(folder)
        };
        let at = fixture(folder).join("vae");
        let net = parity::config::<nets::AutoencoderConfig>(&at)
            .load(&Stored::in_folder(&at, "diffusion_pytorch_model").unwrap(), &Device::flex())
            .unwrap();
        let own = tensor::<4>(&golden(folder), "vae.encode.image");
        let through = net.decode(net.scaled(net.encode(own).mean));
        let begun = |strength: f64| ReleasedRequest {
            init_image: Some((golden_of(folder, "vae.encode.image").into(), strength)),
            ..base.clone()
        };
        let far = |a: Tensor<4>, b: &Tensor<4>| (a - b.clone()).abs().mean().into_scalar::<f32>();
        let all = drawn(&base);
        let (little, whole) = (far(drawn(&begun(0.02)), &through), far(drawn(&begun(1.0)), &all));
        let scale = far(all, &through);
        println!("{folder}: {little} and {whole} of {scale}");
        assert!(little < 0.6 * scale, "{folder}: {little} of {scale}");
        // A flow begins at noise alone; a diffusion's first level has a trace of the picture.
        assert!(whole < if folder == "sd15_tiny" { 0.6 * scale } else { 1e-5 }, "{folder}: {whole} of {scale}");
        let output = tempfile::tempdir().unwrap();
        let one = ReleasedRequest { output: output.path().join("x.png"), ..begun(0.02) };
        assert_eq!(sample(&one, &mut Context::silent()).unwrap().steps, 1);
    }
}

/// Mutants: black for white; the picture put back at the time before the step; pixels of the autoencoder where the picture stays.
#[test]
fn a_mask_says_what_may_change() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = Stored::open(&fixture("flux_dev_tiny/golden.safetensors")).unwrap();
    let own = tensor::<4>(&pictures, "vae.encode.image");
    let [_, _, h, w] = own.dims();
    let mask = |name: &str, free: &dyn Fn(usize, usize) -> bool| {
        let values: Vec<f32> = (0..h * w).map(|i| if free(i / w, i % w) { 1.0 } else { -1.0 }).collect();
        let file = dir.path().join(name);
        media::arrays::save_npy(&file, &[1, 1, h, w], &values).unwrap();
        Some(file.display().to_string().into())
    };
    let half = drawn(&ReleasedRequest { mask: mask("half.npy", &|_, x| x >= 16), ..changed() });
    let left = (half.clone() - own.clone()).narrow(3, 0, 16).abs().max().into_scalar::<f32>();
    let right = (half.clone() - own).narrow(3, 16, w - 16).abs().max().into_scalar::<f32>();
    assert!(left == 0.0 && right > 0.1, "{left} {right}");
    // White all over is no mask; and what stays pulls on what changes.
    let all = drawn(&changed());
    let white = drawn(&ReleasedRequest { mask: mask("white.npy", &|_, _| true), ..changed() });
    assert!((white - all.clone()).abs().max().into_scalar::<f32>() < 1e-6);
    let pulled = (half - all).narrow(3, 16, w - 16).abs().max().into_scalar::<f32>();
    assert!(pulled > 1e-4, "{pulled}");
}

/// One tile is the whole; several are near it, and the picture has the same size.
#[test]
fn a_picture_is_decoded_in_tiles() {
    let whole = drawn(&changed());
    let one = drawn(&ReleasedRequest { tile: Some(48), ..changed() });
    assert_eq!(one.into_data(), whole.clone().into_data());
    let many = drawn(&ReleasedRequest { tile: Some(32), ..changed() });
    assert_eq!(many.dims(), whole.dims());
    let far = (many - whole.clone()).abs().mean().into_scalar::<f32>();
    let spread = (whole.clone() - whole.mean().reshape([1, 1, 1, 1])).abs().mean().into_scalar::<f32>();
    println!("tiles: {far} of {spread}");
    assert!(far > 0.0 && far < 0.5 * spread, "{far} of {spread}");
}

/// Parameters are the files' own; of an autoencoder in tiles less lives, and of shorter numbers less is stored.
///
/// Mutants: parts added up in place of the hungriest; a file's parameters without its encoders.
#[test]
fn what_drawing_needs_is_told_before() {
    let planned = |request: ReleasedRequest| rectiflow::released::plan(&request, &mut |_| ()).unwrap();
    let folder = planned(ReleasedRequest { tile: None, ..changed() });
    let names: Vec<&str> = folder.parts.iter().map(|part| part.name).collect();
    assert_eq!(names, ["text_encoder", "text_encoder_2", "transformer", "vae"]);
    let file = Stored::open(&fixture("flux_dev_tiny/transformer/diffusion_pytorch_model.safetensors")).unwrap();
    let numbers: usize = file.names().iter().map(|name| file.shape(name).unwrap().iter().product::<usize>()).sum();
    let network = &folder.parts[2];
    assert_eq!((network.parameters, network.stored), (numbers as u64, 4 * numbers as u64));
    let most = folder.parts.iter().map(|part| part.peak).max().unwrap();
    assert!(folder.peak >= most && folder.peak < folder.parts.iter().map(|part| part.peak).sum::<u64>() + (60 << 20));
    let tiles = planned(ReleasedRequest { tile: Some(16), ..changed() });
    assert!(tiles.parts[3].peak < folder.parts[3].peak);
    let single = planned(ReleasedRequest {
        init_image: None,
        noise: None,
        ..single::of_file("flux_dev_tiny_bfl.safetensors", "flux_dev_tiny", changed())
    });
    assert_eq!(single.parts[2].parameters, network.parameters);
}

#[test]
fn beginnings_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("x.png");
    std::fs::write(&text, "no picture").unwrap();
    let black = dir.path().join("black.npy");
    media::arrays::save_npy(&black, &[1, 1, 32, 48], &[-1.0; 32 * 48]).unwrap();
    let small = dir.path().join("small.npy");
    media::arrays::save_npy(&small, &[1, 1, 16, 48], &[1.0; 16 * 48]).unwrap();
    let picture = || golden_of("flux_dev_tiny", "vae.encode.image");
    let path = |path: &Path| path.display().to_string();
    let at = |steps: usize, strength: f64| ReleasedRequest {
        init_image: Some((picture().into(), strength)),
        noise: None,
        steps: Some(steps),
        ..changed()
    };
    for (request, code, why) in [
        // Nothing is skipped: what is said would do does, in the test below.
        (at(1, 0.6), 2, "give --steps 3 or more, or --strength 1"),
        (at(4, 0.8), 2, "give --steps 5 or more, --strength 0.75 or less, or --strength 1"),
        (at(3, 0.67), 2, "give --steps 4 or more, --strength 0.666 or less"),
        (ReleasedRequest { init_image: Some((picture().into(), 0.0)), ..changed() }, 2, "--strength 0"),
        (ReleasedRequest { init_image: Some((picture().into(), 1.5)), ..changed() }, 2, "--strength 1.5"),
        (ReleasedRequest { init_image: Some(("absent.png".to_string().into(), 0.5)), ..changed() }, 1, "absent.png"),
        (ReleasedRequest { init_image: Some((path(&text).into(), 0.5)), ..changed() }, 1, "no readable picture"),
        (ReleasedRequest { height: Some(64), ..changed() }, 2, "32 x 48"),
        (ReleasedRequest { mask: Some(path(&black).into()), ..changed() }, 2, "nothing may change"),
        (ReleasedRequest { mask: Some(path(&small).into()), ..changed() }, 2, "16 x 48"),
        (ReleasedRequest { mask: Some(path(&small).into()), init_image: None, ..changed() }, 2, "--init-image"),
        (ReleasedRequest { tile: Some(8), ..changed() }, 2, "--decode-tile 8"),
    ] {
        let output = dir.path().join("out.png");
        let error = sample(&ReleasedRequest { output: output.clone(), ..request }, &mut Context::silent()).unwrap_err();
        assert!(error.exit_code() == code && error.to_string().contains(why), "{why}: {error}");
        assert!(!output.exists());
    }
}

/// What the refusal of a strength names is enough, and no less is.
///
/// Mutant: one step skipped where none is.
#[test]
fn a_strength_without_effect_is_told_what_would_have_one() {
    let steps = |steps: usize, strength: f64| {
        let init_image = Some((golden_of("flux_dev_tiny", "vae.encode.image").into(), strength));
        let request = ReleasedRequest { init_image, steps: Some(steps), ..changed() };
        rectiflow::released::prepare(&request, &mut |_| ()).map(|prepared| prepared.steps()).ok()
    };
    assert_eq!([steps(3, 0.6), steps(2, 0.6)], [Some(2), None]);
    assert_eq!([steps(5, 0.8), steps(4, 0.75), steps(4, 0.76), steps(4, 1.0)], [Some(4), Some(3), None, Some(4)]);
    assert_eq!([steps(3, 0.666), steps(1, 1.0)], [Some(2), Some(1)]);
}
