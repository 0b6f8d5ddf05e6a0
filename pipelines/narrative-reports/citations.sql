SELECT DISTINCT 'citation ' || c.value || ' is not the id of a statement you were given'
FROM answers, json_each(answer, '$.paragraphs') AS p, json_each(p.value, '$.sentences') AS s,
     json_each(s.value, '$.clauses') AS cl, json_each(cl.value, '$.citations') AS c
WHERE c.value NOT IN (SELECT i.value FROM records, json_each(records.comment_ids) AS i)
