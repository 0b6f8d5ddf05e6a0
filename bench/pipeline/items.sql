SELECT a.key AS key,
       i.key + 1 AS n,
       i.value ->> 'question' AS question,
       i.value ->> 'answer' AS answer,
       i.value ->> 'topic' AS topic,
       i.value ->> 'difficulty' AS difficulty
FROM answers AS a, json_each(a.answer, '$.items') AS i
