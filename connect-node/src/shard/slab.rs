//! A slab in chunks: indexes stay, growth never copies, and a generation tells a reused slot from the old.

/// Entries per chunk: one chunk of connections is about 150 KiB, so a node with few stays small.
const CHUNK: usize = 256;

/// An entry of a slab; stale once the entry was removed, even if its slot is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlabKey {
    /// Slot.
    pub index: u32,
    generation: u32,
}

/// Values with stable keys.
#[derive(Debug)]
pub struct Slab<T> {
    chunks: Vec<Vec<Slot<T>>>,
    free: Vec<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Slab<T> {
    /// Values held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no value is held.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts a value in.
    pub fn insert(&mut self, value: T) -> SlabKey {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.chunks[index as usize / CHUNK][index as usize % CHUNK];
            slot.value = Some(value);
            return SlabKey { index, generation: slot.generation };
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        chunk.push(Slot { generation: 0, value: Some(value) });
        let index = (last * CHUNK + chunk.len() - 1) as u32;
        SlabKey { index, generation: 0 }
    }

    /// Takes a value out, if the key is not stale.
    pub fn remove(&mut self, key: SlabKey) -> Option<T> {
        let slot = self.slot(key.index)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        self.len -= 1;
        Some(value)
    }

    /// The value of a key that is not stale.
    pub fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let slot = self.slot(key.index)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// The value of a key that is not stale.
    pub fn get(&self, key: SlabKey) -> Option<&T> {
        let slot = self.chunks.get(key.index as usize / CHUNK)?.get(key.index as usize % CHUNK)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The value in a slot, whatever its generation.
    pub fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slot(index)?.value.as_mut()
    }

    /// The key of the value in a slot.
    pub fn key_at(&self, index: u32) -> Option<SlabKey> {
        let slot = self.chunks.get(index as usize / CHUNK)?.get(index as usize % CHUNK)?;
        slot.value.as_ref().map(|_| SlabKey { index, generation: slot.generation })
    }

    /// Keys of all values, by slot.
    pub fn keys(&self) -> Vec<SlabKey> {
        let slots = (self.chunks.len() * CHUNK) as u32;
        (0..slots).filter_map(|index| self.key_at(index)).collect()
    }

    fn slot(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.chunks.get_mut(index as usize / CHUNK)?.get_mut(index as usize % CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stale_once_its_slot_is_used_again() {
        let mut slab = Slab::default();
        let old = slab.insert('a');
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('b');
        assert_eq!(new.index, old.index);
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get_mut(new), Some(&mut 'b'));
    }

    #[test]
    fn slots_are_used_again_before_it_grows() {
        let mut slab = Slab::default();
        let keys: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        for key in &keys {
            slab.remove(*key);
        }
        assert!(slab.is_empty());
        let again: Vec<_> = (0..1000).map(|n| slab.insert(n)).collect();
        assert!(again.iter().all(|key| key.index < 1000));
        assert_eq!(slab.keys().len(), 1000);
    }
}
