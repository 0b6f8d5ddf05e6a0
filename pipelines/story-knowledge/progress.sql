-- As the tables were when the inputs were read.
WITH g AS (
  SELECT g.id, coalesce(s.status, 'pending') AS status, s.topics_extracted AS topics, s.entities_extracted AS entities,
    EXISTS (SELECT 1 FROM story_group_members AS m JOIN context_summaries AS c ON c.news_url_id = m.news_url_id
            WHERE m.group_id = g.id AND trim(coalesce(c.summary_text, '')) <> '') AS has_text
  FROM story_groups AS g LEFT JOIN extraction_status AS s ON s.story_group_id = g.id
  WHERE g.status = 'active'
)
SELECT 'Total story groups' AS name, count(*) AS value FROM g
UNION ALL SELECT 'Groups with extraction', count(*) FROM g WHERE status = 'completed'
UNION ALL SELECT 'Groups remaining', count(*) FROM g WHERE status <> 'completed'
UNION ALL SELECT 'Groups without text', count(*) FROM g WHERE NOT has_text
UNION ALL SELECT 'Failed groups', count(*) FROM g WHERE status = 'failed'
UNION ALL SELECT 'Partial groups', count(*) FROM g WHERE status = 'partial'
UNION ALL SELECT 'Processing groups', count(*) FROM g WHERE status = 'processing'
UNION ALL SELECT 'Total topics extracted', coalesce(sum(topics), 0) FROM g
UNION ALL SELECT 'Total entities extracted', coalesce(sum(entities), 0) FROM g
UNION ALL SELECT 'Avg topics per group', coalesce(round(avg(topics), 1), 0) FROM g WHERE status = 'completed'
UNION ALL SELECT 'Avg entities per group', coalesce(round(avg(entities), 1), 0) FROM g WHERE status = 'completed'
