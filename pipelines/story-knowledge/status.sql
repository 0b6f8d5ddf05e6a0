-- Where each group of the job stands: completed only when both requests have a good answer.
SELECT r.key AS story_group_id,
  CASE
    WHEN sum(r.state = 'done') = count(*) THEN 'completed'
    WHEN sum(r.state IN ('done', 'failed', 'canceled')) < count(*) THEN 'processing'
    WHEN sum(r.state = 'done') > 0 THEN 'partial'
    WHEN sum(r.state = 'failed') = 0 THEN 'pending'
    ELSE 'failed'
  END AS status,
  substr(group_concat(CASE WHEN r.state = 'failed' THEN r.request || ': ' || r.reason END, '; '), 1, 1000) AS error_message,
  coalesce(max(s.error_count), 0) + max(r.state = 'failed') AS error_count,
  job.created_at AS started_at,
  CASE WHEN sum(r.state = 'done') = count(*) THEN now() END AS completed_at,
  now() AS last_attempt_at
FROM job, requests AS r
LEFT JOIN extraction_status AS s ON s.story_group_id = r.key
GROUP BY r.key
