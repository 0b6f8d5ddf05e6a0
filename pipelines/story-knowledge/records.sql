-- Active groups with text that are not done yet, the newest first.
WITH texts AS (
  SELECT m.group_id, group_concat(m.text, char(10, 10)) AS summaries
  FROM (
    SELECT DISTINCT m.group_id, m.news_url_id, m.added_at, trim(c.summary_text) AS text
    FROM story_group_members AS m
    JOIN context_summaries AS c ON c.news_url_id = m.news_url_id
    WHERE trim(coalesce(c.summary_text, '')) <> ''
    ORDER BY m.group_id, m.added_at, m.news_url_id
  ) AS m
  GROUP BY m.group_id
)
SELECT g.id AS key, t.summaries
FROM story_groups AS g
JOIN texts AS t ON t.group_id = g.id
LEFT JOIN extraction_status AS s ON s.story_group_id = g.id
WHERE g.status = 'active'
  AND (coalesce(s.status, 'pending') = 'pending'
       OR (:failed AND s.status IN ('failed', 'partial') AND coalesce(s.error_count, 0) <= :max_errors)
       OR (:stale AND s.status = 'processing'))
ORDER BY g.created_at DESC, g.id
