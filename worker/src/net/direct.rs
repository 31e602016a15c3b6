//! The HTTP client of a transfer: its megabytes do not go through the egress proxy.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Proxy, redirect};
use url::Url;

use super::egress_proxy::CONNECT_DEADLINE;
use super::{EgressPolicy, EgressProxy};

/// A client that connects to these sites directly, each time at addresses that the policy allows. It uses the proxy for
/// any other site, and for sites whose addresses it could not restrict. It follows no redirect.
pub(crate) async fn direct_client(
    proxy: &EgressProxy,
    policy: &EgressPolicy,
    user_agent: &str,
    sites: &[Url],
) -> reqwest::Result<ClientBuilder> {
    let mut direct = Vec::<(String, u16)>::new();
    for site in sites {
        let (Some(host), Some(port)) = (site.host_str(), site.port_or_known_default()) else {
            continue;
        };
        let bare = host.trim_matches(['[', ']']);
        let Ok(addresses) = policy.addresses(bare, port).await else {
            continue;
        };
        // reqwest resolves no literal address, and always connects to the URL's port.
        let literal = bare.parse::<IpAddr>().ok();
        let is_usable = |a: &SocketAddr| a.port() == port && literal.is_none_or(|ip| ip == a.ip());
        let is_known = direct.iter().any(|(known, _)| known == host && literal.is_none());
        if addresses.iter().all(is_usable) && !is_known {
            direct.push((host.to_owned(), port));
        }
    }
    let resolver = DirectResolver { policy: policy.clone(), direct: direct.clone() };
    let proxy = format!("socks5h://{}", proxy.address());
    let proxy = Proxy::custom(move |url| {
        let to = url.host_str().zip(url.port_or_known_default());
        let is_direct = direct.iter().any(|(host, port)| to == Some((host.as_str(), *port)));
        (!is_direct).then(|| proxy.clone())
    });
    // Resolving the name, connecting through the proxy, and the TLS handshake.
    let builder = Client::builder().connect_timeout(CONNECT_DEADLINE * 3).dns_resolver(Arc::new(resolver));
    Ok(builder.proxy(proxy).redirect(redirect::Policy::none()).user_agent(user_agent))
}

/// Resolves the hosts that are connected to directly.
struct DirectResolver {
    policy: EgressPolicy,
    /// Hosts and their ports.
    direct: Vec<(String, u16)>,
}

impl Resolve for DirectResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let port = self.direct.iter().find(|(host, _)| host == name.as_str()).map(|(_, port)| *port);
        let policy = self.policy.clone();
        Box::pin(async move {
            let port = port.ok_or("this host is connected to through the egress proxy")?;
            let found = policy.addresses(name.as_str(), port).await;
            let addresses = found.map_err(|outcome| format!("{}: {outcome:?}", name.as_str()))?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::net::AllowedNetworks;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::{ConnectOutcome, EgressRules, OwnClones};

    /// A site that answers `hello`.
    async fn site() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut visitor, _)) = listener.accept().await {
                let _ = visitor.read(&mut [0; 4096]).await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
                let _ = visitor.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    /// What a transfer between `sites` gets from `url`, and the connections through its proxy.
    async fn fetch(
        policy: &EgressPolicy,
        sites: &[&str],
        url: &str,
    ) -> (Option<String>, Vec<ConnectOutcome>) {
        let proxy = EgressProxy::start(policy.clone()).await.unwrap();
        let sites: Vec<Url> = sites.iter().map(|site| site.parse().unwrap()).collect();
        let client = direct_client(&proxy, policy, "test", &sites).await.unwrap().build().unwrap();
        let text = match client.get(url).send().await {
            Ok(answer) => answer.text().await.ok(),
            Err(_) => None,
        };
        (text, proxy.attempts().into_iter().map(|attempt| attempt.outcome).collect())
    }

    #[tokio::test]
    async fn only_the_sites_of_a_transfer_are_connected_to_directly_and_only_at_allowed_addresses() {
        let (site, other) = (site().await, site().await);
        let url = format!("http://{site}/");
        let name = format!("http://localhost:{}/", site.port());
        let hello = Some("hello".to_owned());
        let open = EgressPolicy::from("127.0.0.0/8".parse::<AllowedNetworks>().unwrap());
        assert_eq!(fetch(&open, &[&url], &url).await, (hello.clone(), Vec::new()));
        assert_eq!(fetch(&open, &[&name], &name).await, (hello.clone(), Vec::new()));
        let elsewhere = format!("http://{other}/");
        assert_eq!(fetch(&open, &[&url], &elsewhere).await, (hello.clone(), vec![ConnectOutcome::Connected]));
        assert_eq!(
            fetch(&EgressPolicy::default(), &[&url], &url).await,
            (None, vec![ConnectOutcome::Denied])
        );
        assert_eq!(
            fetch(&EgressPolicy::default(), &[&name], &name).await,
            (None, vec![ConnectOutcome::Denied])
        );

        // Clones whose names only the proxy can resolve, at a port that is not the listener's.
        let own = |port| OwnClones { host: "clones.invalid".into(), port, listener: Some(site) };
        let at = |port: u16| format!("http://a.clones.invalid:{port}/");
        let rules = |port| EgressRules { clones: Some(own(port)), ..EgressRules::default() };
        let policy = |port| rules(port).for_task([], Some(&at(port).parse().unwrap()));
        assert_eq!(
            fetch(&policy(8090), &[&at(8090)], &at(8090)).await,
            (hello.clone(), vec![ConnectOutcome::Connected])
        );
        let same = site.port();
        assert_eq!(fetch(&policy(same), &[&at(same)], &at(same)).await, (hello, Vec::new()));
    }
}
