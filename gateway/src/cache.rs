//! A small bounded map of what was asked lately. What it holds is a hint or is allowed to be old; who uses it says how
//! old.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// Values by name, each with the time at which it ceases to be good.
pub(crate) struct Cache<V> {
    capacity: usize,
    entries: RwLock<HashMap<String, (V, Instant)>>,
}

impl<V: Clone> Cache<V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, entries: RwLock::new(HashMap::new()) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<V> {
        let entries = self.entries.read();
        let (value, until) = entries.get(name)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    pub(crate) fn insert(&self, name: &str, value: V, lifetime: Duration) {
        let now = Instant::now();
        let mut entries = self.entries.write();
        if entries.len() >= self.capacity && !entries.contains_key(name) {
            entries.retain(|_, (_, until)| now < *until);
            if entries.len() >= self.capacity {
                // Everything in it is asked for more often than it can hold: starting anew costs one question each.
                entries.clear();
            }
        }
        entries.insert(name.to_owned(), (value, now + lifetime));
    }

    pub(crate) fn remove(&self, name: &str) {
        self.entries.write().remove(name);
    }

    pub(crate) fn clear(&self) {
        self.entries.write().clear();
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
            assert!(cache.entries.read().len() <= 10);
            assert_eq!(cache.get(&number.to_string()), Some(number));
        }
    }
}
