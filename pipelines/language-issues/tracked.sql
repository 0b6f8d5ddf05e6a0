-- Requests that some checkout has sent and not seen the end of.
SELECT j.value ->> '$.subject' AS subject, j.value ->> '$.filename' AS filename, i.value AS issue_id
FROM (SELECT group_concat(line, char(10)) AS doc FROM tracking_lines) AS t,
     json_each(CASE WHEN json_valid(t.doc) THEN t.doc ELSE '{}' END) AS j,
     json_each(CASE WHEN json_type(j.value, '$.issue_ids') = 'array' THEN j.value ->> '$.issue_ids' ELSE '[]' END) AS i
WHERE j.type = 'object' AND j.value ->> '$.status' = 'pending'
