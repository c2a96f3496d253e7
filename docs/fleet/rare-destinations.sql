-- Destinations seen in fewer than {repositories:UInt32} repositories: what one build reaches and no other does.
SELECT
    if(JSONExtractString(line, 'dst_endpoint', 'hostname') != '',
       JSONExtractString(line, 'dst_endpoint', 'hostname'),
       JSONExtractString(line, 'dst_endpoint', 'ip')) AS destination,
    JSONExtractUInt(line, 'dst_endpoint', 'port') AS port,
    uniqExact(repository) AS repositories,
    count() AS times,
    groupUniqArray(5)(repository) AS examples
FROM notices FINAL
WHERE kind = 'connect'
GROUP BY destination, port
HAVING repositories < {repositories:UInt32}
ORDER BY repositories, times, destination;
