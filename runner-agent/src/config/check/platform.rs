//! The `platform` part of a file.

use std::path::PathBuf;

use globset::GlobBuilder;

use super::PLATFORM_KEYS;
use super::egress::why;
use super::walk::Cursor;
use crate::policy::Service;

pub fn read(cursor: &Cursor) -> Vec<Service> {
    cursor.items().iter().filter_map(service).collect()
}

fn service(entry: &Cursor) -> Option<Service> {
    let fields = entry.fields(PLATFORM_KEYS)?;
    let why = why(&fields);
    let cgroup = fields.need("cgroup", "name the service's, as in `cgroup: /system.slice/ssh.service`");
    let exe = fields.need("exe", "name the service's program, as in `exe: /usr/sbin/sshd`");
    let cgroup = cgroup.and_then(|cursor| pattern(&cursor));
    let exes = exe.map(|exe| exe.one_or_more().iter().filter_map(program).collect::<Vec<_>>()).unwrap_or_default();
    if exes.is_empty() {
        return None;
    }
    Some(Service { cgroup: cgroup?, exes, why: why? })
}

fn pattern(cursor: &Cursor) -> Option<String> {
    let text = cursor.text()?;
    let is_path = text.starts_with('/')
        && !text.ends_with('/')
        && !text.split('/').skip(1).any(|part| part.is_empty() || part == "..");
    if !is_path || text.contains("**") {
        cursor.error(format!(
            "{text:?} is no cgroup of a service; write its path from the root of the hierarchy, as in \
             \"/system.slice/ssh.service\", with `*` for a part of one name"
        ));
        return None;
    }
    if let Err(error) = GlobBuilder::new(text).literal_separator(true).build() {
        cursor.error(format!("{text:?} is no glob: {}; quote special characters as `[*]`", error.kind()));
        return None;
    }
    Some(text.to_owned())
}

fn program(cursor: &Cursor) -> Option<PathBuf> {
    let text = cursor.text()?;
    if !text.starts_with('/') {
        cursor.error(format!("{text:?} is no absolute path of a program; write it whole, as in \"/usr/sbin/sshd\""));
        return None;
    }
    Some(text.into())
}
