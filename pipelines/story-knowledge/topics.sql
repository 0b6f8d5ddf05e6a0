-- The topics of an answer: each once, the surest of its kind, the most important ones.
SELECT topic, confidence, rank
FROM (
  SELECT topic, confidence, rank, row_number() OVER (PARTITION BY topic ORDER BY confidence DESC, rank) AS place
  FROM (
    SELECT name_fold(j.value ->> 'topic') AS topic, j.value ->> 'rank' AS rank,
      (j.value ->> 'confidence') / iif((j.value ->> 'confidence') > 1, 100.0, 1.0) AS confidence
    FROM answers, json_each(answers.answer, '$.topics') AS j
    WHERE answers.request = 'topic'
  )
  WHERE topic <> ''
)
WHERE place = 1
ORDER BY rank, confidence DESC, topic
LIMIT (SELECT max_topics FROM settings)
