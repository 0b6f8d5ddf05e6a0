SELECT 'comments' AS name, count(*) AS value FROM comments
UNION ALL SELECT 'comments moderated out', count(*) FROM comments WHERE CAST(moderated AS INTEGER) = -1
UNION ALL SELECT 'votes', count(*) FROM votes
UNION ALL SELECT 'groups', count(DISTINCT "group-id") FROM participants WHERE trim("group-id") <> ''
UNION ALL SELECT 'topics', count(*) FROM topics
