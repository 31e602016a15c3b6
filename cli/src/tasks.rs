//! `wpclone tasks`.

use serde_json::{Map, Value};
use wpclone_task::TaskList;

use crate::args::TasksArgs;
use crate::client::{Api, MAX_PAGES, PAGE_SIZE, Task};
use crate::failure::Failure;
use crate::follow::follow;
use crate::progress::EventPrinter;
use crate::retry::short_outage;
use crate::tables;
use crate::text::{print, print_json};

/// Lists tasks, or shows one or its events.
pub(crate) async fn run(api: &Api, json: bool, args: TasksArgs) -> Result<u8, Failure> {
    match args.id {
        Some(id) if args.events => {
            follow(api, id, &mut EventPrinter { json }).await?;
        }
        Some(id) => print_task(api, json, &api.task(id, &short_outage()).await?)?,
        None => list(api, json, &args).await?,
    }
    Ok(0)
}

/// Prints a task, and its problem if it failed.
pub(crate) fn print_task(api: &Api, json: bool, task: &Task) -> Result<(), Failure> {
    if json {
        return print_json(&task.raw);
    }
    print(&tables::task(api, task))?;
    match &task.view.problem {
        Some(problem) => print(&format!("\n{}", tables::problem(api, problem, None))),
        None => Ok(()),
    }
}

/// Lists tasks page by page up to the limit.
async fn list(api: &Api, json: bool, args: &TasksArgs) -> Result<(), Failure> {
    let (mut views, mut raws, mut next) = (Vec::new(), Vec::new(), args.cursor.clone());
    for _ in 0..MAX_PAGES {
        let missing = args.limit.saturating_sub(u32::try_from(views.len()).unwrap_or(u32::MAX));
        let mut query = vec![("limit", missing.min(PAGE_SIZE).to_string())];
        query.extend(args.state.map(|s| ("state", s.to_string())));
        query.extend(args.kind.map(|k| ("kind", k.to_string())));
        query.extend(args.search.clone().map(|text| ("q", text)));
        query.extend(next.take().map(|cursor| ("cursor", cursor)));
        let (page, mut raw) = api.get::<TaskList>("/tasks", &query).await?;
        views.extend(page.tasks);
        if let Some(Value::Array(tasks)) = raw.get_mut("tasks").map(Value::take) {
            raws.extend(tasks);
        }
        next = page.next;
        if next.is_none() || views.len() >= args.limit as usize {
            break;
        }
    }
    if json {
        let mut page = Map::from_iter([("tasks".to_owned(), Value::from(raws))]);
        page.extend(next.map(|cursor| ("next".to_owned(), Value::from(cursor))));
        return print_json(&Value::Object(page));
    }
    if views.is_empty() {
        eprintln!("no tasks");
    } else {
        print(&tables::tasks(&views))?;
    }
    if let Some(cursor) = next {
        eprintln!(
            "there are more; continue with --cursor {} or raise --limit",
            crate::text::sanitize(&cursor)
        );
    }
    Ok(())
}
