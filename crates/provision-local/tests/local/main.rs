//! Real clones: WordPress, php-fpm, MariaDB. No libtest harness: this program is also the supervisor, and the owner that is
//! killed. Words on the command line select tests by name; `--test-threads N` runs as many at once, each in a process of its
//! own.

mod database;
mod database_bounds;
mod database_disk;
mod disk;
mod disk_hidden;
mod hostile;
mod isolation;
mod kills;
mod life;
mod owner;
mod recovery;
mod resources;
mod runner;
mod sandbox;
mod sites;
mod slow_disk;
mod support;
mod upkeep;

use std::process::ExitCode;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;

type Test = (&'static str, fn() -> LocalBoxFuture<'static, ()>);

macro_rules! tests {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        vec![$((stringify!($name), || $module::$name().boxed_local())),+]
    };
}

fn main() -> ExitCode {
    wpclone_supervisor::run_if_supervisor();
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "slow-disk") {
        slow_disk::run(&args[1..]);
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads");
    if args.first().is_some_and(|a| a == "own") {
        runtime.block_on(owner::own(&args[1..]));
        return ExitCode::SUCCESS;
    }
    wpclone_supervisor::adopt_orphans().expect("a subreaper");
    let all: Vec<Test> = tests![
        sites::two_clones_created_at_once_respond_at_their_own_paths,
        sites::with_host_routing_the_path_form_redirects_to_the_canonical_address,
        sites::behind_tls_a_clone_uses_https_addresses,
        sites::a_clone_gets_its_sources_table_prefix_and_limits,
        sites::a_login_link_works_once,
        sites::files_support_ranges_and_uploads_are_streamed,
        sites::access_is_restored_after_an_import_that_replaces_all_users,
        isolation::a_clone_cannot_access_another,
        isolation::a_clone_sends_no_mail_and_no_requests,
        isolation::requests_around_wordpress_fail_at_once_and_end_no_page,
        isolation::a_dedicated_clone_has_a_database_server_of_its_own,
        isolation::without_a_sandbox_the_sandbox_plugin_stops_requests,
        isolation::without_root_clones_are_isolated_by_open_basedir,
        sandbox::programs_of_a_clone_see_nothing_of_the_machine,
        sandbox::system_calls_that_attack_the_kernel_are_denied,
        sandbox::nothing_of_a_clone_outlives_it,
        sandbox::a_clone_ends_with_its_killed_supervisor,
        resources::a_fork_bomb_is_bounded_and_others_go_on,
        resources::memory_and_memory_files_of_a_clone_are_bounded,
        resources::what_the_kernel_counts_for_all_is_out_of_a_clones_reach,
        resources::a_clone_gets_no_sockets_of_networks,
        resources::a_clone_that_holds_very_many_locks_of_files_is_stopped,
        resources::control_groups_of_a_killed_owner_are_removed_with_another_state_folder_too,
        sandbox::phps_log_reaches_the_caller_and_nothing_in_its_place_does,
        sandbox::a_planted_socket_gets_nothing,
        sandbox::without_sandboxes_clones_are_refused_unless_that_is_allowed,
        sandbox::without_root_code_that_leaves_phps_restrictions_reaches_nothing,
        hostile::hostile_requests_reach_nothing,
        disk::a_clone_that_fills_the_disk_at_full_speed_is_stopped_before_the_reserve_is_gone,
        disk::files_that_only_a_sockets_queue_would_hold_take_no_space,
        disk_hidden::no_space_is_allocated_without_being_written,
        disk_hidden::a_clone_that_hides_what_it_takes_and_what_it_writes_is_stopped,
        disk_hidden::clones_work_again_as_soon_as_a_full_disk_has_space,
        disk::a_clone_that_grows_a_little_while_others_fill_the_disk_is_not_stopped,
        disk::a_clone_that_takes_more_than_it_may_is_stopped_and_not_started_again,
        disk::clones_with_very_deep_folders_are_deleted_and_keep_nobody_from_starting,
        hostile::requests_for_other_hosts_and_for_no_definite_host_are_refused,
        hostile::requests_by_path_are_for_the_clones_own_host,
        hostile::idle_connections_stop_no_work,
        hostile::slow_bodies_hold_none_of_a_clones_php_processes,
        hostile::silent_uploads_to_one_clone_leave_space_to_those_of_another,
        hostile::a_clone_with_very_many_access_rules_delays_no_other,
        database::sql_of_a_clone_reaches_no_file_and_no_other_schema,
        database::connections_of_a_clone_that_never_log_in_keep_nobody_from_the_database,
        database::statements_and_transactions_without_end_are_ended,
        database::a_clone_that_prepares_transactions_all_the_time_is_watched_like_any_other,
        database::a_clone_that_locks_its_tables_is_deleted_all_the_same,
        database::temporary_tables_and_memory_of_a_clone_are_bounded,
        database_bounds::a_clone_that_fills_the_servers_memory_is_stopped_and_no_statement_of_another_fails,
        database_bounds::a_clone_that_fills_the_memory_of_its_own_server_is_stopped_and_nobody_else_notices,
        database_bounds::a_clone_that_opens_very_many_tables_leaves_files_for_others,
        database_disk::a_clone_that_fills_the_disk_by_sql_is_stopped_and_no_statement_of_another_fails,
        database_disk::temporary_tables_of_clones_leave_the_reserve_free_and_no_statement_of_another_fails,
        database_disk::a_clone_that_fills_arias_log_loses_its_connections_and_no_statement_of_another_fails,
        database_disk::while_the_disk_is_nearly_full_arias_log_leaves_the_reserve_free,
        database_disk::nothing_is_stored_about_a_clones_tables_outside_of_its_schema,
        database::database_servers_see_their_own_folder_alone_and_have_users_of_their_own,
        database::without_root_the_database_is_confined_and_shared_in_the_same_way,
        life::repeated_calls_have_one_effect,
        life::one_of_several_owners_leaves_a_place_for_a_clone_to_the_others,
        life::a_sweep_deletes_expired_and_abandoned_clones,
        life::nothing_is_left_of_a_deleted_clone,
        life::missing_programs_and_folders_are_reported,
        life::a_killed_database_installation_is_repeated,
        life::the_first_clone_takes_the_prewarmed_files,
        life::another_wordpress_replaces_the_template,
        life::a_clone_whose_database_dies_during_its_creation_is_created_by_the_next_attempt,
        life::programs_that_die_are_restarted,
        recovery::clones_that_cannot_be_read_are_kept_and_reported_and_taken_up_again,
        recovery::only_what_was_being_created_or_deleted_is_removed,
        recovery::a_state_folder_of_another_layout_is_refused_and_left_untouched,
        upkeep::clones_that_never_start_delay_neither_readiness_nor_other_clones,
        upkeep::programs_that_are_being_started_end_with_their_provisioner,
        upkeep::a_clone_that_fails_to_start_is_tried_with_growing_pauses,
        upkeep::a_clone_that_cannot_be_removed_is_shown_tried_again_and_stops_nobody,
        upkeep::clones_are_restarted_while_the_shared_database_is_down,
        upkeep::a_system_user_is_not_given_to_the_next_clones,
        slow_disk::a_slow_disk_delays_neither_other_clones_nor_heartbeats,
        kills::a_kill_at_any_moment_of_a_creation_leaves_nothing_and_the_next_attempt_succeeds,
        kills::a_kill_at_any_moment_of_a_deletion_leaves_nothing,
        owner::orphans_of_a_killed_owner_and_killed_supervisors_are_killed,
        owner::programs_end_with_a_killed_owner_and_the_next_one_finds_all_clones,
    ];
    if args.iter().any(|a| a == "--list") {
        all.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    if let [exact, chosen] = &args[..]
        && exact == runner::EXACT
    {
        // A runner that is killed leaves no test behind.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .expect("a signal at its end");
        let (_, test) = all.into_iter().find(|(name, _)| name == chosen).expect("a test of this name");
        runtime.block_on(runner::within_limit(test()));
        return ExitCode::SUCCESS;
    }
    let names: Vec<&str> = all.into_iter().map(|(name, _)| name).collect();
    runtime.block_on(runner::run(&names, &args))
}
