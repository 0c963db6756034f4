//! Sound against other programs' numbers (`fixtures/librosa`, `fixtures/audio_tiny`), against closed forms, and bad files.

use super::*;
use safetensors::SafeTensors;
use std::f32::consts::TAU;
use std::path::PathBuf;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn golden(file: &str, name: &str) -> Vec<f32> {
    let bytes = fs::read(fixture(file)).unwrap();
    let view = SafeTensors::deserialize(&bytes).unwrap();
    view.tensor(name).unwrap().data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn librosa(name: &str) -> Vec<f32> {
    golden("librosa/golden.safetensors", name)
}

/// Largest difference, as a share of the largest magnitude wanted (at least 1).
fn apart(got: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(got.len(), wanted.len());
    let scale = wanted.iter().fold(1.0f32, |m, v| m.max(v.abs()));
    got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale
}

fn theirs() -> Mel {
    let config = MelConfig { rate: 22_050, window: 512, hop: 128, bins: 40, ..MelConfig::default() };
    Mel::new(&config).unwrap()
}

/// U4 of the specification. Mutants: power for magnitude, HTK's scale, no norm, a symmetric window, zeros at the ends.
#[test]
fn spectra_and_mel_pictures_are_librosas() {
    let (mel, wave) = (theirs(), librosa("wave"));
    let spectrum = mel.stft().forward(&wave);
    let part = |f: fn(&realfft::num_complex::Complex<f64>) -> f64| -> Vec<f32> {
        spectrum.values.iter().map(|v| f(v) as f32).collect()
    };
    assert!(apart(&part(|v| v.re), &librosa("stft.real")) < 1e-5);
    assert!(apart(&part(|v| v.im), &librosa("stft.imag")) < 1e-5);
    let filters: Vec<f32> = mel.filters().iter().map(|v| *v as f32).collect();
    // The largest filter value is 0.017, so the tolerance is absolute.
    assert!(apart(&filters, &librosa("filters")) < 1e-7);
    let inverse: Vec<f32> = mel.inverse_filters().iter().map(|v| *v as f32).collect();
    assert!(apart(&inverse, &librosa("filters.pseudo_inverse")) < 1e-4);
    assert!(apart(&mel.log_mel(&wave).unwrap().values, &librosa("mel.log")) < 1e-5);
}

#[test]
fn the_front_end_of_flowsep_is_the_fixtures() {
    let mel = Mel::new(&MelConfig::default()).unwrap();
    let of = |name| golden("audio_tiny/golden.safetensors", name);
    let wave = of("wave.normalised");
    let picture = mel.log_mel(&wave).unwrap();
    assert_eq!((picture.frames, picture.bins), (65, 64));
    let worst = picture.values.iter().zip(of("mel.log")).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
    let rows = [0, 31, 63].map(|i| &mel.filters()[i * 513..(i + 1) * 513]).concat();
    assert!(apart(&rows.iter().map(|v| *v as f32).collect::<Vec<_>>(), &of("mel.filterbank_rows_0_31_63")) < 1e-7);
    // The recording is brought to its level as the paper's code does: mean away, peak one half.
    let mut raw = Sound::mono(16_000, of("wave.raw"));
    level::remove_offset(&mut raw);
    let gain = Normalise::Peak { peak: 0.5 }.gain(&raw);
    level::amplify(&mut raw, gain);
    assert!(apart(&raw.channels[0], &wave) < 1e-6);
    // Silence, and what a picture is lengthened with (mutant: 0, which is loud).
    let silent = mel.log_mel(&[0.0; 10_240]).unwrap();
    assert!(silent.values.iter().all(|v| (v + 11.512_925).abs() < 1e-6));
    let longer = picture.clone().with_frames(70, 1e-5);
    assert_eq!(longer.values[..65 * 64], picture.values);
    assert!(longer.values[65 * 64..].iter().all(|v| *v == mel.silence()) && longer.values.len() == 70 * 64);
    assert_eq!(picture.with_frames(64, 1e-5).values.len(), 64 * 64);
}

#[test]
fn a_steady_tone_peaks_in_one_band() {
    let mel = Mel::new(&MelConfig::default()).unwrap();
    let tone: Vec<f32> = (0..163_840).map(|i| 0.5 * (TAU * 1000.0 * i as f32 / 16_000.0).sin()).collect();
    let picture = mel.log_mel(&tone).unwrap();
    assert_eq!(picture.frames, 1025); // 10.24 s; FlowSep keeps 1024
    let peak = |row: &[f32]| (0..64).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    let peaks: Vec<usize> = picture.values.chunks(64).skip(4).take(1016).map(peak).collect();
    assert!(peaks.windows(2).all(|w| w[0] == w[1]));
    // Band k has its middle at mel(8000) (k + 1) / 65 of 45.245 mels; 1000 Hz is 15.
    assert_eq!(peaks[0], (15.0 / mel::mel(8000.0) * 65.0 - 1.0).round() as usize);
}

#[test]
fn inverse_and_phase_search_are_librosas() {
    let stft = theirs().stft();
    let wave = librosa("wave");
    // A spectrum that is no signal's: the least-squares inverse is put to the test, not only the round trip.
    let mut spectrum = stft.forward(&wave);
    for (i, v) in spectrum.values.iter_mut().enumerate() {
        *v *= 0.5 * (1.0 + (i % 257) as f64 / 257.0);
    }
    assert!(apart(&stft.inverse(&spectrum, wave.len()).unwrap(), &librosa("filtered_inverse")) < 1e-5);
    let magnitude = stft.forward(&wave).magnitude();
    let how = GriffinLim { iterations: 12, momentum: 0.99 };
    let found = griffin_lim(&stft, &magnitude, wave.len(), &[], &how).unwrap();
    assert!(apart(&found, &librosa("griffin_lim")) < 1e-4);
}

/// U4: 60 rounds on a chirp. Mutant: the momentum's share as a whole step (it diverges).
#[test]
fn sixty_rounds_come_near_the_magnitudes_of_a_chirp() {
    let stft = Stft::new(1024, 160).unwrap();
    let chirp: Vec<f32> =
        (0..16_000).map(|i| i as f32 / 16_000.0).map(|t| 0.5 * (TAU * t * (200.0 + 1500.0 * t)).sin()).collect();
    let magnitude = stft.forward(&chirp).magnitude();
    let found = griffin_lim(&stft, &magnitude, chirp.len(), &[], &GriffinLim::default()).unwrap();
    let far = griffin_lim::spectral_convergence(&stft, &found, &magnitude);
    assert!(far < 0.3, "{far}");
    assert!(griffin_lim::spectral_convergence(&stft, &chirp, &magnitude) < 1e-6);
}

#[test]
fn a_perfect_picture_masks_the_target_out_of_the_mixture() {
    let mel = Mel::new(&MelConfig::default()).unwrap();
    let tone =
        |hertz: f32| -> Vec<f32> { (0..8000).map(|i| 0.3 * (TAU * hertz * i as f32 / 16_000.0).sin()).collect() };
    let (low, high) = (tone(400.0), tone(3000.0));
    let mixture: Vec<f32> = low.iter().zip(&high).map(|(a, b)| a + b).collect();
    let error = |got: &[f32]| {
        let off: f32 = got.iter().zip(&low).map(|(a, b)| (a - b).powi(2)).sum();
        10.0 * (off / low.iter().map(|v| v * v).sum::<f32>()).log10()
    };
    let masked = mask::resynthesise(&mel, &mixture, &mel.log_mel(&low).unwrap()).unwrap();
    assert!(masked.len() == 8000 && error(&masked) < -20.0, "{}", error(&masked));
    // By magnitudes alone, as the specification says: the tone loses to its own smoothed image.
    let stft = mel.stft();
    let wanted = mel.magnitude(&mel.log_mel(&low).unwrap());
    let plain = stft.inverse(&mask::to_magnitude(&stft.forward(&mixture), &wanted).unwrap(), 8000).unwrap();
    assert!((-12.0..-5.0).contains(&error(&plain)), "{}", error(&plain));
    let ideal = mask::ideal_ratio(&stft.forward(&mixture), &stft.forward(&low), &stft.forward(&high)).unwrap();
    let ideal = stft.inverse(&ideal, 8000).unwrap();
    assert!(error(&ideal) < -20.0 && error(&mixture) > -1.0, "{} {}", error(&ideal), error(&mixture));
}

#[test]
fn another_rate_keeps_tone_place_and_length() {
    for (from, to) in [(44_100, 16_000), (8_000, 16_000), (48_000, 44_100), (16_000, 16_000)] {
        let tone = |rate: u32, i: usize| 0.5 * (TAU * 440.0 * i as f32 / rate as f32).sin();
        let frames = from as usize / 2 + 1;
        let sound =
            Sound { rate: from, channels: vec![(0..frames).map(|i| tone(from, i)).collect(), vec![0.25; frames]] };
        let got = resample(&sound, to).unwrap();
        assert_eq!(got.frames(), (frames * to as usize).div_ceil(from as usize));
        // Away from the ends, where the filter sees the silence outside.
        let inside = 2000..got.frames() - 2000;
        let worst = inside.clone().map(|i| (got.channels[0][i] - tone(to, i)).abs()).fold(0.0, f32::max);
        let flat = inside.map(|i| (got.channels[1][i] - 0.25).abs()).fold(0.0, f32::max);
        assert!(worst < 2e-3 && flat < 2e-3, "{from} to {to}: {worst} {flat}");
    }
    // What the new rate cannot hold is gone, not folded down.
    let high = Sound::mono(44_100, (0..44_100).map(|i| (TAU * 12_000.0 * i as f32 / 44_100.0).sin()).collect());
    let got = resample(&high, 16_000).unwrap();
    let loudest = got.channels[0][2000..14_000].iter().fold(0.0f32, |m, v| m.max(v.abs()));
    assert!(loudest < 1e-2, "{loudest}");
    assert!(resample(&high, 0).is_err());
}

fn stereo() -> Sound {
    let tone = |k: f32| (0..3000).map(|i| k * (i as f32 * 0.05).sin()).collect();
    Sound { rate: 22_050, channels: vec![tone(0.9), tone(-0.4)] }
}

#[test]
fn files_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, depth, step) in [
        ("a.wav", Depth::Int16, 1.0 / 32_768.0),
        ("b.wav", Depth::Int24, 1.0 / 8_388_608.0),
        ("c.wav", Depth::Float, 1e-12),
        ("d.flac", Depth::Int16, 1.0 / 32_768.0),
        ("e.flac", Depth::Int24, 1.0 / 8_388_608.0),
    ] {
        let path = folder.path().join(name);
        write(&path, &stereo(), depth).unwrap();
        let back = read(&path).unwrap();
        assert_eq!((back.sound.rate, back.sound.channels.len(), back.damaged), (22_050, 2, 0), "{name}");
        for (a, b) in back.sound.channels.iter().zip(&stereo().channels) {
            let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(a.len() == b.len() && worst <= 0.51 * step + 1e-12, "{name}: {worst}");
        }
    }
    // Beyond full scale integers stay at the rail, they do not wrap round.
    let path = folder.path().join("loud.wav");
    write(&path, &Sound::mono(8000, vec![1.5, -1.5]), Depth::Int16).unwrap();
    assert_eq!(read(&path).unwrap().sound.channels[0], [32_767.0 / 32_768.0, -1.0]);
}

/// A tone of 440 Hz at 0.5 and 0.25, written by libsndfile. Lossy formats keep tone and level.
#[test]
fn files_of_other_programs_are_read() {
    for (name, kind, tolerance) in
        [("tone.flac", "FLAC", 2e-3), ("tone.ogg", "Ogg Vorbis", 0.05), ("tone.mp3", "MP3", 0.05)]
    {
        let reading = read(&fixture("librosa").join(name)).unwrap();
        let sound = reading.sound;
        assert_eq!((sound.rate, sound.channels.len(), reading.kind), (22_050, 2, kind));
        assert!(sound.frames() >= 4410 && sound.frames() < 4410 + 2400, "{name}: {}", sound.frames());
        let inside = sound.frames() / 2 - 1000..sound.frames() / 2 + 1000;
        for (channel, peak) in sound.channels.iter().zip([0.5f32, 0.25]) {
            let energy: f32 = inside.clone().map(|i| channel[i].powi(2)).sum::<f32>() / 2000.0;
            assert!((energy.sqrt() * 2f32.sqrt() - peak).abs() < tolerance, "{name}: {}", energy.sqrt());
            // 39.9 periods in these 2000 frames: the mean square may be off by a fortieth of a tenth.
            let crossings = inside.clone().filter(|&i| channel[i - 1] < 0.0 && channel[i] >= 0.0).count();
            assert!((39..=41).contains(&crossings), "{name}: {crossings}"); // 440 * 2000 / 22050 = 39.9
        }
    }
}

#[test]
fn bad_files_are_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.wav");
    let message = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        read(&path).unwrap_err().to_string()
    };
    write(&path, &stereo(), Depth::Int16).unwrap();
    let whole = fs::read(&path).unwrap();
    for bytes in
        [&b""[..], b"RI", b"not a sound at all", &whole[..30], &whole[..whole.len() - 1001], b"fLaC\0\0\0\x22", b"ID3"]
    {
        let said = message(bytes);
        assert!(said.contains("x.wav") && said.len() > 40, "{said}");
    }
    // A float file with a number that is none.
    write(&path, &Sound::mono(8000, vec![0.5; 20]), Depth::Float).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 8..end - 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let said = message(&bytes);
    assert!(said.contains("frame 18 of channel 0 is NaN"), "{said}");
    // A rate at which a second would be hours.
    write(&path, &Sound::mono(7, vec![0.5; 20]), Depth::Float).unwrap();
    let said = message(&fs::read(&path).unwrap());
    assert!(said.contains("7 frames to a second"), "{said}");
    let before = fs::read(&path).unwrap();
    assert!(write(&path, &Sound::mono(8000, vec![f32::NAN]), Depth::Float).is_err());
    assert!(write(&path, &Sound::mono(8000, vec![]), Depth::Float).is_err());
    assert_eq!(fs::read(&path).unwrap(), before, "a refused write changes nothing");
    // A damaged MP3 frame costs that frame and is counted; never a panic.
    let mp3 = fs::read(fixture("librosa/tone.mp3")).unwrap();
    for at in (300..mp3.len()).step_by(37) {
        let mut broken = mp3.clone();
        broken[at..(at + 9).min(mp3.len())].fill(0xff);
        fs::write(&path, &broken).unwrap();
        let _ = read(&path);
    }
}

/// Every prefix and many flips of every format: an answer or an error, never a panic.
#[test]
fn damaged_files_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    write(&folder.path().join("s.wav"), &Sound { rate: 8000, channels: vec![vec![0.1; 200]; 2] }, Depth::Int24)
        .unwrap();
    let files = ["tone.flac", "tone.ogg", "tone.mp3"].map(|name| fixture("librosa").join(name));
    for file in files.into_iter().chain([folder.path().join("s.wav")]) {
        let bytes = fs::read(&file).unwrap();
        for cut in (0..bytes.len()).step_by(61) {
            fs::write(&path, &bytes[..cut]).unwrap();
            let _ = read(&path);
        }
        for at in 0..bytes.len().min(200) {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x55;
            let _ = decode(bytes, &path, usize::MAX);
        }
    }
}

/// Few bytes of silence are many numbers. Mutants: the limit looked at only when all is decoded (memory), or of one channel.
#[test]
fn a_sound_longer_than_the_limit_is_refused() {
    let silence = Sound { rate: 16_000, channels: vec![vec![0.0; 48_000]; 2] };
    let file = tempfile::tempdir().unwrap().keep().join("silence.flac");
    write(&file, &silence, Depth::Int16).unwrap();
    let bytes = fs::read(&file).unwrap();
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
    assert!(bytes.len() < 4000, "{}", bytes.len());
    for bytes in [bytes, to_wav(&silence, Depth::Int16).unwrap()] {
        let read = |most| from_bytes_within(bytes.clone(), Path::new("sent"), most);
        assert_eq!(read(96_000).unwrap().sound.frames(), 48_000);
        assert!(read(95_999).unwrap_err().to_string().contains("95999 numbers"));
    }
}
