//! Pair files as people have them.

use super::*;
use std::fs;

fn file(name: &str, content: &str, axes: Option<&[&str]>) -> Result<PairFile> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    let axes: Option<Vec<String>> = axes.map(|axes| axes.iter().map(|axis| axis.to_string()).collect());
    read(&path, axes.as_deref())
}

const PUBLISHED: &str = "path_A,path_B,prompt,VQ,MQ,TA,fps_A,num_frames_A,fps_B,num_frames_B,MOS_A_VQ,MOS_B_VQ,model\n\
     a.gif,b.gif,\"a cat, running\",A,same,invalid,8,16,8.0,16,4.5,2,x\n\
     c.gif,d.gif,dog,B,A,B,8,16,25,50,1,3,A\n";

/// Mutants: `MOS_A_VQ` taken for an axis, since numbers are codes; sides of scores exchanged; a comma in a prompt splits the row.
#[test]
fn the_published_layout_is_read_in_both_formats() {
    let csv = file("p.csv", PUBLISHED, None).unwrap();
    assert_eq!(csv.axes, ["VQ", "MQ", "TA"]);
    assert_eq!(csv.pairs[0].said, [Said::A, Said::Same, Said::Invalid]);
    assert_eq!(csv.pairs[0].prompt, "a cat, running");
    assert_eq!((csv.pairs[1].fps, csv.pairs[1].frames), ([Some(8.0), Some(25.0)], [Some(16), Some(50)]));
    assert_eq!(csv.pairs[0].scores, None, "scores on one axis of three are none");
    assert_eq!((csv.counts(0), csv.rows), ([1, 1, 0, 0], 2));
    assert!(csv.left_out.iter().any(|left| left.what == "columns" && left.first == ["model"]), "{:?}", csv.left_out);
    let one = file("p.csv", PUBLISHED, Some(&["VQ"])).unwrap();
    assert_eq!((one.axes.len(), one.pairs[0].scores.clone()), (1, Some([vec![4.5], vec![2.0]])));
    let lines = "{\"path_A\": \"a\", \"path_B\": \"b\", \"prompt\": \"x\", \"VQ\": \"tie\", \"fps_A\": 8}\n\n\
                 {\"path_A\": \"c\", \"path_B\": \"d\", \"VQ\": \"b\"}\n";
    let json = file("p.jsonl", lines, None).unwrap();
    assert_eq!((json.pairs[0].said[0], json.pairs[1].said[0]), (Said::Same, Said::B));
    assert_eq!((json.pairs[1].line, json.pairs[1].prompt.as_str()), (3, ""));
    // The codes of the published training, where the axis is named.
    let codes = "path_A,path_B,VQ\na,b,1\nc,d,-1\ne,f,0\ng,h,22\n";
    assert!(file("p.csv", codes, None).is_err());
    let codes = file("p.csv", codes, Some(&["VQ"])).unwrap();
    assert_eq!(codes.counts(0), [1, 1, 1, 0]);
    assert!(codes.left_out.iter().any(|left| left.what == "pairs without a valid answer" && left.count == 1));
}

/// Mutants: a row in the other order votes for the wrong sample; the last row wins; a draw is a tie.
#[test]
fn rows_that_contradict_are_votes() {
    let content = "path_A,path_B,prompt,VQ,MQ\na,b,x,A,A\nb,a,x,B,A\na,b,x,B,same\nc,d,x,A,same\nd,c,x,A,A\na,b,y,B,B\ne,e,x,A,A\n";
    let found = file("p.csv", content, None).unwrap();
    assert_eq!(found.pairs.len(), 2, "another prompt is another pair");
    assert_eq!(found.pairs[0].said, [Said::A, Said::Invalid], "two of three for A; A, B and same are a draw");
    // On VQ both said A of two orders: a draw. On MQ one said same and one said B.
    let left = |what: &str| found.left_out.iter().find(|left| left.what == what).map(|left| left.count);
    assert_eq!(left("answers that contradict each other"), Some(3));
    assert_eq!(left("pairs of a sample with itself"), Some(1));
    assert_eq!(left("rows that judge a pair again"), Some(3));
    assert_eq!(left("pairs without a valid answer"), Some(1));
    assert_eq!(found.rows, 7);
}

#[test]
fn what_cannot_be_understood_is_named_by_its_line() {
    let said = |name: &str, content: &str, axes: Option<&[&str]>| file(name, content, axes).unwrap_err().to_string();
    assert!(said("p.csv", "path_A,VQ\na,A\n", None).contains("no column `path_B`"));
    assert!(said("p.csv", "path_A,path_B,VQ\na,b,better\n", Some(&["VQ"])).contains("line 2: `VQ` is \"better\""));
    assert!(said("p.csv", "path_A,path_B,VQ\na,b,better\n", None).contains("no column says A, B"));
    // A slip does not lose the axis.
    assert!(said("p.csv", "path_A,path_B,VQ,MQ\na,b,A,A\nc,d,AB,B\n", None).contains("line 3: `VQ` is \"AB\""));
    assert!(said("p.csv", "path_A,path_B,VQ\na,,A\n", None).contains("line 2: `path_B` names no file"));
    assert!(said("p.csv", "path_A,path_B,VQ,fps_A\na,b,A,nan\n", None).contains("`fps_A` is \"nan\", no number"));
    assert!(said("p.csv", "path_A,path_B,VQ,fps_A\na,b,A,0\n", None).contains("above 0"));
    assert!(said("p.csv", "path_A,path_B,VQ,MOS_A_VQ\na,b,A,inf\n", None).contains("`MOS_A_VQ`"));
    assert!(said("p.csv", "path_A,path_B,VQ\na,b\n", None).contains("p.csv"));
    assert!(said("p.csv", "path_A,path_B,VQ\n", Some(&["VQ"])).contains("no row"));
    assert!(said("p.csv", "path_A,path_B,VQ\na,b,A\n", Some(&["XQ"])).contains("no axis `XQ`"));
    assert!(said("p.jsonl", "{\"path_A\": \"a\", \"path_", None).contains("line 1"));
    assert!(said("p.txt", "x", None).contains(".csv, .tsv or .jsonl"));
}
