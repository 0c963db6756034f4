//! Parquet files as data sets of the hub have them: a column of image files, and columns that say what the images are.
//!
//! A column is compressed by groups of rows, so an image is read with its whole group. The groups read last are kept, some hundred
//! megabytes of them whatever the number of files: a set that fits in memory is decoded in order, and each group once.

use super::annotation::{self, Annotation};
use super::caught::caught;
use super::{Ask, Entry, Limits, Pixels, Source};
use crate::found::Found;
use crate::{DataError, Result};
use parquet::basic::{Compression, ConvertedType, Type as Physical};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

const AGAIN: &str = "download or copy it again";
/// Bytes of groups that a set keeps decompressed, the last one whatever it has.
const KEPT: usize = 256 << 20;
/// Where image files stand, where several columns hold some.
const IMAGES: [&str; 6] = ["image", "img", "jpg", "png", "jpeg", "webp"];

/// A file of which the images are read.
#[derive(Debug)]
pub(crate) struct Parquet {
    path: PathBuf,
    metadata: Arc<ParquetMetaData>,
    /// The column of the images.
    column: usize,
    /// Which of its set's files it is.
    number: usize,
    recent: Arc<Recent>,
}

/// The groups that were read last, of all files of a set.
#[derive(Debug, Default)]
struct Recent(Mutex<VecDeque<([usize; 2], Arc<Column>)>>);

/// The cells of a column in one group of rows.
type Column = Vec<Option<ByteArray>>;

/// The samples of `files`, in order.
pub(crate) fn open(files: &[PathBuf], own_split: bool, ask: Ask) -> Result<Source> {
    let (mut entries, mut all, mut found) = (Vec::new(), Vec::new(), Found::default());
    let mut named: Option<Vec<String>> = None;
    let recent = Arc::new(Recent::default());
    for (number, path) in files.iter().enumerate() {
        caught(path, || rows((path, number, &recent), ask, (&mut entries, &mut all), &mut named, &mut found))?;
    }
    let (mut class_names, labels) = match files.first() {
        Some(path) => annotation::classes(path, &all)?,
        None => Default::default(),
    };
    entries.iter_mut().zip(labels).for_each(|(entry, label)| entry.label = label);
    if let Some(names) = named.filter(|names| !class_names.is_empty() && names.len() >= class_names.len()) {
        class_names = names;
    }
    Ok(Source { class_names, entries, own_split, found, ..Source::default() })
}

/// The rows of one file, and what is said of them.
fn rows(
    (path, number, recent): (&Path, usize, &Arc<Recent>),
    ask: Ask,
    (entries, all): (&mut Vec<Entry>, &mut Vec<Annotation>),
    named: &mut Option<Vec<String>>,
    found: &mut Found,
) -> Result<()> {
    let reader = File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let length = reader.metadata().map_err(|e| DataError::io(path, "read", e))?.len();
    let reader = SerializedFileReader::new(reader).map_err(|e| broken(path, &e))?;
    lies_within(path, reader.metadata(), length)?;
    let (column, others) = images(path, &reader, ask.limits)?;
    for other in others {
        found.note("columns of images", other, &format!("column `{}` is the data", column.0));
    }
    let classes = ClassNames::of(reader.metadata());
    annotations(path, &reader, &column.0, &classes, all, found)?;
    *named = named.take().or(classes.names);
    let metadata = Arc::new(reader.metadata().clone());
    let counts: Vec<usize> = metadata.row_groups().iter().map(|group| group.num_rows().max(0) as usize).collect();
    let file = Parquet { path: path.to_path_buf(), metadata, column: column.1, number, recent: recent.clone() };
    let file = Arc::new(file);
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut first = 0;
    for (group, count) in counts.into_iter().enumerate() {
        for row in 0..count {
            let name = format!("{stem}/{}", first + row);
            let pixels = Pixels::Cell { file: file.clone(), group, row, name };
            let caption = all.get_mut(entries.len()).and_then(|said| said.caption.take());
            entries.push(Entry { label: None, caption, pixels });
        }
        first += count;
    }
    if all.len() != entries.len() {
        let what = format!("its columns have {} and {} rows", entries.len(), all.len());
        return Err(DataError::malformed(path, what, AGAIN));
    }
    Ok(())
}

impl Parquet {
    /// The image file in `row` of `group`.
    pub(super) fn content(&self, group: usize, row: usize, name: &str, limits: Limits) -> Result<Vec<u8>> {
        let column = self.group(group, limits)?;
        match column.get(row) {
            Some(Some(cell)) => Ok(cell.data().to_vec()),
            _ => Err(DataError::malformed(
                &self.path(name),
                "the row has no image",
                "leave it out, or set `data.skip_unreadable = true`",
            )),
        }
    }

    /// What errors call a row of it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(format!("row {}", name.rsplit('/').next().unwrap_or(name)))
    }

    /// What stands for the content of a group in a fingerprint: how long its images are together.
    pub(super) fn bytes(&self, group: usize) -> [u8; 8] {
        self.metadata.row_group(group).column(self.column).uncompressed_size().to_le_bytes()
    }

    fn group(&self, group: usize, limits: Limits) -> Result<Arc<Column>> {
        let place = [self.number, group];
        if let Some(column) = self.recent.find(place) {
            return Ok(column);
        }
        let cells = || cells(&self.path, &self.metadata, group, self.column, usize::MAX, limits);
        let column = Arc::new(caught(&self.path, cells)?);
        self.recent.keep(place, &column);
        Ok(column)
    }
}

impl Recent {
    fn find(&self, place: [usize; 2]) -> Option<Arc<Column>> {
        let kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        kept.iter().find(|(known, _)| *known == place).map(|(_, column)| column.clone())
    }

    /// Keeps a group that was read, in the place of those that were read first.
    fn keep(&self, place: [usize; 2], column: &Arc<Column>) {
        let bytes = |column: &Column| column.iter().flatten().map(ByteArray::len).sum::<usize>();
        let mut kept = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if kept.iter().all(|(known, _)| *known != place) {
            kept.push_back((place, column.clone()));
        }
        let mut all: usize = kept.iter().map(|(_, column)| bytes(column)).sum();
        while all > KEPT && kept.len() > 1 {
            all -= kept.pop_front().map_or(0, |(_, column)| bytes(&column));
        }
    }
}

/// The first `most` cells of a column of binary values. The file is opened anew: clones of one handle share their place in it.
fn cells(
    path: &Path,
    metadata: &ParquetMetaData,
    group: usize,
    column: usize,
    most: usize,
    limits: Limits,
) -> Result<Column> {
    let broken = |e: ParquetError| broken(path, &e);
    let file = File::open(path).map_err(|e| DataError::io(path, "read", e))?;
    let rows = metadata.row_group(group);
    let chunk = rows.column(column);
    limits.unpacked(path, chunk.uncompressed_size().max(0) as u64)?;
    let count = rows.num_rows().max(0) as usize;
    let pages = SerializedPageReader::new(Arc::new(file), chunk, count, None).map_err(broken)?;
    let described = chunk.column_descr_ptr();
    let whole = described.max_def_level();
    let reader = parquet::column::reader::get_column_reader(described, Box::new(pages));
    let mut reader = get_typed_column_reader::<ByteArrayType>(reader);
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let wanted = count.min(most);
    let mut read = 0;
    while read < wanted {
        let (rows, _, _) = reader.read_records(wanted - read, Some(&mut levels), None, &mut values).map_err(broken)?;
        if rows == 0 {
            return Err(DataError::malformed(path, format!("a column ends after {read} of {count} rows"), AGAIN));
        }
        read += rows;
    }
    let mut values = values.into_iter();
    if whole == 0 {
        return Ok(values.map(Some).collect());
    }
    Ok(levels.into_iter().map(|level| if level == whole { values.next() } else { None }).collect())
}

/// Refuses columns that lie outside the file, which the crate takes on trust.
fn lies_within(path: &Path, metadata: &ParquetMetaData, length: u64) -> Result<()> {
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let ends = |chunk: &ColumnChunkMetaData| {
        let begins = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
        u64::try_from(begins).ok()?.checked_add(u64::try_from(chunk.compressed_size()).ok()?)
    };
    match columns.into_iter().all(|chunk| ends(chunk).is_some_and(|end| end <= length)) {
        true => Ok(()),
        false => Err(DataError::malformed(path, "a column lies outside the file", AGAIN)),
    }
}

/// The column of images, its name and number, and the names of further ones.
fn images(path: &Path, reader: &SerializedFileReader<File>, limits: Limits) -> Result<((String, usize), Vec<String>)> {
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema_descr();
    let mut found: Vec<(String, usize)> = Vec::new();
    for (number, column) in schema.columns().iter().enumerate() {
        let is_text = column.converted_type() == ConvertedType::UTF8;
        if column.physical_type() != Physical::BYTE_ARRAY || is_text || column.max_rep_level() > 0 {
            continue;
        }
        let name = column.path().parts().first().cloned().unwrap_or_default();
        if first(path, metadata, number, limits)?.is_some_and(|cell| image::guess_format(cell.data()).is_ok()) {
            found.push((name, number));
        }
    }
    let place = |name: &str| IMAGES.iter().position(|known| *known == name).unwrap_or(IMAGES.len());
    let best = (0..found.len()).min_by_key(|&at| place(&found[at].0));
    let Some(best) = best else {
        let list = |column: &parquet::schema::types::ColumnDescPtr| column.path().string();
        let what = format!(
            "no column of image files in it ({})",
            schema.columns().iter().map(list).collect::<Vec<_>>().join(", ")
        );
        let remedy =
            "a column of PNG or JPEG files is needed, one a row; addresses of images and lists of numbers are not read";
        return Err(DataError::malformed(path, what, remedy));
    };
    let chosen = found.remove(best);
    Ok((chosen, found.into_iter().map(|(name, _)| name).collect()))
}

/// The first cell of a column that has a value.
fn first(path: &Path, metadata: &ParquetMetaData, column: usize, limits: Limits) -> Result<Option<ByteArray>> {
    for group in 0..metadata.num_row_groups() {
        let packed = metadata.row_group(group).column(column).compression();
        if matches!(packed, Compression::BROTLI(_) | Compression::LZO) {
            let what = format!("its columns are compressed with {packed}");
            return Err(DataError::malformed(path, what, "write it again with snappy, gzip, lz4 or zstd"));
        }
        // The first page tells nearly always; the rest of the group is looked through where it does not.
        for most in [1, usize::MAX] {
            let cells = cells(path, metadata, group, column, most, limits)?;
            if let Some(cell) = cells.into_iter().flatten().next() {
                return Ok(Some(cell));
            }
        }
    }
    Ok(None)
}

/// What the columns beside the images say, row by row.
fn annotations(
    path: &Path,
    reader: &SerializedFileReader<File>,
    image: &str,
    classes: &ClassNames,
    all: &mut Vec<Annotation>,
    found: &mut Found,
) -> Result<()> {
    let broken = |e: ParquetError| broken(path, &e);
    let schema = reader.metadata().file_metadata().schema();
    let (mut kept, mut label) = (Vec::new(), None);
    for field in schema.get_fields().iter().filter(|field| field.name() != image) {
        if annotation::says(field.name()) {
            kept.push(field.clone());
        } else if classes.columns.iter().any(|name| name == field.name()) && label.is_none() && !classes.plain {
            label = Some(field.name().to_string());
            kept.push(field.clone());
        } else {
            found.note("columns", field.name(), "neither a class nor a caption by its name");
        }
    }
    if kept.is_empty() {
        let rows = reader.metadata().file_metadata().num_rows().max(0) as usize;
        let counted: i64 = reader.metadata().row_groups().iter().map(|group| group.num_rows().max(0)).sum();
        if rows != counted as usize {
            return Err(DataError::malformed(path, format!("{rows} rows in all, {counted} in its groups"), AGAIN));
        }
        all.extend(std::iter::repeat_n(Annotation::default(), rows));
        return Ok(());
    }
    let projected = Type::group_type_builder(schema.name()).with_fields(kept).build().map_err(broken)?;
    for (number, row) in reader.get_row_iter(Some(projected)).map_err(broken)?.enumerate() {
        let mut keys = Map::new();
        for (name, field) in row.map_err(broken)?.into_columns() {
            let name = if Some(&name) == label.as_ref() { "label".to_string() } else { name };
            keys.insert(name, value(field));
        }
        let said = Annotation::of(&keys).map_err(|what| {
            DataError::malformed(&path.join(format!("row {number}")), what, "mend the column, or leave it out")
        })?;
        all.push(said);
    }
    Ok(())
}

fn value(field: Field) -> Value {
    match field {
        Field::Bool(yes) => yes.into(),
        Field::Byte(number) => number.into(),
        Field::Short(number) => number.into(),
        Field::Int(number) => number.into(),
        Field::Long(number) => number.into(),
        Field::UByte(number) => number.into(),
        Field::UShort(number) => number.into(),
        Field::UInt(number) => number.into(),
        Field::ULong(number) => number.into(),
        Field::Float(number) => number.into(),
        Field::Double(number) => number.into(),
        Field::Str(text) => text.into(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned().into(),
        Field::Group(row) => {
            Value::Object(row.into_columns().into_iter().map(|(name, field)| (name, value(field))).collect())
        }
        Field::ListInternal(list) => list.elements().iter().cloned().map(value).collect(),
        _ => Value::Null,
    }
}

/// The names of classes that `datasets` writes into the file's own words.
struct ClassNames {
    names: Option<Vec<String>>,
    /// Columns of classes.
    columns: Vec<String>,
    /// Whether one of them is called as classes are.
    plain: bool,
}

impl ClassNames {
    fn of(metadata: &ParquetMetaData) -> Self {
        let words = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let said = words.filter(|word| word.key == "huggingface").find_map(|word| word.value.as_deref());
        let said: Value = said.and_then(|said| serde_json::from_str(said).ok()).unwrap_or_default();
        // In the order of the file's columns: of several, the first is the class.
        let fields = metadata.file_metadata().schema().get_fields().iter().map(|field| field.name());
        let names = |name: &str| {
            let names = said["info"]["features"].get(name)?.get("names")?.as_array()?;
            names.iter().map(|name| name.as_str().map(String::from)).collect::<Option<Vec<_>>>()
        };
        let known: Vec<(&str, Vec<String>)> = fields.filter_map(|name| Some((name, names(name)?))).collect();
        let plain = known.iter().find(|(name, _)| annotation::says(name));
        Self {
            names: plain.or(known.first()).map(|(_, names)| names.clone()),
            columns: known.iter().map(|(name, _)| name.to_string()).collect(),
            plain: plain.is_some(),
        }
    }
}

fn broken(path: &Path, error: &ParquetError) -> DataError {
    DataError::malformed(path, format!("not a whole parquet file ({error})"), AGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: groups counted by file; all of them kept; none kept where one is larger than the limit; the newest dropped.
    #[test]
    fn what_is_kept_is_bounded_over_all_files() {
        let recent = Recent::default();
        let group = |bytes: usize| Arc::new(vec![Some(ByteArray::from(vec![0; bytes])), None]);
        for file in 0..40 {
            recent.keep([file, 0], &group(KEPT / 8));
        }
        let kept = |recent: &Recent| (0..40).filter(|file| recent.find([*file, 0]).is_some()).collect::<Vec<_>>();
        assert_eq!(kept(&recent), (32..40).collect::<Vec<_>>());
        assert!(recent.find([39, 1]).is_none());
        recent.keep([0, 0], &group(KEPT + 1));
        assert_eq!(kept(&recent), [0]);
    }
}
