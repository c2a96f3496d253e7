//! Checks of ours for forms whose receivers can't be had: Splunk's collector, bulk requests, Slack. They hold the limits and
//! the required fields that the vendors' documentation names, which their own clients (see `outside`) don't look at, and are
//! no proof that a receiver agrees.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Bodies, Row};

pub fn rows(bodies: &Bodies) -> Result<Vec<Row>> {
    Ok(vec![
        row(
            bodies,
            "splunk-hec",
            "Splunk HEC",
            "ours: known keys, time in seconds, flat fields, event is the log's line",
            splunk,
        )?,
        row(
            bodies,
            "elastic-bulk",
            "Elastic bulk",
            "ours: create and document in turn, ids differ, @timestamp",
            elastic,
        )?,
        row(bodies, "slack", "Slack", "ours: 50 blocks, 3000 and 150 characters, no bare & < >", slack)?,
    ])
}

type Check = fn(&[u8], &Bodies) -> Result<usize>;

/// One row for all bodies of a form.
fn row(
    bodies: &Bodies,
    form: &'static str,
    receiver: &'static str,
    validator: &'static str,
    check: Check,
) -> Result<Row> {
    eprintln!("── {receiver}");
    let mut row = Row { receiver, sent: 0, received: 0, validator, problems: Vec::new() };
    for body in bodies.all(form) {
        row.sent += body.items;
        match check(&body.bytes()?, bodies) {
            Ok(items) => row.received += items,
            Err(error) => row.problems.push(format!("{error:#}")),
        }
    }
    Ok(row)
}

fn splunk(body: &[u8], bodies: &Bodies) -> Result<usize> {
    const KEYS: [&str; 7] = ["time", "host", "source", "sourcetype", "index", "event", "fields"];
    let events: Vec<Value> = serde_json::Deserializer::from_slice(body).into_iter().collect::<Result<_, _>>()?;
    for (event, line) in events.iter().zip(&bodies.native) {
        let object = event.as_object().context("an event is an object")?;
        let unknown = object.keys().find(|key| !KEYS.contains(&key.as_str()));
        ensure!(unknown.is_none(), "the collector knows no {unknown:?}");
        let time = event["time"].as_f64().context("time is a number")?;
        // Seconds: milliseconds would be a moment thousands of years away.
        ensure!((1e9..1e10).contains(&time), "{time} is no number of seconds since 1970");
        ensure!(event["event"] == *line, "another event than notice {}", line["seq"]);
        let fields = event["fields"].as_object().context("fields are an object")?;
        ensure!(fields.values().all(Value::is_string), "fields are flat texts");
    }
    Ok(events.len())
}

fn elastic(body: &[u8], bodies: &Bodies) -> Result<usize> {
    ensure!(body.ends_with(b"\n"), "a bulk request ends with a line feed");
    let lines: Vec<&[u8]> = body.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).collect();
    let mut ids = BTreeSet::new();
    for (pair, native) in lines.chunks(2).zip(&bodies.native) {
        let [action, document] = pair else { bail!("an action without a document") };
        let action: Value = serde_json::from_slice(action)?;
        let document: Value = serde_json::from_slice(document)?;
        let action = action.as_object().filter(|it| it.len() == 1).context("an action is an object of one key")?;
        let id = action.get("create").and_then(|create| create["_id"].as_str()).context("the action is create")?;
        ensure!((1..=512).contains(&id.len()), "an id has 1 to 512 bytes");
        ids.insert(id.to_owned());
        ensure!(document["@timestamp"] == native["ts"], "a data stream's documents have an @timestamp");
        ensure!(document["runner_agent"] == *native, "another document than notice {}", native["seq"]);
        ensure!(document["event"]["sequence"] == native["seq"], "event.sequence is the notice's number");
    }
    ensure!(ids.len() * 2 == lines.len(), "two documents have one id");
    Ok(ids.len())
}

fn slack(body: &[u8], _: &Bodies) -> Result<usize> {
    let message: Value = serde_json::from_slice(body)?;
    let blocks = message["blocks"].as_array().context("a message has blocks")?;
    ensure!((1..=50).contains(&blocks.len()), "{} blocks", blocks.len());
    is_text(message["text"].as_str(), 3000)?;
    for block in blocks {
        let texts = match block["type"].as_str() {
            Some("header") => vec![(&block["text"], 150)],
            Some("section") => vec![(&block["text"], 3000)],
            Some("context") => {
                let elements = block["elements"].as_array().context("a context has elements")?;
                ensure!((1..=10).contains(&elements.len()), "{} elements", elements.len());
                elements.iter().map(|element| (element, 3000)).collect()
            }
            other => bail!("no block is a {other:?}"),
        };
        for (text, most) in texts {
            // Verbatim, or names of channels and people would become links.
            let is_inert = text["type"] == "plain_text" || (text["type"] == "mrkdwn" && text["verbatim"] == true);
            ensure!(is_inert, "{text} could link or mention");
            is_text(text["text"].as_str(), most)?;
        }
    }
    Ok(1)
}

fn is_text(text: Option<&str>, most: usize) -> Result<()> {
    let text = text.context("a text is a text")?;
    ensure!((1..=most).contains(&text.chars().count()), "{} characters", text.chars().count());
    let bare = ["&amp;", "&lt;", "&gt;"].iter().fold(text.to_owned(), |text, entity| text.replace(entity, ""));
    ensure!(!bare.contains(['&', '<', '>']), "a bare & < or > in {text:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_could_mention_somebody_is_refused() {
        let bodies = Bodies { bodies: Vec::new(), native: Vec::new() };
        let message = |text: &str| {
            format!(
                r#"{{"text":"{text}","blocks":[{{"type":"section","text":{{"type":"plain_text","text":"{text}"}}}}]}}"#
            )
        };
        assert!(slack(message("a &lt;b&gt;").as_bytes(), &bodies).is_ok());
        assert!(slack(message("<!channel>").as_bytes(), &bodies).is_err());
        assert!(slack(message(&"x".repeat(3001)).as_bytes(), &bodies).is_err());
    }

    #[test]
    fn milliseconds_and_half_a_pair_are_refused() {
        let native = vec![serde_json::json!({ "seq": 1, "ts": "2026-01-15T09:20:23Z" })];
        let bodies = Bodies { bodies: Vec::new(), native };
        let event = r#"{"time":1768468823000,"event":{"seq":1,"ts":"2026-01-15T09:20:23Z"},"fields":{}}"#;
        assert!(splunk(event.as_bytes(), &bodies).is_err());
        assert_eq!(splunk(event.replace("3000,", "3,").as_bytes(), &bodies).expect("an event"), 1);
        assert!(elastic(b"{\"create\":{\"_id\":\"a\"}}\n", &bodies).is_err());
    }
}
