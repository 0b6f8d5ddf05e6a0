-- What a provider has taken.
SELECT m.key AS id, b.provider AS provider_name, coalesce(nullif(b.provider_id, ''), b.id) AS job_name,
       m.record ->> '$.subject' AS subject, m.record ->> '$.filename' AS filename,
       m.record ->> '$.batch_index' AS batch_index, m.record ->> '$.all_ids' AS issue_ids,
       substr(coalesce(b.accepted_at, now()), 1, 19) || 'Z' AS created_at,
       'pending' AS status, NULL AS error_message
FROM batch AS b CROSS JOIN requests AS m ON m.batch = b.number
WHERE b.state = 'accepted' AND m.state = 'packed'
