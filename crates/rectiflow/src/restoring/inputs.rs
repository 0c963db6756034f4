//! What comes in: pictures degraded here from originals, or degraded already, with their originals beside them where given.

use super::Task;
use crate::Error;
use base::{Device, Key, RandomStream, Tensor, TensorData};
use data::{DataConfig, Dataset, Split};
use methods::steer::Sensor;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Pictures to restore.
pub struct Inputs {
    /// A name for each, for files.
    pub names: Vec<String>,
    /// What is known of each, `m` values.
    pub measured: Vec<f32>,
    /// The originals, `c h w` values each, where they are known.
    pub originals: Option<Vec<f32>>,
    /// What the set is called.
    pub set: String,
    /// The pictures as they came, where what came were pictures.
    pub(crate) dataset: Option<Arc<dyn Dataset>>,
}

/// Where they come from.
pub struct Source<'a> {
    /// A folder, a file of pictures, or a named set.
    pub input: &'a str,
    /// Whether these are originals, to be degraded here.
    pub degrade: bool,
    /// Originals of the same names, for pictures that are degraded already.
    pub originals: Option<&'a str>,
    /// Pictures at most.
    pub count: Option<usize>,
    /// Whether pictures of another size are brought to the model's.
    pub resize: bool,
    /// Deviation of the noise that degrading adds, in units of [-1, 1].
    pub noise: f64,
    /// Of that noise.
    pub seed: u64,
}

impl Inputs {
    /// Reads what `source` names, for a model of pictures `[c h w]`.
    ///
    /// # Errors
    /// Pictures that cannot be read or are of another size; originals without a counterpart.
    pub fn read(
        source: &Source,
        task: &Task,
        sensor: &Sensor,
        shape: [usize; 3],
        device: &Device,
    ) -> Result<Self, Error> {
        if !source.degrade {
            task.check_given(shape, source.resize)?;
        }
        let wanted = if source.degrade { Some(shape) } else { task.measured(shape) };
        let Some(wanted) = wanted else { return Self::numbers(source, task, sensor, shape) };
        let set = open(source.input, wanted, source.resize, "--input")?;
        let count = source.count.unwrap_or(usize::MAX).min(set.len());
        let rows: Vec<usize> = (0..count).collect();
        let values = data::gather(&*set, &rows)?.rows;
        let names: Vec<String> = (rows.iter()).map(|row| name(&*set, *row)).collect();
        let key = |row: usize| set.key(row).unwrap_or_default().to_owned();
        check_distinct(&names, key, "--input")?;
        let set_name = called(source.input, &*set);
        if source.degrade {
            let measured = degrade(&values, sensor, source, device)?;
            return Ok(Self { names, measured, originals: Some(values), set: set_name, dataset: Some(set) });
        }
        let originals = match source.originals {
            None => None,
            Some(place) => {
                let others = open(place, shape, source.resize, "--originals")?;
                let found: Vec<_> = data::counterparts(&*set, &*others).into_iter().take(count).collect();
                if let Some(row) = found.iter().position(Option::is_none) {
                    return Err(Error::Usage(format!(
                        "--originals {place}: there is no original called like {} (originals have the names of the degraded pictures)",
                        name(&*set, row)
                    )));
                }
                let rows: Vec<usize> = found.into_iter().flatten().collect();
                Some(data::gather(&*others, &rows)?.rows)
            }
        };
        // Whatever was painted where nothing is known is not known.
        let measured = if matches!(task, Task::Inpaint(_)) { kept(values, sensor, device)? } else { values };
        Ok(Self { names, measured, originals, set: set_name, dataset: Some(set) })
    }

    /// What is known is no picture: a file of numbers, such as `restore` leaves as `measured.npy`.
    fn numbers(source: &Source, task: &Task, sensor: &Sensor, [c, h, w]: [usize; 3]) -> Result<Self, Error> {
        let (place, m) = (source.input, sensor.sizes().1);
        let usage = |why: String| Error::Usage(format!("--input {place}: {why}"));
        if !is_numbers(Path::new(place)) {
            return Err(usage(format!(
                "--task {} leaves no picture but numbers: give --degrade with originals, or the FILE.npy of {m} numbers a picture",
                task.name()
            )));
        }
        if source.originals.is_some() {
            return Err(usage("numbers have no names to find --originals by; leave it out".into()));
        }
        if source.resize {
            return Err(Error::Usage("--resize: numbers have no size; leave it out".into()));
        }
        let (axes, values) = media::arrays::read_npy(Path::new(place))?;
        if axes.len() != 2 || axes[1] != m || axes[0] == 0 || values.iter().any(|v| !v.is_finite()) {
            return Err(usage(format!(
                "it holds {axes:?} numbers, and for pictures of {c} x {h} x {w} finite ones in a row of {m} for each are wanted"
            )));
        }
        if matches!(sensor, Sensor::Magnitudes(_)) && values.iter().any(|v| *v < 0.0) {
            return Err(usage("some of its magnitudes are below zero; bring those to zero".into()));
        }
        let count = source.count.unwrap_or(usize::MAX).min(axes[0]);
        let names = (0..count).map(|row| format!("{row:06}")).collect();
        let measured = values[..count * m].to_vec();
        Ok(Self { names, measured, originals: None, set: place.to_owned(), dataset: None })
    }
}

/// The pictures at `place`, which must be of `shape`: of a named set the held-out part.
///
/// # Errors
/// Pictures that cannot be read or are of another size.
pub(crate) fn open(place: &str, shape: [usize; 3], resize: bool, option: &str) -> Result<Arc<dyn Dataset>, Error> {
    let [c, h, w] = shape;
    let set = read(place, c, resize.then_some(w), option)?;
    if set.shape() == shape.into() {
        return Ok(set);
    }
    if !is_picture_of(c) {
        return Err(Error::Usage(format!(
            "{option} {place}: this model moves clips of {c} frames of {h} x {w}, and these are samples of {}; `moving-garments` has clips",
            set.shape()
        )));
    }
    let [_, sh, sw] = set.shape().image()?;
    let remedy = if h == w { "; --resize brings them to that size" } else { "" };
    Err(Error::Usage(format!(
        "{option} {place}: its pictures are {sh} x {sw} pixels, and {h} x {w} are wanted{remedy}"
    )))
}

/// Pixels of the pictures at `place`, height first.
///
/// # Errors
/// Pictures that cannot be read, or of different sizes.
pub(crate) fn size(place: &str, option: &str) -> Result<[usize; 2], Error> {
    let [_, h, w] = read(place, 3, None, option)?.shape().image()?;
    Ok([h, w])
}

/// Whether so many channels are a picture; what has more are the frames of a clip.
fn is_picture_of(channels: usize) -> bool {
    matches!(channels, 1 | 3)
}

/// Files that may say something of the picture `file`, as in folders: `x.txt` and `x.png.txt` of `x.png`.
fn beside(file: &Path) -> impl Iterator<Item = PathBuf> + '_ {
    let endings = ["txt", "caption", "cls", "json"];
    let both = endings.into_iter().flat_map(move |ending| {
        let mut whole = file.as_os_str().to_owned();
        whole.push(format!(".{ending}"));
        [file.with_extension(ending), PathBuf::from(whole)]
    });
    both.filter(|file| file.is_file())
}

/// What the pictures at `place` are called: a single one by its file.
pub(crate) fn called(place: &str, set: &dyn Dataset) -> String {
    if is_picture(place) { place.to_owned() } else { set.name().to_owned() }
}

/// Whether `place` is a file that is one picture.
fn is_picture(place: &str) -> bool {
    let file = Path::new(place);
    file.is_file() && data::is_picture(file)
}

/// The pictures at `place`, squares of `size` pixels where that is given: of a named set the held-out part, a folder whole, or one file.
fn read(place: &str, channels: usize, size: Option<usize>, option: &str) -> Result<Arc<dyn Dataset>, Error> {
    let channels = is_picture_of(channels).then_some(channels);
    if is_picture(place) {
        let file = Path::new(place);
        let told = |what: String| Error::Failure(format!("{option} {place}: {what}"));
        let folder = tempfile::tempdir().map_err(|error| told(format!("no temporary folder: {error}")))?;
        // What is said of the picture in files beside it comes along.
        for one in std::iter::once(file.to_path_buf()).chain(beside(file)) {
            std::fs::copy(&one, folder.path().join(one.file_name().unwrap_or_default()))
                .map_err(|error| told(format!("cannot read {}: {error}", one.display())))?;
        }
        // One picture is held in memory, so that the folder may go.
        let config = DataConfig { channels, size, flip: false, ..DataConfig::at(folder.path()) };
        let set = data::open(&DataConfig { split: Split::Train, holdout: 0.0, ..config });
        return set.map_err(|error| told(format!("no readable picture ({error})")));
    }
    let config = DataConfig::of(place);
    // Of a named set the held-out part; a folder is taken whole.
    let split = if config.path.is_some() { Split::Train } else { Split::Test };
    let holdout = if config.path.is_some() { 0.0 } else { config.holdout };
    Ok(data::open(&DataConfig { split, holdout, size, channels, flip: false, ..config })?)
}

/// Refuses two things of one name in `names`, of which one would be written over the other; `own` is what each is called where it lies.
///
/// # Errors
/// [`Error::Usage`] naming both.
pub(super) fn check_distinct(names: &[String], own: impl Fn(usize) -> String, option: &str) -> Result<(), Error> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (i, name) in names.iter().enumerate() {
        if let Some(other) = seen.insert(name, i) {
            return Err(Error::Usage(format!(
                "{option}: {} and {} would both be called {name}, and one written over the other; rename one",
                own(other),
                own(i)
            )));
        }
    }
    Ok(())
}

fn name(set: &dyn Dataset, row: usize) -> String {
    let key = set.key(row).map(|key| key.replace(['/', '\\'], "_"));
    key.unwrap_or_else(|| format!("{row:06}"))
}

/// Whether `file` is one of numbers.
pub(super) fn is_numbers(file: &Path) -> bool {
    file.is_file() && file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
}

/// What is measured by a mask: nothing where it hides.
///
/// # Errors
/// A device that cannot be read.
pub(crate) fn kept(values: Vec<f32>, sensor: &Sensor, device: &Device) -> Result<Vec<f32>, Error> {
    let (n, m) = sensor.sizes();
    match sensor.operator() {
        Some(operator) if n == m && operator.is_flat() => {
            let rows = Tensor::<2>::from_data(TensorData::new(values.clone(), [values.len() / m, m]), device);
            crate::sampling::host(operator.forward(rows))
        }
        _ => Ok(values),
    }
}

/// What `sensor` keeps of the originals, with noise.
fn degrade(originals: &[f32], sensor: &Sensor, source: &Source, device: &Device) -> Result<Vec<f32>, Error> {
    let (n, m) = sensor.sizes();
    let count = originals.len() / n;
    let x = Tensor::<2>::from_data(TensorData::new(originals.to_vec(), [count, n]), device);
    let mut measured = crate::sampling::host(sensor.forward(x))?;
    if source.noise > 0.0 {
        let key = Key::of(source.seed, RandomStream::Measurement);
        for (row, values) in measured.chunks_mut(m).enumerate() {
            values.iter_mut().zip(key.normals(row as u64, m)).for_each(|(v, e)| *v += source.noise as f32 * e);
        }
        // What is not measured has no noise either, and no magnitude is below zero.
        measured = kept(measured, sensor, device)?;
        if matches!(sensor, Sensor::Magnitudes(_)) {
            measured.iter_mut().for_each(|v| *v = v.max(0.0));
        }
    }
    Ok(measured)
}
