-- What became of a request: completed when every issue of its batch has a valid row.
WITH item AS (
  SELECT j.key AS n, j.value ->> '$.issue_id' AS id, j.value ->> '$.error_category' AS category,
         j.value ->> '$.reasoning' AS reasoning, j.value ->> '$.confidence_score' AS given,
         CASE typeof(j.value ->> '$.confidence_score')
           WHEN 'integer' THEN j.value ->> '$.confidence_score'
           WHEN 'real' THEN CAST(round(CASE WHEN j.value ->> '$.confidence_score' <= 1
                                            THEN 100 ELSE 1 END * (j.value ->> '$.confidence_score')) AS INTEGER)
           WHEN 'text' THEN CASE WHEN j.value ->> '$.confidence_score' NOT GLOB '*[^0-9]*'
                                 THEN CAST(j.value ->> '$.confidence_score' AS INTEGER) END END AS confidence
  FROM answers AS a, json_each(a.answer) AS j WHERE j.type = 'object'),
named AS (
  SELECT *, upper(replace(category, 'ErrorCategory.', '')) IN
      ('PARSING_ERROR', 'SPELLING_ERROR', 'ABSOLUTE_GRAMMATICAL_ERROR', 'POSSIBLE_AMBIGUOUS_GRAMMATICAL_ERROR',
       'STYLISTIC_PREFERENCE', 'FALSE_POSITIVE', 'CONSISTENCY_ERROR', 'AMBIGUOUS_PHRASING', 'FACTUAL_INACCURACY')
    AS has_category, CAST(id AS TEXT) IN (SELECT q.value ->> '$.id' || '' FROM records AS r, json_each(r.issues) AS q) AS in_batch
  FROM item),
good AS (
  SELECT CAST(id AS TEXT) AS id FROM named WHERE in_batch AND has_category AND confidence BETWEEN 0 AND 100
    AND trim(coalesce(reasoning, '')) <> ''
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
