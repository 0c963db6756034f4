//! Jobs on the disk after a kill, beside strangers, and beyond their bytes.

use super::*;

fn open(folder: &Path, most: u64) -> Result<Disk, Error> {
    Disk::open(folder, most, Box::new(|_| {}))
}

fn id(number: u8) -> String {
    format!("{number:032x}")
}

fn progress(state: State, bytes: &[u8]) -> Progress {
    let file = File { medium: Medium::Png, bytes: bytes.to_vec() };
    let files = vec![Some(Arc::new(file))];
    Progress { state, files, previews: vec![None], step: 0, steps: 1, drawing: 0, version: 0 }
}

/// Mutants: a file that another wrote over is given out; one that was cut is called done; what waited is forgotten; the newest go
/// first; two servers share a folder.
#[test]
fn jobs_are_found_again_and_the_oldest_go() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("state");
    let facts = |number| json!({ "id": id(number), "steps": 3 });
    {
        let disk = open(&folder, 1 << 20).unwrap();
        for number in 0..4 {
            disk.begins(&id(number), &facts(number), 1).unwrap();
        }
        for number in 0..3 {
            disk.ended(&id(number), &facts(number), &progress(State::Done, &[number; 100]));
        }
        assert!(open(&folder, 1).is_err_and(|error| error.to_string().contains("another server")));
    }
    fs::write(folder.join(id(1)).join("0.png"), [9; 100]).unwrap();
    fs::write(folder.join(id(2)).join("0.png"), [2; 50]).unwrap();
    let disk = open(&folder, 1 << 20).unwrap();
    let status = |number| disk.find(&id(number)).map(|past| past.status.clone());
    let read = |number| disk.read(&id(number), &disk.find(&id(number)).unwrap(), 0).map(|file| file.bytes);
    let words = [0, 1, 2, 3].map(|number| status(number).unwrap());
    assert_eq!(words, ["done", "done", "interrupted", "interrupted"]);
    assert_eq!((read(0), read(1), read(2)), (Some(vec![0; 100]), None, None));
    assert!(disk.find("..").is_none() && disk.find("").is_none());
    let bytes = disk.lock().bytes;
    drop(disk);
    // A byte less than there is: one goes, and it is the oldest.
    let disk = open(&folder, bytes - 1).unwrap();
    assert!(disk.find(&id(0)).is_none() && disk.find(&id(1)).is_some() && !folder.join(id(0)).exists());
    // Other folders are not taken over.
    fs::write(place.path().join("notes.txt"), "mine").unwrap();
    assert_eq!(open(place.path(), 1).err().map(|error| error.exit_code()), Some(2));
}
/// What kills leave behind is cleared away, and nothing that others put there stops a server or is believed.
/// Mutants: half-made files stay, uncounted; a folder without a record stays for ever; a record under another's id, or with a
/// word of its own, is told.
#[test]
fn what_a_kill_or_a_stranger_leaves_stops_nothing() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("state");
    let facts = |number| json!({ "id": id(number), "steps": 3 });
    {
        let disk = open(&folder, 1 << 20).unwrap();
        (0..4).for_each(|number| disk.begins(&id(number), &facts(number), 2).unwrap());
        disk.ended(&id(0), &facts(0), &progress(State::Done, &[0; 100]));
    }
    let inside = |number| fs::read_dir(folder.join(id(number))).unwrap().count();
    fs::write(folder.join(id(1)).join("0.png"), [1; 100]).unwrap();
    fs::write(folder.join(id(1)).join("1.part"), [1; 10]).unwrap();
    fs::create_dir(folder.join(id(9))).unwrap();
    fs::rename(folder.join(id(2)), folder.join(id(8))).unwrap();
    let record = folder.join(id(3)).join(RECORD);
    fs::write(&record, fs::read_to_string(&record).unwrap().replace("queued", "done\\nevent: x")).unwrap();
    let disk = open(&folder, 1 << 20).unwrap();
    let status = |number| disk.find(&id(number)).map(|past| past.status.clone());
    assert_eq!([0, 1, 8, 3, 9].map(status), [Some("done".into()), Some("interrupted".into()), None, None, None]);
    assert_eq!((inside(0), inside(1)), (2, 1));
    assert!(!folder.join(id(9)).exists());
    #[cfg(unix)]
    for (path, mode) in [(folder.clone(), 0o700), (folder.join(id(0)).join("0.png"), 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
}
