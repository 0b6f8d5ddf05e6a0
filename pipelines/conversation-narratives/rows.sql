-- Both forms of a narrative: the five lines for a quick look, and the Markdown that is read and searched.
WITH told AS (
  SELECT key, model, answer,
         replace(replace(answer ->> 'problem', char(13), ' '), char(10), ' ') AS problem,
         replace(replace(answer ->> 'solution', char(13), ' '), char(10), ' ') AS solution,
         coalesce((SELECT group_concat(value, ', ') FROM json_each(answer, '$.tools')), 'none') AS tools,
         coalesce((SELECT group_concat(value, ', ') FROM json_each(answer, '$.concepts')), 'none') AS concepts,
         coalesce((SELECT group_concat(value, ', ') FROM json_each(answer, '$.files')), 'none') AS files,
         coalesce((SELECT group_concat(value, ', ') FROM json_each(answer, '$.keywords')), 'none') AS keywords
  FROM answers)
SELECT t.key AS session,
       r.project AS project,
       t.problem AS problem,
       t.solution AS solution,
       'PROBLEM: ' || t.problem || char(10) || 'SOLUTION: ' || t.solution || char(10) ||
       'TOOLS: ' || replace(t.tools, char(10), ' ') || char(10) ||
       'CONCEPTS: ' || replace(t.concepts, char(10), ' ') || char(10) ||
       'FILES: ' || replace(t.files, char(10), ' ') AS short,
       '## Search Summary' || char(10, 10) || (answer ->> 'summary') || char(10, 10) ||
       '## Problem-Solution Mapping' || char(10, 10) ||
       '**Request**: ' || t.problem || char(10, 10) ||
       '**Solution** (' || (answer ->> 'solution_type') || '): ' || t.solution || char(10, 10) ||
       '**Tools Used**: ' || t.tools || char(10, 10) ||
       '**Files Modified**: ' || t.files || char(10, 10) ||
       '## Technical Pattern' || char(10, 10) || (answer ->> 'pattern') || char(10, 10) ||
       '## Implementation Details' || char(10, 10) || (answer ->> 'details') || char(10, 10) ||
       '## Validation & Outcome' || char(10, 10) || (answer ->> 'validation') || char(10, 10) ||
       '## Search Keywords' || char(10, 10) || t.keywords || char(10, 10) ||
       'Concepts: ' || t.concepts || char(10) AS narrative,
       t.keywords AS keywords,
       answer ->> 'solution_type' AS solution_type,
       answer AS narrative_json,
       r.search_index AS search_index,
       r.context_cache AS context_cache,
       r.signature AS signature,
       r.statistics AS extraction_stats,
       coalesce(r.ended_at, r.modified_at) AS timestamp,
       r.path AS path,
       r.size AS size,
       r.modified_at AS modified_at,
       r.messages AS messages,
       r.hash AS hash,
       t.model AS model,
       now() AS narrated_at
FROM told AS t, records AS r
