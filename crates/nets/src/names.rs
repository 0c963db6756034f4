//! What diffusers' names and ours differ in: numbered parts of sequences, and the autoencoder's old attention.

/// Pieces of diffusers' names, and what stands in their place here.
const PIECES: [(&str, &str); 3] = [(".net.0.proj.", ".fc1."), (".net.2.", ".fc2."), (".to_out.0.", ".to_out.")];

/// A tensor's name in diffusers under ours.
pub(crate) fn ours(theirs: &str) -> String {
    PIECES.iter().fold(theirs.to_owned(), |name, (old, new)| name.replace(old, new))
}

/// An autoencoder's attention under today's names.
pub(crate) fn attention(name: &str) -> String {
    let old = [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.")];
    old.iter().fold(name.to_owned(), |name, (old, new)| name.replace(old, new))
}
