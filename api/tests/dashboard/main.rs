//! The dashboard as people see it, in a real browser. The harness is its own, for the program is also the guard of the
//! chromedriver it starts. `WPCLONE_PICTURES=folder` keeps a picture of every page.

#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

mod browser;
mod clones;
mod live;
mod looks;
#[expect(dead_code, reason = "shared with the tests that need no browser")]
#[path = "../api/support.rs"]
mod support;

use std::pin::Pin;
use std::process::ExitCode;

use browser::{Browser, Driver};

type Story = fn(Browser) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! stories {
    ($($place:ident::$name:ident),+ $(,)?) => {
        &[$((concat!(stringify!($place), "::", stringify!($name)), |browser| Box::pin($place::$name(browser)))),+]
    };
}

const STORIES: &[(&str, Story)] = stories![
    looks::an_empty_dashboard_is_accessible_and_fits_every_screen,
    looks::a_busy_dashboard_is_accessible_and_fits_every_screen,
    looks::a_failed_task_is_accessible_and_fits_every_screen,
    looks::open_pages_are_accessible_and_fit_every_screen,
    live::a_running_task_is_followed_without_loading_the_page_again,
    live::a_new_task_appears_in_the_list_but_not_under_the_pointer,
    live::the_mark_says_when_the_api_is_away_and_when_it_is_back,
    live::the_keyboard_reaches_the_search,
    live::ending_a_task_is_asked_once,
    live::a_failed_task_is_tried_again,
    live::a_secret_is_shown_once_on_demand,
    live::a_picture_is_shown_at_full_size,
    live::somebody_signs_in_and_out,
    clones::clones_are_accessible_and_fit_every_screen,
    clones::the_time_left_is_counted_down_and_a_clone_that_went_disappears,
    clones::a_clone_is_kept_longer,
    clones::a_clone_is_entered_once,
    clones::deleting_a_clone_is_asked_once,
    clones::a_clones_password_is_shown_once_on_demand,
];

fn main() -> ExitCode {
    wpclone_supervisor::run_if_supervisor();
    let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let wanted = |name: &str| words.is_empty() || words.iter().any(|w| name.contains(w.as_str()));
    let stories: Vec<_> = STORIES.iter().filter(|(name, _)| wanted(name)).collect();
    if std::env::args().any(|a| a == "--list") {
        stories.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let failed = runtime.block_on(tell(&stories));
    println!("{} stories, {failed} failed", stories.len());
    ExitCode::from(u8::from(failed > 0))
}

/// Tells the stories one after another, each with a browser window of its own.
async fn tell(stories: &[&(&str, Story)]) -> usize {
    if stories.is_empty() {
        return 0;
    }
    let driver = Driver::start().await;
    let mut failed = 0;
    for (name, story) in stories {
        let browser = driver.browser().await;
        let told = tokio::spawn(tokio::time::timeout(browser::STORY, story(browser.clone()))).await;
        browser.close().await;
        let well = matches!(told, Ok(Ok(())));
        println!("story {name} ... {}", if well { "ok" } else { "FAILED" });
        failed += usize::from(!well);
    }
    driver.stop().await;
    failed
}
