//! A small bounded map of what was asked lately. What it holds is a hint or is allowed to be old; who uses it says how
//! old.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// Values by name, each with the time at which it ceases to be good.
pub(crate) struct Cache<V> {
    /// Of the weights of all entries.
    capacity: usize,
    entries: RwLock<Entries<V>>,
}

struct Entries<V> {
    by_name: HashMap<String, Entry<V>>,
    weight: usize,
}

struct Entry<V> {
    value: V,
    until: Instant,
    weight: usize,
}

impl<V> Entries<V> {
    fn remove(&mut self, name: &str) {
        if let Some(old) = self.by_name.remove(name) {
            self.weight -= old.weight;
        }
    }

    fn retain(&mut self, keep: impl Fn(&Entry<V>) -> bool) {
        self.by_name.retain(|_, entry| keep(entry));
        self.weight = self.by_name.values().map(|entry| entry.weight).sum();
    }
}

impl<V: Clone> Cache<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: RwLock::new(Entries { by_name: HashMap::new(), weight: 0 }) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<V> {
        let entries = self.entries.read();
        let entry = entries.by_name.get(name)?;
        (Instant::now() < entry.until).then(|| entry.value.clone())
    }

    pub(crate) fn insert(&self, name: &str, value: V, lifetime: Duration) {
        self.insert_heavy(name, value, lifetime, 1);
    }

    /// The same, of what counts for more than one.
    pub(crate) fn insert_heavy(&self, name: &str, value: V, lifetime: Duration, weight: usize) {
        let now = Instant::now();
        let mut entries = self.entries.write();
        entries.remove(name);
        if entries.weight + weight > self.capacity {
            entries.retain(|entry| now < entry.until);
            if entries.weight + weight > self.capacity {
                // Everything in it is asked for more often than it can hold: starting anew costs one question each.
                entries.retain(|_| false);
            }
        }
        entries.weight += weight;
        entries.by_name.insert(name.to_owned(), Entry { value, until: now + lifetime, weight });
    }

    pub(crate) fn remove(&self, name: &str) {
        self.entries.write().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn an_entry_is_given_until_its_time_is_over() {
        let cache = Cache::new(2);
        cache.insert("a", 1, HOUR);
        cache.insert("b", 2, Duration::ZERO);
        assert_eq!((cache.get("a"), cache.get("b"), cache.get("c")), (Some(1), None, None));
        cache.remove("a");
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn it_never_holds_more_than_its_capacity() {
        let cache = Cache::new(10);
        for number in 0..100 {
            cache.insert(&number.to_string(), number, HOUR);
            assert!(cache.entries.read().by_name.len() <= 10);
            assert_eq!(cache.get(&number.to_string()), Some(number));
        }
    }

    #[test]
    fn what_is_heavy_counts_for_more() {
        let cache = Cache::new(10);
        for number in 0..100 {
            cache.insert_heavy(&(number % 7).to_string(), number, HOUR, 1 + number % 4);
            let entries = cache.entries.read();
            let weight: usize = entries.by_name.values().map(|entry| entry.weight).sum();
            assert!(weight <= 10 && weight == entries.weight);
        }
        cache.insert_heavy("x", 1, HOUR, 10);
        assert_eq!((cache.get("x"), cache.entries.read().by_name.len()), (Some(1), 1));
    }
}
