//! The dashboard in a real browser. The test harness is its own, because the program is also the supervisor process of the
//! chromedriver that it starts. With `WPCLONE_PICTURES=folder` a screenshot of every page is saved there.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod browser;
mod clones;
mod forms;
mod hostile_pages;
mod layout;
mod live_updates;
mod readme_pictures;
#[expect(dead_code, reason = "shared with the tests that need no browser")]
#[path = "../api/support.rs"]
mod support;

use std::pin::Pin;
use std::process::ExitCode;

use browser::{Browser, Driver};

type TestFn = fn(Browser) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! tests {
    ($($place:ident::$name:ident),+ $(,)?) => {
        &[$((concat!(stringify!($place), "::", stringify!($name)), |browser| Box::pin($place::$name(browser)))),+]
    };
}

const TESTS: &[(&str, TestFn)] = tests![
    layout::an_empty_dashboard_is_accessible_and_fits_every_screen,
    layout::a_busy_dashboard_is_accessible_and_fits_every_screen,
    layout::a_failed_task_is_accessible_and_fits_every_screen,
    layout::public_pages_are_accessible_and_fit_every_screen,
    forms::forms_are_accessible_and_fit_every_screen,
    forms::a_clone_is_started_with_the_keyboard_and_followed,
    forms::a_site_is_set_up_and_an_application_password_made_with_the_mouse,
    forms::errors_are_shown_at_their_fields_and_values_are_kept,
    forms::the_browser_reports_missing_fields_before_anything_is_sent,
    forms::a_form_that_is_sent_twice_starts_one_task,
    forms::a_finished_task_is_run_again,
    forms::forms_work_without_scripts,
    forms::forms_are_for_signed_in_users_of_this_origin,
    live_updates::a_running_task_is_followed_without_reloading_the_page,
    live_updates::a_new_task_appears_in_the_list_but_not_under_the_pointer,
    live_updates::the_connection_status_says_when_the_api_is_away_and_when_it_is_back,
    live_updates::the_keyboard_reaches_the_search,
    live_updates::cancelling_a_task_asks_for_confirmation,
    live_updates::a_failed_task_is_retried,
    live_updates::a_secret_is_shown_once_on_demand,
    live_updates::a_screenshot_is_shown_at_full_size,
    live_updates::a_user_signs_in_and_out,
    clones::clones_are_accessible_and_fit_every_screen,
    clones::the_time_left_is_counted_down_and_a_deleted_clone_disappears,
    clones::a_clone_is_extended,
    clones::a_login_link_is_used_once,
    clones::deleting_a_clone_asks_for_confirmation,
    clones::a_clones_password_is_shown_once_on_demand,
    hostile_pages::a_page_of_another_port_puts_nobody_into_its_session,
    hostile_pages::a_page_of_another_port_starts_and_reads_nothing,
    hostile_pages::a_clones_service_worker_stays_within_the_clone_and_ends_with_it,
    readme_pictures::the_pages_that_readme_shows_are_rendered,
];

fn main() -> ExitCode {
    wpclone_supervisor::run_if_supervisor();
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let selected = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let tests: Vec<_> = TESTS.iter().filter(|(name, _)| selected(name)).collect();
    if std::env::args().any(|a| a == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failed = runtime.block_on(run(&tests));
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {} passed; {failed} failed", tests.len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

/// Runs the tests one after another, each in a browser session of its own. Returns how many failed.
async fn run(tests: &[&(&str, TestFn)]) -> usize {
    if tests.is_empty() {
        return 0;
    }
    let driver = Driver::start().await;
    let mut failed = 0;
    for (name, test) in tests {
        let began = std::time::Instant::now();
        let browser = driver.browser().await;
        let result = tokio::spawn(tokio::time::timeout(browser::TEST_TIMEOUT, test(browser.clone()))).await;
        browser.close().await;
        let passed = matches!(result, Ok(Ok(())));
        let word = if passed { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.1} s)", began.elapsed().as_secs_f32());
        failed += usize::from(!passed);
    }
    driver.stop().await;
    failed
}
