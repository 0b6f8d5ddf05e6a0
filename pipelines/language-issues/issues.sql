-- The issues: numbered from 0 in each document, in the order of the file, whatever is filtered.
SELECT subject, filename, page, issue, context, pass_code,
       row_number() OVER (PARTITION BY subject, filename ORDER BY row) - 1 AS issue_id,
       :root || '/Documents/' || subject || '/markdown/' || filename AS path,
       CASE WHEN lower(filename) LIKE '%.md' THEN substr(filename, 1, length(filename) - 3) ELSE filename END
         || '.csv' AS file,
       (:subjects = '[]' OR fold(subject) IN (SELECT fold(value) FROM json_each(:subjects)))
         AND (:documents = '[]' OR fold(filename) IN (SELECT fold(value) FROM json_each(:documents))) AS wanted
FROM checked WHERE problem IS NULL ORDER BY row
