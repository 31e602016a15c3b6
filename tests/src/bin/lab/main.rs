//! `lab`: the supervisor of the programs that the lab starts, and what `./dev up` and `./dev cluster site` run.

mod child_process;
mod down;
mod site;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    wpclone_supervisor::run_if_supervisor();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["up"] => up::up(),
        ["down"] => down::down(),
        ["site", address] if let Ok(address) = address.parse() => site::site(address),
        ["keep-folder"] => child_process::keep_folder(),
        ["run-program", folder, program] => child_process::run_program(folder.as_ref(), program.as_ref()),
        _ => {
            eprintln!("usage: lab up | lab down | lab site ADDRESS");
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
