//! Reads the kernel's own type information (BTF), as far as field offsets need it.
//!
//! Format: the kernel's `Documentation/bpf/btf.rst`. Only names, members and sizes are kept; the file is native-endian.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use super::LoadError;

const MAGIC: u16 = 0xeb9f;

const KIND_INT: u32 = 1;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC: u32 = 12;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;
const KIND_MAX: u32 = 19;

/// The types of one kernel, indexed for look-ups by structure name.
pub struct Btf {
    /// The whole file: it has megabytes, and is not copied.
    bytes: Vec<u8>,
    types: Range<usize>,
    strings: Range<usize>,
    /// Where the type with id `i + 1` starts in `types`.
    starts: Vec<u32>,
    structs: HashMap<String, u32>,
}

impl Btf {
    /// Reads the running kernel's types from `path`, ordinarily `/sys/kernel/btf/vmlinux`.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = std::fs::read(path).map_err(|source| LoadError::NoBtf { path: path.to_owned(), source })?;
        Self::parse(bytes).ok_or_else(|| LoadError::BadBtf { path: path.to_owned() })
    }

    /// Parses BTF from memory; `None` when it isn't well-formed.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        if u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header_len = word(&bytes, 4)? as usize;
        let section = |offset: u32, len: u32| {
            let start = header_len.checked_add(offset as usize)?;
            let range = start..start.checked_add(len as usize)?;
            bytes.get(range.clone()).map(|_| range)
        };
        let types = section(word(&bytes, 8)?, word(&bytes, 12)?)?;
        let strings = section(word(&bytes, 16)?, word(&bytes, 20)?)?;
        let mut btf = Self { bytes, types, strings, starts: Vec::new(), structs: HashMap::new() };
        btf.index()?;
        Some(btf)
    }

    fn types(&self) -> &[u8] {
        &self.bytes[self.types.clone()]
    }

    fn index(&mut self) -> Option<()> {
        let mut at = 0;
        while at < self.types.len() {
            let info = word(self.types(), at + 4)?;
            let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let tail = match kind {
                KIND_INT | KIND_VAR | KIND_DECL_TAG => 4,
                KIND_ARRAY => 12,
                KIND_STRUCT | KIND_UNION | KIND_DATASEC | KIND_ENUM64 => 12 * members,
                KIND_ENUM | KIND_FUNC_PROTO => 8 * members,
                kind if kind <= KIND_MAX => 0,
                _ => return None,
            };
            self.starts.push(at as u32);
            let id = self.starts.len() as u32;
            if kind == KIND_STRUCT && members > 0 {
                let name = self.text(word(self.types(), at)?)?;
                if !name.is_empty() {
                    let name = name.to_owned();
                    self.structs.entry(name).or_insert(id);
                }
            }
            at += 12 + tail;
        }
        Some(())
    }

    /// Byte offset of a field, as `structure.member[.member…]`; members of nested anonymous structures and unions are
    /// found by their own name. `None` when this kernel has no such field, or when it is a bit field.
    pub fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = *self.structs.get(structure)?;
        let mut bits = 0;
        for member in path.split('.') {
            let (at, of) = self.member(id, member)?;
            bits += at;
            id = self.resolve(of)?;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Ids of the functions with these names, each where this kernel has one.
    pub fn functions(&self, names: &[&str]) -> Vec<Option<u32>> {
        let wanted: HashMap<&[u8], usize> =
            names.iter().enumerate().map(|(index, name)| (name.as_bytes(), index)).collect();
        let longest = names.iter().map(|name| name.len()).max().unwrap_or_default();
        let strings = &self.bytes[self.strings.clone()];
        let mut found = vec![None; names.len()];
        for (index, &at) in self.starts.iter().enumerate() {
            let at = at as usize;
            if word(self.types(), at + 4).map(|info| info >> 24 & 0x1f) != Some(KIND_FUNC) {
                continue;
            }
            // A kernel has some sixty thousand; a name that is longer than all that are wanted isn't read to its end.
            let name = word(self.types(), at).and_then(|offset| strings.get(offset as usize..)).unwrap_or_default();
            let Some(len) = name.iter().take(longest + 1).position(|&byte| byte == 0) else { continue };
            if let Some(&wanted) = wanted.get(&name[..len]) {
                found[wanted].get_or_insert(index as u32 + 1);
            }
        }
        found
    }

    /// Whether this kernel has a structure of that name.
    pub fn has_struct(&self, structure: &str) -> bool {
        self.structs.contains_key(structure)
    }

    /// Offset in bits and type of a member.
    fn member(&self, id: u32, wanted: &str) -> Option<(u32, u32)> {
        let at = *self.starts.get(id.checked_sub(1)? as usize)? as usize;
        let info = word(self.types(), at + 4)?;
        if !matches!(info >> 24 & 0x1f, KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let has_bit_fields = info >> 31 == 1;
        for i in 0..(info & 0xffff) as usize {
            let entry = at + 12 + 12 * i;
            let name = self.text(word(self.types(), entry)?)?;
            let of = word(self.types(), entry + 4)?;
            let raw = word(self.types(), entry + 8)?;
            let bits = if has_bit_fields { raw & 0x00ff_ffff } else { raw };
            if name == wanted {
                return Some((bits, of));
            }
            if name.is_empty()
                && let Some((inner, of)) = self.resolve(of).and_then(|inner| self.member(inner, wanted))
            {
                return Some((bits + inner, of));
            }
        }
        None
    }

    /// Looks through typedefs and qualifiers, and at an array through to its element.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        const KIND_TYPEDEF: u32 = 8;
        const KIND_VOLATILE: u32 = 9;
        const KIND_CONST: u32 = 10;
        const KIND_RESTRICT: u32 = 11;
        const KIND_TYPE_TAG: u32 = 18;
        for _ in 0..32 {
            let at = *self.starts.get(id.checked_sub(1)? as usize)? as usize;
            match word(self.types(), at + 4)? >> 24 & 0x1f {
                KIND_TYPEDEF | KIND_VOLATILE | KIND_CONST | KIND_RESTRICT | KIND_TYPE_TAG => {
                    id = word(self.types(), at + 8)?;
                }
                KIND_ARRAY => id = word(self.types(), at + 12)?,
                _ => return Some(id),
            }
        }
        None
    }

    fn text(&self, offset: u32) -> Option<&str> {
        let bytes = self.bytes[self.strings.clone()].get(offset as usize..)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        std::str::from_utf8(&bytes[..end]).ok()
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct inner { int a; }; struct outer { int first; struct inner nested; union { int x; const inner y; }; }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0int\0inner\0a\0outer\0first\0nested\0x\0y\0call\0";
        let at = |name: &[u8]| {
            let needle: Vec<u8> = [b"\0", name, b"\0"].concat();
            strings.windows(needle.len()).position(|w| w == needle).unwrap() as u32 + 1
        };
        let kind = |kind: u32, members: u32| kind << 24 | members;
        let words = [
            vec![at(b"int"), kind(KIND_INT, 0), 4, 32],
            vec![at(b"inner"), kind(KIND_STRUCT, 1), 4, at(b"a"), 1, 0],
            vec![0, kind(10, 0), 2],
            vec![0, kind(KIND_UNION, 2), 4, at(b"x"), 1, 0, at(b"y"), 3, 0],
            vec![at(b"outer"), kind(KIND_STRUCT, 3), 12, at(b"first"), 1, 0, at(b"nested"), 2, 32, 0, 4, 64],
            vec![0, kind(KIND_FUNC_PROTO, 1), 1, at(b"a"), 1],
            vec![at(b"call"), kind(KIND_FUNC, 0), 6],
        ]
        .concat();
        let types: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn finds_fields_through_nesting_anonymous_unions_and_qualifiers() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("outer", "nested.a"), Some(4));
        assert_eq!(btf.offset("outer", "x"), Some(8));
        assert_eq!(btf.offset("outer", "y.a"), Some(8));
        assert_eq!(btf.offset("outer", "missing"), None);
        assert_eq!(btf.offset("absent", "x"), None);
        assert_eq!(btf.functions(&["call", "outer", "absent"]), [Some(7), None, None], "only functions count");
    }

    #[test]
    fn any_cut_of_the_file_is_refused_or_read_without_a_panic() {
        let whole = sample();
        for len in 0..whole.len() {
            if let Some(btf) = Btf::parse(whole[..len].to_vec()) {
                let _ = btf.offset("outer", "y.a");
            }
        }
    }
}
