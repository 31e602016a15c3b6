//! Which addresses a site or a callback may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// The private networks that are allowed all the same; none by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllowedNetworks(Vec<IpNet>);

impl FromStr for AllowedNetworks {
    type Err = String;

    /// Comma-separated networks, such as `10.0.0.0/8,::1/128`; a bare address is a network of one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        let net = |part: &str| {
            part.parse()
                .or_else(|_| part.parse::<IpAddr>().map(IpNet::from))
                .map_err(|_| format!("`{part}` is not a network such as 10.0.0.0/8"))
        };
        parts.map(net).collect::<Result<_, _>>().map(Self)
    }
}

impl std::fmt::Display for AllowedNetworks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nets: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if nets.is_empty() { "none" } else { "" })?;
        f.write_str(&nets.join(","))
    }
}

impl AllowedNetworks {
    /// Whether we may connect to this address: it is public, or in a network that is allowed.
    #[must_use]
    pub(crate) fn allow(&self, address: IpAddr) -> bool {
        is_public(address) || self.contain(address)
    }

    /// Whether a network that is allowed contains this address.
    #[must_use]
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// Whether an address belongs to the public internet, by IANA's special-purpose registries (RFC 6890 and later).
#[must_use]
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

/// Azure's virtual machines get their configuration here, at an address that is public by its number.
const AZURE_PLATFORM: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_public_v4(a: Ipv4Addr) -> bool {
    let [first, second, third, _] = a.octets();
    let special = a.is_private()
        || a.is_loopback()
        || a.is_link_local()
        || a.is_broadcast()
        || a.is_documentation()
        || a.is_multicast()
        || first == 0
        || first >= 240
        || a == AZURE_PLATFORM
        || (first == 100 && (64..128).contains(&second)) // carrier-grade NAT, RFC 6598
        || (first == 192 && second == 0 && third == 0) // IETF protocol assignments
        || (first == 192 && second == 88 && third == 99) // 6to4 relays
        || (first == 198 && (18..20).contains(&second)); // benchmarking
    !special
}

fn is_public_v6(a: Ipv6Addr) -> bool {
    let s = a.segments();
    // Global unicast is 2000::/3 (RFC 4291); within it some blocks wrap an IPv4 address or are special.
    let global = s[0] & 0xe000 == 0x2000;
    let special = match s[0] {
        // IETF protocol assignments, Teredo among them; documentation.
        0x2001 => s[1] < 0x0200 || s[1] == 0x0db8,
        // Documentation, RFC 9637.
        0x3fff => s[1] < 0x1000,
        _ => false,
    };
    if s[0] == 0x2002 {
        // 6to4 carries the IPv4 address it leads to.
        let [a, b] = s[1].to_be_bytes();
        let [c, d] = s[2].to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    if s[..6] == [0x0064, 0xff9b, 0, 0, 0, 0] {
        let [a, b] = s[6].to_be_bytes();
        let [c, d] = s[7].to_be_bytes();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_public() {
        for public in
            ["1.1.1.1", "192.0.78.9", "2606:4700::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
        {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "168.63.129.16",
            "fd00:ec2::254",
            "64:ff9b:1::a9fe:a9fe",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "ff02::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn a_private_network_can_be_allowed() {
        let nets: AllowedNetworks = "127.0.0.0/8, ::1".parse().unwrap();
        assert!(nets.allow("127.0.0.1".parse().unwrap()) && nets.allow("::1".parse().unwrap()));
        assert!(nets.allow("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!nets.allow("10.0.0.1".parse().unwrap()));
        assert_eq!(nets.to_string(), "127.0.0.0/8,::1/128");
        assert!("10.0.0.0/8,x".parse::<AllowedNetworks>().unwrap_err().contains("`x`"));
    }
}
