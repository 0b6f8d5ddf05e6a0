-- Issues that have a valid row in their document's CSV. Older files hold ErrorCategory.NAME.
SELECT i.subject, i.filename, i.issue_id, i.page, i.issue, i.context, i.pass_code,
       replace(r.error_category, 'ErrorCategory.', '') AS error_category,
       r.confidence_score, r.reasoning
FROM reported AS r
JOIN issues AS i ON i.issue_id = CAST(r.issue_id AS INTEGER)
 AND r._file = :root || '/Documents/' || i.subject || '/document_reports/' || i.file
WHERE replace(r.error_category, 'ErrorCategory.', '') IN
      ('PARSING_ERROR', 'SPELLING_ERROR', 'ABSOLUTE_GRAMMATICAL_ERROR', 'POSSIBLE_AMBIGUOUS_GRAMMATICAL_ERROR',
       'STYLISTIC_PREFERENCE', 'FALSE_POSITIVE', 'CONSISTENCY_ERROR', 'AMBIGUOUS_PHRASING', 'FACTUAL_INACCURACY')
  AND r.confidence_score <> '' AND r.confidence_score NOT GLOB '*[^0-9]*'
  AND CAST(r.confidence_score AS INTEGER) <= 100 AND trim(coalesce(r.reasoning, '')) <> ''
