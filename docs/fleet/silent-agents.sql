-- Jobs under way whose agent has not been heard for {minutes:UInt32} minutes. An agent signs the log of each job every ten seconds, so
-- silence is no sign of an idle job.
SELECT job, any(host) AS on_host, any(repository) AS of_repository, max(time) AS last_heard
FROM notices FINAL
GROUP BY job
HAVING countIf(kind = 'receipt' OR (kind = 'job' AND JSONExtractUInt(line, 'activity_id') = 4)) = 0
   AND last_heard < {now:DateTime64(3)} - toIntervalMinute({minutes:UInt32})
ORDER BY last_heard, job;
