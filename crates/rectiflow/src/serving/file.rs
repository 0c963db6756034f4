//! What comes out of a served model: a picture, a sound or a shape, as the bytes of a file.

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Medium {
    /// A picture.
    Png,
    /// A sound.
    Wav,
    /// A shape.
    Glb,
}

impl Medium {
    /// Of a file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Wav => "wav",
            Self::Glb => "glb",
        }
    }

    /// As mail and HTTP call it.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Wav => "audio/wav",
            Self::Glb => "model/gltf-binary",
        }
    }
}

/// A file that lies nowhere yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// What it holds.
    pub medium: Medium,
    /// Its content.
    pub bytes: Vec<u8>,
}
