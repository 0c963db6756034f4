//! What goes over a connection: `kind` (1 byte), length of the payload in bytes (8, little-endian), payload. Who reads knows which kind
//! and which length must come, so that nothing is allocated on another's word.

use crate::Lost;
use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Numbers to be summed.
    Part = 1,
    /// Their sum.
    Sum = 2,
    /// What rank 0 says.
    Word = 3,
}

/// A connection to another rank.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Who is at its end.
    pub(crate) other: usize,
    own: usize,
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
}

/// Bytes of numbers that are turned at a time.
const PIECE: usize = 1 << 16;

impl Wire {
    pub(crate) fn new(stream: TcpStream, own: usize, other: usize) -> Self {
        Self { stream, other, own, sent: AtomicU64::new(0), received: AtomicU64::new(0) }
    }

    fn gone(&self, error: &std::io::Error) -> Lost {
        let why = match error.kind() {
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
                "it has been silent for too long".to_string()
            }
            std::io::ErrorKind::UnexpectedEof => "its connection was closed".to_string(),
            _ => error.to_string(),
        };
        Lost::Gone { rank: self.other, why }
    }

    fn head(&self, kind: Kind, length: usize) -> Result<(), Lost> {
        let mut head = [kind as u8; 9];
        head[1..].copy_from_slice(&(length as u64).to_le_bytes());
        (&self.stream).write_all(&head).map_err(|error| self.gone(&error))?;
        self.sent.fetch_add(9 + length as u64, Ordering::Relaxed);
        Ok(())
    }

    /// The length of the next message, which must be of this kind.
    fn expect(&self, kind: Kind) -> Result<u64, Lost> {
        let mut head = [0u8; 9];
        (&self.stream).read_exact(&mut head).map_err(|error| self.gone(&error))?;
        let [found, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        if found != kind as u8 {
            let what = format!("message {found} where {} was due", kind as u8);
            return Err(Lost::Astray { rank: self.other, own: self.own, what });
        }
        self.received.fetch_add(9 + length, Ordering::Relaxed);
        Ok(length)
    }

    pub(crate) fn send(&self, kind: Kind, bytes: &[u8]) -> Result<(), Lost> {
        self.head(kind, bytes.len())?;
        (&self.stream).write_all(bytes).map_err(|error| self.gone(&error))
    }

    /// The next message, of `most` bytes at most.
    pub(crate) fn receive(&self, kind: Kind, most: usize) -> Result<Vec<u8>, Lost> {
        let length = self.expect(kind)?;
        if length > most as u64 {
            let what = format!("{length} bytes where at most {most} were due");
            return Err(Lost::Astray { rank: self.other, own: self.own, what });
        }
        // Memory is taken as bytes come, not as they are announced.
        let mut bytes = Vec::new();
        (&self.stream).take(length).read_to_end(&mut bytes).map_err(|error| self.gone(&error))?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(self.gone(&std::io::ErrorKind::UnexpectedEof.into())),
        }
    }

    pub(crate) fn send_numbers(&self, kind: Kind, values: &[f32]) -> Result<(), Lost> {
        self.head(kind, 4 * values.len())?;
        let mut bytes = Vec::with_capacity(PIECE);
        for piece in values.chunks(PIECE / 4) {
            bytes.clear();
            piece.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            (&self.stream).write_all(&bytes).map_err(|error| self.gone(&error))?;
        }
        Ok(())
    }

    /// The next message of as many numbers, each handed on with the one it stands for.
    pub(crate) fn receive_numbers(
        &self,
        kind: Kind,
        values: &mut [f32],
        take: impl Fn(&mut f32, f32),
    ) -> Result<(), Lost> {
        let length = self.expect(kind)?;
        if length != 4 * values.len() as u64 {
            let what = format!("{} numbers where {} were due", length / 4, values.len());
            return Err(Lost::Astray { rank: self.other, own: self.own, what });
        }
        let mut bytes = vec![0u8; PIECE];
        for piece in values.chunks_mut(PIECE / 4) {
            let bytes = &mut bytes[..4 * piece.len()];
            (&self.stream).read_exact(bytes).map_err(|error| self.gone(&error))?;
            let (words, _) = bytes.as_chunks::<4>();
            piece.iter_mut().zip(words).for_each(|(value, word)| take(value, f32::from_le_bytes(*word)));
        }
        Ok(())
    }
}
