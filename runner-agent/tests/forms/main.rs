//! Every form over one notice of every kind: what it looks like, that it holds together whatever a job chose, and which
//! notices it takes. `RUNNER_AGENT_FORMS_DIR` names a folder that gets the bodies, for validators from outside
//! (`cargo xtask test sinks`).

mod fleet;
mod notices;
mod receipt;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, LogsData};
use proptest::prelude::*;
use prost::Message as _;
use runner_agent::notice::Notice;
use runner_agent::sink::wire::format::{About, Format};
use serde_json::Value;

const FOLDER: &str = "RUNNER_AGENT_FORMS_DIR";

fn item(form: Format, notice: &Notice, about: &About) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let is_taken = form.encode(notice, about, &mut out);
    assert_eq!(is_taken, !out.is_empty(), "{form}: what is taken is written, and nothing else");
    is_taken.then_some(out)
}

fn text(form: Format, notice: &Notice) -> String {
    String::from_utf8(item(form, notice, &notices::about()).expect("a form that takes it")).expect("UTF-8")
}

fn json(form: Format, notice: &Notice) -> Value {
    serde_json::from_str(&text(form, notice)).expect("JSON")
}

/// An item as a person would want to read it.
fn shown(form: Format, item: &[u8]) -> String {
    match form {
        Format::Otlp => {
            let logs = LogsData::decode(item).expect("protobuf");
            let of_job = &logs.resource_logs[0];
            let record = of_job.scope_logs[0].log_records[0].clone();
            let mut text = attributes(&of_job.resource.as_ref().expect("a resource").attributes);
            text.push_str(&attributes(&record.attributes));
            let rest = LogRecord { attributes: Vec::new(), ..record };
            text + &serde_json::to_string(&rest).expect("JSON")
        }
        Format::Syslog | Format::Cef => String::from_utf8(item.to_vec()).expect("UTF-8"),
        _ => {
            let lines = String::from_utf8(item.to_vec()).expect("UTF-8");
            let values = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
            values.map(|value| format!("{value:#}")).collect::<Vec<_>>().join("\n")
        }
    }
}

fn attributes(pairs: &[KeyValue]) -> String {
    let mut text = String::new();
    for pair in pairs {
        writeln!(text, "{} = {}", pair.key, serde_json::to_string(&pair.value).expect("JSON")).expect("a string");
    }
    text
}

#[test]
fn the_table_has_every_kind_and_no_other() {
    let kinds: BTreeSet<String> = notices::table()
        .iter()
        .map(|(_, notice)| json(Format::Native, notice)["kind"].as_str().expect("a line has a kind").to_owned())
        .collect();
    assert_eq!(kinds, runner_agent::sink::wire::KINDS.iter().map(|&kind| kind.to_owned()).collect());
}

#[test]
fn each_form_writes_each_kind_of_notice_as_it_did() {
    // Without what is the same in all of them; the next test has that.
    let about = notices::about_nobody();
    for &form in Format::ALL {
        let mut all = String::new();
        for (name, notice) in notices::table() {
            match item(form, &notice, &about) {
                Some(item) => writeln!(all, "── {name}\n{}", shown(form, &item)).expect("a string"),
                None => writeln!(all, "── {name}: not taken").expect("a string"),
            }
        }
        insta::assert_snapshot!(form.as_str(), all);
    }
}

#[test]
fn each_form_says_which_job_it_was_and_whose() {
    let about = notices::about();
    let mut all = String::new();
    for &form in Format::ALL {
        let (_, notice) = notices::table().into_iter().find(|(name, _)| *name == "finding").expect("a finding");
        let item = item(form, &notice, &about).expect("every form takes findings");
        writeln!(all, "── {form}\n{}", shown(form, &item)).expect("a string");
    }
    insta::assert_snapshot!("job", all);
}

#[test]
fn only_slack_and_alertmanager_leave_notices_out_and_take_what_somebody_should_be_called_for() {
    let about = notices::about();
    for (name, notice) in notices::table() {
        let is_alarm = matches!(name, "finding" | "hostile-finding" | "loss" | "agent-tampered");
        for &form in Format::ALL {
            let takes_all = !matches!(form, Format::Slack | Format::Alertmanager);
            assert_eq!(item(form, &notice, &about).is_some(), takes_all || is_alarm, "{form}: {name}");
        }
    }
}

#[test]
fn every_word_names_its_form() {
    assert_eq!(Format::ALL.len(), Format::WORDS.len());
    for (form, word) in Format::ALL.iter().zip(Format::WORDS) {
        assert_eq!(word.parse(), Ok(*form));
    }
}

/// Bodies as they are sent: as many items in one as the form allows.
fn bodies(form: Format) -> Vec<(usize, Vec<u8>)> {
    let about = notices::about();
    let items: Vec<Vec<u8>> = notices::table().iter().filter_map(|(_, notice)| item(form, notice, &about)).collect();
    let views: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
    views.chunks(form.most_items().min(items.len())).map(|chunk| (chunk.len(), form.body(chunk))).collect()
}

#[test]
fn a_body_holds_its_items_and_nothing_between_them_is_lost() {
    for &form in Format::ALL {
        for (count, body) in bodies(form) {
            let found = match form {
                Format::Otlp => LogsData::decode(&*body).expect("protobuf").resource_logs.len(),
                Format::Cloudevents | Format::Alertmanager => {
                    serde_json::from_slice::<Vec<Value>>(&body).expect("an array").len()
                }
                Format::Slack | Format::SplunkHec => {
                    let values = serde_json::Deserializer::from_slice(&body).into_iter::<Value>();
                    values.collect::<Result<Vec<_>, _>>().expect("JSON").len()
                }
                Format::ElasticBulk => body.split_inclusive(|&byte| byte == b'\n').count() / 2,
                Format::Native | Format::Ocsf | Format::Syslog | Format::Cef => {
                    assert!(body.ends_with(b"\n"));
                    body.split_inclusive(|&byte| byte == b'\n').count()
                }
            };
            assert_eq!(found, count, "{form}");
        }
    }
}

#[test]
fn an_empty_body_has_no_items() {
    for &form in Format::ALL {
        let body = form.body(&[]);
        assert!(body.is_empty() || body == b"[]", "{form}");
    }
}

#[test]
fn cef_over_syslog_is_the_message_and_has_the_severity_of_its_line() {
    let (_, notice) = notices::table().into_iter().find(|(name, _)| *name == "hostile-finding").expect("a finding");
    let line = text(Format::Cef, &notice);
    let message = Format::Cef.syslog_message(line.as_bytes(), "runner 7").expect("a message");
    // Facility 13, severity 2.
    let message = String::from_utf8(message).expect("UTF-8");
    assert_eq!(message, format!("<106>1 - runner7 runner-agent - cef - {line}"));
    assert_eq!(Format::Ocsf.syslog_message(b"{}", "runner"), None);
}

/// Writes what validators from outside read, when they ask for it.
#[test]
fn bodies_are_handed_to_who_asks_for_them() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    for &form in Format::ALL {
        for (index, (count, body)) in bodies(form).into_iter().enumerate() {
            let name = format!("{form}.{index}.{count}.body");
            std::fs::write(folder.join(name), body).expect("the folder that was named");
        }
    }
    let about = notices::about();
    let lines = notices::table().into_iter().map(|(_, notice)| {
        let line = item(Format::Cef, &notice, &about).expect("CEF takes every notice");
        Format::Cef.syslog_message(&line, &about.host).expect("CEF goes over syslog")
    });
    let framed: Vec<u8> = lines.flat_map(|line| [&line[..], b"\n"].concat()).collect();
    let name = format!("cef-in-syslog.0.{}.body", notices::table().len());
    std::fs::write(folder.join(name), framed).expect("the folder that was named");
    let (count, events) = fleet::ocsf();
    std::fs::write(folder.join(format!("fleet.0.{count}.body")), events).expect("the folder that was named");
    let (receipt, statement) = receipt::signed();
    std::fs::write(folder.join("receipt.0.1.body"), receipt).expect("the folder that was named");
    std::fs::write(folder.join("statement.0.1.body"), statement).expect("the folder that was named");
}

/// The values of an element of structured data, by RFC 5424's rules, and what stands after it.
fn structured_data(message: &str) -> Option<(Vec<(String, String)>, &str)> {
    let at = message.find(" [")?;
    let mut rest = message[at + 2..].strip_prefix("runner-agent@32473")?;
    let mut values = Vec::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, after) = parameter.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            match chars.next()? {
                (_, '\\') => value.push(chars.next()?.1),
                (at, '"') => break at,
                (_, ']') => return None,
                (_, char) => value.push(char),
            }
        };
        values.push((name.to_owned(), value));
        rest = &after[end + 1..];
    }
    Some((values, rest.strip_prefix("] ")?))
}

/// The extension of a line of CEF, by its rules: a key stands before a bare `=`.
fn extension(line: &str) -> Vec<(String, String)> {
    let bars: Vec<usize> = line.match_indices('|').map(|(at, _)| at).take(7).collect();
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut written = String::new();
    let mut chars = line[bars[6] + 1..].chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => written.push(match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            }),
            '=' => {
                let key = written.rsplit(' ').next().unwrap_or_default().to_owned();
                let value = written.strip_suffix(&key).map(|rest| rest.strip_suffix(' ').unwrap_or(rest));
                if let Some((last, value)) = pairs.last_mut().zip(value) {
                    value.clone_into(&mut last.1);
                }
                pairs.push((key, String::new()));
                written.clear();
            }
            other => written.push(other),
        }
    }
    if let Some(last) = pairs.last_mut() {
        last.1 = written;
    }
    pairs
}

fn value_of<'a>(pairs: &'a [(String, String)], key: &str) -> &'a str {
    let found: Vec<&str> = pairs.iter().filter(|(name, _)| name == key).map(|(_, value)| &**value).collect();
    assert_eq!(found.len(), 1, "{key} stands once in {pairs:?}");
    found[0]
}

fn has_control(text: &str) -> bool {
    text.chars().any(|char| char.is_control() || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2028}' | '\u{2029}'))
}

proptest! {
    #[test]
    fn whatever_a_job_is_called_stays_within_its_record(
        argument in "[a-z=|\\\\\"\\]\\[<>&!\n\r\t\u{0}\u{1b}\u{202e}\u{2028}é@ ]{0,40}",
        path in "/[a-z=|\\\\\"\\]\\[<>&\n\r\u{1b} ]{1,30}",
    ) {
        let exec = notices::notice(3, notices::exec(&["sh", &argument], &path));
        let file = notices::notice(4, notices::file(&path));
        let finding = notices::notice(5, notices::finding(&argument, &path));
        for notice in [&exec, &file, &finding] {
            for form in [Format::Native, Format::Ocsf, Format::Cloudevents, Format::SplunkHec] {
                prop_assert!(!text(form, notice).contains('\n'), "{form}");
                json(form, notice);
            }
            prop_assert_eq!(text(Format::ElasticBulk, notice).lines().count(), 2);

            let message = text(Format::Syslog, notice);
            prop_assert!(!has_control(&message), "{message}");
            let (values, _) = structured_data(&message).expect("one whole element");
            prop_assert_eq!(value_of(&values, "seq"), notice.seq.to_string());

            let line = text(Format::Cef, notice);
            prop_assert!(!has_control(&line), "{line}");
            let pairs = extension(&line);
            prop_assert_eq!(value_of(&pairs, "externalId"), format!("4d1b7c0a-{}", notice.seq));
            prop_assert!(pairs.iter().all(|(key, _)| key.bytes().all(|byte| byte.is_ascii_alphanumeric())), "{pairs:?}");
        }
        // What is no character of control comes back as it was.
        if !has_control(&path) {
            let pairs = extension(&text(Format::Cef, &file));
            prop_assert_eq!(value_of(&pairs, "filePath"), &path);
            let message = text(Format::Syslog, &file);
            let (values, _) = structured_data(&message).expect("one whole element");
            prop_assert_eq!(value_of(&values, "path"), &path);
        }
        let ocsf = json(Format::Ocsf, &file);
        prop_assert_eq!(&ocsf["file"]["path"], &path);
        let message = json(Format::Slack, &finding);
        let mut texts = vec![message["text"].as_str().expect("a text").to_owned()];
        for block in message["blocks"].as_array().expect("blocks") {
            let elements = block["elements"].as_array().cloned().unwrap_or_else(|| vec![block["text"].clone()]);
            texts.extend(elements.iter().map(|element| element["text"].as_str().expect("a text").to_owned()));
        }
        for text in texts {
            prop_assert!(text.chars().count() <= 3000);
            let without = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
            prop_assert!(!without.contains(['&', '<', '>']), "{text}");
        }
        for (name, value) in json(Format::Alertmanager, &finding)["labels"].as_object().expect("labels") {
            let value = value.as_str().expect("a text");
            prop_assert!(!value.is_empty() && !has_control(value), "{name}: {value}");
        }
    }
}

#[test]
fn arguments_without_end_make_no_syslog_message_and_no_line_of_cef_without_end() {
    // Each of these is written as six bytes or more.
    let (long, path) = ("\u{1b}\"=x".repeat(1 << 18), "/]".repeat(2048));
    let notice = notices::notice(3, notices::exec(&["sh", "-c", &long], &path));
    let about = About { identity: None, policy: long.clone(), host: long.clone(), ..notices::about() };
    let of = |form| String::from_utf8(item(form, &notice, &about).expect("a form that takes it")).expect("UTF-8");
    let message = of(Format::Syslog);
    assert!(message.len() < 8192, "{}", message.len());
    let (values, _) = structured_data(&message).expect("one whole element");
    assert_eq!(value_of(&values, "cut"), "process.exe process.argv policy.name");
    let line = of(Format::Cef);
    assert!(line.len() < 7168, "{}", line.len());
    let pairs = extension(&line);
    assert_eq!(value_of(&pairs, "runnerAgentCut"), "dvchost sproc runnerAgentArgv runnerAgentPolicyName");
    let command = json(Format::Ocsf, &notice)["process"]["cmd_line"].clone();
    assert!(command.as_str().expect("a command").len() > 1 << 20);
}
