//! Which places may be called: public addresses, and what the configuration names.
//!
//! Refuses to look anything up: the resolver asks it about each address it found.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address;
use crate::Error;

/// The configured exceptions to "public addresses only".
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Lower-case host and port.
    places: Vec<(String, u16)>,
    ranges: Vec<IpNet>,
}

/// What a URL's host is, before any look-up.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// The configuration names this host and port: wherever it leads is fine.
    Named,
    /// A name: each address it resolves to is checked.
    Name,
    /// An address that is fine.
    Address,
    /// An address that is not, and why.
    Refused(&'static str),
}

impl Policy {
    /// Reads entries `HOST:PORT` (`[::1]:80` for IPv6), `10.0.0.0/8` or a single address.
    /// # Errors
    /// `HOST0001`.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Policy, Error> {
        let mut policy = Policy::default();
        for entry in entries {
            let entry = entry.as_ref().trim();
            if let Ok(range) = entry.parse::<IpNet>() {
                policy.ranges.push(range);
            } else if let Ok(one) = entry.parse::<IpAddr>() {
                policy.ranges.push(IpNet::from(one));
            } else {
                policy
                    .places
                    .push(place(entry).ok_or_else(|| Error::BadAllowEntry {
                        entry: entry.to_owned(),
                    })?);
            }
        }
        Ok(policy)
    }

    /// Why this address may not be called; `None`: it may.
    #[must_use]
    pub fn refusal(&self, address: IpAddr) -> Option<&'static str> {
        if self.has(address) {
            return None;
        }
        address::refusal(address)
    }

    /// Whether an entry names the address or a range with it.
    fn has(&self, address: IpAddr) -> bool {
        let canonical = address.to_canonical();
        let mut ranges = self.ranges.iter();
        ranges.any(|r| r.contains(&address) || r.contains(&canonical))
    }

    /// Whether an entry names a URL's host with its port, or the address that the host is.
    #[must_use]
    pub fn names(&self, url: &Url) -> bool {
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => self.has(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => self.has(IpAddr::V6(v6)),
            _ => false,
        };
        address || self.judge(url) == Place::Named
    }

    /// Judges a URL's host. The URL parser has already turned the odd spellings of
    /// IPv4 addresses (decimal, octal, hexadecimal, short) into addresses.
    #[must_use]
    pub fn judge(&self, url: &Url) -> Place {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Place::Refused("a URL without a host");
        };
        let text = host.to_string().to_ascii_lowercase();
        let text = text.strip_suffix('.').unwrap_or(&text);
        if self.places.iter().any(|(h, p)| h == text && *p == port) {
            return Place::Named;
        }
        let address = match host {
            Host::Ipv4(v4) => IpAddr::V4(v4),
            Host::Ipv6(v6) => IpAddr::V6(v6),
            Host::Domain(_) => return Place::Name,
        };
        self.refusal(address).map_or(Place::Address, Place::Refused)
    }
}

/// Reads `HOST:PORT`, in the spelling that the URL parser gives.
fn place(entry: &str) -> Option<(String, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let port = port.parse().ok().filter(|p| *p != 0)?;
    let host = Host::parse(host).ok()?.to_string();
    Some((host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_or_refused() {
        for good in [
            "localhost:8080",
            "[::1]:80",
            "10.0.0.0/8",
            "fd00::/8",
            "127.0.0.1",
            "a.example:443",
        ] {
            Policy::parse(&[good]).expect(good);
        }
        for bad in [
            "",
            "localhost",
            ":80",
            "localhost:0",
            "localhost:x",
            "10.0.0.0/33",
            "a b:80",
            "::1:80",
        ] {
            // `::1:80` is itself an address, so it is read as one.
            let read = Policy::parse(&[bad]);
            assert_eq!(read.is_ok(), bad == "::1:80", "{bad}");
        }
    }

    #[test]
    fn hosts_are_judged() {
        let policy =
            Policy::parse(&["localhost:8080", "127.0.0.1:9000", "10.1.0.0/16"]).expect("policy");
        let check = |url: &str, named: bool, refused: bool| {
            let url = &Url::parse(url).expect(url);
            let place = policy.judge(url);
            let within = url
                .host_str()
                .is_some_and(|h| h.contains("10.1.") || h.contains("a01:203"));
            assert_eq!(policy.names(url), named || within, "{url}");
            assert_eq!(place == Place::Named, named, "{url}: {place:?}");
            assert_eq!(
                matches!(place, Place::Refused(_)),
                refused,
                "{url}: {place:?}"
            );
        };
        check("http://LOCALHOST:8080/x", true, false);
        check("http://localhost.:8080/x", true, false);
        check("http://localhost:8081/", false, false); // a name: its addresses decide
        check("http://127.0.0.1:9000/", true, false);
        check("http://0x7f000001:9000/", true, false);
        check("http://127.0.0.1:9001/", false, true);
        check("http://10.1.2.3/", false, false);
        check("http://[::ffff:10.1.2.3]/", false, false);
        check("http://10.2.2.3/", false, true);
        for spelling in [
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0/",
            "http://[::1]/",
            "http://[::ffff:7f00:1]/",
            "http://①②⑦.0.0.1/",
            "http://127.0.0.1./",
            "http://0x7f.0x0.0x0.0x1/",
            "http://[64:ff9b::7f00:1]/",
        ] {
            check(spelling, false, true);
        }
        check("http://1.1.1.1/", false, false);
    }
}
