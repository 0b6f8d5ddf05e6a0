SELECT 'issues' AS name, json_group_array(json(x)) AS issues FROM (
  SELECT json_object('subject', i.subject, 'filename', i.filename, 'issue_id', i.issue_id, 'why',
           CASE WHEN i.path NOT IN (SELECT _file FROM documents) THEN 'no Markdown file' ELSE 'no valid row' END) AS x
  FROM issues AS i LEFT JOIN settled AS s
    ON s.subject = i.subject AND s.filename = i.filename AND s.issue_id = i.issue_id
  WHERE i.wanted AND s.issue_id IS NULL ORDER BY i.subject, i.filename, i.issue_id)
