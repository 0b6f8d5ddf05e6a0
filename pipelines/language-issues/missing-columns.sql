SELECT count(*) = 0, group_concat(name, ', ') AS columns FROM (
  SELECT 'Subject' AS name, Subject AS cell FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Filename', Filename FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Page', Page FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Rule ID', "Rule ID" FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Type', Type FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Issue', Issue FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Message', Message FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Suggestions', Suggestions FROM (SELECT * FROM report LIMIT 1)
  UNION ALL SELECT 'Highlighted Context', "Highlighted Context" FROM (SELECT * FROM report LIMIT 1))
WHERE cell IS NULL
