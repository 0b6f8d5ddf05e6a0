SELECT subject AS Subject, filename AS Filename, issue_id, page AS page_number, issue, context AS highlighted_context,
       pass_code, error_category, confidence_score, reasoning
FROM settled
