//! Real clones: WordPress, php-fpm, MariaDB. No libtest harness: this program is its own guard, and the owner that is
//! killed. Words on the command line choose tests by their names.

mod hostile;
mod isolation;
mod life;
mod owner;
mod recovery;
mod sites;
mod support;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

type Test = (&'static str, fn() -> LocalBoxFuture<'static, ()>);

/// Names are sentences.
macro_rules! tests {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        vec![$((stringify!($name), || $module::$name().boxed_local())),+]
    };
}

/// No test takes a minute on an idle machine.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    wpclone_supervisor::run_if_supervisor();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    if args.first().is_some_and(|a| a == "own") {
        runtime.block_on(owner::own(&args[1..]));
        return ExitCode::SUCCESS;
    }
    wpclone_supervisor::adopt_orphans().expect("a subreaper");
    let all: Vec<Test> = tests![
        sites::two_clones_at_once_answer_at_their_own_paths,
        sites::clones_by_host_have_one_address_and_the_other_form_leads_to_it,
        sites::behind_tls_a_clone_is_a_site_with_tls,
        sites::a_clone_takes_over_its_sources_prefix_and_limits,
        sites::a_link_logs_in_once,
        sites::files_are_sent_in_parts_and_uploads_stream,
        sites::an_import_that_replaces_all_users_does_not_lock_us_out,
        isolation::a_clone_sees_nothing_of_another,
        isolation::a_clone_is_harmless,
        isolation::a_dedicated_clone_has_a_database_server_of_its_own,
        isolation::without_networks_of_their_own_the_must_use_plugin_alone_keeps_clones_in,
        isolation::without_root_clones_work_behind_open_basedir,
        hostile::hostile_requests_get_nothing,
        life::what_is_asked_twice_is_done_once,
        life::clones_end_when_their_time_is_over,
        life::nothing_is_left_of_a_deleted_clone,
        life::what_is_missing_is_said,
        life::an_installation_that_is_killed_is_not_taken_for_a_database,
        life::the_first_clone_takes_files_that_are_ready,
        life::another_wordpress_takes_the_place_of_the_one_before,
        life::a_clone_whose_database_dies_while_it_is_made_is_made_by_the_next_attempt,
        life::programs_that_die_are_started_again,
        recovery::clones_that_cannot_be_read_are_kept_and_reported_and_taken_up_again,
        recovery::only_what_was_being_created_or_deleted_is_removed,
        recovery::a_state_folder_of_another_layout_is_refused_and_left_untouched,
        owner::what_an_owner_and_its_guards_leave_when_all_are_killed_is_cleared,
        owner::a_killed_owner_takes_its_programs_along_and_the_next_finds_all_clones,
    ];
    let words: Vec<&String> = args.iter().filter(|a| !a.starts_with('-')).collect();
    if args.iter().any(|a| a == "--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let chosen = |name: &str| words.is_empty() || words.iter().any(|word| name.contains(word.as_str()));
    let (mut failed, mut passed) = (Vec::new(), 0);
    for (name, test) in all.into_iter().filter(|(name, _)| chosen(name)) {
        let run = async { tokio::time::timeout(LIMIT, test()).await.expect("the test within ten minutes") };
        let begun = std::time::Instant::now();
        let done = runtime.block_on(std::panic::AssertUnwindSafe(run).catch_unwind());
        let word = if done.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", begun.elapsed().as_secs_f32());
        if done.is_ok() { passed += 1 } else { failed.push(name) }
    }
    support::forget_prepared();
    let word = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {} failed", failed.len());
    failed.iter().for_each(|name| println!("    {name}"));
    ExitCode::from(u8::from(!failed.is_empty()))
}
