-- Jobs that began more than {minutes:UInt32} minutes before {now:DateTime64(3)} and have no receipt, and the last that was heard of them.
SELECT job, any(host) AS on_host, any(repository) AS of_repository, min(time) AS began, max(time) AS last_heard
FROM notices FINAL
GROUP BY job
HAVING countIf(kind = 'receipt') = 0 AND began < {now:DateTime64(3)} - toIntervalMinute({minutes:UInt32})
ORDER BY began, job;
