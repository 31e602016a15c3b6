//! Sites that make a browser send the login's form again, to another origin. They are stubs.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{Method, header};
use axum::response::Response;
use parking_lot::Mutex;
use wpclone_tests::until;

use crate::obstacles::*;

/// The password that the stubs get.
const PASSWORD: &str = "canary-password-of-nobody";
/// Stands for the port of the site itself in an address.
const PORT: &str = "PORT";

/// What servers have received: a line each, `<method> <host><path> <body>`.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<String>>>);

impl Record {
    /// Records a request; returns its method, its host and its path.
    async fn add(&self, request: Request) -> (Method, String, String) {
        let (head, body) = request.into_parts();
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let body = to_bytes(body, 64 << 10).await.unwrap_or_default();
        let (host, path) = (host.to_owned(), head.uri.path().to_owned());
        self.0.lock().push(format!("{} {host}{path} {}", head.method, String::from_utf8_lossy(&body)));
        (head.method, host, path)
    }

    fn starting_with(&self, begin: &str) -> usize {
        self.0.lock().iter().filter(|line| line.starts_with(begin)).count()
    }

    /// Every request that had the password.
    fn with_password(&self) -> Vec<String> {
        self.0.lock().iter().filter(|line| line.contains(PASSWORD)).cloned().collect()
    }
}

/// What such a site does at its login.
#[derive(Clone, Copy)]
enum LoginAnswer {
    /// Every login is redirected with this status.
    Redirect(StatusCode),
    /// The login is accepted with a page that loads itself anew, which sends the form again; then it is redirected.
    AcceptAndReload,
}

/// The port of a host.
fn port(host: &str) -> &str {
    host.rsplit(':').next().unwrap_or_default()
}

/// A site whose login leads to `other`. Its login page loads a script from there, so that the browser has a connection.
async fn redirecting_site(record: Record, answer: LoginAnswer, other: &str) -> Result<Stub> {
    let other = other.to_owned();
    let respond = move |request: Request| {
        let (record, other) = (record.clone(), other.clone());
        async move {
            let (method, host, path) = record.add(request).await;
            let other = other.replace(PORT, port(&host));
            match (method.as_str(), path.as_str()) {
                ("POST", "/wp-login.php") => {
                    let logins = record.starting_with(&format!("POST {host}/wp-login.php"));
                    login_response(answer, logins, &other)
                }
                ("GET", "/wp-login.php") => {
                    let page = format!(
                        "<html><head><script src='{other}/script.js'></script></head><body><form id=loginform \
                         method=post action=/wp-login.php><input id=user_login name=log><input type=password \
                         name=pwd></form></body></html>"
                    );
                    Html(page).into_response()
                }
                (_, "/wp-admin/admin-ajax.php") => {
                    wait_for_second_login(&record, &host).await;
                    Html("no nonce").into_response()
                }
                _ => Html("<html><body class=wp-admin></body></html>").into_response(),
            }
        }
    };
    Stub::start(Router::new().fallback(respond)).await
}

fn login_response(answer: LoginAnswer, logins: usize, other: &str) -> Response {
    let redirect =
        |status: StatusCode| (status, [(header::LOCATION, format!("{other}/steal"))]).into_response();
    match answer {
        LoginAnswer::Redirect(status) => redirect(status),
        LoginAnswer::AcceptAndReload if logins > 1 => redirect(StatusCode::TEMPORARY_REDIRECT),
        LoginAnswer::AcceptAndReload => {
            let page =
                "<html><body class=wp-admin><script>onload = () => location.reload()</script></body></html>";
            ([(header::SET_COOKIE, "wordpress_logged_in_x=1; path=/")], Html(page)).into_response()
        }
    }
}

/// Waits until the login was sent twice, and then a while for what must not happen: that it arrives elsewhere.
async fn wait_for_second_login(record: &Record, host: &str) {
    let twice = async || record.starting_with(&format!("POST {host}/wp-login.php")) > 1;
    let _ = until("the second login", Duration::from_secs(60), None, twice).await;
    let elsewhere = async || record.with_password().len() > 2;
    let _ = until("the login to arrive elsewhere", Duration::from_secs(2), None, elsewhere).await;
}

/// A server that only records.
async fn other_server(record: Record) -> Result<Stub> {
    let respond = move |request: Request| {
        let record = record.clone();
        async move {
            record.add(request).await;
            Html("<html><body>thank you</body></html>")
        }
    };
    Stub::start(Router::new().fallback(respond)).await
}

#[tokio::test]
async fn a_login_that_is_answered_with_307_or_308_takes_the_password_to_no_other_port_or_host() -> Result {
    for status in [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT] {
        let record = Record::default();
        let at_another_port = other_server(record.clone()).await?;
        // The site itself by another name.
        for other in [at_another_port.url(), format!("http://localhost:{PORT}")] {
            record.0.lock().clear();
            let site = redirecting_site(record.clone(), LoginAnswer::Redirect(status), &other).await?;
            let site_url = site.url();
            let (host, other) =
                (site_url.trim_start_matches("http://"), other.replace(PORT, port(&site_url)));
            let problem = stub_setup_fails(&site_url, Code::Redirected).await?;
            assert_eq!(problem.more["to"], other, "{problem:#?}");
            let other_host = other.trim_start_matches("http://");
            assert!(record.starting_with(&format!("GET {other_host}/script.js")) > 0, "it could be reached");
            let with_password = record.with_password();
            assert_eq!(with_password.len(), 1, "{with_password:?}");
            assert!(with_password[0].starts_with(&format!("POST {host}/wp-login.php")), "{with_password:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_page_that_sends_the_accepted_login_again_takes_the_password_nowhere_else() -> Result {
    let record = Record::default();
    let other = other_server(record.clone()).await?;
    let site = redirecting_site(record.clone(), LoginAnswer::AcceptAndReload, &other.url()).await?;
    // The session was there, so the login is not what failed.
    stub_setup_fails(&site.url(), Code::UnexpectedAnswer).await?;
    let to_site = format!("POST {}/wp-login.php", site.url().trim_start_matches("http://"));
    let with_password = record.with_password();
    assert!(with_password.len() > 1, "the browser did not send the form again: {with_password:?}");
    assert!(with_password.iter().all(|line| line.starts_with(&to_site)), "{with_password:?}");
    Ok(())
}
