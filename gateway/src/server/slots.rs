//! How many connections there may be: of all clients together, and of each address.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::AbortHandle;

/// Counts connections.
pub(super) struct Slots {
    total: usize,
    /// 0 is no bound of its own.
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// One connection, until it is dropped.
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub(super) fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total, per_address, taken: Mutex::default() })
    }

    /// `None` where all are taken, or all that this address may have.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let address = holder(address);
        let mut taken = self.taken.lock();
        if taken.total >= self.total {
            return None;
        }
        let of_address = taken.by_address.get(&address).copied().unwrap_or(0);
        if self.per_address > 0 && of_address >= self.per_address {
            return None;
        }
        taken.total += 1;
        taken.by_address.insert(address, of_address + 1);
        Some(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        match taken.by_address.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.by_address.remove(&self.address)),
        }
    }
}

/// Who has an address: of IPv6 everybody has at least a network of 64 bits.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// The tasks of connections for which there was no slot. A new one pushes out the oldest, so that clients which say
/// nothing do not keep out one that does.
#[derive(Default)]
pub(super) struct Lane(VecDeque<AbortHandle>);

impl Lane {
    pub(super) fn push(&mut self, task: AbortHandle, most: usize) {
        self.0.retain(|task| !task.is_finished());
        while self.0.len() >= most.max(1) {
            if let Some(oldest) = self.0.pop_front() {
                oldest.abort();
            }
        }
        self.0.push_back(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_all_have_the_whole() {
        let slots = Slots::new(3, 2);
        let take = |address: &str| slots.take(address.parse().unwrap());
        let first = take("10.0.0.1").unwrap();
        let _second = take("::ffff:10.0.0.1").unwrap();
        assert!(take("10.0.0.1").is_none());
        let _other = take("10.0.0.2").unwrap();
        assert!(take("10.0.0.3").is_none(), "all are taken");
        drop(first);
        let _again = take("10.0.0.1").unwrap();
        assert_eq!(slots.taken.lock().by_address.len(), 2);
    }

    #[test]
    fn a_network_of_ipv6_is_one_holder() {
        let slots = Slots::new(10, 1);
        let _one = slots.take("2001:db8::1".parse().unwrap()).unwrap();
        assert!(slots.take("2001:db8::ffff:2".parse().unwrap()).is_none());
        assert!(slots.take("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[test]
    fn what_is_given_back_is_forgotten() {
        let slots = Slots::new(10, 0);
        drop((0..5).map(|_| slots.take("10.0.0.1".parse().unwrap()).unwrap()).collect::<Vec<_>>());
        let taken = slots.taken.lock();
        assert_eq!((taken.total, taken.by_address.len()), (0, 0));
    }
}
