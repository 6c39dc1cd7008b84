//! Capabilities for objects: who holds which, and what was derived from what.
//!
//! A capability says what its holder may do with one object. A holder with the right to grant derives smaller
//! ones for others, who may do the same: the capabilities of an object are a tree. What was derived from a
//! capability ends with it, so that whoever has lent a right can take it back from everybody, and nobody
//! keeps what a program has handed on that is gone.
//!
//! This is bookkeeping: what ends is returned as [`Loss`]es, for which whoever keeps the mappings withdraws
//! them before he answers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use libd3os_object::ObjectId;

use crate::rights::Rights;

/// A capability, as its holder names it. Numbers are never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u64);

impl Capability {
    /// Its number.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The capability of this number, whether there is one or not.
    #[must_use]
    pub const fn from_number(number: u64) -> Self {
        Self(number)
    }
}

/// What is asked of a capability is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CapabilityError {
    /// Whoever asks holds no such capability.
    #[error("there is no such capability")]
    Unknown,
    /// It does not carry all these rights.
    #[error("the capability lacks {0:?}")]
    Lacks(Rights),
    /// Whoever asks has caused as many capabilities as he may.
    #[error("{0} capabilities are the most")]
    Quota(u32),
}

/// What somebody could do with an object, and can do still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss<H> {
    /// Who.
    pub holder: H,
    /// With which object.
    pub object: ObjectId,
    /// What he could do.
    pub before: Rights,
    /// What he can do still, by other capabilities; less than before.
    pub after: Rights,
}

/// All capabilities of holders that are told apart by an `H`.
#[derive(Clone, Debug)]
pub struct Capabilities<H> {
    nodes: BTreeMap<Capability, Node<H>>,
    /// What holders have of objects.
    held: BTreeMap<(H, ObjectId), BTreeSet<Capability>>,
    /// Who has something of an object.
    holders: BTreeMap<ObjectId, BTreeSet<H>>,
    /// How many capabilities each holder has caused.
    caused: BTreeMap<H, u32>,
    quota: u32,
    next: u64,
}

#[derive(Clone, Debug)]
struct Node<H> {
    holder: H,
    object: ObjectId,
    rights: Rights,
    parent: Option<Capability>,
    children: BTreeSet<Capability>,
    /// Who counts it: its holder, or whoever has derived it.
    cause: H,
}

impl<H: Copy + Ord> Capabilities<H> {
    /// None yet. No holder can cause more than `quota`: those that he has by his own rights and those that
    /// he derives for others, so that nobody can use up what is another's.
    #[must_use]
    pub const fn new(quota: u32) -> Self {
        Self {
            nodes: BTreeMap::new(),
            held: BTreeMap::new(),
            holders: BTreeMap::new(),
            caused: BTreeMap::new(),
            quota,
            next: 1,
        }
    }

    /// Gives a holder a capability by its own rights, which the caller has looked up.
    ///
    /// # Errors
    /// It has caused too many.
    pub fn issue(
        &mut self,
        holder: H,
        object: ObjectId,
        rights: Rights,
    ) -> Result<Capability, CapabilityError> {
        let children = BTreeSet::new();
        self.add(Node { holder, object, rights, parent: None, children, cause: holder })
    }

    /// Derives a capability for somebody, or for the holder itself.
    ///
    /// # Errors
    /// The holder has none like this, may not grant, or has not all the rights that the new one is to carry;
    /// or it has caused too many.
    pub fn delegate(
        &mut self,
        holder: H,
        capability: Capability,
        to: H,
        rights: Rights,
    ) -> Result<Capability, CapabilityError> {
        let node = self.node(holder, capability)?;
        let lacking = (rights | Rights::GRANT) - node.rights;
        if !lacking.is_empty() {
            return Err(CapabilityError::Lacks(lacking));
        }
        let (object, parent, children) = (node.object, Some(capability), BTreeSet::new());
        self.add(Node { holder: to, object, rights, parent, children, cause: holder })
    }

    /// The object of a capability that carries these rights.
    ///
    /// # Errors
    /// The holder has none like this, or it lacks some of them.
    pub fn object(
        &self,
        holder: H,
        capability: Capability,
        needed: Rights,
    ) -> Result<ObjectId, CapabilityError> {
        let node = self.node(holder, capability)?;
        let lacking = needed - node.rights;
        if lacking.is_empty() { Ok(node.object) } else { Err(CapabilityError::Lacks(lacking)) }
    }

    /// What a holder can do with an object by all its capabilities together: what it may have mapped.
    #[must_use]
    pub fn rights(&self, holder: H, object: ObjectId) -> Rights {
        let held = self.held.get(&(holder, object)).into_iter().flatten();
        held.filter_map(|capability| Some(self.nodes.get(capability)?.rights)).collect()
    }

    /// Ends all that was derived from a capability, and what was derived from that, but not the capability.
    ///
    /// # Errors
    /// The holder has none like this.
    pub fn revoke(
        &mut self,
        holder: H,
        capability: Capability,
    ) -> Result<Vec<Loss<H>>, CapabilityError> {
        let children = self.node(holder, capability)?.children.iter().copied().collect();
        Ok(self.end(children))
    }

    /// Ends a capability and all that was derived from it.
    ///
    /// # Errors
    /// The holder has none like this.
    pub fn close(
        &mut self,
        holder: H,
        capability: Capability,
    ) -> Result<Vec<Loss<H>>, CapabilityError> {
        self.node(holder, capability)?;
        Ok(self.end(Vec::from([capability])))
    }

    /// Ends all capabilities of a holder that is gone, and all that was derived from them.
    pub fn forget_holder(&mut self, holder: H) -> Vec<Loss<H>> {
        let of_holder = self.held.iter().filter(|((of, _), _)| *of == holder);
        let all = of_holder.flat_map(|(_, capabilities)| capabilities).copied().collect();
        self.end(all)
    }

    /// Ends all capabilities for an object that is to go.
    pub fn forget_object(&mut self, object: ObjectId) -> Vec<Loss<H>> {
        let holders = self.holders.get(&object).into_iter().flatten();
        let held = holders.filter_map(|holder| self.held.get(&(*holder, object)));
        let all = held.flatten().copied().collect();
        self.end(all)
    }

    /// Who has capabilities for an object.
    pub fn holders(&self, object: ObjectId) -> impl Iterator<Item = H> {
        self.holders.get(&object).into_iter().flatten().copied()
    }

    /// How many capabilities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn node(&self, holder: H, capability: Capability) -> Result<&Node<H>, CapabilityError> {
        let found = self.nodes.get(&capability).filter(|node| node.holder == holder);
        found.ok_or(CapabilityError::Unknown)
    }

    fn add(&mut self, node: Node<H>) -> Result<Capability, CapabilityError> {
        let caused = self.caused.entry(node.cause).or_default();
        if *caused >= self.quota {
            return Err(CapabilityError::Quota(self.quota));
        }
        *caused += 1;
        let capability = Capability(self.next);
        self.next += 1;
        if let Some(parent) = node.parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children.insert(capability);
        }
        self.held.entry((node.holder, node.object)).or_default().insert(capability);
        self.holders.entry(node.object).or_default().insert(node.holder);
        self.nodes.insert(capability, node);
        Ok(capability)
    }

    /// Ends these capabilities with all below them, and says what their holders lose by that.
    fn end(&mut self, mut left: Vec<Capability>) -> Vec<Loss<H>> {
        let mut before = BTreeMap::new();
        while let Some(capability) = left.pop() {
            // One may be below another one of these.
            let Some(node) = self.nodes.get(&capability) else { continue };
            let key = (node.holder, node.object);
            before.entry(key).or_insert_with(|| self.rights(key.0, key.1));
            left.extend(self.remove(capability));
        }
        let loss = |((holder, object), before)| {
            let after = self.rights(holder, object);
            (before != after).then_some(Loss { holder, object, before, after })
        };
        before.into_iter().filter_map(loss).collect()
    }

    /// Removes one, and returns those below it.
    fn remove(&mut self, capability: Capability) -> BTreeSet<Capability> {
        let Some(node) = self.nodes.remove(&capability) else { return BTreeSet::new() };
        let Node { holder, object, parent, children, cause, .. } = node;
        if let Some(parent) = parent.and_then(|parent| self.nodes.get_mut(&parent)) {
            parent.children.remove(&capability);
        }
        take(&mut self.held, (holder, object), capability);
        if !self.held.contains_key(&(holder, object)) {
            take(&mut self.holders, object, holder);
        }
        if let Some(caused) = self.caused.get_mut(&cause) {
            *caused -= 1;
            if *caused == 0 {
                self.caused.remove(&cause);
            }
        }
        children
    }
}

/// Takes a value out of the set of a key, and the key out if that was its last one.
fn take<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: K, value: V) {
    if let Some(set) = sets.get_mut(&key) {
        set.remove(&value);
        if set.is_empty() {
            sets.remove(&key);
        }
    }
}
