//! Ranges of IP addresses: `203.0.113.0/24`, `2001:db8::/32`, or one address.

use std::net::{IpAddr, Ipv4Addr};

/// A range of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// Leading bits that count.
    prefix: u8,
}

impl Network {
    /// Bits behind the prefix are of no account. An address of version 4 that is written as one of version 6 is one of
    /// version 4.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let written: IpAddr = address.parse().ok()?;
        let longest = width(written);
        let prefix = match prefix {
            None => longest,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse().ok()?,
            Some(_) => return None,
        };
        let address = written.to_canonical();
        let prefix = prefix.checked_sub(longest - width(address))?;
        (prefix <= width(address)).then_some(Self { address, prefix })
    }

    /// Whether an address, of whichever spelling, is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.head(address) == self.head(self.address)
    }

    /// The bits of an address that count here.
    fn head(&self, address: IpAddr) -> u128 {
        let ignored = u32::from(width(self.address) - self.prefix);
        bits(address) & u128::MAX.checked_shl(ignored).unwrap_or(0)
    }

    /// Of RFC 1918, all of it.
    fn is_private(&self) -> bool {
        const PRIVATE: [Network; 3] = [
            Network { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), prefix: 8 },
            Network { address: IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), prefix: 12 },
            Network { address: IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), prefix: 16 },
        ];
        PRIVATE.iter().any(|private| private.has_in_it(self))
    }

    fn has_in_it(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }

    /// How many addresses it has.
    fn size(&self) -> u128 {
        1_u128.checked_shl(u32::from(width(self.address) - self.prefix)).unwrap_or(u128::MAX)
    }
}

/// Whether these are the public, for S3: a range that is broader than /8 (version 4) or /32 (version 6) is. Cairn takes
/// them together, so that nobody gets around it by taking such a range apart: they are broad where they have as many
/// addresses as the smallest broad range has, a /7 or a /31. Private ranges do not count, and no address counts twice.
pub(super) fn are_broad<'n>(networks: impl IntoIterator<Item = &'n Network>) -> bool {
    let mut networks: Vec<Network> = networks.into_iter().filter(|network| !network.is_private()).copied().collect();
    // Of two networks one is in the other, or they are apart: what is in one follows it.
    networks.sort_unstable_by_key(|network| (network.address.is_ipv4(), network.head(network.address), network.prefix));
    networks.dedup_by(|next, before| before.has_in_it(next));
    let size = |of_version_4: bool| {
        let of_version = networks.iter().filter(|network| network.address.is_ipv4() == of_version_4);
        of_version.fold(0, |size: u128, network| size.saturating_add(network.size()))
    };
    size(true) >= 1 << (32 - 7) || size(false) >= 1 << (128 - 31)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses() {
        let table = [
            ("203.0.113.0/24", "203.0.113.255", true),
            ("203.0.113.0/24", "203.0.114.0", false),
            ("203.0.113.77/24", "203.0.113.1", true),
            ("203.0.113.7", "203.0.113.7", true),
            ("203.0.113.7", "203.0.113.6", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "ffff::1", true),
            ("::/0", "1.2.3.4", false),
            ("2001:DB8:1234:5678::/64", "2001:db8:1234:5678:abcd::1", true),
            ("2001:DB8:1234:5678::/64", "2001:db8:1234:5679::1", false),
            ("203.0.113.0/24", "::ffff:203.0.113.9", true),
            ("::ffff:203.0.113.0/120", "203.0.113.9", true),
            ("::ffff:203.0.113.0/120", "203.0.112.9", false),
        ];
        for (network, address, inside) in table {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network:?} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "1.2.3",
            "1.2.3.4/33",
            "1.2.3.4/",
            "1.2.3.4/+8",
            "1.2.3.4/-1",
            "::1/129",
            "::/",
            "a",
            "1.2.3.*",
            "1.2.3.4/8/8",
            "::ffff:1.2.3.4/64",
        ] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    fn broad(texts: &[&str]) -> bool {
        are_broad(&texts.iter().map(|text| Network::parse(text).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn networks_are_broad_by_the_addresses_that_they_have_together() {
        let table: &[(&[&str], bool)] = &[
            (&[], false),
            (&["17.0.0.0/8"], false),
            (&["16.0.0.0/7"], true),
            (&["0.0.0.0/0"], true),
            (&["0.0.0.0/1", "128.0.0.0/1"], true),
            (&["17.0.0.0/8", "203.0.113.0/24"], false),
            (&["16.0.0.0/8", "18.0.0.0/8"], true),
            (&["16.0.0.0/9", "18.0.0.0/9", "20.0.0.0/9"], false),
            (&["16.0.0.0/9", "18.0.0.0/9", "20.0.0.0/9", "22.1.2.3/9"], true),
            (&["17.0.0.0/8", "17.1.0.0/16", "17.0.0.0/8", "17.0.0.0/9", "17.128.0.0/9"], false),
            (&["17.128.0.0/9", "17.0.0.0/9", "17.255.0.1/8"], false),
            (&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "17.0.0.0/8"], false),
            (&["10.0.0.0/8", "172.16.0.0/8", "17.0.0.0/8"], true),
            (&["10.0.0.0/7"], true),
            (&["::ffff:0:0/96"], true),
            (&["2001:db8::/32"], false),
            (&["2001:db8::/31"], true),
            (&["2001:db8::/32", "2001:dba::/32"], true),
            (&["2001:db8::/32", "2001:db8::/33", "17.0.0.0/8"], false),
            (&["::/0"], true),
            (&["::/1", "8000::/1"], true),
        ];
        for (networks, expected) in table {
            assert_eq!(broad(networks), *expected, "{networks:?}");
        }
        let all: Vec<String> = (0..=255).map(|first| format!("{first}.0.0.0/8")).collect();
        assert!(broad(&all.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}
