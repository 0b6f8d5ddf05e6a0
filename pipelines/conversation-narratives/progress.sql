SELECT 'sessions', count(*) FROM sessions
UNION ALL SELECT 'projects', count(DISTINCT folder) FROM sessions
