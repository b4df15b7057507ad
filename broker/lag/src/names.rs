//! Things with names, by a small number: groups and topics. Whoever refers to one holds the number; numbers of what is
//! gone are given out again.

use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) struct Named<T> {
    by_name: HashMap<Arc<str>, u32>,
    slots: Vec<Option<(Arc<str>, T)>>,
    free: Vec<u32>,
}

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named { by_name: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Named<T> {
    pub fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The number of a name, which is taken up if it is new.
    pub fn find_or_add(&mut self, name: &str) -> u32 {
        if let Some(number) = self.find(name) {
            return number;
        }
        let shared: Arc<str> = Arc::from(name);
        let item = Some((Arc::clone(&shared), T::default()));
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = item;
                number
            }
            None => {
                self.slots.push(item);
                (self.slots.len() - 1) as u32
            }
        };
        self.by_name.insert(shared, number);
        number
    }

    pub fn get(&self, number: u32) -> Option<(&Arc<str>, &T)> {
        self.slots.get(number as usize)?.as_ref().map(|(name, item)| (name, item))
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.slots.get_mut(number as usize)?.as_mut().map(|(_, item)| item)
    }

    pub fn remove(&mut self, number: u32) -> Option<T> {
        let (name, item) = self.slots.get_mut(number as usize)?.take()?;
        self.by_name.remove(&name);
        self.free.push(number);
        Some(item)
    }

    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// One more than the highest number.
    pub fn numbers(&self) -> u32 {
        self.slots.len() as u32
    }

    /// All, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Arc<str>, &T)> {
        let found = self.slots.iter().enumerate();
        found.filter_map(|(number, slot)| slot.as_ref().map(|(name, item)| (number as u32, name, item)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_and_given_out_again() {
        let mut named: Named<u8> = Named::default();
        let (a, b) = (named.find_or_add("a"), named.find_or_add("b"));
        assert_eq!((named.find_or_add("a"), named.find("b"), named.find("c")), (a, Some(b), None));
        assert_eq!(named.remove(a), Some(0));
        assert_eq!((named.remove(a), named.find("a"), named.len()), (None, None, 1));
        assert_eq!(named.find_or_add("c"), a);
        assert_eq!(named.iter().map(|(_, name, _)| &**name).collect::<Vec<_>>(), ["c", "b"]);
    }
}
