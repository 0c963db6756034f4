//! Files of weights mapped into memory: safetensors, one file or several with an index beside them, GGUF, and PyTorch's.
//!
//! An index, `<name>.safetensors.index.json`, says which shard holds which tensor (`{"weight_map": {tensor: file}}`). Headers
//! are checked by the `safetensors` crate (bounds, overlaps, byte lengths) before any number is read; tensors are then views
//! of the mapped files in their stored type.

use super::TensorSource;
use super::gguf::{self, Element};
use super::source::{absent, check_rows, rows_of, widen};
use super::torch;
use crate::NetsError;
use base::TensorData;
use burn::tensor::DType;
use kernels::{Blocks, Mapped};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The tensors of a model's files.
#[derive(Debug)]
pub struct Stored {
    path: PathBuf,
    files: Vec<Mapped>,
    tensors: BTreeMap<String, Place>,
    /// What the files say besides.
    notes: HashMap<String, String>,
    /// What its pickles hold beside tensors.
    others: Vec<String>,
}

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    file: usize,
    element: Element,
    shape: Vec<usize>,
    bytes: Range<usize>,
}

impl Stored {
    /// Maps the file `path`, or the shards that the index `path` (`*.index.json`) names.
    ///
    /// # Errors
    /// [`NetsError::File`] naming the file: one that is missing, truncated or damaged, an index that names other folders'
    /// files, a tensor that its shard lacks or that two shards hold.
    pub fn open(path: &Path) -> Result<Self, NetsError> {
        let (path_buf, tensors, notes) = (path.to_path_buf(), BTreeMap::new(), HashMap::new());
        let mut stored = Self { path: path_buf, files: Vec::new(), tensors, notes, others: Vec::new() };
        if !path.to_string_lossy().ends_with(".json") {
            stored.add(path)?;
            return Ok(stored);
        }
        let index = index(path)?;
        let shards: BTreeSet<&String> = index.values().collect();
        for shard in shards {
            stored.add(&path.with_file_name(shard))?;
        }
        let lost = index.iter().find(|(tensor, _)| !stored.tensors.contains_key(*tensor));
        if let Some((tensor, shard)) = lost {
            let problem = format!("says that `{tensor}` is in {shard}, which lacks it; fetch both files again");
            return Err(NetsError::file(path, problem));
        }
        Ok(stored)
    }

    /// The weights called `name` in `folder`: `name.safetensors`, an index of shards, either with `.fp16` before its ending, or PyTorch's
    /// `name.bin` (`pytorch_model.bin` for `model`) and its index.
    ///
    /// # Errors
    /// [`NetsError::File`] saying which files were looked for; those of [`Stored::open`].
    pub fn in_folder(folder: &Path, name: &str) -> Result<Self, NetsError> {
        let pickled = if name == "model" { "pytorch_model" } else { name };
        let names = [
            format!("{name}.safetensors"),
            format!("{name}.safetensors.index.json"),
            format!("{name}.fp16.safetensors"),
            format!("{name}.safetensors.index.fp16.json"),
            format!("{pickled}.bin"),
            format!("{pickled}.bin.index.json"),
            format!("{pickled}.fp16.bin"),
        ];
        if let Some(found) = names.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
            return Self::open(&found);
        }
        let looked = format!("holds neither {} nor {} nor {}", names[0], names[1], names[4]);
        Err(NetsError::file(folder, looked))
    }

    /// What was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.bytes().len() as u64).sum()
    }

    /// What the files say of `key` besides their tensors.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.notes.get(key).map(String::as_str)
    }

    /// A line on what its pickles hold beside tensors.
    pub fn passed_over(&self) -> Option<String> {
        const SHOWN: usize = 4;
        let first = self.others.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if self.others.len() > SHOWN { " and so on" } else { "" };
        let count = self.others.len();
        (count > 0).then(|| format!("{count} values that are no tensors passed over: {first}{more}"))
    }

    /// Refuses a tensor whose numbers are not read. Whole numbers pass: they count places, and no network asks for them; bytes do not,
    /// for programs keep squeezed weights in them.
    ///
    /// # Errors
    /// [`NetsError::Tensor`] with the type and the remedy.
    pub fn check_read(&self, name: &str) -> Result<(), NetsError> {
        use Dtype::{BF16, BOOL, F16, F32, F64, I16, I32, I64, U16, U32, U64};
        match self.place(name)?.0.element {
            Element::Number(dtype) if ![F64, F32, F16, BF16, I64, I32, I16, U64, U32, U16, BOOL].contains(&dtype) => {
                let problem = format!(
                    "has element type {dtype:?}, which is not read; take the file in F32, F16 or BF16, or as GGUF"
                );
                Err(NetsError::Tensor { name: name.to_owned(), problem })
            }
            _ => Ok(()),
        }
    }

    fn add(&mut self, path: &Path) -> Result<(), NetsError> {
        let unreadable = |error: std::io::Error| NetsError::file(path, format!("cannot be read: {error}"));
        let file = Mapped::open(&File::open(path).map_err(unreadable)?).map_err(unreadable)?;
        let listed = match file.bytes() {
            bytes if bytes.starts_with(gguf::MAGIC) => Some(gguf::read(bytes)),
            bytes if bytes.starts_with(torch::MAGIC) => Some(torch::read(bytes)),
            bytes if bytes.starts_with(torch::LEGACY) => {
                Some(Err("is of PyTorch before 1.6; save it again with a newer one, or as safetensors".into()))
            }
            _ => None,
        };
        if let Some(listed) = listed {
            let listed = listed.map_err(|why: String| NetsError::file(path, why))?;
            self.notes.extend(listed.notes);
            self.others.extend(listed.others);
            for (name, element, shape, bytes) in listed.tensors {
                self.insert(path, name, Place { file: self.files.len(), element, shape, bytes })?;
            }
            self.files.push(file);
            return Ok(());
        }
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf")) {
            return Err(NetsError::file(path, "is no GGUF file, for it does not begin with GGUF; fetch it again"));
        }
        let damaged = |error| {
            let fault = "is no whole safetensors file";
            NetsError::file(path, format!("{fault} ({error}); fetch it again"))
        };
        // The second reading checks that the tensors fill the file.
        let (header, metadata) = SafeTensors::read_metadata(file.bytes()).map_err(damaged)?;
        SafeTensors::deserialize(file.bytes()).map_err(damaged)?;
        self.notes.extend(metadata.metadata().clone().unwrap_or_default());
        let start = 8 + header;
        for (name, info) in metadata.tensors() {
            let (begin, end) = info.data_offsets;
            let place = Place {
                file: self.files.len(),
                element: Element::Number(info.dtype),
                shape: info.shape.clone(),
                bytes: start + begin..start + end,
            };
            self.insert(path, name.clone(), place)?;
        }
        self.files.push(file);
        Ok(())
    }

    fn insert(&mut self, path: &Path, name: String, place: Place) -> Result<(), NetsError> {
        if self.tensors.contains_key(&name) {
            return Err(NetsError::file(path, format!("holds `{name}`, which another shard holds as well")));
        }
        self.tensors.insert(name, place);
        Ok(())
    }

    /// A tensor's blocks, its last axis one row after the other.
    fn in_blocks(&self, name: &str) -> Result<Option<Blocks>, NetsError> {
        let (place, file) = self.place(name)?;
        let Element::Block(kind) = place.element else { return Ok(None) };
        let numbers = place.shape.last().copied().unwrap_or(1);
        let rows = place.shape.iter().rev().skip(1).product();
        let blocks = Blocks::new(file, place.bytes.clone(), kind, [rows, numbers]);
        blocks.map(Some).map_err(|problem| NetsError::Tensor { name: name.to_owned(), problem })
    }

    fn place(&self, name: &str) -> Result<(&Place, &Mapped), NetsError> {
        let place = self.tensors.get(name).ok_or_else(|| absent(name))?;
        Ok((place, &self.files[place.file]))
    }
}

/// Tensor to shard, as an index says; shards lie beside it.
fn index(path: &Path) -> Result<BTreeMap<String, String>, NetsError> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let text = std::fs::read(path).map_err(|error| NetsError::file(path, format!("cannot be read: {error}")))?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|error| NetsError::file(path, format!("is no index of shards: {error}")))?;
    let elsewhere = index.weight_map.values().find(|shard| {
        let mut parts = Path::new(shard.as_str()).components();
        !(matches!(parts.next(), Some(std::path::Component::Normal(_))) && parts.next().is_none())
    });
    if let Some(shard) = elsewhere {
        return Err(NetsError::file(path, format!("names the shard `{shard}`; shards must lie beside their index")));
    }
    if index.weight_map.is_empty() {
        return Err(NetsError::file(path, "names no tensor; fetch it again"));
    }
    Ok(index.weight_map)
}

impl TensorSource for Stored {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|place| place.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        let (place, file) = self.place(name)?;
        match place.element {
            Element::Number(dtype) => widen(name, dtype, &file.bytes()[place.bytes.clone()]),
            Element::Block(_) => Ok(self.in_blocks(name)?.map_or_else(Vec::new, |blocks| blocks.widened())),
        }
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        let (place, file) = self.place(name)?;
        match kept(place.element) {
            Some(dtype) => Ok(file.typed(place.bytes.clone(), &place.shape, dtype)),
            None => Ok(TensorData::new(self.read(name)?, place.shape.clone())),
        }
    }

    fn rows(&self, name: &str, rows: Range<usize>) -> Result<TensorData, NetsError> {
        let (place, file) = self.place(name)?;
        let all = place.shape.first().copied().unwrap_or(0);
        let Some(dtype) = kept(place.element) else { return rows_of(name, &self.data(name)?, rows) };
        check_rows(name, all, &rows)?;
        let row = place.bytes.len().checked_div(all).unwrap_or(0);
        let shape: Vec<usize> = std::iter::once(rows.len()).chain(place.shape[1..].iter().copied()).collect();
        let start = place.bytes.start;
        Ok(file.typed(start + rows.start * row..start + rows.end * row, &shape, dtype))
    }

    fn blocks(&self, name: &str) -> Option<Blocks> {
        let matrix = self.tensors.get(name).is_some_and(|place| place.shape.len() == 2);
        if matrix { self.in_blocks(name).ok().flatten() } else { None }
    }
}

/// The type that numbers keep in memory.
fn kept(element: Element) -> Option<DType> {
    match element {
        Element::Number(Dtype::F32) => Some(DType::F32),
        Element::Number(Dtype::BF16) => Some(DType::BF16),
        Element::Number(Dtype::F16) => Some(DType::F16),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::tensor::TensorView;

    fn write(path: &Path, tensors: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) {
        let view = |(name, dtype, shape, bytes): &(&str, Dtype, Vec<usize>, Vec<u8>)| {
            (name.to_string(), TensorView::new(*dtype, shape.clone(), bytes).unwrap().to_owned_parts())
        };
        let parts: Vec<_> = tensors.iter().map(view).collect();
        let views = parts.iter().map(|(name, (d, s, b))| (name.clone(), TensorView::new(*d, s.clone(), b).unwrap()));
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    trait OwnedParts {
        fn to_owned_parts(&self) -> (Dtype, Vec<usize>, Vec<u8>);
    }

    impl OwnedParts for TensorView<'_> {
        fn to_owned_parts(&self) -> (Dtype, Vec<usize>, Vec<u8>) {
            (self.dtype(), self.shape().to_vec(), self.data().to_vec())
        }
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    /// Two shards, one in halves; every type reads as the same numbers and keeps its own.
    #[test]
    fn shards_are_one_store_in_their_own_types() {
        let dir = tempfile::tempdir().unwrap();
        let halves: Vec<u8> = [0x3f80u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect();
        write(&dir.path().join("m-1.safetensors"), &[("a", Dtype::F32, vec![2, 2], f32s(&[1.0, 2.0, 3.0, 4.0]))]);
        write(&dir.path().join("m-2.safetensors"), &[("b", Dtype::BF16, vec![2], halves)]);
        let index = r#"{"metadata":{"total_size":20},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}"#;
        std::fs::write(dir.path().join("m.safetensors.index.json"), index).unwrap();
        let stored = Stored::in_folder(dir.path(), "m").unwrap();
        assert_eq!(stored.names(), ["a", "b"]);
        assert_eq!((stored.shape("a"), stored.shape("c")), (Some(vec![2, 2]), None));
        assert_eq!(stored.read("b").unwrap(), [1.0, -2.0]);
        assert_eq!(stored.data("b").unwrap().dtype(), DType::BF16);
        assert_eq!(stored.data("a").unwrap().try_to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    fn damaged_and_hostile_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let refused = |name: &str| Stored::open(&at(name)).unwrap_err().to_string();
        write(&at("m-1.safetensors"), &[("a", Dtype::F32, vec![2], f32s(&[1.0, 2.0]))]);
        let whole = std::fs::read(at("m-1.safetensors")).unwrap();
        std::fs::write(at("short.safetensors"), &whole[..whole.len() - 3]).unwrap();
        std::fs::write(at("empty.safetensors"), []).unwrap();
        std::fs::write(at("huge.safetensors"), u64::MAX.to_le_bytes()).unwrap();
        for name in ["short", "empty", "huge", "absent"] {
            let said = refused(&format!("{name}.safetensors"));
            assert!(said.contains(name), "{said}");
        }
        let index = |map: &str| std::fs::write(at("i.index.json"), format!(r#"{{"weight_map":{map}}}"#)).unwrap();
        for (map, why) in [
            (r#"{"a":"../m-1.safetensors"}"#, "beside their index"),
            (r#"{"a":"/etc/passwd"}"#, "beside their index"),
            (r#"{"a":"m-3.safetensors"}"#, "m-3.safetensors"),
            (r#"{"b":"m-1.safetensors"}"#, "says that `b` is in m-1.safetensors"),
            ("{}", "names no tensor"),
            ("7", "no index of shards"),
        ] {
            index(map);
            let said = refused("i.index.json");
            assert!(said.contains(why), "{map}: {said}");
        }
        let said = Stored::in_folder(dir.path(), "w").unwrap_err().to_string();
        assert!(said.contains("w.safetensors") && said.contains("w.bin"), "{said}");
        std::fs::write(at("w.bin"), b"PK").unwrap();
        let said = Stored::in_folder(dir.path(), "w").unwrap_err().to_string();
        assert!(said.contains("w.bin") && said.contains("fetch it again"), "{said}");
    }
}
