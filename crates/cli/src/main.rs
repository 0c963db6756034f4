//! The program `rectiflow`: arguments in, messages and exit codes out. What it does lives in the library.

mod args;
mod bars;
mod run;
mod say;
mod signals;

use rectiflow::Error;
use std::{process::ExitCode, sync::Arc, sync::atomic::AtomicBool, sync::atomic::Ordering};

#[global_allocator]
static ALLOCATOR: rectiflow::allocator::MiMalloc = rectiflow::allocator::MiMalloc;

fn main() -> ExitCode {
    install_panic_hook();
    rectiflow::allocator::keep_pages();
    let cli = args::Cli::typed();
    let stop = Arc::new(AtomicBool::new(false));
    let outcome = run::run(cli, stop.clone());
    // Stopped by a signal: whatever was whole is on disk, and scripts learn that it is not all.
    let stopped = stop.load(Ordering::Relaxed);
    match outcome {
        Ok(()) if stopped => ExitCode::from(signals::exit_code()),
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Interrupted) => {
            say::line("stopped");
            ExitCode::from(signals::exit_code())
        }
        Err(error) => {
            say::line(format_args!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// A panic is always a fault of this program, never of its user: say so and where.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(|at| format!(" at {at}")).unwrap_or_default();
        let what = info.payload_as_str().unwrap_or("no message");
        say::line(format_args!("rectiflow {} has a bug: {what}{place}", env!("CARGO_PKG_VERSION")));
        say::line("Please report this line with the command that led to it. Finished checkpoints are intact.");
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            say::line(std::backtrace::Backtrace::force_capture());
        }
        std::process::exit(101);
    }));
}
