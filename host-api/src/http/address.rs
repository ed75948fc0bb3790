//! Which addresses belong to the public internet.
//!
//! Refuses by default: what no rule knows to be public is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address may not be called; `None`: it is public.
#[must_use]
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => refusal_v4(v4),
        IpAddr::V6(v6) => refusal_v6(v6),
    }
}

fn refusal_v4(a: Ipv4Addr) -> Option<&'static str> {
    let [first, second, third, _] = a.octets();
    Some(match (first, second, third) {
        (0, ..) => "an address of this machine",
        (127, ..) => "a loopback address",
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => "a private address",
        (100, 64..=127, _) => "an address of a carrier's private network",
        (169, 254, _) => "a link-local or metadata address",
        // Azure's metadata service hides in a public range.
        (168, 63, 129) if a.octets()[3] == 16 => "a metadata address",
        (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _) => "a reserved address",
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => "an address for documentation",
        (224..=239, ..) => "a multicast address",
        (240..=255, ..) => "a reserved or broadcast address",
        _ => return None,
    })
}

fn refusal_v6(a: Ipv6Addr) -> Option<&'static str> {
    let s = a.segments();
    // Forms that carry an IPv4 address are as good as the address they carry.
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            return refusal_v4(embedded(high, low));
        }
        [0x2002, high, low, ..] => return refusal_v4(embedded(high, low)),
        // ISATAP, whatever its prefix; a public IPv4 address leaves the rest to the prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => {
            let refused = refusal_v4(embedded(high, low));
            if refused.is_some() {
                return refused;
            }
        }
        _ => {}
    }
    Some(match s {
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => "a private address",
        [0xff00..=0xffff, ..] => "a multicast address",
        [0x2001, 0, ..] => "a tunnel address (Teredo)",
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "an address for documentation",
        [0x2001, 2..=0x1ff, ..] => "a reserved address",
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_pass() {
        let refused = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2a00::5efe:7f00:1",
            "2a00::5efe:10.0.0.1",
            "2a00::200:5efe:a9fe:a9fe",
            "fe80::5efe:101:101",
            "2001::1",
            "2001:db8::1",
            "2001:10::1",
            "100::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
        ];
        for text in refused {
            let address: IpAddr = text.parse().expect(text);
            assert!(refusal(address).is_some(), "{text} must be refused");
        }
        let public = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "168.63.129.17",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2a00::1",
            "2a00::5efe:101:101",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
            "2002:101:101::1",
        ];
        for text in public {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(refusal(address), None, "{text} is public");
        }
    }
}
