-- What became of a request: completed when every issue of its batch has a valid row.
WITH good AS (
  SELECT CAST(id AS TEXT) AS id FROM items WHERE good
  UNION SELECT s.value || '' FROM records AS r, json_each(r.settled_ids) AS s),
lacking AS (
  SELECT group_concat(b.value, ', ') AS ids FROM records AS r, json_each(r.all_ids) AS b
  WHERE b.value || '' NOT IN (SELECT id FROM good))
SELECT x.key AS id, x.provider AS provider_name,
       coalesce(nullif((SELECT provider_id FROM batch), ''), (SELECT id FROM batch)) AS job_name,
       r.subject, r.filename, r.batch_index, r.all_ids AS issue_ids,
       substr(coalesce((SELECT accepted_at FROM batch), now()), 1, 19) || 'Z' AS created_at,
       CASE WHEN l.ids IS NULL THEN 'completed' ELSE 'failed' END AS status,
       CASE WHEN l.ids IS NULL THEN NULL WHEN x.problem <> '' THEN x.problem
            ELSE 'no valid answer for issues ' || l.ids END AS error_message
FROM results AS x, records AS r, lacking AS l
