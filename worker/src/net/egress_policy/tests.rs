use super::*;

use self::namespace::{is_in_namespace, run_in_namespace};

const LISTENER: &str = "127.0.0.1:8090";

fn rules(networks: &str, host: &str) -> EgressRules {
    EgressRules {
        networks: networks.parse().unwrap(),
        clones: Some(OwnClones { host: host.into(), port: 8090, listener: None }),
        own_endpoints: [LISTENER, "127.0.0.1:6379", "0.0.0.0:8081"].map(|own| own.parse().unwrap()).into(),
    }
}

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

async fn is_reached(policy: &EgressPolicy, host: &str, port: u16) -> bool {
    policy.addresses(host, port).await.is_ok_and(|addresses| !addresses.is_empty())
}

#[tokio::test]
async fn the_clones_listener_is_reached_only_by_the_task_of_a_clone() {
    let (clone, source) = (url("http://127.0.0.1:8090/clone-1"), url("http://127.0.0.1:8000"));
    for networks in ["", "127.0.0.0/8,::1"] {
        let rules = rules(networks, "127.0.0.1");
        let of_source = rules.for_task([&source], None);
        for host in ["127.0.0.1", "localhost", "127.1", "0.0.0.0", "::ffff:127.0.0.1", "127.0.0.2", "::1"] {
            assert!(!is_reached(&of_source, host, 8090).await, "{networks} {host}");
        }
        assert!(is_reached(&rules.for_task([&source], Some(&clone)), "127.0.0.1", 8090).await);
    }
}

#[tokio::test]
async fn a_clone_with_a_name_of_its_own_opens_no_other_clones_name() {
    let mut rules = rules("127.0.0.0/8", "localhost");
    rules.clones.as_mut().unwrap().listener = Some(LISTENER.parse().unwrap());
    let policy = rules.for_task([], Some(&url("http://clone-1.localhost:8090")));
    assert!(is_reached(&policy, "clone-1.localhost", 8090).await);
    for host in ["clone-2.localhost", "localhost", "x.clone-1.localhost", "127.0.0.1"] {
        assert!(!is_reached(&policy, host, 8090).await, "{host}");
    }
    assert!(is_reached(&policy, "clone-1.localhost.", 8090).await);
}

#[tokio::test]
async fn a_clone_that_an_owner_names_as_a_site_is_treated_as_any_site() {
    let named = url("http://127.0.0.1:8090/clone-1");
    for (networks, expected) in [("", false), ("127.0.0.0/8", true)] {
        let policy = rules(networks, "127.0.0.1").for_task([&named], None);
        assert_eq!(is_reached(&policy, "127.0.0.1", 8090).await, expected, "{networks}");
    }
}

#[tokio::test]
async fn what_the_worker_itself_listens_at_or_uses_is_denied_even_in_an_allowed_network() {
    let policy = rules("127.0.0.0/8,::1", "127.0.0.1").for_task([&url("http://127.0.0.1:8000")], None);
    for host in ["127.0.0.1", "localhost", "127.0.0.9", "::1"] {
        for port in [6379, 8081] {
            assert!(!is_reached(&policy, host, port).await, "{host}:{port}");
        }
        assert!(is_reached(&policy, host, 8000).await, "{host}");
    }
}

#[tokio::test]
async fn private_addresses_are_denied_in_every_form() {
    let policy = EgressPolicy::default();
    for host in [
        "169.254.169.254",
        "fd00:ec2::254",
        "168.63.129.16",
        "100.100.100.200",
        "::ffff:169.254.169.254",
        "::ffff:7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "2002:a9fe:a9fe::1",
        "0.0.0.0",
        "0",
        "::",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "localhost",
        "localhost.",
        "[::1]",
        "fe80::1",
        "10.0.0.1",
    ] {
        assert!(!is_reached(&policy, host, 80).await, "{host}");
    }
}

#[test]
fn only_addresses_of_interfaces_are_this_machines() {
    for (ip, expected) in [("127.0.0.1", true), ("127.9.9.9", true), ("192.0.2.7", false), ("8.8.8.8", false)]
    {
        assert_eq!(is_address_of_this_machine(ip.parse().unwrap()), expected, "{ip}");
    }
}

mod namespace;
mod rebinding;
mod silent_names;
