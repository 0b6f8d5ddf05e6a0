-- What an answer says of each issue, in its order. good: it makes a row.
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
  FROM item)
SELECT *, in_batch AND has_category AND confidence BETWEEN 0 AND 100 AND trim(coalesce(reasoning, '')) <> '' AS good
FROM named
