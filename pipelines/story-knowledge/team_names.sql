-- Every name by which a team of the table `teams` may be called. A code of the table finds the others of its team, so
-- that LA and LAR, WAS and WSH, JAX and JAC are the same to both sides.
WITH n(team_abbr, norm, cased) AS (
  SELECT team_abbr, name_fold(team_abbr), 0 FROM teams
  UNION ALL SELECT team_abbr, name_fold(replace(replace(team_name, '-', ' '), '.', '')), 0 FROM teams
  UNION ALL SELECT team_abbr, name_fold(replace(replace(team_nick, '-', ' '), '.', '')), 0 FROM teams
  UNION ALL
  SELECT t.team_abbr, name_fold(more.alias), more.cased
  FROM teams AS t
  JOIN team_aliases AS code ON code.alias = name_fold(t.team_abbr)
  JOIN team_aliases AS more ON more.team = code.team
  UNION ALL
  SELECT t.team_abbr, name_fold(a.alias), 0 FROM teams AS t JOIN aliases AS a ON name_fold(a.team) = name_fold(t.team_abbr)
)
SELECT norm, team_abbr, max(cased) AS cased FROM n WHERE norm <> '' GROUP BY norm, team_abbr
