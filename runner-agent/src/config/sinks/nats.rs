//! A stream of NATS: servers, subject, and the credentials of who may publish to it and nothing else.

use reqwest::Url;

use super::secret::secret;
use super::target::{certificates, kept_safe};
use crate::config::check::walk::{Cursor, Fields};
use crate::sink::settings::{Login, Nats, Secret};
use crate::sink::subject::{self, Subject};

/// Keys of `login`.
const LOGIN_KEYS: &[&str] = &["user", "password", "token", "nkey", "credentials"];

/// Whether this binary can publish to NATS.
const IS_BUILT: bool = cfg!(feature = "nats");

/// Length of an nkey's seed, in base 32.
const SEED: usize = 58;

/// The servers and what is said of them.
pub(super) fn nats(fields: &Fields, kind: &Cursor) -> Option<Nats> {
    let is_there = is_built(kind, IS_BUILT);
    let hint = "say where the servers are, as in `url: tls://nats.example.org:4222`";
    let servers = fields.need("url", hint).and_then(|cursor| {
        let each = cursor.one_or_more();
        let found: Vec<Url> = each.iter().filter_map(server).collect();
        (!found.is_empty() && found.len() == each.len()).then_some(found)
    });
    let subject = fields.get("subject").map_or_else(
        || Subject::parse(Subject::DEFAULT).ok(),
        |cursor| Subject::parse(cursor.text()?).map_err(|error| cursor.error(error)).ok(),
    );
    let login = fields.get("login").map_or(Some(Login::None), |cursor| login(&cursor));
    let inbox = fields.get("inbox").map_or(Some(None), |cursor| inbox(&cursor).map(Some));
    let ca = fields.get("ca").map_or(Some(None), |cursor| certificates(&cursor).map(Some));
    is_there.then_some(())?;
    Some(Nats { servers: servers?, subject: subject?, login: login?, inbox: inbox?, ca: ca? })
}

/// Says what would be right in a binary that was built without it.
fn is_built(kind: &Cursor, is_built: bool) -> bool {
    if !is_built {
        kind.error(
            "\"nats\" is not in this binary; take one that was built with `--features nats`, or send to a webhook of \
             something that publishes",
        );
    }
    is_built
}

fn server(cursor: &Cursor) -> Option<Url> {
    let text = cursor.text()?;
    let url = match Url::parse(text) {
        Ok(url) if url.has_host() && matches!(url.path(), "" | "/") && url.query().is_none() => url,
        _ => {
            cursor.error(format!(
                "{text:?} is no server; write \"tls://HOST:PORT\", as in \"tls://nats.example.org:4222\""
            ));
            return None;
        }
    };
    kept_safe(cursor, url, ("tls", "nats"), "login: { user: NAME, password: { file: PATH } }")
}

/// One of four ways to say who it is.
fn login(cursor: &Cursor) -> Option<Login> {
    let fields = cursor.fields(LOGIN_KEYS)?;
    let get = |key: &str| fields.get(key);
    let login = match (get("user"), get("password"), get("token"), get("nkey"), get("credentials")) {
        (Some(user), Some(password), None, None, None) => {
            let (user, password) = (user.text().map(ToOwned::to_owned), hidden(&password));
            Login::Password(user?, password?)
        }
        (None, None, Some(token), None, None) => Login::Token(hidden(&token)?),
        (None, None, None, Some(nkey), None) => {
            let seed = secret(&nkey)?;
            let is_base32 = seed.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
            if !seed.starts_with("SU") || seed.len() != SEED || !is_base32 {
                nkey.error(format!(
                    "the secret there is no seed of a user's nkey; it has {SEED} characters and begins with SU"
                ));
                return None;
            }
            Login::Nkey(Secret::new(seed.as_bytes()))
        }
        (None, None, None, None, Some(file)) => {
            let text = secret(&file)?;
            if !text.contains("BEGIN NATS USER JWT") || !text.contains("BEGIN USER NKEY SEED") {
                file.error(
                    "the secret there has no JWT of a user with its seed; take the `.creds` file that nsc writes",
                );
                return None;
            }
            Login::Credentials(Secret::new(text.as_bytes()))
        }
        _ => {
            cursor.error(
                "says not who it is; write `{ user: NAME, password: SECRET }`, `{ token: SECRET }`, `{ nkey: SECRET }` or \
                 `{ credentials: SECRET }`, where a secret is `{ file: PATH }` or `{ credential: NAME }`",
            );
            return None;
        }
    };
    Some(login)
}

fn hidden(cursor: &Cursor) -> Option<Secret> {
    secret(cursor).map(|text| Secret::new(text.as_bytes()))
}

/// A prefix of subjects for the broker's answers, as its rules for this user have it.
fn inbox(cursor: &Cursor) -> Option<String> {
    let text = cursor.text()?;
    if !subject::is_words(text) {
        cursor.error(format!(
            "{text:?} is no prefix of an inbox; write it without its last word, as in \"_INBOX.ci-17\""
        ));
        return None;
    }
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::check::walk::Findings;
    use crate::config::raw;

    #[test]
    fn a_binary_without_it_says_so_and_what_would_be_right() {
        let tree = raw::parse(b"nats").unwrap();
        let findings = Findings::new(Path::new("c.yml"));
        let cursor = Cursor { node: &tree, path: "sinks[0].type".to_owned(), findings: &findings };
        assert!(is_built(&cursor, true) && !is_built(&cursor, false));
        let told: Vec<String> = findings.into_problems().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("is not in this binary; take one that was built with `--features nats`"), "{told:?}");
    }
}
