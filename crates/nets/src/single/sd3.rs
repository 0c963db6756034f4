//! Stability's names for Stable Diffusion 3 and 3.5, line by line.

use super::Line;

/// Queries, keys and values of the image, and of the text.
const IMAGE: [&str; 3] = ["to_q", "to_k", "to_v"];
const TEXT: [&str; 3] = ["add_q_proj", "add_k_proj", "add_v_proj"];

/// The map of a network of `depth` joint blocks.
pub(super) fn lines(depth: usize) -> Vec<Line> {
    let mut lines = vec![
        Line::new("pos_embed", "pos_embed.pos_embed"),
        Line::new("x_embedder.proj.", "pos_embed.proj."),
        Line::new("t_embedder.mlp.0.", "time_text_embed.timestep_embedder.linear_1."),
        Line::new("t_embedder.mlp.2.", "time_text_embed.timestep_embedder.linear_2."),
        Line::new("y_embedder.mlp.0.", "time_text_embed.text_embedder.linear_1."),
        Line::new("y_embedder.mlp.2.", "time_text_embed.text_embedder.linear_2."),
        Line::new("context_embedder.", "context_embedder."),
        Line::new("final_layer.linear.", "proj_out."),
        Line::new("final_layer.adaLN_modulation.1.", "norm_out.linear.").swapped(),
    ];
    for i in 0..depth {
        let (here, there) = (format!("joint_blocks.{i}."), format!("transformer_blocks.{i}."));
        for (stream, attention, names, norms, out) in [
            ("x_block.attn.", "attn.", IMAGE, ["norm_q", "norm_k"], "to_out.0."),
            ("context_block.attn.", "attn.", TEXT, ["norm_added_q", "norm_added_k"], "to_add_out."),
            ("x_block.attn2.", "attn2.", IMAGE, ["norm_q", "norm_k"], "to_out.0."),
        ] {
            let (one, other) = (format!("{here}{stream}"), format!("{there}{attention}"));
            lines.push(Line::rows(format!("{one}qkv."), &other, &names, &[1, 1, 1]));
            lines.push(Line::new(format!("{one}ln_q."), format!("{other}{}.", norms[0])));
            lines.push(Line::new(format!("{one}ln_k."), format!("{other}{}.", norms[1])));
            lines.push(Line::new(format!("{one}proj."), format!("{other}{out}")));
        }
        for (stream, perceptron) in [("x_block.mlp.", "ff."), ("context_block.mlp.", "ff_context.")] {
            lines.push(Line::new(format!("{here}{stream}fc1."), format!("{there}{perceptron}net.0.proj.")));
            lines.push(Line::new(format!("{here}{stream}fc2."), format!("{there}{perceptron}net.2.")));
        }
        lines.push(Line::new(format!("{here}x_block.adaLN_modulation.1."), format!("{there}norm1.linear.")));
        let text =
            Line::new(format!("{here}context_block.adaLN_modulation.1."), format!("{there}norm1_context.linear."));
        // A text that is dropped has shift and scale alone, and diffusers says them the other way round.
        lines.push(if i + 1 == depth { text.swapped() } else { text });
    }
    lines
}
