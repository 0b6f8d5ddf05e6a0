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
   AND (d.page = a.page OR a.page IS NULL OR (d.marked = 0 AND d.page = 0))),
-- Each of these gathers a batch in one pass: the first row of a window that spans it.
question AS MATERIALIZED (
  SELECT path, batch_index, subject, filename, file, n, asked_ids, issues FROM (
    SELECT *, row_number() OVER (PARTITION BY path, batch_index ORDER BY issue_id) AS n,
           group_concat(issue_id, ', ') OVER whole AS asked_ids,
           json_group_array(json_object(
             'id', issue_id, 'page', page, 'shown_page', coalesce(page, '—'),
             'issue', issue, 'context', context, 'pass_code', pass_code,
             'shown_issue', replace(replace(issue, '|', '\|'), char(10), ' '),
             'shown_context', replace(replace(context, '|', '\|'), char(10), ' '))) OVER whole AS issues
    FROM asked
    WINDOW whole AS (PARTITION BY path, batch_index ORDER BY issue_id
                     ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
  WHERE n = 1),
text AS MATERIALIZED (
  SELECT path, batch_index, pages FROM (
    SELECT path, batch_index, row_number() OVER (PARTITION BY path, batch_index ORDER BY ord) AS n,
           json_group_array(json_object('page', coalesce(page, '—'), 'text', text)) OVER (
             PARTITION BY path, batch_index ORDER BY ord
             ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS pages
    FROM page)
  WHERE n = 1),
whole AS MATERIALIZED (
  SELECT path, batch_index, all_ids, settled_ids FROM (
    SELECT path, batch_index, row_number() OVER (PARTITION BY path, batch_index ORDER BY issue_id) AS n,
           json_group_array(issue_id) OVER batch AS all_ids,
           json_group_array(issue_id) FILTER (WHERE is_settled) OVER batch AS settled_ids
    FROM member
    WINDOW batch AS (PARTITION BY path, batch_index ORDER BY issue_id
                     ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
  WHERE n = 1)
SELECT q.subject || '/' || q.filename || '#' || q.batch_index AS key,
       q.subject, q.filename, q.subject AS folder, q.file, q.batch_index, q.asked_ids, q.issues,
       coalesce(t.pages, '[]') AS pages, w.all_ids, w.settled_ids
FROM question AS q
JOIN whole AS w ON w.path = q.path AND w.batch_index = q.batch_index
LEFT JOIN text AS t ON t.path = q.path AND t.batch_index = q.batch_index
ORDER BY q.path, q.batch_index
