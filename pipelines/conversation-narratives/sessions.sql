SELECT *, max(modified_at) AS latest
FROM files
WHERE NOT sidechain
  AND requests <> '[]'
  AND size >= :min_bytes
  AND (:only = 'all' OR replace(:only, '_', '-') IN (replace(project, '_', '-'), replace(folder, '_', '-')))
GROUP BY session
