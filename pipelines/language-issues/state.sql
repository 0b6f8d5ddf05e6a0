-- As the inputs say that this round has read: the last round only looks.
WITH batch_of AS (
  SELECT i.subject, i.filename, i.issue_id / max(1, :batch_size) AS n, count(*) AS issues, count(s.issue_id) AS settled
  FROM issues AS i LEFT JOIN (SELECT DISTINCT subject, filename, issue_id FROM settled) AS s
    ON s.subject = i.subject AND s.filename = i.filename AND s.issue_id = i.issue_id
  GROUP BY 1, 2, 3),
document AS (
  SELECT subject, filename, sum(issues) AS total, sum(settled) AS settled,
         json_group_array(n) FILTER (WHERE issues = settled) AS completed
  FROM (SELECT * FROM batch_of ORDER BY subject, filename, n) GROUP BY subject, filename)
SELECT subject, json_group_object(filename, json_object('completed_batches', json(completed), 'total_issues', total)) AS files
FROM document WHERE settled > 0 GROUP BY subject
