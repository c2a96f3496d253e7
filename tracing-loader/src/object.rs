//! An object whose programs use maps that exist already.

use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use aya_obj::generated::bpf_insn;

/// A map of the object, as it was made.
#[derive(Clone, Copy, Debug)]
pub struct MapHandle<'a> {
    /// Its name in the object.
    pub name: &'a str,
    /// Its descriptor.
    pub map: BorrowedFd<'a>,
}

/// Why an object can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It isn't one.
    #[error("it can't be parsed: {0}")]
    Parse(#[from] aya_obj::ParseError),
    /// Its references can't be resolved.
    #[error("{0}")]
    Relocate(#[from] aya_obj::relocation::EbpfRelocationError),
}

/// An object, its programs ready to be loaded.
pub struct Object(aya_obj::Object);

impl Object {
    /// Parses an object and points its programs at these maps. A map that is not among them must not be used by any
    /// program that is loaded.
    pub fn with_maps(bytes: &[u8], handles: &[MapHandle<'_>]) -> Result<Self, ObjectError> {
        let mut object = aya_obj::Object::parse(bytes)?;
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        let known = std::mem::take(&mut object.maps);
        let maps =
            handles.iter().filter_map(|handle| Some((handle.name, handle.map.as_raw_fd(), known.get(handle.name)?)));
        object.relocate_maps(maps, &text)?;
        object.relocate_calls(&text)?;
        Ok(Self(object))
    }

    /// A program's instructions, with all functions that it calls behind it.
    pub fn program(&self, name: &str) -> Option<&[bpf_insn]> {
        let program = self.0.programs.get(name)?;
        Some(&self.0.functions.get(&program.function_key())?.instructions)
    }

    /// The licence that the object declares.
    pub fn licence(&self) -> &CStr {
        &self.0.license
    }
}
