//! Shapes as training data: meshes and solids become rows of points or of views once, and are kept beside the fetched sets.
//!
//! Codecs read such rows (`codec::shape`, `codec::triplane`), so a set of shapes is a [`data::Dataset`] like any other: its samples
//! are rows of a [`Form`], with classes and captions.

pub(crate) mod files;
mod list;
mod rows;
pub(crate) mod sheet;

pub use list::SOLIDS;

use crate::{Context, Error, recipe::PictureConfig};
use base::Shape;
use data::{
    DataConfig, Dataset, LeftOut, Sample, Split, TestPart, Values,
    fetch::{
        self,
        registry::{self, Kind},
    },
};
use media::shape::{Cameras, Mesh, record::Counts};
use std::{collections::HashMap, path::PathBuf, sync::Arc};

/// Cells to a side of the lattice that surfaces are taken from, as a power of two.
pub const DEPTH: u32 = 6;

/// Half the longest side of a mesh fitted into the cube [-1, 1]³: what lies around it is outside.
pub const FILL: f64 = 0.9;

/// A named set of shapes that was fetched, or a path.
pub(crate) fn place(name_or_path: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(name_or_path);
    let Some(set) = registry::find(name_or_path).filter(|set| set.kind == Kind::Shapes && !path.exists()) else {
        return Ok(path);
    };
    let cache = fetch::cache_dir()?;
    if fetch::is_fetched(set, &cache) {
        Ok(cache.join(set.name))
    } else {
        Err(Error::Failure(format!("{0} is not here yet: rectiflow data get {0}", set.name)))
    }
}

/// What a shape is kept as.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Points of its surface and around it, with their distances.
    Points(Counts),
    /// What cameras see of it, `[views 4 size size]`.
    Views(Cameras),
    /// Grey pictures of it from several sides, each framed, `[views size size]`.
    Pictures(PictureConfig),
}

impl From<Counts> for Form {
    fn from(counts: Counts) -> Self {
        Self::Points(counts)
    }
}

impl From<Cameras> for Form {
    fn from(cameras: Cameras) -> Self {
        Self::Views(cameras)
    }
}

impl From<PictureConfig> for Form {
    fn from(pictures: PictureConfig) -> Self {
        Self::Pictures(pictures)
    }
}

impl Form {
    /// The shape of a row.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Points(counts) => [counts.numbers()].into(),
            Self::Views(cameras) => cameras.shape().into(),
            Self::Pictures(PictureConfig { views, size, .. }) => [*views, *size, *size].into(),
        }
    }

    /// Refuses values out of range.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::Points(counts) => counts.check().map_err(|reason| format!("codec.points.{reason}")),
            Self::Views(cameras) => cameras.check().map_err(|reason| format!("codec.cameras.{reason}")),
            Self::Pictures(pictures) => pictures.check(),
        }
    }
}

/// A set of shapes as rows of points or views.
pub struct ShapeSet {
    rows: Vec<f32>,
    shape: Shape,
    labels: Vec<u32>,
    captions: Vec<String>,
    names: Vec<String>,
    classes: Vec<String>,
    name: String,
    fingerprint: String,
    left_out: Vec<LeftOut>,
}

/// The shapes that `config` describes, each in this `form`; read from files once.
///
/// # Errors
/// A collection that is not here or holds no mesh, keys of `data` that are for pictures, a class that does not exist.
pub fn open(config: &DataConfig, form: impl Into<Form>, context: &mut Context) -> Result<Arc<dyn Dataset>, Error> {
    of_list(&list::List::of(config)?, config, form.into(), context)
}

/// At most `most` of them, of all classes.
///
/// # Errors
/// Those of [`open`].
pub fn some(
    config: &DataConfig,
    most: usize,
    form: impl Into<Form>,
    context: &mut Context,
) -> Result<Arc<dyn Dataset>, Error> {
    let mut list = list::List::of(config)?;
    list.spread(most);
    of_list(&list, config, form.into(), context)
}

fn of_list(
    list: &list::List,
    config: &DataConfig,
    form: Form,
    context: &mut Context,
) -> Result<Arc<dyn Dataset>, Error> {
    if list.items.is_empty() {
        let part = if config.split == Split::Test { "test" } else { "training" };
        let remedy = "change data.holdout, data.classes or data.limit";
        return Err(Error::Usage(format!("{}: the {part} part has no shape; {remedy}", list.name)));
    }
    let rows = rows::of(list, &form, context)?;
    let mut set = ShapeSet {
        shape: form.shape(),
        rows: Vec::new(),
        labels: Vec::new(),
        captions: Vec::new(),
        names: Vec::new(),
        classes: list.classes.clone(),
        name: list.name.clone(),
        fingerprint: rows.fingerprint,
        left_out: list.left_out.clone(),
    };
    let mut broken: Vec<(String, String)> = Vec::new();
    for (item, row) in list.items.iter().zip(rows.rows) {
        match row {
            Ok(row) => {
                set.rows.extend(row);
                set.labels.push(item.class);
                set.captions.push(item.caption.clone());
                set.names.push(item.name.clone());
            }
            Err(reason) => broken.push((item.name.clone(), reason)),
        }
    }
    if set.labels.is_empty() {
        let (name, why) = broken.first().cloned().unwrap_or_default();
        return Err(Error::Failure(format!("{}: no shape can be read; {name}: {why}", set.name)));
    }
    if let Some((_, why)) = broken.first() {
        set.left_out.push(LeftOut {
            what: "shapes that cannot be read".into(),
            count: broken.len(),
            first: broken.iter().take(5).map(|(name, _)| name.clone()).collect(),
            why: why.clone(),
        });
    }
    Ok(Arc::new(set))
}

/// How many shapes `config` describes, before any is read.
///
/// # Errors
/// Those of [`open`] that need no file of a shape.
pub fn count(config: &DataConfig) -> Result<usize, Error> {
    Ok(list::List::of(config)?.items.len())
}

/// Refuses fewer shapes than are read at once.
///
/// # Errors
/// Those of [`count`]; [`Error::Usage`] for a batch that is never full.
pub fn check_batch(config: &DataConfig, batch: usize) -> Result<(), Error> {
    match count(config)? {
        count if count < batch => Err(Error::Usage(format!(
            "train.batch = {batch}, and there are {count} shapes; make it smaller, or data.limit larger"
        ))),
        _ => Ok(()),
    }
}

/// The surfaces of the shapes of `config` called `names`; `None` for one that is not there or cannot be read.
///
/// # Errors
/// Those of [`count`].
pub fn meshes(config: &DataConfig, names: &[&str]) -> Result<Vec<Option<Mesh>>, Error> {
    let list = list::List::of(config)?;
    let places: HashMap<&str, &list::Item> = list.items.iter().map(|item| (item.name.as_str(), item)).collect();
    Ok(names.iter().map(|name| rows::mesh(places.get(name)?, list.collection.as_ref(), DEPTH).ok()).collect())
}

/// The part of the shapes that is kept apart, whole families together; `None` where there is none.
///
/// # Errors
/// Those of [`open`].
pub fn open_test(config: &DataConfig, form: impl Into<Form>, context: &mut Context) -> Result<Option<TestPart>, Error> {
    let test = config.with_split(Split::Test);
    let list = list::List::of(&test)?;
    if list.items.is_empty() {
        return Ok(None);
    }
    let is_own = list.is_solids();
    Ok(Some(TestPart { set: open(&test, form, context)?, is_own }))
}

impl Dataset for ShapeSet {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> data::Result<Sample> {
        let numbers = self.shape.numel();
        Ok(Sample {
            values: Values::Numbers(self.rows[index * numbers..][..numbers].to_vec()),
            shape: self.shape,
            label: self.label(index),
            caption: self.caption(index).map(String::from),
        })
    }

    fn label(&self, index: usize) -> Option<u32> {
        self.labels.get(index).copied()
    }

    fn caption(&self, index: usize) -> Option<&str> {
        self.captions.get(index).map(String::as_str)
    }

    fn key(&self, index: usize) -> Option<&str> {
        self.names.get(index).map(String::as_str)
    }

    fn class_names(&self) -> &[String] {
        &self.classes
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn in_memory(&self) -> bool {
        true
    }

    fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::shape::{mesh::cuboid, record::Record, write};

    const COUNTS: Counts = Counts { surface: 64, near: 64, volume: 32 };

    #[test]
    fn solids_are_counted_split_and_the_same_again() {
        let config = DataConfig { limit: Some(30), ..DataConfig::named(SOLIDS) };
        let context = &mut Context::silent();
        let set = open(&config, COUNTS, context).unwrap();
        assert_eq!((set.len(), set.classes(), set.shape()), (30, 10, [COUNTS.numbers()].into()));
        assert_eq!((set.label(0), set.label(13)), (Some(0), Some(3)));
        let again = open(&config, COUNTS, context).unwrap();
        assert_eq!(set.fingerprint(), again.fingerprint());
        let Values::Numbers(row) = set.get(4).unwrap().values else { panic!("rows are numbers") };
        assert_eq!(again.get(4).unwrap().values, Values::Numbers(row.clone()));
        assert!(Record::of(&row, COUNTS).unwrap().near.iter().any(|point| point[3] < 0.0));
        // Mutant: the test part drawn under the training part's seed.
        let test = open_test(&config, COUNTS, context).unwrap().unwrap().set;
        assert_ne!(test.get(4).unwrap().values, Values::Numbers(row));
        let two = DataConfig { classes: vec!["torus".into(), "box".into()], ..config.clone() };
        let two = open(&two, COUNTS, context).unwrap();
        assert_eq!((two.class_names(), two.label(0)), (&["torus".to_string(), "box".into()][..], Some(0)));
    }

    /// Mutants: families split between the parts; a broken file passed over in silence.
    #[test]
    fn a_folder_of_meshes_is_a_set_and_what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for class in ["slab", "post"] {
            std::fs::create_dir(folder.path().join(class)).unwrap();
            for i in 0..8 {
                let tall = if class == "post" { 0.9 } else { 0.1 };
                let mesh = cuboid([-0.4, -tall, -0.4], [0.4, tall, 0.1 * f64::from(i)]);
                let name = format!("{class}/{}{i}.obj", ["ash", "elm", "oak", "fir"][i as usize / 2]);
                write::write(&folder.path().join(name), &mesh).unwrap();
            }
        }
        std::fs::write(folder.path().join("post/torn.obj"), "v 0 0 0\nf 1 2 3\n").unwrap();
        let config = DataConfig { holdout: 0.4, ..DataConfig::at(folder.path()) };
        let context = &mut Context::silent();
        let set = open(&config, COUNTS, context).unwrap();
        let test = open_test(&config, COUNTS, context).unwrap().unwrap().set;
        assert_eq!(set.class_names(), ["post", "slab"]);
        let named = |set: &dyn Dataset| -> Vec<String> { (0..set.len()).map(|i| set.key(i).unwrap().into()).collect() };
        let (a, b) = (named(&*set), named(&*test));
        assert_eq!(a.len() + b.len(), 16, "{a:?} {b:?}");
        assert!(!b.is_empty());
        // Mutant: the first few of a list in the order of its classes.
        let few = some(&config, 6, COUNTS, context).unwrap();
        let labels: std::collections::BTreeSet<_> = (0..few.len()).map(|i| few.label(i)).collect();
        // The torn one may be among those chosen.
        assert!((5..=6).contains(&few.len()) && labels.len() == 2, "{} {labels:?}", few.len());
        let family =
            |name: &String| name.trim_end_matches(".obj").trim_end_matches(|c: char| c.is_ascii_digit()).to_string();
        assert!(a.iter().all(|x| b.iter().all(|y| family(x) != family(y))), "{a:?} {b:?}");
        let left: Vec<String> = set.left_out().iter().chain(test.left_out()).map(ToString::to_string).collect();
        assert!(left.iter().any(|line| line.contains("torn.obj")), "{left:?}");
    }

    #[test]
    fn what_is_for_pictures_is_refused() {
        let wrong = |config: DataConfig| open(&config, COUNTS, &mut Context::silent()).err().unwrap().to_string();
        assert!(wrong(DataConfig { size: Some(32), ..DataConfig::named(SOLIDS) }).contains("data.size"));
        assert!(wrong(DataConfig { classes: vec!["bx".into()], ..DataConfig::named(SOLIDS) }).contains("bx"));
        assert!(wrong(DataConfig::named("fashion-mnist")).contains("fashion-mnist"));
        assert!(wrong(DataConfig::default()).contains("data.name"));
    }
}
