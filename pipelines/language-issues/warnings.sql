SELECT 'Response is empty' FROM answers WHERE json_array_length(answer) = 0
UNION ALL
SELECT 'Skipping non-dict entry' FROM answers AS a, json_each(a.answer) AS j WHERE j.type <> 'object'
UNION ALL
SELECT CASE WHEN id IS NULL OR in_batch AND (category IS NULL OR given IS NULL OR reasoning IS NULL)
              THEN 'Issue ' || coalesce(id, '?') || ' missing required fields'
            WHEN NOT in_batch THEN 'Issue ID ' || id || ' not in batch, skipping'
            WHEN NOT has_category THEN 'Issue ' || id || ' has an unknown category: ' || category
            WHEN confidence IS NULL OR confidence NOT BETWEEN 0 AND 100
              THEN 'Issue ' || id || ' has no confidence from 0 to 100: ' || given
            WHEN trim(reasoning) = '' THEN 'Issue ' || id || ' has an empty reasoning' END AS sentence
FROM items WHERE sentence IS NOT NULL
