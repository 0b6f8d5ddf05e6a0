-- One record per section of the report: the three global ones, then a section per topic. A section
-- without comments is no record, so it is never bought.
WITH RECURSIVE
kept AS MATERIALIZED ( -- not the moderated (-1) and excluded ones; comment 0 is one like any other
  SELECT c.rowid AS ord, CAST(c."comment-id" AS INTEGER) AS id, c."comment-body" AS text
  FROM comments AS c
  WHERE CAST(c.moderated AS INTEGER) > -1
    AND CAST(c."comment-id" AS INTEGER) NOT IN
        (SELECT CAST("comment-id" AS INTEGER) FROM selections
         WHERE CAST(selection AS INTEGER) = -1)),
latest AS MATERIALIZED ( -- of several votes of one person on one comment the last in the file counts
  SELECT CAST("comment-id" AS INTEGER) AS id, CAST("voter-id" AS INTEGER) AS pid,
         CAST(vote AS INTEGER) AS vote, max(rowid)
  FROM votes GROUP BY 1, 2),
people AS (
  SELECT CAST(participant AS INTEGER) AS pid, CAST("group-id" AS INTEGER) AS gid
  FROM participants WHERE trim("group-id") <> ''),
numbered AS (
  SELECT gid, row_number() OVER (ORDER BY gid) AS n FROM (SELECT DISTINCT gid FROM people)),
tally AS (
  SELECT id, count(*) AS votes, sum(vote = 1) AS agrees, sum(vote = -1) AS disagrees,
         sum(vote = 0) AS passes
  FROM latest GROUP BY id),
by_group AS MATERIALIZED (
  SELECT l.id, p.gid, count(*) AS votes, sum(l.vote = 1) AS agrees,
         sum(l.vote = -1) AS disagrees, sum(l.vote = 0) AS passes
  FROM latest AS l JOIN people AS p ON p.pid = l.pid GROUP BY l.id, p.gid),
grid AS MATERIALIZED ( -- every comment with every group, silent ones too
  SELECT k.id, n.n, n.gid, coalesce(b.votes, 0) AS votes, coalesce(b.agrees, 0) AS agrees,
         coalesce(b.disagrees, 0) AS disagrees, coalesce(b.passes, 0) AS passes
  FROM kept AS k CROSS JOIN numbered AS n
  LEFT JOIN by_group AS b ON b.id = k.id AND b.gid = n.gid),
product AS ( -- over groups, of (agrees + 1) and (votes + 2): whole numbers, so no rounding yet
  SELECT id, 0 AS n, 1 AS yes, 1 AS all_votes FROM kept
  UNION ALL
  SELECT product.id, grid.n, product.yes * (grid.agrees + 1), product.all_votes * (grid.votes + 2)
  FROM product JOIN grid ON grid.id = product.id AND grid.n = product.n + 1),
consensus AS ( -- group-aware consensus: how likely someone of every group agrees
  SELECT id, 1.0 * yes / all_votes AS p FROM product WHERE n = (SELECT count(*) FROM numbered)),
difference AS ( -- mean over pairs of groups that voted of their largest difference in shares
  SELECT a.id, avg(max(abs(1.0 * a.agrees / a.votes - 1.0 * b.agrees / b.votes),
                       abs(1.0 * a.disagrees / a.votes - 1.0 * b.disagrees / b.votes),
                       abs(1.0 * a.passes / a.votes - 1.0 * b.passes / b.votes))) AS extremity
  FROM by_group AS a JOIN by_group AS b ON b.id = a.id AND b.gid > a.gid GROUP BY a.id),
voting AS (SELECT id, count(*) AS groups FROM by_group GROUP BY id),
measured AS MATERIALIZED (
  SELECT k.ord, k.id, k.text, coalesce(t.votes, 0) AS votes, coalesce(t.agrees, 0) AS agrees,
         coalesce(t.disagrees, 0) AS disagrees, coalesce(t.passes, 0) AS passes,
         coalesce(v.groups, 0) AS groups,
         CASE WHEN v.groups >= 2 THEN c.p ELSE 0.0 END AS consensus,
         coalesce(d.extremity, 0.0) AS extremity
  FROM kept AS k
  LEFT JOIN tally AS t ON t.id = k.id
  LEFT JOIN voting AS v ON v.id = k.id
  LEFT JOIN consensus AS c ON c.id = k.id
  LEFT JOIN difference AS d ON d.id = k.id),
assigned AS MATERIALIZED (
  SELECT CAST(comment_id AS INTEGER) AS id, layer, CAST(cluster AS INTEGER) AS cluster
  FROM (SELECT comment_id, 0 AS layer, layer0_cluster_id AS cluster FROM assignments
        UNION ALL SELECT comment_id, 1, layer1_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 2, layer2_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 3, layer3_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 4, layer4_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 5, layer5_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 6, layer6_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 7, layer7_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 8, layer8_cluster_id FROM assignments
        UNION ALL SELECT comment_id, 9, layer9_cluster_id FROM assignments)
  WHERE trim(coalesce(cluster, '')) <> ''),
topic AS (
  SELECT rowid AS ord, CAST(layer_id AS INTEGER) AS layer, CAST(cluster_id AS INTEGER) AS cluster,
         replace(CASE WHEN trim(coalesce(topic_key, '')) <> '' THEN topic_key
                      ELSE 'layer' || layer_id || '_' || cluster_id END, '#', '_') AS section,
         topic_name AS name, sample_comments AS samples
  FROM topics WHERE CAST(layer_id AS INTEGER) IN (SELECT layer FROM assigned)),
sample AS MATERIALIZED (
  SELECT t.section, fold(s.value) AS text
  FROM topic AS t,
       json_each(CASE WHEN json_valid(t.samples) THEN t.samples ELSE '[]' END) AS s
  WHERE s.value <> ''),
folded AS MATERIALIZED (SELECT id, fold(text) AS text FROM kept WHERE text <> ''),
topic_member AS ( -- of the topic's cluster, or much the same text as one of its samples
  SELECT t.section, a.id FROM topic AS t
  JOIN assigned AS a ON a.layer = t.layer AND a.cluster = t.cluster
  UNION
  SELECT s.section, f.id FROM sample AS s
  JOIN folded AS f ON instr(f.text, s.text) > 0 OR instr(s.text, f.text) > 0),
member AS ( -- which comments belong to which section, and what they are ranked by
  SELECT 'global_groups' AS section, ord, id, extremity * 1000 AS metric, votes
  FROM measured WHERE extremity > :extremity
  UNION ALL
  SELECT 'global_group_informed_consensus', ord, id, consensus * 1000, votes
  FROM measured
  WHERE consensus > CASE groups WHEN 2 THEN 0.7 WHEN 3 THEN 0.47 WHEN 4 THEN 0.32 ELSE 0.24 END
  UNION ALL
  SELECT 'global_uncertainty', ord, id, 1000.0 * passes / votes, votes
  FROM measured WHERE votes > 0 AND 1.0 * passes / votes >= 0.2
  UNION ALL
  SELECT t.section, m.ord, m.id, m.agrees + m.disagrees, m.votes
  FROM topic_member AS t JOIN measured AS m ON m.id = t.id),
size AS (SELECT count(*) AS comments FROM kept),
factor AS (
  SELECT CASE WHEN comments > 10000 THEN 0.5 WHEN comments > 5000 THEN 0.75
              WHEN comments > 2000 THEN 0.9 ELSE 1.0 END AS f FROM size),
section AS ( -- in the order they are asked for: global ones, then topics, finest layer first
  SELECT 'global_groups' AS section, 0 AS place, 0 AS cited, 0 AS ord, NULL AS layer,
         NULL AS cluster, 'Where the groups differ' AS name, 50 AS room
  UNION ALL
  SELECT 'global_group_informed_consensus', 1, 0, 0, NULL, NULL, 'What the groups share', 50
  UNION ALL
  SELECT 'global_uncertainty', 2, 0, 0, NULL, NULL, 'Where people are unsure', 50
  UNION ALL
  SELECT section, 3 + layer,
         (SELECT count(*) FROM assigned AS a JOIN kept AS k ON k.id = a.id
          WHERE a.layer = topic.layer AND a.cluster = topic.cluster),
         ord, layer, cluster, name, CASE WHEN layer = 0 THEN 100 WHEN layer >= 2 THEN 50 ELSE 75 END
  FROM topic),
limited AS MATERIALIZED (
  SELECT section, place, cited, ord, layer, cluster, name,
         max(10, CAST(room * f AS INTEGER)) AS room
  FROM section, factor),
ranked AS (
  SELECT member.*, limited.room,
         count(*) OVER (PARTITION BY member.section) AS found,
         row_number() OVER (PARTITION BY member.section
                            ORDER BY metric DESC, votes DESC, member.ord) AS rank
  FROM member JOIN limited ON limited.section = member.section),
chosen AS ( -- over the limit: the highest ranked; under it: all, as they came
  SELECT section, id,
         row_number() OVER (PARTITION BY section
                            ORDER BY CASE WHEN found > room THEN rank ELSE ord END) AS pos
  FROM ranked WHERE found <= room OR rank <= room),
group_xml AS (
  SELECT DISTINCT id, group_concat(
           '    <group-' || gid || ' votes="' || votes || '" agrees="' || agrees ||
           '" disagrees="' || disagrees || '" passes="' || passes || '"/>' || char(10), '')
         OVER (PARTITION BY id ORDER BY n
               ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS xml
  FROM grid),
comment_xml AS (
  SELECT m.id,
         '  <comment id="' || m.id || '" votes="' || m.votes || '" agrees="' || m.agrees ||
         '" disagrees="' || m.disagrees || '" passes="' || m.passes || '">' || char(10) ||
         '    <text>' || xml(coalesce(m.text, '')) || '</text>' || char(10) || coalesce(g.xml, '') ||
         '  </comment>' || char(10) AS xml
  FROM measured AS m LEFT JOIN group_xml AS g ON g.id = m.id),
document AS (
  SELECT c.section, c.pos,
         group_concat(x.xml, '') OVER whole AS comments,
         json_group_array(c.id) OVER whole AS comment_ids,
         count(*) OVER whole AS comment_count
  FROM chosen AS c JOIN comment_xml AS x ON x.id = c.id
  WINDOW whole AS (PARTITION BY c.section ORDER BY c.pos
                   ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
SELECT d.section AS key, l.name AS topic_name, l.layer AS layer_id, l.cluster AS cluster_id,
       d.section = 'global_groups' AS is_groups,
       d.section = 'global_group_informed_consensus' AS is_consensus,
       d.section = 'global_uncertainty' AS is_uncertainty,
       l.place >= 3 AS is_topic,
       '<?xml version="1.0" ?>' || char(10) || '<polis-comments>' || char(10) || d.comments ||
       '</polis-comments>' AS comments,
       d.comment_ids, d.comment_count,
       (SELECT value FROM summary WHERE key = 'topic') AS conversation_topic,
       (SELECT value FROM summary WHERE key = 'conversation-description')
         AS conversation_description
FROM document AS d JOIN limited AS l ON l.section = d.section
WHERE d.pos = 1
ORDER BY l.place, l.cited DESC, l.ord
