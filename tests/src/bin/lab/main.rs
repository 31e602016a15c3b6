//! `lab`: guards what the lab starts, and is what `./dev up` runs.

mod down;
mod hold;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    wpclone_supervisor::run_if_supervisor();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["up"] => up::up(),
        ["down"] => down::down(),
        ["keep"] => hold::keep(),
        ["hold", folder, program] => hold::hold(folder.as_ref(), program.as_ref()),
        _ => {
            eprintln!("usage: lab up | lab down");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error}");
            ExitCode::FAILURE
        }
    }
}
