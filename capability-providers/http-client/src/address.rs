//! Which addresses may be connected to: those of the internet, and those that the link grants. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What an address is for, in the terms of `grant_private`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The internet.
    Public,
    /// This machine.
    Loopback,
    /// A private network: RFC 1918, and fc00::/7.
    Private,
    /// The network segment: 169.254.0.0/16 and fe80::/10.
    LinkLocal,
    /// The network of a carrier: 100.64.0.0/10.
    SharedNat,
    /// Where clouds tell a machine its credentials. Granted only by itself, not by a network that holds it.
    Metadata,
    /// Multicast, broadcast, documentation, tunnels to somewhere that is not public, and all the rest.
    Special,
    /// No host: 0.0.0.0 and ::, which systems take for themselves. Never granted.
    Unspecified,
}

const METADATA: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// What `address` is for.
pub(crate) fn classify(address: IpAddr) -> Class {
    let address = address.to_canonical();
    if METADATA.contains(&address) {
        return Class::Metadata;
    }
    match address {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

fn classify_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0, 0, 0, 0] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [169, 254, ..] => Class::LinkLocal,
        [100, 64..=127, ..] => Class::SharedNat,
        // This network, protocol assignments, documentation, 6to4 relays, benchmarks.
        [0, ..] | [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] | [198, 18 | 19, ..] => {
            Class::Special
        }
        // Multicast, reserved, broadcast.
        [224..=255, ..] => Class::Special,
        _ => Class::Public,
    }
}

fn classify_v6(address: Ipv6Addr) -> Class {
    if address.is_unspecified() {
        return Class::Unspecified;
    }
    if address.is_loopback() {
        return Class::Loopback;
    }
    match address.segments() {
        [0xfc00..=0xfdff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        // NAT64.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => through(v4(high, low)),
        // 6to4.
        [0x2002, high, low, ..] => through(v4(high, low)),
        // Protocol assignments, Teredo among them, and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Special,
        // ISATAP.
        [0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe, high, low] => through(v4(high, low)),
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Special,
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

/// The class of a tunnel to `address`: where it comes out has to be public, or the tunnel needs a grant of its own.
fn through(address: Ipv4Addr) -> Class {
    match classify(address.into()) {
        Class::Public => Class::Public,
        _ => Class::Special,
    }
}

/// Addresses besides those of the internet that a link may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// All of a class.
    Class(Class),
    /// A network, or one address.
    Net(IpNet),
}

impl Grant {
    /// Reads `loopback`, `private`, `link-local`, `cgnat`, a network or an address.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "loopback" => Self::Class(Class::Loopback),
            "private" => Self::Class(Class::Private),
            "link-local" => Self::Class(Class::LinkLocal),
            "cgnat" => Self::Class(Class::SharedNat),
            _ => match text.parse::<IpAddr>() {
                Ok(address) => Self::Net(address.to_canonical().into()),
                Err(_) => Self::Net(text.parse().ok()?),
            },
        })
    }

    fn covers(&self, class: Class, address: IpAddr) -> bool {
        match self {
            Self::Class(granted) => *granted == class,
            Self::Net(net) if class == Class::Metadata => {
                net.prefix_len() == net.max_prefix_len() && net.contains(&address)
            }
            Self::Net(net) => net.contains(&address),
        }
    }
}

/// Whether a link with `grants` may reach `address`.
pub(crate) fn may_reach(grants: &[Grant], address: IpAddr) -> bool {
    let address = address.to_canonical();
    match classify(address) {
        Class::Public => true,
        Class::Unspecified => false,
        class => grants.iter().any(|grant| grant.covers(class, address)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Grant, classify, may_reach};
    use proptest::prelude::{any, proptest};
    use std::net::{IpAddr, Ipv4Addr};

    fn check(class: Class, addresses: &[&str]) {
        for address in addresses {
            assert_eq!(classify(address.parse().expect("an address")), class, "{address}");
        }
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        check(
            Class::Public,
            &["1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "223.255.255.255"],
        );
        check(
            Class::Public,
            &["2606:4700::1111", "2a00:1450::1", "64:ff9b::808:808", "2002:808:808::1", "::ffff:8.8.8.8"],
        );
        check(Class::Unspecified, &["0.0.0.0", "::", "::ffff:0.0.0.0"]);
        check(Class::Loopback, &["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1", "::ffff:7f00:1"]);
        check(
            Class::Private,
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1", "::ffff:10.0.0.1"],
        );
        check(Class::LinkLocal, &["169.254.0.1", "169.254.170.2", "fe80::1", "febf::1"]);
        check(Class::SharedNat, &["100.64.0.1", "100.127.255.255"]);
        check(
            Class::Metadata,
            &["169.254.169.254", "::ffff:169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200"],
        );
        check(
            Class::Special,
            &["0.1.2.3", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "192.88.99.1"],
        );
        check(Class::Special, &["224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "ff02::1", "fec0::1"]);
        check(
            Class::Special,
            &["::2", "::127.0.0.1", "100::1", "2001:db8::1", "3fff::1", "5f00::1", "2001::1", "2001:10::1"],
        );
        check(
            Class::Special,
            &["64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1"],
        );
        check(
            Class::Special,
            &["2002:a00:1::", "2a00::5efe:a00:1", "2a00::200:5efe:7f00:1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
        );
    }

    fn reaches(grants: &[&str], address: &str) -> bool {
        let grants: Vec<Grant> = grants.iter().map(|text| Grant::parse(text).expect("a grant")).collect();
        may_reach(&grants, address.parse().expect("an address"))
    }

    #[test]
    fn a_grant_opens_what_it_names() {
        assert!(reaches(&[], "8.8.8.8") && !reaches(&[], "10.0.0.1") && !reaches(&[], "::1"));
        assert!(reaches(&["loopback"], "127.0.0.1") && reaches(&["loopback"], "::1"));
        assert!(!reaches(&["loopback"], "10.0.0.1") && !reaches(&["loopback"], "0.0.0.0"));
        assert!(reaches(&["10.1.0.0/16"], "10.1.2.3") && reaches(&["10.1.0.0/16"], "::ffff:10.1.2.3"));
        assert!(!reaches(&["10.1.0.0/16"], "10.2.0.1") && !reaches(&["10.1.0.0/16"], "64:ff9b::a01:203"));
        assert!(reaches(&["64:ff9b::/96"], "64:ff9b::a01:203"), "a tunnel that is granted by itself");
        assert!(reaches(&["192.0.2.1"], "192.0.2.1") && !reaches(&["192.0.2.1"], "192.0.2.2"));
        assert!(
            reaches(&["private"], "fd12::1")
                && reaches(&["cgnat"], "100.64.0.1")
                && reaches(&["link-local"], "fe80::1")
        );
    }

    #[test]
    fn metadata_is_granted_only_by_its_own_address() {
        for grant in
            ["link-local", "private", "cgnat", "169.254.0.0/16", "0.0.0.0/0", "fd00::/8", "::/0", "169.254.169.254/31"]
        {
            for address in ["169.254.169.254", "fd00:ec2::254", "::ffff:169.254.169.254", "100.100.100.200"] {
                assert!(!reaches(&[grant], address), "{address} by {grant}");
            }
        }
        assert!(reaches(&["169.254.169.254"], "169.254.169.254"));
        assert!(!reaches(&["0.0.0.0/0", "::/0"], "0.0.0.0") && !reaches(&["::/0"], "::"));
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in ["", "all", "10.0.0.0/33", "10.0.0", "localhost", "metadata"] {
            assert_eq!(Grant::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_way_to_write_an_address_opens_more_than_the_address(bits in any::<u32>()) {
            let address = Ipv4Addr::from(bits);
            let [a, b, c, d] = address.octets();
            let (high, low) = ((bits >> 16) as u16, bits as u16);
            let mapped = IpAddr::V6(address.to_ipv6_mapped());
            assert_eq!(classify(mapped), classify(address.into()));
            for tunnel in [format!("64:ff9b::{a}.{b}.{c}.{d}"), format!("2002:{high:x}:{low:x}::1")] {
                let is_public = may_reach(&[], tunnel.parse().expect("an address"));
                assert_eq!(is_public, may_reach(&[], address.into()), "{tunnel}");
            }
        }
    }
}
