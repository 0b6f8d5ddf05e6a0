-- A small sample database: invented stories and players; teams and their names are real.
CREATE TABLE story_groups(id TEXT PRIMARY KEY, member_count INTEGER, status TEXT, created_at TEXT, updated_at TEXT);
CREATE TABLE story_group_members(id TEXT PRIMARY KEY, group_id TEXT, news_url_id TEXT, similarity_score REAL, added_at TEXT);
CREATE TABLE context_summaries(news_url_id TEXT PRIMARY KEY, summary_text TEXT);
CREATE TABLE story_topics(id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(16)))), story_group_id TEXT NOT NULL,
  topic TEXT NOT NULL, confidence REAL, rank INTEGER, extracted_at TEXT, UNIQUE(story_group_id, topic));
CREATE TABLE story_entities(id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(16)))), story_group_id TEXT NOT NULL,
  entity_type TEXT NOT NULL CHECK(entity_type IN ('player', 'team', 'game')), entity_id TEXT NOT NULL, mention_text TEXT,
  confidence REAL, is_primary INTEGER DEFAULT 0, position TEXT, team_abbr TEXT, team_name TEXT, rank INTEGER,
  extracted_at TEXT, UNIQUE(story_group_id, entity_type, entity_id));
CREATE TABLE story_group_extraction_status(story_group_id TEXT PRIMARY KEY,
  status TEXT DEFAULT 'pending' CHECK(status IN ('pending', 'processing', 'completed', 'partial', 'failed')),
  topics_extracted INTEGER DEFAULT 0, entities_extracted INTEGER DEFAULT 0, error_message TEXT,
  error_count INTEGER DEFAULT 0, started_at TEXT, completed_at TEXT, last_attempt_at TEXT);
CREATE TABLE teams(team_abbr TEXT PRIMARY KEY, team_name TEXT, team_conference TEXT, team_division TEXT, team_nick TEXT);
CREATE TABLE players(player_id TEXT PRIMARY KEY, display_name TEXT, first_name TEXT, last_name TEXT, short_name TEXT,
  football_name TEXT, position TEXT, latest_team TEXT, status TEXT);
CREATE TABLE games(game_id TEXT PRIMARY KEY, season INTEGER, week INTEGER, game_type TEXT, gameday TEXT, away_team TEXT,
  home_team TEXT);
INSERT INTO teams VALUES
('ARI', 'Arizona Cardinals', 'NFC', 'NFC West', 'Cardinals'),
('ATL', 'Atlanta Falcons', 'NFC', 'NFC South', 'Falcons'),
('BAL', 'Baltimore Ravens', 'AFC', 'AFC North', 'Ravens'),
('BUF', 'Buffalo Bills', 'AFC', 'AFC East', 'Bills'),
('CAR', 'Carolina Panthers', 'NFC', 'NFC South', 'Panthers'),
('CHI', 'Chicago Bears', 'NFC', 'NFC North', 'Bears'),
('CIN', 'Cincinnati Bengals', 'AFC', 'AFC North', 'Bengals'),
('CLE', 'Cleveland Browns', 'AFC', 'AFC North', 'Browns'),
('DAL', 'Dallas Cowboys', 'NFC', 'NFC East', 'Cowboys'),
('DEN', 'Denver Broncos', 'AFC', 'AFC West', 'Broncos'),
('DET', 'Detroit Lions', 'NFC', 'NFC North', 'Lions'),
('GB', 'Green Bay Packers', 'NFC', 'NFC North', 'Packers'),
('HOU', 'Houston Texans', 'AFC', 'AFC South', 'Texans'),
('IND', 'Indianapolis Colts', 'AFC', 'AFC South', 'Colts'),
('JAX', 'Jacksonville Jaguars', 'AFC', 'AFC South', 'Jaguars'),
('KC', 'Kansas City Chiefs', 'AFC', 'AFC West', 'Chiefs'),
('LAC', 'Los Angeles Chargers', 'AFC', 'AFC West', 'Chargers'),
('LA', 'Los Angeles Rams', 'NFC', 'NFC West', 'Rams'),
('LV', 'Las Vegas Raiders', 'AFC', 'AFC West', 'Raiders'),
('MIA', 'Miami Dolphins', 'AFC', 'AFC East', 'Dolphins'),
('MIN', 'Minnesota Vikings', 'NFC', 'NFC North', 'Vikings'),
('NE', 'New England Patriots', 'AFC', 'AFC East', 'Patriots'),
('NO', 'New Orleans Saints', 'NFC', 'NFC South', 'Saints'),
('NYG', 'New York Giants', 'NFC', 'NFC East', 'Giants'),
('NYJ', 'New York Jets', 'AFC', 'AFC East', 'Jets'),
('PHI', 'Philadelphia Eagles', 'NFC', 'NFC East', 'Eagles'),
('PIT', 'Pittsburgh Steelers', 'AFC', 'AFC North', 'Steelers'),
('SEA', 'Seattle Seahawks', 'NFC', 'NFC West', 'Seahawks'),
('SF', 'San Francisco 49ers', 'NFC', 'NFC West', '49ers'),
('TB', 'Tampa Bay Buccaneers', 'NFC', 'NFC South', 'Buccaneers'),
('TEN', 'Tennessee Titans', 'AFC', 'AFC South', 'Titans'),
('WAS', 'Washington Commanders', 'NFC', 'NFC East', 'Commanders');
INSERT INTO players VALUES
('00-0090001', 'Josh Vandermeer', 'Josh', 'Vandermeer', 'J.Vandermeer', 'Josh', 'QB', 'BUF', 'ACT'),
('00-0090002', 'D''Marco Ellison-Reyes', 'D''Marco', 'Ellison-Reyes', 'D.Ellison-Reyes', 'D''Marco', 'WR', 'KC', 'ACT'),
('00-0090003', 'Ja''Quan O''Rourke', 'Ja''Quan', 'O''Rourke', 'J.O''Rourke', 'Ja''Quan', 'CB', 'CHI', 'ACT'),
('00-0090004', 'A.J. Tillman', 'A.J.', 'Tillman', 'A.Tillman', 'A.J.', 'WR', 'PHI', 'ACT'),
('00-0090005', 'Marcus Tillman', 'Marcus', 'Tillman', 'M.Tillman', 'Marcus', 'RB', 'PHI', 'ACT'),
('00-0090006', 'Odell Branscombe Jr.', 'Odell', 'Branscombe Jr.', 'O.Branscombe Jr.', 'Odell', 'S', 'GB', 'ACT'),
('00-0090007', 'Tomasi Fa''alogo', 'Tomasi', 'Fa''alogo', 'T.Fa''alogo', 'Tomasi', 'DT', 'LA', 'ACT'),
('00-0090008', 'Amon-Ra St. Clair', 'Amon-Ra', 'St. Clair', 'A.St. Clair', 'Amon-Ra', 'WR', 'DET', 'ACT'),
('00-0090009', 'Kyle Okafor III', 'Kyle', 'Okafor III', 'K.Okafor III', 'Kyle', 'QB', 'NYG', 'ACT'),
('00-0090010', 'Patrick Wexler', 'Patrick', 'Wexler', 'P.Wexler', 'Patrick', 'QB', 'KC', 'ACT'),
('00-0090011', 'Devin Wexler', 'Devin', 'Wexler', 'D.Wexler', 'Devin', 'TE', 'BUF', 'ACT'),
('00-0090012', 'Luis Hernández', 'Luis', 'Hernández', 'L.Hernández', 'Luis', 'K', 'DEN', 'ACT');
INSERT INTO games VALUES
('2024_11_KC_BUF', 2024, 11, 'REG', NULL, 'KC', 'BUF'),
('2025_09_KC_BUF', 2025, 9, 'REG', NULL, 'KC', 'BUF'),
('2025_04_GB_DAL', 2025, 4, 'REG', NULL, 'GB', 'DAL'),
('2025_05_NYG_PHI', 2025, 5, 'REG', NULL, 'NYG', 'PHI'),
('2025_06_CHI_WAS', 2025, 6, 'REG', NULL, 'CHI', 'WAS'),
('2025_08_LA_DET', 2025, 8, 'REG', NULL, 'LA', 'DET');
INSERT INTO story_groups VALUES
('a1f0c9d2-0001-4c7e-9d1a-5b6f3e2a7c01', 2, 'active', '2025-11-03T08:00:00Z', '2025-11-03T08:00:00Z'),
('a1f0c9d2-0002-4c7e-9d1a-5b6f3e2a7c02', 1, 'active', '2025-11-02T08:00:00Z', '2025-11-02T08:00:00Z'),
('a1f0c9d2-0003-4c7e-9d1a-5b6f3e2a7c03', 1, 'active', '2025-11-01T08:00:00Z', '2025-11-01T08:00:00Z'),
('a1f0c9d2-0004-4c7e-9d1a-5b6f3e2a7c04', 2, 'active', '2025-10-31T08:00:00Z', '2025-10-31T08:00:00Z'),
('a1f0c9d2-0005-4c7e-9d1a-5b6f3e2a7c05', 1, 'active', '2025-10-30T08:00:00Z', '2025-10-30T08:00:00Z'),
('a1f0c9d2-0006-4c7e-9d1a-5b6f3e2a7c06', 1, 'active', '2025-10-29T08:00:00Z', '2025-10-29T08:00:00Z'),
('a1f0c9d2-0007-4c7e-9d1a-5b6f3e2a7c07', 1, 'archived', '2025-09-01T08:00:00Z', '2025-09-01T08:00:00Z');
INSERT INTO story_group_members VALUES
('m1', 'a1f0c9d2-0001-4c7e-9d1a-5b6f3e2a7c01', 'u1', 0.9, '2025-11-03T08:00:00Z'),
('m2', 'a1f0c9d2-0001-4c7e-9d1a-5b6f3e2a7c01', 'u2', 0.9, '2025-11-03T08:00:00Z'),
('m3', 'a1f0c9d2-0002-4c7e-9d1a-5b6f3e2a7c02', 'u3', 0.9, '2025-11-02T08:00:00Z'),
('m4', 'a1f0c9d2-0003-4c7e-9d1a-5b6f3e2a7c03', 'u4', 0.9, '2025-11-01T08:00:00Z'),
('m5', 'a1f0c9d2-0004-4c7e-9d1a-5b6f3e2a7c04', 'u5', 0.9, '2025-10-31T08:00:00Z'),
('m6', 'a1f0c9d2-0004-4c7e-9d1a-5b6f3e2a7c04', 'u6', 0.9, '2025-10-31T08:00:00Z'),
('m7', 'a1f0c9d2-0005-4c7e-9d1a-5b6f3e2a7c05', 'u7', 0.9, '2025-10-30T08:00:00Z'),
('m8', 'a1f0c9d2-0006-4c7e-9d1a-5b6f3e2a7c06', 'u8', 0.9, '2025-10-29T08:00:00Z'),
('m9', 'a1f0c9d2-0007-4c7e-9d1a-5b6f3e2a7c07', 'u9', 0.9, '2025-09-01T08:00:00Z');
INSERT INTO context_summaries VALUES
('u1', 'Bills quarterback Josh Vandermeer threw four touchdowns as Buffalo beat the Chiefs in week 9 of 2025.'),
('u2', 'Chiefs receiver D''Marco Ellison-Reyes left the loss at Buffalo with a sore hamstring.'),
('u3', 'Eagles WR A.J. Tillman and RB Marcus Tillman, no relation, both scored against the Giants.'),
('u4', 'The Bears placed cornerback Ja''Quan O''Rourke on injured reserve before they travel to Washington.'),
('u5', 'Green Bay safety Odell Branscombe Jr. was named the player of the week after the tie at Dallas.'),
('u6', 'Packers coaches praised a defence that forced five turnovers.'),
('u7', 'Rams tackle Tomasi Fa''alogo signed for four more years in Los Angeles.'),
('u8', ' '),
('u9', 'An old story about the preseason.');
