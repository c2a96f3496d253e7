-- One row a notice, as an OCSF event. What is asked for often is a column of its own; the rest stays in the line.
-- `uid` is the same however often a notice was sent: ReplacingMergeTree keeps one, and FINAL doesn't wait for that.
CREATE TABLE IF NOT EXISTS notices
(
    line String,
    time DateTime64(3, 'UTC') MATERIALIZED fromUnixTimestamp64Milli(JSONExtractInt(line, 'time')),
    uid String MATERIALIZED JSONExtractString(line, 'metadata', 'uid'),
    kind LowCardinality(String) MATERIALIZED JSONExtractString(line, 'metadata', 'event_code'),
    job String MATERIALIZED JSONExtractString(line, 'metadata', 'correlation_uid'),
    host String MATERIALIZED JSONExtractString(line, 'device', 'hostname'),
    repository LowCardinality(String) MATERIALIZED JSONExtractString(line, 'unmapped', 'runner_agent.ci.repository'),
    activity LowCardinality(String) MATERIALIZED JSONExtractString(line, 'activity_name')
)
ENGINE = ReplacingMergeTree
ORDER BY (job, uid);
