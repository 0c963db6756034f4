//! Black Forest Labs' names for FLUX, line by line.

use super::Line;

/// The map of a network of `double` joint blocks and `single` blocks of one stream.
pub(super) fn lines(double: usize, single: usize) -> Vec<Line> {
    let mut lines = vec![
        Line::new("img_in.", "x_embedder."),
        Line::new("txt_in.", "context_embedder."),
        Line::new("final_layer.linear.", "proj_out."),
        Line::new("final_layer.adaLN_modulation.1.", "norm_out.linear.").swapped(),
    ];
    for (one, other) in [("time_in", "timestep"), ("vector_in", "text"), ("guidance_in", "guidance")] {
        for (layer, number) in [("in_layer", 1), ("out_layer", 2)] {
            lines.push(Line::new(
                format!("{one}.{layer}."),
                format!("time_text_embed.{other}_embedder.linear_{number}."),
            ));
        }
    }
    for i in 0..double {
        let (here, there) = (format!("double_blocks.{i}."), format!("transformer_blocks.{i}."));
        for (stream, names, norms, out, norm, perceptron) in [
            ("img", ["to_q", "to_k", "to_v"], ["norm_q", "norm_k"], "to_out.0", "norm1", "ff"),
            (
                "txt",
                ["add_q_proj", "add_k_proj", "add_v_proj"],
                ["norm_added_q", "norm_added_k"],
                "to_add_out",
                "norm1_context",
                "ff_context",
            ),
        ] {
            let attention = format!("{here}{stream}_attn.");
            lines.push(Line::rows(format!("{attention}qkv."), &format!("{there}attn."), &names, &[1, 1, 1]));
            for (mine, theirs) in ["query", "key"].into_iter().zip(norms) {
                lines.push(Line::new(
                    format!("{attention}norm.{mine}_norm.scale"),
                    format!("{there}attn.{theirs}.weight"),
                ));
            }
            lines.push(Line::new(format!("{attention}proj."), format!("{there}attn.{out}.")));
            lines.push(Line::new(format!("{here}{stream}_mod.lin."), format!("{there}{norm}.linear.")));
            lines.push(Line::new(format!("{here}{stream}_mlp.0."), format!("{there}{perceptron}.net.0.proj.")));
            lines.push(Line::new(format!("{here}{stream}_mlp.2."), format!("{there}{perceptron}.net.2.")));
        }
    }
    for i in 0..single {
        let (here, there) = (format!("single_blocks.{i}."), format!("single_transformer_blocks.{i}."));
        // The perceptron is four times as wide as the network.
        let first = ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"];
        lines.push(Line::rows(format!("{here}linear1."), &there, &first, &[1, 1, 1, 4]));
        lines.push(Line::new(format!("{here}linear2."), format!("{there}proj_out.")));
        lines.push(Line::new(format!("{here}modulation.lin."), format!("{there}norm.linear.")));
        for (mine, theirs) in [("query", "norm_q"), ("key", "norm_k")] {
            lines.push(Line::new(format!("{here}norm.{mine}_norm.scale"), format!("{there}attn.{theirs}.weight")));
        }
    }
    lines
}
