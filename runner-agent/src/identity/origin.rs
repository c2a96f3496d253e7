//! What started a job and whose code it runs, in words that all providers share.

use serde::{Deserialize, Serialize};

/// What started a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Trigger {
    /// A branch or tag moved.
    Push,
    /// A change is proposed: pull request, merge request, a place in the merge queue.
    Change,
    /// The clock.
    Schedule,
    /// Somebody who may start pipelines.
    Manual,
    /// A release was made.
    Release,
    /// A deployment was asked for.
    Deployment,
    /// Another run ended; this one runs on the default branch, with what that one left.
    FollowUp,
    /// Something that anybody with an account can do: a comment, an issue, or a change that runs with the rights of the
    /// branch it is proposed for.
    Outsider,
    /// Nothing that is known.
    Unknown,
}

/// Whose code a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// The repository's own reference.
    Own,
    /// A change proposed from a branch of the repository itself.
    Internal,
    /// A change proposed from another repository: its name, or `None` where it is gone.
    Fork(Option<String>),
    /// What was told doesn't say: why, as a fragment.
    Untold(String),
}

/// A repository as it is told in one place.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repository<'a> {
    /// `owner/name`.
    pub name: Option<&'a str>,
    /// The provider's number of it.
    pub id: Option<&'a str>,
}

impl Repository<'_> {
    /// Whether both are one repository; `None` where the two have nothing in common that could be compared.
    ///
    /// Names and numbers must agree where both are told: a name can be given to another repository, and a number alone
    /// is easily misread.
    pub fn is(self, other: Repository) -> Option<bool> {
        let name = self.name.zip(other.name).map(|(one, two)| one.eq_ignore_ascii_case(two));
        let id = self.id.zip(other.id).map(|(one, two)| one == two);
        match (name, id) {
            (None, same) | (same, None) => same,
            (Some(name), Some(id)) => Some(name && id),
        }
    }
}

/// A proposed change: from where, for where.
pub fn change(head: Repository, base: Repository) -> Source {
    match head.is(base) {
        Some(true) => Source::Internal,
        Some(false) => Source::Fork(head.name.or(head.id).map(str::to_owned)),
        None => Source::Untold("nothing says which repository the change comes from".to_owned()),
    }
}

/// `owner/name` in the address of a repository, whichever way it is written.
pub fn repository_in(address: &str) -> Option<String> {
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        // As scp(1) has it: `git@host:owner/name.git`.
        None => address.split_once(':')?.1,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (!path.is_empty()).then(|| path.to_owned())
}

/// The host in the address of a repository, whichever way it is written.
pub fn host_in(address: &str) -> Option<String> {
    let authority = match address.split_once("://") {
        Some((_, rest)) => rest.split('/').next()?,
        None => address.split_once(':')?.0,
    };
    let host = authority.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_internal_only_if_name_and_number_agree() {
        let repository = |name, id| Repository { name, id };
        let base = repository(Some("acme/app"), Some("1"));
        assert_eq!(change(repository(Some("Acme/App"), Some("1")), base), Source::Internal);
        assert_eq!(change(repository(None, Some("1")), base), Source::Internal);
        for head in [repository(Some("acme/app"), Some("2")), repository(Some("eve/app"), Some("1"))] {
            assert!(matches!(change(head, base), Source::Fork(Some(_))), "{head:?}");
        }
        assert!(matches!(change(Repository::default(), base), Source::Untold(_)));
        assert!(matches!(change(base, Repository::default()), Source::Untold(_)));
        assert!(matches!(change(repository(Some("acme/app"), None), repository(None, Some("1"))), Source::Untold(_)));
    }

    #[test]
    fn addresses_of_repositories_are_read_in_each_way_they_are_written() {
        for address in [
            "https://git.example.org/acme/app.git",
            "git@git.example.org:acme/app.git",
            "ssh://git@Git.example.org:2222/acme/app",
            "https://user@git.example.org/acme/app/",
        ] {
            assert_eq!(repository_in(address).as_deref(), Some("acme/app"), "{address}");
            assert_eq!(host_in(address).as_deref(), Some("git.example.org"), "{address}");
        }
        assert_eq!(repository_in("app"), None);
        assert_eq!(host_in("app"), None);
    }
}
