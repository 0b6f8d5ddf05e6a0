-- The entities of an answer that are resolved, each once: the primary mention of it, then the surest.
SELECT n, entity_type, entity_id, mention_text, confidence, is_primary, position, team_abbr, team_name, rank
FROM (
  SELECT *, row_number() OVER (PARTITION BY entity_type, entity_id ORDER BY is_primary DESC, confidence DESC, rank, n)
    AS place
  FROM resolved
  WHERE entity_id IS NOT NULL
)
WHERE place = 1
ORDER BY rank, n
LIMIT (SELECT max_entities FROM settings)
