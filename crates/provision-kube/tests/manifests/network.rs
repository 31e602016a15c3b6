//! What network policies allow, as <https://kubernetes.io/docs/concepts/services-networking/network-policies/> defines it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// One end of a connection.
#[derive(Debug)]
pub(crate) enum Peer {
    /// A pod.
    Pod { namespace: String, labels: Value },
    /// An address that is no pod's: of the internet, the machine, the API server.
    Outside(IpAddr),
}

/// The policies of a cluster.
pub(crate) struct Policies(Vec<Value>);

impl Policies {
    pub(crate) fn new(policies: &[&Value]) -> Self {
        Self(policies.iter().map(|policy| (*policy).clone()).collect())
    }

    /// Whether a connection is allowed; `port` is like `TCP/80`.
    pub(crate) fn allow(&self, from: &Peer, to: &Peer, port: &str) -> bool {
        self.allow_direction("Egress", from, to, port) && self.allow_direction("Ingress", to, from, port)
    }

    /// A pod that no policy of this direction selects is free; otherwise one of those has to allow it.
    fn allow_direction(&self, direction: &str, subject: &Peer, other: &Peer, port: &str) -> bool {
        let Peer::Pod { namespace, labels } = subject else { return true };
        let selects = |policy: &&Value| {
            policy["metadata"]["namespace"] == *namespace
                && list(&policy["spec"]["policyTypes"]).iter().any(|kind| kind == direction)
                && matches(&policy["spec"]["podSelector"], labels)
        };
        let mut selecting = self.0.iter().filter(selects).peekable();
        selecting.peek().is_none()
            || selecting.any(|policy| {
                let rules = list(&policy["spec"][direction.to_lowercase().as_str()]);
                let peers = if direction == "Egress" { "to" } else { "from" };
                rules.iter().any(|rule| {
                    (rule.get(peers).is_none()
                        || list(&rule[peers]).iter().any(|peer| is_peer(peer, namespace, other)))
                        && (rule.get("ports").is_none()
                            || list(&rule["ports"]).iter().any(|allowed| is_port(allowed, port)))
                })
            })
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_port(allowed: &Value, port: &str) -> bool {
    assert!(allowed.get("endPort").is_none(), "ranges of ports are not read here");
    let protocol = allowed["protocol"].as_str().unwrap_or("TCP");
    match allowed.get("port") {
        Some(number) => format!("{protocol}/{number}") == port,
        None => port.split_once('/').is_some_and(|(of_port, _)| of_port == protocol),
    }
}

/// Whether a peer of a policy in `namespace` is that one.
fn is_peer(peer: &Value, namespace: &str, other: &Peer) -> bool {
    if let Some(block) = peer.get("ipBlock") {
        let Peer::Outside(address) = other else { return false };
        let contains = |network: &Value| {
            let network: IpNet = network.as_str().expect("a network").parse().expect("a network");
            network.contains(address)
        };
        return contains(&block["cidr"]) && !list(&block["except"]).iter().any(contains);
    }
    let Peer::Pod { namespace: of_other, labels } = other else { return false };
    let is_namespace = match peer.get("namespaceSelector") {
        Some(selector) => matches(selector, &serde_json::json!({"kubernetes.io/metadata.name": of_other})),
        None => of_other == namespace,
    };
    is_namespace && peer.get("podSelector").is_none_or(|selector| matches(selector, labels))
}

/// Whether a selector matches labels.
fn matches(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object().expect("a selector");
    selector.iter().all(|(field, wanted)| {
        if field == "matchExpressions" {
            return list(wanted).iter().all(|expression| {
                assert_eq!(expression["operator"], "In", "no other operator is read here");
                let value = expression["key"].as_str().and_then(|key| labels.get(key));
                value.is_some_and(|value| list(&expression["values"]).contains(value))
            });
        }
        assert_eq!(field, "matchLabels", "nothing else is read here");
        wanted.as_object().expect("labels").iter().all(|(name, value)| labels.get(name) == Some(value))
    })
}
