-- Every form of the five names of each player. cut: without its Jr. or III. alike: full and last names, the ones that a
-- name not in the table is compared with.
WITH names(player_id, name, alike) AS (
  SELECT player_id, display_name, 1 FROM players
  UNION ALL SELECT player_id, last_name, 1 FROM players
  UNION ALL SELECT player_id, first_name || ' ' || last_name, 1 FROM players
  UNION ALL SELECT player_id, short_name, 1 FROM players
  UNION ALL SELECT player_id, first_name, 0 FROM players
  UNION ALL SELECT player_id, football_name, 0 FROM players
),
forms(player_id, norm, alike) AS (
  SELECT player_id, name_fold(replace(replace(name, '-', ' '), '.', '')), alike FROM names
  UNION ALL SELECT player_id, name_fold(replace(replace(name, '-', ' '), '.', ' ')), alike FROM names
),
cuts(player_id, norm, alike, cut) AS (
  SELECT player_id, norm, alike, 0 FROM forms
  UNION ALL SELECT player_id, substr(norm, 1, length(norm) - 3), alike, 1 FROM forms
    WHERE norm GLOB '?* jr' OR norm GLOB '?* sr' OR norm GLOB '?* ii' OR norm GLOB '?* iv'
  UNION ALL SELECT player_id, substr(norm, 1, length(norm) - 4), alike, 1 FROM forms WHERE norm GLOB '?* iii'
  UNION ALL SELECT player_id, substr(norm, 1, length(norm) - 2), alike, 1 FROM forms WHERE norm GLOB '?* v'
)
SELECT player_id, norm, max(alike) AS alike, min(cut) AS cut FROM cuts WHERE norm <> '' GROUP BY player_id, norm
