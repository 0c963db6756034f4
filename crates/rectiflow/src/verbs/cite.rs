//! `cite`: the BibTeX of the papers behind a recipe.
//!
//! Each choice a recipe can make declares its paper here, so that whoever uses it can give credit with one command.

use crate::{Recipe, recipe::TaskConfig};
use flow::{Coupling, Loss, Parameterization, Path, Solver, TimeLaw, Weighting};
use methods::Target;
use nets::NetConfig;

/// A paper: its BibTeX key and what a bibliography needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paper {
    key: &'static str,
    authors: &'static str,
    title: &'static str,
    year: u16,
    arxiv: Option<&'static str>,
    venue: &'static str,
}

impl Paper {
    /// The entry.
    pub fn bibtex(&self) -> String {
        let Self { key, authors, title, year, venue, .. } = self;
        let page = venue.starts_with("https://");
        let kind = if self.arxiv.is_some() || page { "misc" } else { "article" };
        let place = match self.arxiv {
            Some(id) => format!("  eprint = {{{id}}},\n  archivePrefix = {{arXiv}},\n  note = {{{venue}}},\n"),
            None if page => format!("  howpublished = {{\\url{{{venue}}}}},\n"),
            None => format!("  journal = {{{venue}}},\n"),
        };
        format!(
            "@{kind}{{{key},\n  author = {{{authors}}},\n  title = {{{{{title}}}}},\n  year = {{{year}}},\n{place}}}\n"
        )
    }
}

macro_rules! papers {
    ($($name:ident: $key:literal, $authors:literal, $title:literal, $year:literal, $arxiv:expr, $venue:literal;)*) => {
        $(const $name: Paper =
            Paper { key: $key, authors: $authors, title: $title, year: $year, arxiv: $arxiv, venue: $venue };)*
        /// Every paper that some setting of this program rests on.
        pub const ALL: &[Paper] = &[$($name),*];
    };
}

papers! {
    RECTIFIED_FLOW: "liu2022flow", "Liu, Xingchao and Gong, Chengyue and Liu, Qiang",
        "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2022, Some("2209.03003"), "ICLR 2023";
    FLOW_MATCHING: "lipman2022flow", "Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and Nickel, Maximilian and Le, Matt",
        "Flow Matching for Generative Modeling", 2022, Some("2210.02747"), "ICLR 2023";
    INTERPOLANTS: "albergo2023stochastic", "Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric",
        "Stochastic Interpolants: A Unifying Framework for Flows and Diffusions", 2023, Some("2303.08797"), "JMLR 2025";
    SCORE_SDE: "song2020score", "Song, Yang and Sohl-Dickstein, Jascha and Kingma, Diederik P. and Kumar, Abhishek and Ermon, Stefano and Poole, Ben",
        "Score-Based Generative Modeling through Stochastic Differential Equations", 2020, Some("2011.13456"), "ICLR 2021";
    DDPM: "ho2020denoising", "Ho, Jonathan and Jain, Ajay and Abbeel, Pieter",
        "Denoising Diffusion Probabilistic Models", 2020, Some("2006.11239"), "NeurIPS 2020";
    ADM: "dhariwal2021diffusion", "Dhariwal, Prafulla and Nichol, Alex",
        "Diffusion Models Beat GANs on Image Synthesis", 2021, Some("2105.05233"), "NeurIPS 2021";
    DIT: "peebles2022scalable", "Peebles, William and Xie, Saining",
        "Scalable Diffusion Models with Transformers", 2022, Some("2212.09748"), "ICCV 2023";
    PNDM: "liu2022pseudo", "Liu, Luping and Ren, Yi and Lin, Zhijie and Zhao, Zhou",
        "Pseudo Numerical Methods for Diffusion Models on Manifolds", 2022, Some("2202.09778"), "ICLR 2022";
    TRIPOSG: "li2025triposg", "Li, Yangguang and Zou, Zi-Xin and Liu, Zexiang and others",
        "TripoSG: High-Fidelity 3D Shape Synthesis using Large-Scale Rectified Flow Models", 2025, Some("2502.06608"), "arXiv";
    SD3: "esser2024scaling", "Esser, Patrick and Kulal, Sumith and Blattmann, Andreas and others",
        "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", 2024, Some("2403.03206"), "ICML 2024";
    IMPROVED_RF: "lee2024improving", "Lee, Sangyun and Lin, Zinan and Fanti, Giulia",
        "Improving the Training of Rectified Flows", 2024, Some("2405.20320"), "NeurIPS 2024";
    BOSS: "nguyen2023bellman", "Nguyen, Bao and Nguyen, Binh and Nguyen, Viet Anh",
        "Bellman Optimal Stepsize Straightening of Flow-Matching Models", 2023, Some("2312.16414"), "ICLR 2024";
    SIT: "ma2024sit", "Ma, Nanye and Goldstein, Mark and Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric and Xie, Saining",
        "SiT: Exploring Flow and Diffusion-based Generative Models with Scalable Interpolant Transformers", 2024, Some("2401.08740"), "ECCV 2024";
    EDM: "karras2022elucidating", "Karras, Tero and Aittala, Miika and Aila, Timo and Laine, Samuli",
        "Elucidating the Design Space of Diffusion-Based Generative Models", 2022, Some("2206.00364"), "NeurIPS 2022";
    IMPROVED_DDPM: "nichol2021improved", "Nichol, Alex and Dhariwal, Prafulla",
        "Improved Denoising Diffusion Probabilistic Models", 2021, Some("2102.09672"), "ICML 2021";
    PROGRESSIVE: "salimans2022progressive", "Salimans, Tim and Ho, Jonathan",
        "Progressive Distillation for Fast Sampling of Diffusion Models", 2022, Some("2202.00512"), "ICLR 2022";
    MIN_SNR: "hang2023efficient", "Hang, Tiankai and Gu, Shuyang and Li, Chen and Bao, Jianmin and Chen, Dong and Hu, Han and Geng, Xin and Guo, Baining",
        "Efficient Diffusion Training via Min-SNR Weighting Strategy", 2023, Some("2303.09556"), "ICCV 2023";
    OT_POOLADIAN: "pooladian2023multisample", "Pooladian, Aram-Alexandre and Ben-Hamu, Heli and Domingo-Enrich, Carles and Amos, Brandon and Lipman, Yaron and Chen, Ricky T. Q.",
        "Multisample Flow Matching: Straightening Flows with Minibatch Couplings", 2023, Some("2304.14772"), "ICML 2023";
    OT_TONG: "tong2023improving", "Tong, Alexander and Fatras, Kilian and Malkin, Nikolay and others",
        "Improving and Generalizing Flow-Based Generative Models with Minibatch Optimal Transport", 2023, Some("2302.00482"), "TMLR 2024";
    RECTIFIED_DIFFUSION: "wang2024rectified", "Wang, Fu-Yun and Yang, Ling and Huang, Zhaoyang and Wang, Mengdi and Li, Hongsheng",
        "Rectified Diffusion: Straightness Is Not Your Need in Rectified Flow", 2024, Some("2410.07303"), "ICLR 2025";
    ONE_MORE_STEP: "hu2023one", "Hu, Minghui and Zheng, Jianbin and Zheng, Chuanxia and Wang, Chaoyue and Tao, Dacheng and Cham, Tat-Jen",
        "One More Step: A Versatile Plug-and-Play Module for Rectifying Diffusion Schedule Flaws and Enhancing Low-Frequency Controls", 2023, Some("2311.15744"), "CVPR 2024";
    CONSISTENCY: "song2023consistency", "Song, Yang and Dhariwal, Prafulla and Chen, Mark and Sutskever, Ilya",
        "Consistency Models", 2023, Some("2303.01469"), "ICML 2023";
    MEAN_FLOW: "geng2025mean", "Geng, Zhengyang and Deng, Mingyang and Bai, Xingjian and Kolter, J. Zico and He, Kaiming",
        "Mean Flows for One-step Generative Modeling", 2025, Some("2505.13447"), "NeurIPS 2025";
    SHORTCUT: "frans2024one", "Frans, Kevin and Hafner, Danijar and Levine, Sergey and Abbeel, Pieter",
        "One Step Diffusion via Shortcut Models", 2024, Some("2410.12557"), "ICLR 2025";
    PERFLOW: "yan2024perflow", "Yan, Hanshu and Liu, Xingchao and Pan, Jiachun and Liew, Jun Hao and Liu, Qiang and Feng, Jiashi",
        "PeRFlow: Piecewise Rectified Flow as Universal Plug-and-Play Accelerator", 2024, Some("2405.07510"), "NeurIPS 2024";
    LORA: "hu2021lora", "Hu, Edward J. and Shen, Yelong and Wallis, Phillip and Allen-Zhu, Zeyuan and Li, Yuanzhi and Wang, Shean and Wang, Lu and Chen, Weizhu",
        "LoRA: Low-Rank Adaptation of Large Language Models", 2021, Some("2106.09685"), "ICLR 2022";
    LPIPS: "zhang2018unreasonable", "Zhang, Richard and Isola, Phillip and Efros, Alexei A. and Shechtman, Eli and Wang, Oliver",
        "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", 2018, Some("1801.03924"), "CVPR 2018";
    SINKHORN: "cuturi2013sinkhorn", "Cuturi, Marco",
        "Sinkhorn Distances: Lightspeed Computation of Optimal Transport", 2013, Some("1306.0895"), "NeurIPS 2013";
    UNBALANCED: "chizat2016scaling", "Chizat, Lenaic and Peyr{\\'e}, Gabriel and Schmitzer, Bernhard and Vialard, Fran{\\c{c}}ois-Xavier",
        "Scaling Algorithms for Unbalanced Transport Problems", 2016, Some("1607.05816"), "Mathematics of Computation 2018";
    SLIMFLOW: "zhu2024slimflow", "Zhu, Yuanzhi and Liu, Xingchao and Liu, Qiang",
        "SlimFlow: Training Smaller One-Step Diffusion Models with Rectified Flow", 2024, Some("2407.12718"), "ECCV 2024";
    INSTAFLOW: "liu2023instaflow", "Liu, Xingchao and Zhang, Xiwen and Ma, Jianzhu and Peng, Jian and Liu, Qiang",
        "InstaFlow: One Step is Enough for High-Quality Diffusion-Based Text-to-Image Generation", 2023, Some("2309.06380"), "ICLR 2024";
    MINILM: "wang2020minilm", "Wang, Wenhui and Wei, Furu and Dong, Li and Bao, Hangbo and Yang, Nan and Zhou, Ming",
        "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained Transformers", 2020, Some("2002.10957"), "NeurIPS 2020";
    SENTENCES: "reimers2019sentence", "Reimers, Nils and Gurevych, Iryna",
        "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", 2019, Some("1908.10084"), "EMNLP 2019";
    GUIDANCE: "ho2022classifier", "Ho, Jonathan and Salimans, Tim",
        "Classifier-Free Diffusion Guidance", 2022, Some("2207.12598"), "NeurIPS 2021 Workshop";
    INTERVAL: "kynkaanniemi2024applying", "Kynk{\\\"a}{\\\"a}nniemi, Tuomas and Aittala, Miika and Karras, Tero and Laine, Samuli and Aila, Timo and Lehtinen, Jaakko",
        "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models", 2024, Some("2404.07724"), "NeurIPS 2024";
    DOPRI: "dormand1980family", "Dormand, J. R. and Prince, P. J.",
        "A family of embedded Runge-Kutta formulae", 1980, None, "Journal of Computational and Applied Mathematics 6(1)";
    BOGACKI: "bogacki1989pair", "Bogacki, P. and Shampine, L. F.",
        "A 3(2) pair of Runge-Kutta formulas", 1989, None, "Applied Mathematics Letters 2(4)";
    RF_SOLVER: "wang2024taming", "Wang, Jiangshan and Pu, Junfu and Qi, Zhongang and others",
        "Taming Rectified Flow for Inversion and Editing", 2024, Some("2411.04746"), "ICML 2025";
    FIREFLOW: "deng2024fireflow", "Deng, Yingying and He, Xiangyu and Mei, Changwang and Wang, Peisong and Tang, Fan",
        "FireFlow: Fast Inversion of Rectified Flow for Image Semantic Editing", 2024, Some("2412.07517"), "ICML 2025";
    FLOWCHEF: "patel2024flowchef", "Patel, Maitreya and Wen, Song and Metaxas, Dimitris N. and Yang, Yezhou",
        "FlowChef: Steering of Rectified Flow Models for Controlled Generations", 2024, Some("2412.00100"), "ICCV 2025";
    MPGD: "he2023manifold", "He, Yutong and Murata, Naoki and Lai, Chieh-Hsin and Takida, Yuhta and others",
        "Manifold Preserving Guided Diffusion", 2023, Some("2311.16424"), "ICLR 2024";
    DPS: "chung2022diffusion", "Chung, Hyungjin and Kim, Jeongsol and Mccann, Michael T. and Klasky, Marc L. and Ye, Jong Chul",
        "Diffusion Posterior Sampling for General Noisy Inverse Problems", 2022, Some("2209.14687"), "ICLR 2023";
    FREEDOM: "yu2023freedom", "Yu, Jiwen and Wang, Yinhuai and Zhao, Chen and Ghanem, Bernard and Zhang, Jian",
        "FreeDoM: Training-Free Energy-Guided Conditional Diffusion Model", 2023, Some("2303.09833"), "ICCV 2023";
    OT_ODE: "pokle2023training", "Pokle, Ashwini and Muckley, Matthew J. and Chen, Ricky T. Q. and Karrer, Brian",
        "Training-free Linear Image Inverses via Flows", 2023, Some("2310.04432"), "TMLR 2024";
    PNP_FLOW: "martin2024pnp", "Martin, S{\\'e}gol{\\`e}ne and Gagneux, Anne and Hagemann, Paul and Steidl, Gabriele",
        "PnP-Flow: Plug-and-Play Image Restoration with Flow Matching", 2024, Some("2410.02423"), "ICLR 2025";
    FLOW_EDIT: "kulikov2024flowedit", "Kulikov, Vladimir and Kleiner, Matan and Huberman-Spiegelglas, Inbar and Michaeli, Tomer",
        "FlowEdit: Inversion-Free Text-Based Editing Using Pre-Trained Flow Models", 2024, Some("2412.08629"), "ICCV 2025";
    SD_EDIT: "meng2021sdedit", "Meng, Chenlin and He, Yutong and Song, Yang and Song, Jiaming and Wu, Jiajun and Zhu, Jun-Yan and Ermon, Stefano",
        "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations", 2021, Some("2108.01073"), "ICLR 2022";
    VIDEO_ALIGN: "liu2025improving", "Liu, Jie and Liu, Gongye and Liang, Jiajun and others",
        "Improving Video Generation with Human Feedback", 2025, Some("2501.13918"), "NeurIPS 2025";
    DIFFUSION_DPO: "wallace2023diffusion", "Wallace, Bram and Dang, Meihua and Rafailov, Rafael and others",
        "Diffusion Model Alignment Using Direct Preference Optimization", 2023, Some("2311.12908"), "CVPR 2024";
    TRIFLOW: "wizadwongsa2024taming", "Wizadwongsa, Suttisak and Zhou, Jinfan and Li, Edward and Park, Jeong Joon",
        "Taming Feed-forward Reconstruction Models as Latent Encoders for 3D Generative Models", 2024, Some("2501.00651"), "arXiv";
    FLOW_SEP: "yuan2024flowsep", "Yuan, Yi and Liu, Xubo and Liu, Haohe and Plumbley, Mark D. and Wang, Wenwu",
        "FlowSep: Language-Queried Sound Separation with Rectified Flow Matching", 2024, Some("2409.07614"), "ICASSP 2025";
    FLUX: "flux2024", "{Black Forest Labs}",
        "FLUX", 2024, None, "https://github.com/black-forest-labs/flux";
    DDIM: "song2020denoising", "Song, Jiaming and Meng, Chenlin and Ermon, Stefano",
        "Denoising Diffusion Implicit Models", 2020, Some("2010.02502"), "ICLR 2021";
    DPM_SOLVER: "lu2022dpm", "Lu, Cheng and Zhou, Yuhao and Bao, Fan and Chen, Jianfei and Li, Chongxuan and Zhu, Jun",
        "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models", 2022, Some("2211.01095"), "Machine Intelligence Research 2025";
    UNIPC: "zhao2023unipc", "Zhao, Wenliang and Bai, Lujia and Rao, Yongming and Zhou, Jie and Lu, Jiwen",
        "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models", 2023, Some("2302.04867"), "NeurIPS 2023";
    ROESSLER: "rossler2010runge", "R{\\\"o}{\\ss}ler, Andreas",
        "Runge-Kutta Methods for the Strong Approximation of Solutions of Stochastic Differential Equations", 2010, None, "SIAM Journal on Numerical Analysis 48(3)";
    OVERSHOOTING: "hu2024amo", "Hu, Xixi and Xu, Keyang and Liu, Bo and Liu, Qiang and Fei, Hongliang",
        "AMO Sampler: Enhancing Text Rendering with Overshooting", 2024, Some("2411.19415"), "CVPR 2025";
    ADAMW: "loshchilov2017decoupled", "Loshchilov, Ilya and Hutter, Frank",
        "Decoupled Weight Decay Regularization", 2017, Some("1711.05101"), "ICLR 2019";
    FASHION: "xiao2017fashion", "Xiao, Han and Rasul, Kashif and Vollgraf, Roland",
        "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms", 2017, Some("1708.07747"), "arXiv";
    FID: "heusel2017gans", "Heusel, Martin and Ramsauer, Hubert and Unterthiner, Thomas and Nessler, Bernhard and Hochreiter, Sepp",
        "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017, Some("1706.08500"), "NeurIPS 2017";
    KID: "binkowski2018demystifying", "Bi{\\'n}kowski, Miko{\\l}aj and Sutherland, Danica J. and Arbel, Michael and Gretton, Arthur",
        "Demystifying MMD GANs", 2018, Some("1801.01401"), "ICLR 2018";
    PRECISION_RECALL: "kynkaanniemi2019improved", "Kynk{\\\"a}{\\\"a}nniemi, Tuomas and Karras, Tero and Laine, Samuli and Lehtinen, Jaakko and Aila, Timo",
        "Improved Precision and Recall Metric for Assessing Generative Models", 2019, Some("1904.06991"), "NeurIPS 2019";
}

/// The papers a recipe's choices rest on, each once, rectified flow first.
pub fn papers(recipe: &Recipe) -> Vec<Paper> {
    let mut found = vec![RECTIFIED_FLOW, FLOW_MATCHING];
    let mut cite = |papers: &[Paper]| {
        for paper in papers {
            if !found.contains(paper) {
                found.push(*paper);
            }
        }
    };
    match recipe.path {
        Path::Linear {} | Path::Polynomial { .. } | Path::Custom(_) => {}
        Path::Trigonometric {} | Path::Interpolant { .. } | Path::Mirror { .. } | Path::Diffusive { .. } => {
            cite(&[INTERPOLANTS])
        }
        Path::Vp { .. } | Path::SubVp { .. } | Path::Ve { .. } | Path::ConstantSpeedVp {} => cite(&[SCORE_SDE]),
        Path::Cosine { .. } => cite(&[IMPROVED_DDPM]),
        Path::Ddpm(_) => cite(&[DDPM]),
        Path::Edm { .. } => cite(&[EDM]),
    }
    match recipe.parameterization {
        Parameterization::Velocity {} => {}
        Parameterization::InterpolantVelocity {} | Parameterization::Latent {} | Parameterization::Drift { .. } => {
            cite(&[INTERPOLANTS])
        }
        Parameterization::Noise {} | Parameterization::Data {} => cite(&[DDPM]),
        Parameterization::Score {} => cite(&[SCORE_SDE]),
        Parameterization::VPrediction {} => cite(&[PROGRESSIVE]),
        Parameterization::Preconditioned { .. } => cite(&[EDM]),
    }
    match &recipe.target {
        Target::Path => {}
        Target::Guided(_) => cite(&[SLIMFLOW]),
        Target::Segments(_) => cite(&[PROGRESSIVE, PERFLOW, RECTIFIED_DIFFUSION]),
        Target::Consistency(_) => cite(&[CONSISTENCY]),
        Target::MeanFlow(_) => cite(&[MEAN_FLOW]),
        Target::Shortcut(_) => cite(&[SHORTCUT]),
    }
    if recipe.needs_pairs() && recipe.path != (Path::Linear {}) {
        cite(&[RECTIFIED_DIFFUSION]);
    }
    if recipe.task.text().is_some() {
        cite(&[MINILM, SENTENCES]);
        if recipe.needs_pairs() {
            cite(&[INSTAFLOW]);
        }
    }
    if let TaskConfig::Separate(_) = recipe.task {
        cite(&[FLOW_SEP]);
    }
    if recipe.perceptual.is_some() {
        cite(&[IMPROVED_RF, LPIPS]);
    }
    if recipe.native.is_some() {
        cite(&[IMPROVED_RF]);
    }
    if recipe.lora.is_some() {
        cite(&[LORA]);
    }
    if !recipe.pairs.generate.cuts.is_empty() {
        cite(&[BOSS]);
    }
    if recipe.time.law == (TimeLaw::Constant { t: 0.0 }) && !recipe.needs_pairs() && recipe.target == Target::Path {
        cite(&[ONE_MORE_STEP]);
    }
    match recipe.coupling {
        Coupling::Independent {} | Coupling::Stored {} => {}
        Coupling::Annealed { .. } => cite(&[SLIMFLOW]),
        Coupling::OptimalTransport { .. } => cite(&[OT_POOLADIAN, OT_TONG]),
        Coupling::Sinkhorn { .. } => cite(&[OT_POOLADIAN, OT_TONG, SINKHORN]),
        Coupling::Unbalanced { .. } => cite(&[OT_TONG, SINKHORN, UNBALANCED]),
    }
    match recipe.time.law {
        TimeLaw::Uniform {} | TimeLaw::Constant { .. } | TimeLaw::Steps { .. } => {}
        TimeLaw::LogitNormal { .. } | TimeLaw::Mode { .. } | TimeLaw::CosMap {} => cite(&[SD3]),
        TimeLaw::UShaped { .. } => cite(&[IMPROVED_RF]),
    }
    if recipe.time.shift != 1.0 {
        cite(&[SD3]);
    }
    if let Loss::PseudoHuber { .. } = recipe.loss {
        cite(&[IMPROVED_RF]);
    }
    match recipe.weighting {
        Weighting::Uniform {} => {}
        Weighting::MinSnr { .. } => cite(&[MIN_SNR]),
        Weighting::Likelihood {} => cite(&[SIT]),
        Weighting::Velocity {} | Weighting::NoiseFraction { .. } | Weighting::PiRatio { .. } => cite(&[SD3]),
    }
    match recipe.network {
        NetConfig::Mlp(_) => {}
        NetConfig::Unet(_) => cite(&[DDPM, ADM]),
        NetConfig::Dit(_) => cite(&[DIT]),
        NetConfig::Mmdit(_) => cite(&[DIT, SD3]),
        NetConfig::SetTransformer(_) => cite(&[TRIPOSG]),
        NetConfig::Triflow(_) => cite(&[TRIFLOW]),
    }
    if recipe.sample.guidance.scale != 1.0 || recipe.pairs.guidance.scale != 1.0 {
        cite(&[GUIDANCE]);
    }
    if recipe.sample.guidance.interval.is_some() {
        cite(&[INTERVAL]);
    }
    match recipe.sample.solver {
        Solver::Euler {} | Solver::Midpoint {} | Solver::Heun {} | Solver::Rk4 {} | Solver::AdamsBashforth { .. } => {}
        Solver::RfSolver { .. } => cite(&[RF_SOLVER]),
        Solver::Fireflow {} => cite(&[FIREFLOW]),
        Solver::DormandPrince { .. } => cite(&[DOPRI]),
        Solver::BogackiShampine { .. } => cite(&[BOGACKI]),
        Solver::Ddim { .. } => cite(&[DDIM]),
        Solver::DpmSolver {} | Solver::DpmSolverSde { .. } | Solver::NoiseRefresh { .. } => cite(&[DPM_SOLVER]),
        Solver::Plms {} => cite(&[PNDM]),
        Solver::Unipc { .. } => cite(&[UNIPC]),
        Solver::Anchored { .. } => cite(&[IMPROVED_RF]),
        Solver::Consistency {} => cite(&[CONSISTENCY]),
        Solver::EulerMaruyama(_) | Solver::SdeHeun(_) => cite(&[INTERPOLANTS, SIT]),
        Solver::StochasticRk(_) => cite(&[INTERPOLANTS, SIT, ROESSLER]),
        Solver::Overshooting { .. } => cite(&[OVERSHOOTING]),
    }
    cite(&[ADAMW]);
    if recipe.data.path.is_none() && recipe.data.name.as_deref().is_none_or(|name| name.starts_with("fashion")) {
        cite(&[FASHION]);
    }
    found
}

/// The papers behind a stage that a recipe does not show: how an aligned model, or a reward, was made.
pub fn of_stage(stage: &str) -> &'static [Paper] {
    match stage {
        "dpo" => &[VIDEO_ALIGN, DIFFUSION_DPO],
        "rwr" | "sft" | "reward" => &[VIDEO_ALIGN],
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
        for (i, paper) in ALL.iter().enumerate() {
            let same = |other: &&Paper| other.key == paper.key || (paper.arxiv.is_some() && other.arxiv == paper.arxiv);
            assert_eq!(ALL[..i].iter().find(same), None, "{paper:?}");
            let entry = paper.bibtex();
            assert_eq!(entry.matches('{').count(), entry.matches('}').count(), "{entry}");
        }
        assert!(FLUX.bibtex().starts_with("@misc{flux2024") && FLUX.bibtex().contains("howpublished"));
        assert_eq!(of_stage("dpo"), [VIDEO_ALIGN, DIFFUSION_DPO]);
    }
}
