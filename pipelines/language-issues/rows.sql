-- A row for each issue that was asked about and has a valid item; of several the last.
SELECT r.folder, r.file, i.value ->> '$.id' AS issue_id, i.value ->> '$.page' AS page_number,
       i.value ->> '$.issue' AS issue, i.value ->> '$.context' AS highlighted_context,
       i.value ->> '$.pass_code' AS pass_code, upper(replace(g.category, 'ErrorCategory.', '')) AS error_category,
       g.confidence AS confidence_score, trim(g.reasoning) AS reasoning
FROM records AS r, json_each(r.issues) AS i
JOIN (SELECT max(n), * FROM items WHERE good GROUP BY CAST(id AS TEXT)) AS g
  ON CAST(g.id AS TEXT) = i.value ->> '$.id' || ''
