//! Checkpoints of PyTorch: a single file saved by `torch.save`, and a folder whose weights are `.bin`, draw what their safetensors draw.

use super::*;

/// An archive of files that are not compressed.
fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut list) = (Vec::new(), Vec::new());
    for (name, bytes) in files {
        let (at, size) = ((out.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
        let length = (name.len() as u16).to_le_bytes();
        out.extend([&b"PK\x03\x04"[..], &[0; 14], &size, &size, &length, &[0, 0], name.as_bytes(), bytes].concat());
        list.extend([&b"PK\x01\x02"[..], &[0; 16], &size, &size, &length, &[0; 12], &at, name.as_bytes()].concat());
    }
    let (count, size, at) = ((files.len() as u16).to_le_bytes(), list.len() as u32, out.len() as u32);
    let end = [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &size.to_le_bytes(), &at.to_le_bytes(), &[0, 0]].concat();
    [out, list, end].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn whole(number: usize) -> Vec<u8> {
    [&b"J"[..], &(number as i32).to_le_bytes()].concat()
}

fn tuple(numbers: &[usize]) -> Vec<u8> {
    [b"(".to_vec(), numbers.iter().flat_map(|n| whole(*n)).collect(), b"t".to_vec()].concat()
}

/// What `torch.save` writes of a safetensors file's tensors: below `state_dict`, as a training program keeps them, or at the top.
fn save(from: &Path, to: &Path, nested: bool) {
    let stored = Stored::open(from).unwrap();
    let mut files = Vec::new();
    let mut items = Vec::new();
    for (number, name) in stored.names().into_iter().enumerate() {
        let (shape, values) = (stored.shape(&name).unwrap(), stored.read(&name).unwrap());
        let strides: Vec<usize> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        let storage =
            [text("storage"), b"ctorch\nFloatStorage\n".to_vec(), text(&number.to_string()), text("cpu")].concat();
        let storage = [b"(".to_vec(), storage, whole(values.len()), b"tQ".to_vec()].concat();
        let tail = b"\x89ccollections\nOrderedDict\n)RtR".to_vec();
        let tensor = [storage, whole(0), tuple(&shape), tuple(&strides), tail].concat();
        items.extend([text(&name), b"ctorch._utils\n_rebuild_tensor_v2\n(".to_vec(), tensor].concat());
        files.push((format!("archive/data/{number}"), values.iter().flat_map(|v| v.to_le_bytes()).collect()));
    }
    let tensors = [b"}(".to_vec(), items, b"u".to_vec()].concat();
    let root = match nested {
        true => {
            [b"}(".to_vec(), text("global_step"), whole(470_000), text("state_dict"), tensors, b"u".to_vec()].concat()
        }
        false => tensors,
    };
    files.push(("archive/data.pkl".into(), [b"\x80\x02".to_vec(), root, b".".to_vec()].concat()));
    std::fs::write(to, zip(&files)).unwrap();
}

/// Mutants: the training program's other values taken for tensors; `pytorch_model.bin` not looked for.
#[test]
fn checkpoints_of_pytorch_draw_what_their_safetensors_draw() {
    let dir = tempfile::tempdir().unwrap();
    let usual = ReleasedRequest { noise: None, seed: 3, steps: Some(2), ..request("sd15_tiny") };
    let want = drawn(&usual);
    let same = |request: ReleasedRequest| (drawn(&request) - want.clone()).abs().max().into_scalar::<f32>() < 1e-6;
    let file = dir.path().join("v1-5.ckpt");
    save(&fixture("single/sd15_tiny.safetensors"), &file, true);
    assert!(is_released(&file));
    assert!(same(ReleasedRequest { folder: file, parts: Some(fixture("sd15_tiny")), ..usual.clone() }));
    let folder = dir.path().join("model");
    for part in std::fs::read_dir(fixture("sd15_tiny")).unwrap().flatten() {
        if !part.path().is_dir() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::copy(part.path(), folder.join(part.file_name())).unwrap();
            continue;
        }
        let to = folder.join(part.file_name());
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(part.path()).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.strip_suffix(".safetensors") {
                Some("model") => save(&entry.path(), &to.join("pytorch_model.bin"), false),
                Some(bare) => save(&entry.path(), &to.join(format!("{bare}.bin")), false),
                None => drop(std::fs::copy(entry.path(), to.join(name)).unwrap()),
            }
        }
    }
    assert!(same(ReleasedRequest { folder, ..usual }));
}
