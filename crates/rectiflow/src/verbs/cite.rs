//! `cite`: the BibTeX of the papers behind a recipe.
//!
//! Each choice a recipe can make says its papers where it is defined (`papers` of a solver, a path, a network, a task); here they are
//! collected, and what rests on two choices together is said.

use crate::Recipe;
use flow::TimeLaw;
use methods::{Target, align, one_more_step, reflow, stepsize};

pub use base::Paper;

/// `papers`, each once, in the order in which they are first named.
fn once(papers: impl IntoIterator<Item = Paper>) -> Vec<Paper> {
    let mut found: Vec<Paper> = Vec::new();
    for paper in papers {
        if !found.contains(&paper) {
            found.push(paper);
        }
    }
    found
}

/// Every paper that some setting of this program rests on.
pub fn all() -> Vec<Paper> {
    let here = [crate::recipe::INSTAFLOW, crate::recipe::FLOW_SEP, train::optim::ADAMW, train::optim::MUON];
    let rooms = [flow::papers(), nets::papers(), methods::papers(), metrics::papers(), data::papers()];
    once(rooms.into_iter().flatten().chain(here))
}

/// The papers a recipe's choices rest on, each once, rectified flow first.
pub fn papers(recipe: &Recipe) -> Vec<Paper> {
    let mut found = recipe.objective().papers();
    found.extend(recipe.target.papers());
    if recipe.needs_pairs() && recipe.path != (flow::Path::Linear {}) {
        found.push(reflow::RECTIFIED_DIFFUSION);
    }
    found.extend(recipe.task.papers(recipe));
    found.extend(recipe.lora.as_ref().map(|_| nets::lora::LORA));
    found.extend((!recipe.pairs.generate.cuts.is_empty()).then_some(stepsize::BOSS));
    let before = recipe.time.law == (TimeLaw::Constant { t: 0.0 }) && !recipe.needs_pairs();
    found.extend((before && recipe.target == Target::Path).then_some(one_more_step::ONE_MORE_STEP));
    found.extend(recipe.coupling.papers());
    found.extend(recipe.network.papers());
    found.extend(recipe.sample.guidance.papers());
    found.extend(recipe.pairs.guidance.papers());
    found.extend(recipe.sample.solver.papers());
    found.push(train::optim::ADAMW);
    found.extend(recipe.train.optim.matrices.papers());
    found.extend(recipe.data.papers());
    once(found)
}

/// The papers behind a stage that a recipe does not show: how an aligned model, or a reward, was made.
pub fn of_stage(stage: &str) -> &'static [Paper] {
    match stage {
        "dpo" => &[align::VIDEO_ALIGN, align::dpo::DIFFUSION_DPO],
        "grpo" => &[align::FLOW_GRPO],
        "rwr" | "sft" | "reward" => &[align::VIDEO_ALIGN],
        _ => &[],
    }
}

/// The papers as one BibTeX file.
pub fn bibliography(papers: &[Paper]) -> String {
    papers.iter().map(Paper::bibtex).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::{coupling::OT_TONG, loss::IMPROVED_RF};
    use nets::flux::FLUX;

    #[test]
    fn choices_bring_their_papers() {
        let plain = papers(&Recipe::default());
        assert_eq!(plain[0].key, "liu2022flow");
        assert!(!plain.contains(&OT_TONG));
        let recipe =
            Recipe::parse("coupling = { type = \"optimal_transport\" }\n[time.law]\ntype = \"u_shaped\"\n", "x");
        let chosen = papers(&recipe.unwrap());
        assert!(chosen.contains(&OT_TONG) && chosen.contains(&IMPROVED_RF));
        let text = bibliography(&chosen);
        assert_eq!(text.matches('@').count(), chosen.len());
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }

    /// Mutant: an entry whose key or number another entry has.
    #[test]
    fn every_entry_is_one_of_its_own() {
        let all = all();
        assert!(all.len() >= 62, "{} papers", all.len());
        for (i, paper) in all.iter().enumerate() {
            let same = |other: &&Paper| other.key == paper.key || (paper.arxiv.is_some() && other.arxiv == paper.arxiv);
            assert_eq!(all[..i].iter().find(same), None, "{paper:?}");
            let entry = paper.bibtex();
            assert_eq!(entry.matches('{').count(), entry.matches('}').count(), "{entry}");
        }
        assert!(FLUX.bibtex().starts_with("@misc{flux2024") && FLUX.bibtex().contains("howpublished"));
        assert_eq!(of_stage("dpo"), [align::VIDEO_ALIGN, align::dpo::DIFFUSION_DPO]);
    }
}
