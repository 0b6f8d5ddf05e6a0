-- What the pipeline writes, for PostgreSQL: for those who do not have these tables yet.
CREATE TABLE IF NOT EXISTS story_topics (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  story_group_id uuid NOT NULL REFERENCES story_groups(id) ON DELETE CASCADE,
  topic text NOT NULL,
  confidence real,
  rank integer,
  extracted_at timestamptz DEFAULT now(),
  UNIQUE (story_group_id, topic)
);
CREATE TABLE IF NOT EXISTS story_entities (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  story_group_id uuid NOT NULL REFERENCES story_groups(id) ON DELETE CASCADE,
  entity_type text NOT NULL CHECK (entity_type IN ('player', 'team', 'game')),
  entity_id text NOT NULL,
  mention_text text,
  confidence real,
  is_primary boolean DEFAULT false,
  position text,
  team_abbr text,
  team_name text,
  rank integer,
  extracted_at timestamptz DEFAULT now(),
  UNIQUE (story_group_id, entity_type, entity_id)
);
CREATE TABLE IF NOT EXISTS story_group_extraction_status (
  story_group_id uuid PRIMARY KEY REFERENCES story_groups(id) ON DELETE CASCADE,
  status text DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed', 'partial', 'failed')),
  topics_extracted integer DEFAULT 0,
  entities_extracted integer DEFAULT 0,
  error_message text,
  error_count integer DEFAULT 0,
  started_at timestamptz,
  completed_at timestamptz,
  last_attempt_at timestamptz
);
