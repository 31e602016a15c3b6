//! DNS rebinding: a name server of the attacker's gives another address at each request. The test has a public address on its
//! loopback interface.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::*;
use crate::net::{EgressProxy, direct_client, proxied_client};

const NAME: &str = "net::egress_policy::tests::rebinding::\
    a_name_that_changes_its_address_never_leads_to_an_address_that_was_not_checked";
const PUBLIC: Ipv4Addr = Ipv4Addr::new(8, 8, 4, 4);
const PRIVATE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SITE: &str = "http://rebinding.example/";
const TIMEOUT: Duration = Duration::from_secs(120);

#[tokio::test]
async fn a_name_that_changes_its_address_never_leads_to_an_address_that_was_not_checked() {
    if is_in_namespace() {
        return attack().await;
    }
    run_in_namespace(NAME);
}

/// The addresses that the name server gives: in turn public, private, and both.
fn answers(query: usize) -> &'static [Ipv4Addr] {
    [&[PUBLIC] as &[Ipv4Addr], &[PRIVATE], &[PRIVATE, PUBLIC]][query % 3]
}

async fn attack() {
    let added = Command::new("ip").args(["address", "add", &format!("{PUBLIC}/32"), "dev", "lo"]).status();
    assert!(added.unwrap().success());
    let queries = serve_names();
    let (of_site, of_victim) = (serve(PUBLIC), serve(PRIVATE));

    let policy = EgressPolicy::default();
    let proxy = EgressProxy::start(policy.clone()).await.unwrap();
    let mut reached = 0;
    for n in 0..12 {
        // A client of its own each time, so that each request needs a new connection.
        let client = proxied_client(&proxy, "test").unwrap().build().unwrap();
        let before = queries.load(Ordering::SeqCst);
        let answer = client.get(SITE).timeout(TIMEOUT).send().await;
        reached += usize::from(answer.is_ok());
        assert_eq!(answer.is_ok(), answers(before).contains(&PUBLIC), "{n}: {answer:?}");
        assert_eq!(queries.load(Ordering::SeqCst), before + 1, "one resolution serves check and connection");
    }
    let site = SITE.parse().unwrap();
    for _ in 0..12 {
        let client = direct_client(&proxy, &policy, "test", std::slice::from_ref(&site)).await.unwrap();
        let answer = client.build().unwrap().get(SITE).timeout(TIMEOUT).send().await;
        reached += usize::from(answer.is_ok());
    }
    assert!(reached > 12, "{reached}");
    assert_eq!((of_site.load(Ordering::SeqCst), of_victim.load(Ordering::SeqCst)), (reached, 0));
}

/// A web server at port 80 of an address; returns its number of connections.
fn serve(address: Ipv4Addr) -> Arc<AtomicUsize> {
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let listener = TcpListener::bind((address, 80)).unwrap();
    thread::spawn(move || {
        for visitor in listener.incoming() {
            let mut visitor = visitor.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let _ = visitor.read(&mut [0; 4096]);
            let _ = visitor.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi");
        }
    });
    connections
}

/// The attacker's name server; returns the number of its answers about IPv4.
fn serve_names() -> Arc<AtomicUsize> {
    let socket = UdpSocket::bind((PRIVATE, 53)).unwrap();
    let queries = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&queries);
    thread::spawn(move || {
        let mut query = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut query).unwrap();
            socket.send_to(&response(&query[..length], &counter), from).unwrap();
        }
    });
    queries
}

/// The response to a query with one question (RFC 1035, section 4).
fn response(query: &[u8], counter: &AtomicUsize) -> Vec<u8> {
    let name_length = query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..12 + name_length + 4];
    let is_ipv4 = question[name_length..name_length + 2] == [0, 1];
    let addresses = if is_ipv4 { answers(counter.fetch_add(1, Ordering::SeqCst)) } else { &[] };
    let count = u8::try_from(addresses.len()).unwrap();
    // The id; a response without error; one question, the answers, nothing else.
    let mut response = [&query[..2], &[0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0], question].concat();
    for address in addresses {
        // The name of the question, an IPv4 address, that may not be cached.
        response.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        response.extend(address.octets());
    }
    response
}
