//! Image folders: class folders or a flat folder, with captions beside the images or in a table above, beside or below them.

use super::annotation::{self, Annotation};
use super::table::{self, Table};
use super::tree::{Item, Kind, Tree};
use super::{Ask, Entry, Pixels, Source};
use crate::found::Found;
use crate::{DataError, Result, text};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The images of `tree` that lie in `dir`, its top or one of its folders. Tables count wherever they are in the tree.
pub(crate) fn open(tree: &Tree, dir: &Path, ask: Ask) -> Result<Source> {
    let inside = |item: &&Item| item.path.starts_with(dir);
    let images: Vec<&Item> = tree.of(Kind::Image).filter(inside).collect();
    let mut found = Found::default();
    let tables = tables(tree, dir, &mut found)?;
    let mut source = match named_in(&tables, tree, dir, &images, ask, &mut found)? {
        Some(source) => source,
        None => unnamed(tree, dir, &images, ask, &mut found)?,
    };
    for kind in [Kind::Shard, Kind::Parquet, Kind::Archive] {
        for item in tree.of(kind).filter(inside) {
            let why = match kind {
                Kind::Archive => "archives are not read; unpack them",
                _ => "the images beside them are the data; to use one, name it",
            };
            found.note("archives", tree.name(&item.path), why);
        }
    }
    for item in tree.of(Kind::Array).filter(inside) {
        found.note("arrays", tree.name(&item.path), "the images beside them are the data; to use one, name it");
    }
    for item in tree.of(Kind::Other).filter(inside) {
        found.note("files that are no images", tree.name(&item.path), "not read");
    }
    source.found.extend(found);
    Ok(source)
}

/// The tables above, beside and below the images; of several in one folder the best known kind.
fn tables(tree: &Tree, dir: &Path, found: &mut Found) -> Result<Vec<Table>> {
    let mut best: BTreeMap<&Path, Vec<(usize, &Path)>> = BTreeMap::new();
    for item in tree.of(Kind::Table) {
        let folder = item.path.parent().unwrap_or(dir);
        if let Some(rank) = table::rank(&item.path).filter(|_| dir.starts_with(folder) || folder.starts_with(dir)) {
            best.entry(folder).or_default().push((rank, &item.path));
        }
    }
    let mut tables = Vec::new();
    for files in best.values_mut() {
        files.sort();
        tables.push(table::read(files[0].1)?);
        for (_, other) in &files[1..] {
            let why = format!("{} beside it is read", tree.name(files[0].1));
            found.note("tables", tree.name(other), &why);
        }
    }
    Ok(tables)
}

/// Where the images are that tables name: by path from the table or from the top, else by a file name or stem of which there is
/// one only.
struct Places<'a> {
    paths: HashSet<&'a Path>,
    names: HashMap<String, Option<&'a Path>>,
}

impl<'a> Places<'a> {
    fn new(tree: &'a Tree) -> Self {
        let mut names: HashMap<String, Option<&Path>> = HashMap::new();
        let mut paths = HashSet::new();
        for item in tree.of(Kind::Image) {
            paths.insert(&*item.path);
            let words = [item.path.file_name(), item.path.file_stem()];
            for word in BTreeSet::from_iter(words.into_iter().flatten().map(|word| word.to_string_lossy().into_owned()))
            {
                names.entry(word).and_modify(|one| *one = None).or_insert(Some(&item.path));
            }
        }
        Self { paths, names }
    }

    fn find(&self, file: &str, folder: &Path, top: &Path) -> Option<&'a Path> {
        let file = file.replace('\\', "/");
        let file = file.trim_start_matches("./");
        let exact = [folder.join(file), top.join(file)];
        let exact = exact.iter().find_map(|path| self.paths.get(&**path).copied());
        exact.or_else(|| self.names.get(file.rsplit('/').next()?).copied().flatten())
    }
}

/// The images that tables name, in their order; `None` if they name none of these.
fn named_in(
    tables: &[Table],
    tree: &Tree,
    dir: &Path,
    images: &[&Item],
    ask: Ask,
    found: &mut Found,
) -> Result<Option<Source>> {
    if tables.is_empty() {
        return Ok(None);
    }
    let places = Places::new(tree);
    let mut chosen: Vec<(&Path, Annotation)> = Vec::new();
    let mut at: HashMap<&Path, usize> = HashMap::new();
    let mut from: Option<&Path> = None;
    for table in tables {
        let folder = table.path.parent().unwrap_or(dir);
        let mut used = false;
        for record in &table.records {
            let Some(path) = places.find(&record.file, folder, &tree.top) else {
                let path = folder.join(&record.file);
                let remedy = format!("{} names it in line {}", table.path.display(), record.line);
                // A table above may name images of another part that lies elsewhere.
                if !ask.skip && (folder == dir || folder.starts_with(dir)) {
                    return Err(DataError::Missing { path, remedy });
                }
                found.note(
                    "records without their image",
                    record.file.clone(),
                    &format!("{} names them", tree.name(&table.path)),
                );
                continue;
            };
            used = true;
            if !path.starts_with(dir) {
                continue; // of the other part
            }
            from.get_or_insert(&table.path);
            match at.get(path) {
                Some(&place) => {
                    let known = std::mem::take(&mut chosen[place].1);
                    chosen[place].1 = known.or(record.said.clone());
                    found.note(
                        "further records of one image",
                        record.file.clone(),
                        "what the first leaves open is taken from them",
                    );
                }
                None => {
                    at.insert(path, chosen.len());
                    chosen.push((path, record.said.clone()));
                }
            }
        }
        if !used {
            found.note("tables", tree.name(&table.path), "none of the images here is named in it");
        }
    }
    let Some(from) = from else { return Ok(None) };
    for image in images.iter().filter(|image| !at.contains_key(&*image.path)) {
        found.note("images", tree.name(&image.path), &format!("{} does not name them", tree.name(from)));
    }
    let mut said: Vec<Annotation> = Vec::with_capacity(chosen.len());
    let (folders, sidecars) = (class_folders(dir, images), Sidecars::new(tree));
    let labelled = chosen.iter().any(|(_, said)| said.label.is_some());
    for (path, own) in &chosen {
        let mut own = own.clone().or(sidecars.of(path)?);
        if !labelled && folders.len() > 1 {
            own.label = class(dir, path).map(annotation::Word::Name);
        }
        said.push(own);
    }
    let (class_names, labels) = annotation::classes(from, &said)?;
    let entry = |((path, _), (said, label)): (&(&Path, Annotation), (Annotation, Option<u32>))| -> Result<Entry> {
        Ok(Entry { label, caption: said.caption, pixels: file(dir, path.to_path_buf())? })
    };
    let entries = chosen.iter().zip(said.into_iter().zip(labels)).map(entry).collect::<Result<Vec<_>>>()?;
    sidecars.strangers(tree, dir, found);
    Ok(Some(Source { class_names, entries, ..Source::default() }))
}

/// The images of a folder without a table, in name order; the folders they lie in are their classes.
fn unnamed(tree: &Tree, dir: &Path, images: &[&Item], ask: Ask, found: &mut Found) -> Result<Source> {
    let classes = class_folders(dir, images);
    let sidecars = Sidecars::new(tree);
    let mut kept = Vec::with_capacity(images.len());
    for image in images {
        if classes.is_empty() || class(dir, &image.path).is_some() {
            kept.push(*image);
        } else if ask.skip {
            found.note("images", tree.name(&image.path), "they lie beside the class folders");
        } else {
            let what = format!("lies beside the class folders of {}", dir.display());
            let remedy =
                "move it into a class folder, all images into one folder, or set `data.skip_unreadable = true`";
            return Err(DataError::malformed(&image.path, what, remedy));
        }
    }
    for folder in tree.folders.iter().filter(|folder| folder.parent() == Some(dir)) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if !classes.is_empty() && !classes.contains(&*name) {
            found.note("folders without an image", tree.name(folder), "no class is made of them");
        }
    }
    let (mut said, mut entries) = (Vec::with_capacity(kept.len()), Vec::with_capacity(kept.len()));
    for image in kept {
        let beside = sidecars.of(&image.path)?;
        let label = class(dir, &image.path).map(annotation::Word::Name);
        let (label, name) = if label.is_some() { (label, None) } else { (beside.label, beside.name) };
        entries.push(Entry { label: None, caption: beside.caption.clone(), pixels: file(dir, image.path.clone())? });
        said.push(Annotation { label, name, caption: None });
    }
    let (class_names, labels) = annotation::classes(dir, &said)?;
    entries.iter_mut().zip(labels).for_each(|(entry, label)| entry.label = label);
    sidecars.strangers(tree, dir, found);
    Ok(Source { class_names, entries, ..Source::default() })
}

fn class_folders(dir: &Path, images: &[&Item]) -> BTreeSet<String> {
    images.iter().filter_map(|image| class(dir, &image.path)).collect()
}

/// The folder of `dir` that `path` lies in.
fn class(dir: &Path, path: &Path) -> Option<String> {
    let mut parts = path.strip_prefix(dir).unwrap_or(path).components();
    let first = parts.next()?.as_os_str().to_string_lossy().into_owned();
    parts.next().map(|_| first)
}

fn file(dir: &Path, path: PathBuf) -> Result<Pixels> {
    let bytes = std::fs::metadata(&path).map_err(|e| DataError::io(&path, "read", e))?.len();
    let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().replace('\\', "/");
    Ok(Pixels::File { path, name, bytes })
}

/// Captions and labels in files beside the images: `a.txt`, `a.caption`, `a.cls` or `a.json` of `a.png`; also `a.png.txt`.
struct Sidecars<'a> {
    files: HashMap<PathBuf, Vec<&'a Path>>,
}

impl<'a> Sidecars<'a> {
    fn new(tree: &'a Tree) -> Self {
        let mut files: HashMap<PathBuf, Vec<&Path>> = HashMap::new();
        for item in tree.of(Kind::Text) {
            files.entry(item.path.with_extension("")).or_default().push(&item.path);
        }
        // Of several, a plain text has the first word.
        files.values_mut().for_each(|beside| beside.sort_by_key(|path| path.extension().is_some_and(|e| e == "json")));
        Self { files }
    }

    fn beside(&self, image: &Path) -> impl Iterator<Item = &'a Path> + '_ {
        [image.with_extension(""), image.to_path_buf()]
            .into_iter()
            .filter_map(|stem| self.files.get(&stem))
            .flatten()
            .copied()
    }

    fn of(&self, image: &Path) -> Result<Annotation> {
        let mut said = Annotation::default();
        for path in self.beside(image) {
            let content = text::read(path)?;
            said = said.or(self::said(path, &content)?);
        }
        Ok(said)
    }

    /// Those in `dir` that stand beside no image.
    fn strangers(&self, tree: &Tree, dir: &Path, found: &mut Found) {
        let used: HashSet<&Path> = tree.of(Kind::Image).flat_map(|image| self.beside(&image.path)).collect();
        for item in tree.of(Kind::Text).filter(|item| item.path.starts_with(dir) && !used.contains(&*item.path)) {
            found.note("texts without an image of their name", tree.name(&item.path), "not read");
        }
    }
}

/// What the text of a file such as `a.txt`, `a.cls` or `a.json` says of its image.
pub(super) fn said(path: &Path, content: &str) -> Result<Annotation> {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    Ok(match ending.as_str() {
        "json" => Annotation::json(content).map_err(|what| DataError::malformed(path, what, "mend or remove it"))?,
        "cls" => Annotation { label: annotation::plain(content), ..Annotation::default() },
        _ => Annotation { caption: Some(content.trim().to_string()), ..Annotation::default() },
    })
}
