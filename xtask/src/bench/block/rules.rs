//! Policies with very many rules: half of them single addresses, half networks of 256, over several ports.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use super::load::PORTS;

/// Rules a file: files have a size that they may have.
const EACH_FILE: usize = 1000;

/// Destinations that a load reaches for in turn; more than a CPU's nearest cache holds entries for.
const DESTINATIONS: usize = 512;

/// Where rule `index` stands, the length of its network, and its port.
fn rule(index: usize) -> (Ipv4Addr, u8, u16) {
    let half = index / 2;
    let [.., high, low] = u32::try_from(half).unwrap_or(u32::MAX).to_be_bytes();
    let port = PORTS.start() + (half % PORTS.len()) as u16;
    if index.is_multiple_of(2) {
        (Ipv4Addr::new(127, 100, high, low), 32, port)
    } else {
        (Ipv4Addr::new(127, 120 + high, low, 0), 24, port)
    }
}

/// Policies of so many rules together.
pub fn policies(rules: usize) -> Vec<String> {
    let indices: Vec<usize> = (0..rules).collect();
    let file = |(number, indices): (usize, &[usize])| {
        let mut text = format!("version: 1\nname: many-{number}\nmode: block\negress:\n  allow:\n");
        for &index in indices {
            let (address, length, port) = rule(index);
            let _ = writeln!(
                text,
                "    - {{ cidr: {address}/{length}, ports: [{port}], protocol: any, class: loopback, why: \"bench\" }}"
            );
        }
        text
    };
    indices.chunks(EACH_FILE).enumerate().map(file).collect()
}

/// Destinations that these rules allow, far apart.
pub fn destinations(rules: usize) -> Vec<SocketAddr> {
    let count = DESTINATIONS.min(rules);
    let step = rules / count;
    let destination = |number: usize| {
        // An even step would meet one kind of rule alone.
        let index = number * step + if step.is_multiple_of(2) { number % 2 } else { 0 };
        let (address, length, port) = rule(index);
        let host = if length == 32 { 0 } else { 7 };
        SocketAddr::from((Ipv4Addr::from_bits(address.to_bits() + host), port))
    };
    (0..count).map(destination).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_place_of_its_own() {
        let places: std::collections::HashSet<_> = (0..10_000).map(rule).collect();
        assert_eq!(places.len(), 10_000);
        assert_eq!(policies(10_000).len(), 10);
    }

    #[test]
    fn destinations_lie_in_networks_of_both_lengths() {
        for rules in [10, 100, 1000, 10_000] {
            let places = destinations(rules);
            assert_eq!(places.len(), rules.min(DESTINATIONS));
            let singles = places.iter().filter(|place| place.to_string().starts_with("127.100.")).count();
            assert!(singles * 3 > places.len() && singles * 3 < places.len() * 2, "{singles} of {}", places.len());
        }
    }
}
