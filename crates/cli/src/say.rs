//! Where words go. The log is not the run: a closed pipe or a full disk under it stops nothing. A result that cannot be written
//! is an error, unless its reader has gone (`rectiflow data list | head -1`).

use rectiflow::Error;
use std::io::{ErrorKind, Write};

/// A line of the log, on standard error.
pub fn line(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}"); // nobody is left to be told
}

/// A result, on standard output.
///
/// # Errors
/// What the system says, for instance that the disk is full.
pub fn result(text: &[u8]) -> Result<(), Error> {
    let mut out = std::io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Failure(format!("the result cannot be written to standard output: {error}")))
        }
        _ => Ok(()),
    }
}
