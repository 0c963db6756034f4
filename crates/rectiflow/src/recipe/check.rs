//! What a recipe may not say: values out of range, and combinations that make no sense, each refused with the reason and what to
//! take instead.

use super::Recipe;
use crate::Error;
use flow::{Coupling, Parameterization, Solver, TimeLaw};
use methods::Target;
use nets::NetConfig;
use std::path::Path;

impl Recipe {
    /// Refuses values out of range and combinations that make no sense, each with the reason.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |reason: String| Error::Usage(format!("recipe `{}`: {reason}", self.name));
        if self.name.is_empty() || self.name.contains(['/', '\\', '\0']) || self.name.starts_with('.') {
            return Err(wrong("`name` becomes a folder: use letters, digits, `-` and `_`".into()));
        }
        self.data.check().map_err(|error| wrong(error.to_string()))?;
        self.network.check().map_err(|error| wrong(error.to_string()))?;
        self.objective().check().map_err(|error| wrong(error.to_string()))?;
        self.coupling.check().map_err(|error| wrong(error.to_string()))?;
        self.train.check().map_err(wrong)?;
        if self.train.gradient_checkpointing && !self.network.recomputes() {
            return Err(wrong(format!(
                "train.gradient_checkpointing runs blocks again for the gradient, and a {} cannot; set it to false",
                self.network.name()
            )));
        }
        self.pairs.check().map_err(wrong)?;
        self.target.check(&self.objective()).map_err(|error| wrong(error.to_string()))?;
        if let Some(lora) = &self.lora {
            lora.check().map_err(|error| wrong(error.to_string()))?;
        }
        self.sample.check().map_err(wrong)?;
        self.task.check(self).map_err(wrong)?;
        self.check_released().map_err(wrong)?;
        if self.init.is_some() && self.from.is_some() {
            return Err(wrong(
                "`init` begins at a run's weights, `from` at a released model's: leave one of the two out".into(),
            ));
        }
        self.combination().map_err(|reason| wrong(reason.into()))
    }

    /// Refuses what weights from a released model cannot mean.
    fn check_released(&self) -> Result<(), String> {
        let NetConfig::Released(network) = &self.network else {
            return match self.from {
                None => Ok(()),
                Some(_) => Err("`from` starts at a released model's weights, and `network` names another network: leave `network` out".into()),
            };
        };
        let place = |place: Option<&Path>| self.from.as_deref().is_none_or(|from| place == Some(from));
        if !place(self.task.codec()) || !place(self.task.text().and_then(|text| text.model.as_deref())) {
            return Err("`from` takes its own autoencoder and its own readers of prompts along: leave `task` out (task `generate`)".into());
        }
        let diffusion = matches!(self.path, flow::Path::Ddpm(_));
        let velocity = self.path == (flow::Path::Linear {}) && self.parameterization == (Parameterization::Velocity {});
        if self.native.is_none() && (if network.steps.is_some() { !diffusion } else { !velocity }) {
            return Err(match network.steps {
                None => "this released network says a velocity on the linear path: leave `path` and `parameterization` out".into(),
                Some(_) => "this released network is a diffusion, trained on its own `path` (ddpm): leave `path` out; a flow is made of it by \
                            `reflow`"
                    .into(),
            });
        }
        if self.data.size.is_none() && self.from.is_some() {
            return Err("`from` needs `data.size`, the side of the pictures that are made latents of".into());
        }
        Ok(())
    }

    /// Refuses a solver that has no meaning for the network this recipe trains.
    ///
    /// # Errors
    /// The reason, with what to take instead.
    pub fn check_solver(&self, solver: &Solver) -> Result<(), &'static str> {
        let consistent = matches!(self.target, Target::Consistency(_));
        if *solver == (Solver::Consistency {}) {
            return match consistent && self.pairs_are_independent() {
                true => Ok(()),
                false => Err(
                    "`consistency` jumps to the network's data estimate and draws fresh noise, which only a network with \
                     `target = { type = \"consistency\" }` on independent pairs supports; set for instance euler",
                ),
            };
        }
        if solver.needs_rectified() && !self.needs_pairs() {
            return Err(
                "`anchored` is for rectified flows, trained on a teacher's pairs: on a flow from independent pairs its \
                        error grows without bound as steps shrink; reflow first, or set euler or heun",
            );
        }
        if solver.is_stochastic() && !self.score_is_known() {
            return Err(
                "the solver is stochastic and needs the score, which one network gives on independent pairs from noise \
                        only: after reflow, distillation, optimal transport, or between two data sets set a \
                        deterministic solver, for instance `sample.solver = { type = \"heun\" }`",
            );
        }
        if solver.follows_path() && self.path.has_latent() {
            return Err("the solver follows the curve between two points, and this path has a latent between them; \
                        set one that follows the velocity alone, for instance `sample.solver = { type = \"heun\" }`");
        }
        Ok(())
    }

    /// What is worth knowing before `solver` is used, where it is not a mistake.
    pub fn advice(&self, solver: &Solver) -> Option<&'static str> {
        let curved = self.needs_pairs() && self.path != (flow::Path::Linear {});
        (curved && !solver.follows_path()).then_some(
            "this flow was rectified along a curved path, where large steps are exact only for solvers that follow it: \
             --solver ddim takes few steps, this one needs many",
        )
    }

    fn combination(&self) -> Result<(), &'static str> {
        if self.data.label == Some(data::Label::Caption) && self.task.text().is_none() {
            return Err(
                "`data.label` = caption made classes of captions; captions are read by an encoder now: leave it \
                        out and set `task.text = { encoder = \"minilm\" }`",
            );
        }
        let condition = self.network.condition();
        let told = self.task.text().is_some() || self.task.picture().is_some() && condition.vector == 0;
        if !told && (condition.vector > 0 || condition.tokens > 0) {
            return Err(
                "`network.condition.vector` and `tokens` are read from prompts, tokens from pictures too, and nothing here reads any: \
                        leave them out, or set `task.text = { encoder = \"minilm\" }`",
            );
        }
        let masks = matches!(&self.network, nets::NetConfig::Unet(unet) if unet.bounded);
        if masks && (self.parameterization != (Parameterization::Data {}) || self.task.codec().is_some()) {
            return Err(
                "`network.bounded` keeps an answer below the map beside it, which means something for data alone: set \
                        `parameterization = { type = \"data\" }` and no `task.codec`, or leave it out",
            );
        }
        let one_time = matches!(self.time.law, TimeLaw::Constant { .. } | TimeLaw::Steps { .. });
        // At pure noise v-prediction is the data alone, which independent pairs do teach (One More Step).
        let mean_at_noise = self.parameterization == (Parameterization::VPrediction {})
            && self.time.law == (TimeLaw::Constant { t: 0.0 })
            && self.path.at(0.0).beta == 0.0;
        // What stands beside the sample tells of the data there: regression of the one from the other.
        let regression = self.parameterization == (Parameterization::Data {})
            && self.time.law == (TimeLaw::Constant { t: 0.0 })
            && self.network.condition().dense > 0;
        if one_time
            && !self.needs_pairs()
            && !mean_at_noise
            && !regression
            && !matches!(self.target, Target::Segments(_))
        {
            return Err("`time.law` = constant or steps trains only those times: that is distillation, which needs \
                        `coupling = { type = \"stored\" }` and a teacher's pairs (verbs `reflow`, `distill`)");
        }
        if self.target.needs_reach() && !self.network.reaches() {
            return Err("`target` = mean_flow and shortcut need a network that is told how far ahead it looks: set \
                        network.condition.reach = true");
        }
        if matches!(self.target, Target::Guided(_)) && !self.needs_pairs() {
            return Err("`target` = guided is for distillation on a teacher's pairs: use the verb `distill`");
        }
        if self.needs_pairs() && self.data.flip && !self.reflow.flip {
            return Err(
                "`data.flip` would mirror stored pairs; set data.flip = false, or reflow.flip = true where the \
                        teacher was trained on mirrored images",
            );
        }
        if self.needs_pairs() && self.path.has_latent() {
            return Err(
                "stored pairs are two points, and this path mixes in a latent: set `path = { type = \"linear\" }` or \
                        another path between two points",
            );
        }
        if !self.pairs.generate.cuts.is_empty() && matches!(self.coupling, Coupling::Annealed { .. }) {
            return Err(
                "`reflow.annealing` blends noise, and pieces of trajectories (`pairs.generate.cuts`) start elsewhere: leave \
                        one of the two out",
            );
        }
        let readable = self.parameterization.reads(Parameterization::Velocity {}, &self.path);
        if !readable && self.train.sample_every > 0 {
            return Err(
                "sample sheets need a velocity, which this parameterization alone does not give on this path; set \
                        train.sample_every = 0 and read it together with a second network, or train \
                        `parameterization = { type = \"velocity\" }`",
            );
        }
        if matches!(self.path, flow::Path::Mirror { .. }) && self.train.sample_every > 0 {
            return Err("a mirror starts from data, not from noise: there are no sample sheets of it; set \
                        train.sample_every = 0");
        }
        if self.sample.path.as_ref().is_some_and(|path| path.has_latent() || self.path.has_latent()) {
            return Err(
                "`sample.path` changes the pace of a flow from Gaussian noise; a path with a latent is another flow: \
                        leave `sample.path` out, or train on a path without latent",
            );
        }
        self.check_solver(&self.sample.solver)?;
        // A released network knows the empty prompt already.
        let knows = matches!(self.network, NetConfig::Released(_));
        if self.train.condition_dropout == 0.0 && self.sample.guidance.scale != 1.0 && !knows {
            return Err("`sample.guidance.scale` other than 1 contrasts with the unconditional network, which is \
                        trained only where `train.condition_dropout` is above 0");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::recipe::Layers;

    /// Mutants: `latents` refused with the rest of the task; the rest let through with it; the type that a file must name refused.
    #[test]
    fn a_student_chooses_of_its_task_how_the_loss_looks_at_latents() {
        let of = |layers: Layers| layers.set("task.codec=runs/x")?.set("task.latents.w_bg=0.1")?.build();
        let teacher = of(Layers::new()).unwrap();
        let student = |said: Result<Layers, crate::Error>| {
            let recipe = said.and_then(|layers| layers.student_of("distill")?.build());
            recipe.map(|recipe| recipe.task.latents().unwrap().w_bg).map_err(|error| error.to_string())
        };
        let layers = || Layers::new().recipe(&teacher);
        assert_eq!(student(layers().set("task.latents.w_bg=1.0")), Ok(1.0));
        assert_eq!(student(layers().text("[task]\ntype = 'generate'\nlatents = { w_bg = 0.5 }", "x")), Ok(0.5));
        for (said, key) in [
            (layers().set("task.codec=runs/y"), "`task.codec`"),
            (layers().set("task.type=transfer"), "`task.type`"),
            (layers().text("[task]\ntype = 'transfer'\nsource = { name = 'emoji-noto' }", "x"), "`task.source`"),
        ] {
            let said = student(said).unwrap_err();
            assert!(said.contains(key) && said.contains("teacher's weights mean"), "{said}");
        }
        let untold = Layers::new().text("[task]\nlatents = {}", "x").unwrap_err().to_string();
        assert!(untold.contains("type = \"generate\""), "{untold}");
    }

    #[test]
    fn each_senseless_combination_is_refused_with_its_reason() {
        let refused = |set: &[&str]| {
            let layers = set.iter().try_fold(Layers::new(), |layers, set| layers.set(set));
            layers.and_then(Layers::build).unwrap_err().to_string()
        };
        assert!(refused(&["time.law.type=constant", "time.law.t=0.0"]).contains("missing field"), "one key at a time");
        assert!(refused(&["time.law={type='constant',t=0.0}"]).contains("needs `coupling"));
        assert!(refused(&["coupling.type=stored", "data.flip=true"]).contains("mirror"));
        assert!(
            refused(&["coupling.type=stored", "path={type='interpolant'}", "train.sample_every=0"]).contains("latent")
        );
        assert!(
            Layers::new().set("coupling.type=stored").unwrap().set("path.type=trigonometric").unwrap().build().is_ok()
        );
        assert!(refused(&["target={type='mean_flow'}"]).contains("reach = true"));
        assert!(refused(&["target={type='consistency'}", "parameterization={type='data'}"]).contains("free there"));
        assert!(refused(&["sample.solver={type='anchored'}"]).contains("rectified flows"));
        assert!(refused(&["sample.solver={type='consistency'}"]).contains("data estimate"));
        let consistent = Layers::new().set("target={type='consistency'}").unwrap();
        assert!(consistent.set("sample.solver={type='consistency'}").unwrap().build().is_ok());
        assert!(refused(&["train.condition_dropout=0.0", "sample.guidance.scale=2"]).contains("condition_dropout"));
        let stochastic = "sample.solver={type='euler_maruyama'}";
        assert!(refused(&["coupling={type='optimal_transport'}", stochastic]).contains("independent pairs"));
        assert!(Layers::new().set(stochastic).unwrap().build().is_ok());
        let source = "task={type='transfer',source={name='emoji-noto'}}";
        assert!(refused(&[source, "path.type=vp"]).contains("begin at noise"));
        assert!(refused(&[source, "sample.guidance.scale=2"]).contains("guidance"));
        assert!(refused(&[source, stochastic]).contains("two data sets"));
        let stored = "coupling={type='stored'}";
        assert!(refused(&[source, stored, "target={type='guided'}"]).contains("fresh noise"));
        assert!(refused(&[source, "task.source.size=0"]).contains("size"));
        assert!(Layers::new().set(source).unwrap().set("coupling={type='optimal_transport'}").unwrap().build().is_ok());
        assert!(refused(&["task.type=transfer"]).contains("--source"));
        let codec = "task.codec=runs/x";
        assert!(refused(&[source, codec]).contains("task.type=generate"), "{}", refused(&[source, codec]));
        assert!(refused(&[codec, "data.flip=true"]).contains("mirrored"));
        assert!(refused(&[codec, "perceptual={}"]).contains("this flow moves latents"));
        assert!(Layers::new().set(codec).unwrap().build().is_ok());
        let (weighed, cut) = ("task.latents.w_bg=0.5", "pairs.generate.cuts=[0.5]");
        assert!(refused(&[codec, weighed, cut, "coupling={type='stored'}"]).contains("pairs.generate.cuts"));
        let lean = "train.gradient_checkpointing=true";
        for network in ["triflow", "set_transformer"] {
            let said = refused(&[&format!("network={{type='{network}'}}"), lean]);
            assert!(said.contains("gradient_checkpointing") && said.contains(network), "{said}");
        }
        assert!(Layers::new().set(lean).unwrap().build().is_ok());
        assert!(refused(&["train.batch=0"]).contains("train.batch"));
        assert!(refused(&["sample.steps=0"]).contains("sample.steps"));
        assert!(refused(&["name=a/b"]).contains("folder"));
        assert!(refused(&["train.optim.ls=1"]).contains("--set train.optim.ls=1: unknown key `ls`"));
    }
}
