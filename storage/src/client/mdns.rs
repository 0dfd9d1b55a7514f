//! Nodes on the LAN find each other by mDNS (RFC 6762 and 6763): a node announces where it is reached, and whoever is told
//! to join `mdns` listens. What is heard proves nothing: the cluster secret does, on every request.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use mdns_sd::{Error, ServiceDaemon, ServiceEvent, ServiceInfo};
use parking_lot::Mutex;

/// What stands for the nodes on the LAN among the addresses to join.
pub const NAME: &str = "mdns";
const SERVICE: &str = "_cairn._tcp.local.";
/// The property that has the address, `host:port`.
const ADDRESS: &str = "address";
/// No more nodes are remembered than that, whatever is heard.
const MOST: usize = 1000;

/// Whether the nodes on the LAN are among the addresses.
pub fn is_among(addresses: &[String]) -> bool {
    addresses.iter().any(|address| address == NAME)
}

/// Keeps a node announced for as long as it lives.
pub struct Announcement(ServiceDaemon);

impl Announcement {
    /// Announces a node that is reached at `address` (`host:port`).
    ///
    /// # Errors
    /// There is no network to announce it on.
    pub fn new(address: &str) -> Result<Self, Error> {
        let daemon = ServiceDaemon::new()?;
        let name = format!("cairn-{:016x}", rand::random::<u64>());
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let port = port.parse().unwrap_or(0);
        let properties = [(ADDRESS, address)];
        let info = match host.parse::<std::net::IpAddr>() {
            Ok(ip) => ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), ip, port, &properties[..])?,
            Err(_) => ServiceInfo::new(SERVICE, &name, &format!("{name}.local."), "", port, &properties[..])?
                .enable_addr_auto(),
        };
        daemon.register(info)?;
        Ok(Self(daemon))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // It says good-bye; nobody waits for it.
        let _ = self.0.shutdown();
    }
}

/// The addresses that are announced on the LAN now. The first call begins to listen and finds none.
pub fn announced() -> Vec<String> {
    static HEARD: OnceLock<Mutex<BTreeMap<String, String>>> = OnceLock::new();
    let mut begins = false;
    let heard = HEARD.get_or_init(|| {
        begins = true;
        Mutex::default()
    });
    if begins && let Err(error) = listen(heard) {
        tracing::warn!(%error, "no node can be found by mDNS");
    }
    heard.lock().values().cloned().collect()
}

fn listen(heard: &'static Mutex<BTreeMap<String, String>>) -> Result<(), Error> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    tokio::spawn(async move {
        // The daemon ends when it is dropped.
        let _daemon = daemon;
        while let Ok(event) = events.recv_async().await {
            let mut heard = heard.lock();
            match event {
                ServiceEvent::ServiceResolved(service) => {
                    let address = service.get_property_val_str(ADDRESS).filter(|address| is_plain(address));
                    if let Some(address) = address.filter(|_| heard.len() < MOST) {
                        heard.insert(service.fullname.clone(), address.to_owned());
                    }
                }
                ServiceEvent::ServiceRemoved(_, name) => {
                    heard.remove(&name);
                }
                _ => {}
            }
        }
    });
    Ok(())
}

/// Whether it looks like `host:port`: anybody on the LAN may say anything.
fn is_plain(address: &str) -> bool {
    let named = address.rsplit_once(':').filter(|(host, _)| !host.is_empty() && host.len() <= 253);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    named.is_some_and(|(host, port)| host.bytes().all(plain) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_an_address_is_taken_for_one() {
        for good in ["10.0.0.1:9001", "host-1.lan:1", "[fe80::1]:9001"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", ":9001", "host", "host:0", "host:70000", "a/b:1", "user@host:1", "a b:1"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
