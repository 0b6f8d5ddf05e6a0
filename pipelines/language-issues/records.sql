-- A record is what is asked of one batch of a document's issues: those without a valid row, with the
-- pages they stand on. An issue without a page may stand anywhere: it needs the whole document.
WITH
member AS MATERIALIZED (
  SELECT i.subject, i.filename, i.file, i.path, i.issue_id, i.page, i.issue, i.context, i.pass_code,
         i.issue_id / max(1, :batch_size) AS batch_index, s.issue_id IS NOT NULL AS is_settled,
         (s.issue_id IS NULL AND t.issue_id IS NULL) OR (:force AND :round = 1) AS asked
  FROM issues AS i
  LEFT JOIN settled AS s ON s.subject = i.subject AND s.filename = i.filename AND s.issue_id = i.issue_id
  LEFT JOIN (SELECT DISTINCT subject, filename, issue_id FROM tracked) AS t
    ON t.subject = i.subject AND t.filename = i.filename AND t.issue_id = i.issue_id
  WHERE i.wanted AND i.path IN (SELECT _file FROM documents)),
asked AS MATERIALIZED (SELECT * FROM member WHERE asked AND :round <= 2),
page AS MATERIALIZED (
  SELECT DISTINCT a.path, a.batch_index, d.rowid AS ord, d.page, d.text
  FROM asked AS a JOIN documents AS d ON d._file = a.path
   AND (d.page = a.page OR a.page IS NULL OR (d.marked = 0 AND d.page = 0)))
SELECT subject || '/' || filename || '#' || batch_index AS key,
       subject, filename, subject AS folder, file, batch_index,
       (SELECT group_concat(x, ', ') FROM (SELECT a.issue_id AS x FROM asked AS a
          WHERE a.path = m.path AND a.batch_index = m.batch_index ORDER BY a.issue_id)) AS asked_ids,
       (SELECT json_group_array(json(x)) FROM (
          SELECT json_object('id', a.issue_id, 'page', a.page, 'shown_page', coalesce(a.page, '—'),
                             'issue', a.issue, 'context', a.context, 'pass_code', a.pass_code,
                             'shown_issue', replace(replace(a.issue, '|', '\|'), char(10), ' '),
                             'shown_context', replace(replace(a.context, '|', '\|'), char(10), ' ')) AS x
          FROM asked AS a WHERE a.path = m.path AND a.batch_index = m.batch_index ORDER BY a.issue_id)) AS issues,
       (SELECT json_group_array(json(x)) FROM (
          SELECT json_object('page', coalesce(p.page, '—'), 'text', p.text) AS x
          FROM page AS p WHERE p.path = m.path AND p.batch_index = m.batch_index ORDER BY p.ord)) AS pages,
       (SELECT json_group_array(x) FROM (SELECT b.issue_id AS x FROM member AS b
          WHERE b.path = m.path AND b.batch_index = m.batch_index ORDER BY b.issue_id)) AS all_ids,
       (SELECT json_group_array(x) FROM (SELECT b.issue_id AS x FROM member AS b
          WHERE b.path = m.path AND b.batch_index = m.batch_index AND b.is_settled ORDER BY b.issue_id)) AS settled_ids
FROM asked AS m
GROUP BY path, batch_index
ORDER BY path, batch_index
