//! One sample in a file of its own (a picture, a clip, a sound, an array) as the row that a model of its shape has.

use crate::Error;
use base::Shape;
use std::path::Path;

/// A sample, and what its file says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loaded {
    pub row: Vec<f32>,
    /// Frames that the file has, where it is a clip.
    pub frames: Option<usize>,
    /// Frames to a second, where it says.
    pub fps: Option<f64>,
    /// Of a sound: its rate, and numbers that were cut off (below zero: silence that was put behind it).
    pub sound: Option<(u32, i64)>,
}

/// Millions of pixels of a picture at most.
const MEGAPIXELS: u64 = 100;
/// Numbers of a sound at most.
const LONGEST: usize = 1 << 28;

impl Loaded {
    /// The sample at `path` as a row of `shape`.
    ///
    /// # Errors
    /// A file that cannot be read or is of another kind, with the reason.
    pub fn open(path: &Path, shape: Shape) -> Result<Self, Error> {
        let plain = |row| Self { row, frames: None, fps: None, sound: None };
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy")) {
            return array(path, shape).map(plain);
        }
        let (axes, moves) = match *shape.lengths() {
            [channels, length] => return sound(path, channels, length),
            [channels @ (1 | 3), height, width] => ([channels, 1, height, width], false),
            [frames, height, width] => ([1, frames, height, width], true),
            [channels @ (1 | 3), frames, height, width] => ([channels, frames, height, width], true),
            _ => {
                return Err(Error::Usage(format!(
                    "{}: samples of {shape} are neither pictures, clips nor sounds; give each as an .npy array",
                    path.display()
                )));
            }
        };
        let clip = data::clip::clip(path, axes, MEGAPIXELS)?;
        Ok(Self { row: clip.values, frames: moves.then_some(clip.frames), fps: clip.fps, sound: None })
    }
}

fn array(path: &Path, shape: Shape) -> Result<Vec<f32>, Error> {
    let (axes, values) = media::arrays::read_npy(path)?;
    let refused = |what: String| Err(Error::Failure(format!("{}: {what}", path.display())));
    if axes != shape.lengths() && axes != shape.batch(1) {
        return refused(format!("it is {axes:?}, and a sample is {shape}"));
    }
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => refused(format!("it holds {value}; a sample is finite")),
        None => Ok(values),
    }
}

fn sound(path: &Path, channels: usize, length: usize) -> Result<Loaded, Error> {
    let bytes = std::fs::read(path).map_err(|error| data::DataError::io(path, "read", error))?;
    let reading = media::audio::from_bytes_within(bytes, path, LONGEST)?;
    let refused = |what: String| Err(Error::Failure(format!("{}: {what}", path.display())));
    if reading.damaged > 0 {
        return refused(format!("{} of its packets are damaged; export it again", reading.damaged));
    }
    let sound = reading.sound;
    let mut rows = match (channels, sound.channels.len()) {
        (1, _) => vec![sound.mixed_down()],
        (wanted, found) if wanted != found => {
            return refused(format!("it has {found} channels, and a sample has {wanted}"));
        }
        _ => sound.channels.clone(),
    };
    let over = sound.frames() as i64 - length as i64;
    rows.iter_mut().for_each(|row| row.resize(length, 0.0));
    Ok(Loaded { row: rows.concat(), frames: None, fps: None, sound: Some((sound.rate, over)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::audio::{Depth, Sound};

    /// Mutants: channels one after another in time; a short sound repeated in place of silence.
    #[test]
    fn sounds_and_arrays_become_rows() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let stereo = Sound { rate: 8000, channels: vec![vec![0.5, -0.5, 0.25], vec![-0.5, 0.5, 0.25]] };
        media::audio::write(&at("a.wav"), &stereo, Depth::Int16).unwrap();
        let one = Loaded::open(&at("a.wav"), Shape::new(&[1, 4]).unwrap()).unwrap();
        assert_eq!((one.sound, one.row.len(), one.row[3]), (Some((8000, -1)), 4, 0.0));
        assert!(one.row[..2].iter().all(|v| v.abs() < 1e-3) && (one.row[2] - 0.25).abs() < 1e-3, "{:?}", one.row);
        let two = Loaded::open(&at("a.wav"), Shape::new(&[2, 2]).unwrap()).unwrap();
        assert!((two.row[0] - 0.5).abs() < 1e-3 && (two.row[2] + 0.5).abs() < 1e-3 && two.sound == Some((8000, 1)));
        let said =
            |name: &str, shape: &[usize]| Loaded::open(&at(name), Shape::new(shape).unwrap()).unwrap_err().to_string();
        assert!(said("a.wav", &[3, 2]).contains("2 channels, and a sample has 3"));
        media::arrays::save_npy(&at("p.npy"), &[2, 2, 2, 1], &[0.0; 8]).unwrap();
        assert_eq!(Loaded::open(&at("p.npy"), Shape::new(&[2, 2, 2, 1]).unwrap()).unwrap().row, [0.0; 8]);
        assert!(said("p.npy", &[2, 2]).contains("a sample is [2, 2]"));
        media::arrays::save_npy(&at("n.npy"), &[2], &[0.0, f32::NAN]).unwrap();
        assert!(said("n.npy", &[2]).contains("NaN"));
        assert!(said("a.wav", &[2, 2, 2, 2]).contains("as an .npy array"));
    }
}
