//! The router of a cluster's clones, in front of a server that stands for the Service of one.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{AppendHeaders, IntoResponse as _};
use axum::routing::any;
use reqwest::{Client, Response, StatusCode};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use wpclone_clone_proxy::{ClusterClones, ProxyOptions, serve_cluster};
use wpclone_provision::{Addresses, CloneName, Routing};

const CLONE: &str = "clone-20261130-120000-abcdef";
const STARTING: &str = "clone-20261130-120000-bbbbbb";
const UNKNOWN: &str = "clone-20261130-120000-cccccc";
const FAILING: &str = "clone-20261130-120000-dddddd";

/// A router and what it leads to.
struct Fixture {
    address: SocketAddr,
    http: Client,
    _serving: [AbortOnDropHandle<()>; 2],
}

impl Fixture {
    async fn start(routing: Routing) -> Self {
        let (clone, listener) = (listen().await, listen().await);
        let (service, address) = (clone.local_addr().unwrap(), listener.local_addr().unwrap());
        let answers = Router::new().fallback(any(echo));
        let clone = tokio::spawn(async move { axum::serve(clone, answers).await.unwrap() });
        // A port that nobody listens at any more, as a Service without a pod that is ready.
        let nobody = listen().await.local_addr().unwrap();
        let addresses = Addresses::new(address, Some("http://c.example"), routing).unwrap();
        let clones = ClusterClones::new(addresses, move |name: &CloneName| match name.as_str() {
            CLONE => Ok(vec![service]),
            STARTING => Ok(vec![nobody]),
            UNKNOWN => Ok(Vec::new()),
            _ => Err(io::Error::other("the name service has failed")),
        });
        let options = ProxyOptions { connections_per_peer: 64 };
        let router =
            tokio::spawn(serve_cluster(listener, Arc::new(clones), options, CancellationToken::new()));
        let serving = [clone, router].map(AbortOnDropHandle::new);
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { address, http, _serving: serving }
    }

    async fn get(&self, host: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = self.http.get(format!("http://{}{path}", self.address)).header("host", host);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.unwrap()
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Says what the clone has got, with headers that are not its own to send. At `/tunnel` it claims another protocol.
async fn echo(request: Request) -> impl axum::response::IntoResponse {
    let tunnel = request.uri().path().ends_with("/tunnel");
    let status = if tunnel { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
    let mut got = vec![format!("{} {}", request.method(), request.uri())];
    got.extend(request.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())));
    let headers = AppendHeaders([
        ("service-worker-allowed", "/"),
        ("clear-site-data", "\"cookies\""),
        ("x-accel-redirect", "/etc/passwd"),
        ("set-cookie", "wpclone_session=forged; Path=/"),
        ("set-cookie", "planted=1; Path=/; Domain=c.example"),
        ("x-of-the-clone", "kept"),
    ]);
    (status, headers, got.join("\n")).into_response()
}

#[tokio::test]
async fn a_request_is_led_to_its_clone_without_what_must_not_pass_in_either_direction() {
    for (routing, host, prefix, cookie) in [
        (Routing::Path, "c.example".to_owned(), format!("/{CLONE}"), format!("planted=1; Path=/{CLONE}/")),
        (Routing::Host, format!("{CLONE}.c.example"), String::new(), "planted=1; Path=/".to_owned()),
    ] {
        let fixture = Fixture::start(routing).await;
        let path = format!("{prefix}/wp-admin/?a=b%20c");
        let sent = [
            ("cookie", "wpclone_session=secret; a=1"),
            ("x-forwarded-host", "evil.example"),
            ("x-real-ip", "10.0.0.1"),
            ("connection", "x-secret"),
            ("x-secret", "1"),
        ];
        let answer = fixture.get(&host, &path, &sent).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let headers = answer.headers().clone();
        for name in ["service-worker-allowed", "clear-site-data", "x-accel-redirect"] {
            assert!(!headers.contains_key(name), "{name} in {headers:?}");
        }
        assert_eq!(headers.get_all("set-cookie").iter().collect::<Vec<_>>(), [cookie.as_str()]);
        assert_eq!(headers["x-of-the-clone"], "kept");
        assert_eq!(headers["x-robots-tag"], "noindex, nofollow");
        let got = answer.text().await.unwrap();
        assert!(got.starts_with(&format!("GET {path}\n")), "{got}");
        assert!(got.contains(&format!("\nhost: {host}")) && got.contains("\ncookie: a=1"), "{got}");
        for absent in ["wpclone_session", "x-forwarded", "x-real-ip", "x-secret"] {
            assert!(!got.contains(absent), "{absent} in {got}");
        }
    }
}

#[tokio::test]
async fn a_clone_whose_service_is_about_to_lead_to_its_pod_is_waited_for() {
    // Until it listens, connections to it are refused.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let (service, listener) = (socket.local_addr().unwrap(), listen().await);
    let (address, looked_up) = (listener.local_addr().unwrap(), Arc::new(Notify::new()));
    let addresses = Addresses::new(address, Some("http://c.example"), Routing::Path).unwrap();
    let looking_up = Arc::clone(&looked_up);
    let clones = ClusterClones::new(addresses, move |_: &CloneName| {
        looking_up.notify_one();
        Ok(vec![service])
    });
    let options = ProxyOptions { connections_per_peer: 64 };
    let router = serve_cluster(listener, Arc::new(clones), options, CancellationToken::new());
    let _router = AbortOnDropHandle::new(tokio::spawn(router));
    let url = format!("http://{address}/{CLONE}/");
    let asking = Client::new().get(url).header("host", "c.example").send();
    let beginning = async {
        looked_up.notified().await;
        // Long enough for a first connection, which nobody here sees refused.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answers = Router::new().fallback(any(echo));
        axum::serve(socket.listen(8).unwrap(), answers).await.unwrap();
    };
    let answer = tokio::select! {
        answer = asking => answer,
        () = beginning => unreachable!("it serves for ever"),
    };
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_visitor_with_large_cookies_is_let_in_without_most_of_them() {
    let fixture = Fixture::start(Routing::Path).await;
    let cookies: String = (0..25).map(|n| format!("; c{n}={}", "v".repeat(4_000))).collect();
    let sent = [("cookie", &*format!("own=1{cookies}"))];
    let answer = fixture.get("c.example", &format!("/{CLONE}/"), &sent).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let got = answer.text().await.unwrap();
    let cookie = got.lines().find_map(|line| line.strip_prefix("cookie: ")).unwrap();
    assert_eq!((cookie.split("; ").count(), cookie.split("; ").next()), (9, Some("own=1")));
    let sent = [("x-large", &*"v".repeat(100_000))];
    let answer = fixture.get("c.example", &format!("/{CLONE}/"), &sent).await;
    assert_eq!(answer.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn what_leads_to_no_clone_is_told_apart() {
    let fixture = Fixture::start(Routing::Path).await;
    let starting = fixture.get("c.example", &format!("/{STARTING}/"), &[]).await;
    assert_eq!(starting.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(starting.headers().contains_key("retry-after"));
    // Service workers of a clone that was deleted would go on answering at its address.
    let unknown = fixture.get("c.example", &format!("/{UNKNOWN}/"), &[]).await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    assert_eq!(unknown.headers()["clear-site-data"], "\"cache\", \"storage\"");
    let failing = fixture.get("c.example", &format!("/{FAILING}/"), &[]).await;
    assert_eq!(failing.status(), StatusCode::BAD_GATEWAY);
    assert!(!failing.headers().contains_key("clear-site-data"));
    let nothing = fixture.get("c.example", "/", &[]).await;
    assert_eq!(nothing.status(), StatusCode::NOT_FOUND);
    assert!(!nothing.headers().contains_key("clear-site-data"));
    let path = format!("/{CLONE}/");
    assert_eq!(fixture.get("evil.example", &path, &[]).await.status(), StatusCode::MISDIRECTED_REQUEST);
    // As the kubelet asks: by the address of the pod.
    let address = fixture.address.to_string();
    assert_eq!(fixture.get(&address, "/healthz", &[]).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_clone_is_served_at_its_canonical_address_alone() {
    let (name, base) = (format!("{CLONE}.c.example"), "http://c.example");
    for (routing, host, path, to) in [
        (Routing::Host, "c.example", format!("/{CLONE}/a?b=c"), format!("http://{name}/a?b=c")),
        (Routing::Host, "127.0.0.1", format!("/{CLONE}"), format!("http://{name}/")),
        (Routing::Path, name.as_str(), "/a?b=c".to_owned(), format!("{base}/{CLONE}/a?b=c")),
        (Routing::Path, "c.example", format!("/{CLONE}?b=c"), format!("{base}/{CLONE}/?b=c")),
    ] {
        let answer = Fixture::start(routing).await.get(host, &path, &[]).await;
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT, "{host}{path}");
        assert_eq!(answer.headers()["location"], to.as_str());
    }
}

#[tokio::test]
async fn a_clone_cannot_switch_to_another_protocol() {
    let fixture = Fixture::start(Routing::Path).await;
    let answer = fixture.get("c.example", &format!("/{CLONE}/tunnel"), &[]).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(answer.text().await.unwrap().contains("does not answer"));
}
