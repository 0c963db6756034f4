//! Fetches named data sets and prints what is in them: `cargo run --release -p rectiflow-data --example get -- cifar10`.

use data::fetch::registry::{Kind, find};
use data::fetch::{Origin, cache_dir, get};
use data::{DataConfig, Split, describe, open};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for name in std::env::args().skip(1) {
        let mut stage = "";
        let mut progress = |p: &data::fetch::Progress| {
            if stage != p.stage {
                stage = p.stage;
                eprintln!("{name}: {} {}", p.stage, p.what);
            }
        };
        println!("{}", get(&name, &cache_dir()?, &Origin::Network, &mut progress)?.display());
        if find(&name).is_none_or(|set| set.kind == Kind::Images) {
            for split in [Split::Train, Split::Test] {
                print!("{}", describe(&*open(&DataConfig::named(&name).with_split(split))?)?);
            }
        }
    }
    Ok(())
}
