-- The mentions of an answer, each with the one row of players, teams or games it means (entity_id), or with the
-- reason why there is none. docs/guide/story-knowledge.md has the rules in words.
WITH mentions AS MATERIALIZED (
  SELECT m.*,
    name_fold(replace(replace(m.mention_text, '-', ' '), '.', '')) AS norm,
    CASE WHEN EXISTS (SELECT 1 FROM team_names AS t WHERE t.norm = name_fold(m.team_abbr)) THEN name_fold(m.team_abbr)
         WHEN EXISTS (SELECT 1 FROM team_names AS t WHERE t.norm = name_fold(m.team_name)) THEN name_fold(m.team_name)
    END AS hint,
    ' ' || replace(replace(replace(replace(replace(replace(m.mention_text, '.', ''), '-', ' '), ',', ' '), '@', ' '),
                           '(', ' '), ')', ' ') || ' ' AS words
  FROM (
    SELECT j.key AS n, j.value ->> 'entity_type' AS entity_type, trim(j.value ->> 'mention_text') AS mention_text,
      nullif(upper(trim(j.value ->> 'position')), '') AS position,
      nullif(trim(j.value ->> 'team_abbr'), '') AS team_abbr, nullif(trim(j.value ->> 'team_name'), '') AS team_name,
      j.value ->> 'season' AS season, j.value ->> 'week' AS week,
      j.value ->> 'is_primary' AS is_primary, j.value ->> 'rank' AS rank
    FROM answers, json_each(answers.answer, '$.entities') AS j
    WHERE answers.request = 'entity'
  ) AS m
  WHERE m.mention_text <> ''
),
whole(n, norm) AS (
  SELECT n, norm FROM mentions
  UNION SELECT n, name_fold(replace(replace(mention_text, '-', ' '), '.', ' ')) FROM mentions
),
forms(n, norm, cut) AS (
  SELECT n, norm, 0 FROM whole
  UNION ALL SELECT n, substr(norm, 1, length(norm) - 3), 1 FROM whole
    WHERE norm GLOB '?* jr' OR norm GLOB '?* sr' OR norm GLOB '?* ii' OR norm GLOB '?* iv'
  UNION ALL SELECT n, substr(norm, 1, length(norm) - 4), 1 FROM whole WHERE norm GLOB '?* iii'
  UNION ALL SELECT n, substr(norm, 1, length(norm) - 2), 1 FROM whole WHERE norm GLOB '?* v'
  UNION ALL SELECT n, substr(norm, 5), 0 FROM whole WHERE norm GLOB 'the ?*'
),

-- players: one of the five names as it is; only where there is none, a name that is alike
same_player AS MATERIALIZED (
  SELECT f.n, p.player_id, max(100.0 - max(f.cut, p.cut)) AS score
  FROM mentions AS m
  JOIN forms AS f ON f.n = m.n
  JOIN player_names AS p ON p.norm = f.norm
  WHERE m.entity_type = 'player'
  GROUP BY f.n, p.player_id
),
player AS (
  SELECT n, player_id, score FROM same_player
  UNION ALL
  SELECT m.n, p.player_id, max(s.score)
  FROM settings, mentions AS m, fuzzy_search('player_alike', 'norm', m.norm, settings.threshold) AS s
  JOIN player_alike AS p ON p.rowid = s.row
  WHERE m.entity_type = 'player' AND m.n NOT IN (SELECT n FROM same_player)
  GROUP BY m.n, p.player_id
),

-- teams: likewise
same_team AS MATERIALIZED (
  SELECT DISTINCT f.n, t.team_abbr
  FROM mentions AS m JOIN forms AS f ON f.n = m.n JOIN team_names AS t ON t.norm = f.norm
  WHERE m.entity_type = 'team'
),
team AS (
  SELECT n, team_abbr, 100.0 AS score FROM same_team
  UNION ALL
  SELECT m.n, t.team_abbr, max(s.score)
  FROM settings, mentions AS m, fuzzy_search('team_names', 'norm', m.norm, settings.threshold) AS s
  JOIN team_names AS t ON t.rowid = s.row
  WHERE m.entity_type = 'team' AND m.n NOT IN (SELECT n FROM same_team) AND length(t.norm) > 3
  GROUP BY m.n, t.team_abbr
),

-- games: the two teams whose names stand in the mention, the longest names that do
named AS MATERIALIZED (
  SELECT m.n, t.norm, t.team_abbr
  FROM mentions AS m, team_names AS t
  WHERE m.entity_type = 'game'
    AND CASE WHEN t.cased THEN instr(m.words, ' ' || upper(t.norm) || ' ')
             ELSE instr(' ' || name_fold(m.words) || ' ', ' ' || t.norm || ' ') END
),
sides AS MATERIALIZED (
  SELECT DISTINCT a.n, a.team_abbr
  FROM named AS a
  WHERE NOT EXISTS (SELECT 1 FROM named AS b
                    WHERE b.n = a.n AND b.norm <> a.norm AND instr(' ' || b.norm || ' ', ' ' || a.norm || ' '))
),
game AS (
  SELECT m.n, g.game_id
  FROM settings, mentions AS m
  JOIN (SELECT n, min(team_abbr) AS a, max(team_abbr) AS b FROM sides GROUP BY n HAVING count(*) = 2) AS s ON s.n = m.n
  JOIN game_index AS g ON g.one = s.a AND g.other = s.b
  WHERE g.season = coalesce(m.season, nullif(settings.season, 0), g.season) AND g.week = coalesce(m.week, g.week)
),

candidates(n, id, label, score, fits) AS MATERIALIZED (
  SELECT c.n, c.player_id, p.display_name || ' ' || coalesce(p.position, '') || ' ' || coalesce(p.team, ''), c.score,
    (m.position IS NULL OR p.position IS NULL OR p.position = m.position)
    AND (m.hint IS NULL OR p.team IS NULL
         OR EXISTS (SELECT 1 FROM team_names AS t WHERE t.norm = m.hint AND t.team_abbr = p.team))
  FROM player AS c JOIN mentions AS m ON m.n = c.n JOIN player_index AS p ON p.player_id = c.player_id
  UNION ALL
  SELECT c.n, c.team_abbr, '', c.score,
    m.hint IS NULL OR EXISTS (SELECT 1 FROM team_names AS t WHERE t.norm = m.hint AND t.team_abbr = c.team_abbr)
  FROM team AS c JOIN mentions AS m ON m.n = c.n
  UNION ALL
  SELECT n, game_id, '', 90.0, 1 FROM game
),
best AS (
  SELECT n, count(*) AS many, min(id) AS id, max(score) AS score, group_concat(trim(id || ' ' || label), ', ') AS names
  FROM (SELECT *, rank() OVER (PARTITION BY n ORDER BY score DESC) AS place FROM candidates WHERE fits)
  WHERE place = 1
  GROUP BY n
)
SELECT m.n, m.entity_type, m.mention_text, m.position, m.team_abbr, m.team_name, m.is_primary, m.rank,
  CASE WHEN b.many = 1 AND NOT (m.entity_type = 'player' AND m.position IS NULL AND m.hint IS NULL) THEN b.id
  END AS entity_id,
  round(b.score / 100.0, 4) AS confidence,
  CASE
    WHEN m.entity_type = 'player' AND m.position IS NULL AND m.hint IS NULL THEN 'no position or team is given'
    WHEN b.many = 1 THEN NULL
    WHEN b.many > 1 THEN 'ambiguous: ' || substr(b.names, 1, 300)
    WHEN m.n IN (SELECT n FROM candidates) THEN 'position or team is another one'
    WHEN m.entity_type = 'game' THEN 'no such game'
    ELSE 'no such name'
  END AS reason
FROM mentions AS m LEFT JOIN best AS b ON b.n = m.n
