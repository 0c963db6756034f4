//! `serve` and `label`: from arguments to a server, from its lines to the terminal.

use crate::{args, say};
use rectiflow::{Error, device::Chosen};
use server::{LabelOptions, Limits, Options};
use std::sync::{Arc, atomic::AtomicBool};

/// The variable that keeps a key out of the list of processes.
const KEY: &str = "RECTIFLOW_API_KEY";

pub(super) fn serve(
    request: args::Serve,
    global: &args::Global,
    device: &Chosen,
    stop: &Arc<AtomicBool>,
) -> Result<(), Error> {
    let args::Serve {
        models,
        listen,
        api_key,
        allow_host,
        runs,
        state,
        state_size,
        queue,
        batch_size,
        max_images,
        max_steps,
        max_side,
        patience,
        max_upload,
        model_memory,
        max_connections,
    } = request;
    let limits = Limits {
        queue,
        batch: batch_size,
        images: max_images,
        steps: max_steps,
        side: max_side,
        patience: std::time::Duration::from_secs(patience),
        weights: model_memory.map(|mb| mb.saturating_mul(1 << 20)),
        upload: max_upload.saturating_mul(1 << 20),
        uploads: max_upload.saturating_mul(8 << 20),
        connections: max_connections,
        state_bytes: state_size.saturating_mul(1 << 20),
        ..Limits::default()
    };
    // A key that cannot be read must not come to mean that none is asked for.
    let key = match (api_key, std::env::var(KEY)) {
        (Some(key), _) | (None, Ok(key)) => Some(key),
        (None, Err(std::env::VarError::NotPresent)) => None,
        (None, Err(std::env::VarError::NotUnicode(_))) => {
            return Err(Error::Usage(format!("{KEY} is not UTF-8 text; give a key of letters and digits")));
        }
    };
    let options = Options { models, listen, key, hosts: allow_host, runs, state, limits };
    let quiet = global.quiet;
    let ready = move |address: std::net::SocketAddr| {
        if !quiet {
            say::line(format_args!("listening at http://{address}/ (Ctrl-C finishes what is being drawn and ends)"));
        }
    };
    server::serve(options, device, stop, |line| say::line(line), ready)
}

pub(super) fn label(request: args::Label, global: &args::Global, stop: &Arc<AtomicBool>) -> Result<(), Error> {
    let args::Label { folder, output, axes, num, seed, folders_are_clips, listen, allow_host } = request;
    let options = LabelOptions { folder, output, axes, pairs: num, seed, folders_are_clips, listen, hosts: allow_host };
    let quiet = global.quiet;
    let ready = move |address: std::net::SocketAddr| {
        if !quiet {
            say::line(format_args!("label at http://{address}/ (Ctrl-C ends; every answer is kept at once)"));
        }
    };
    server::label(
        &options,
        stop,
        move |line| {
            if !quiet {
                say::line(line)
            }
        },
        ready,
    )
}
