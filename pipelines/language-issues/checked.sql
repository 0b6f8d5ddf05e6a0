-- Every row of the report, and what is wrong with it.
SELECT rowid AS row, trim(coalesce(Subject, '')) AS subject, trim(coalesce(Filename, '')) AS filename,
       CASE WHEN trim(coalesce(Page, '')) <> '' THEN CAST(Page AS INTEGER) END AS page,
       coalesce(Issue, '') AS issue, "Highlighted Context" AS context,
       CASE WHEN upper(trim(coalesce("Pass Code", ''))) IN ('LTC', 'LCV', 'LP') THEN upper(trim("Pass Code"))
            ELSE 'LT' END AS pass_code,
       CASE WHEN trim(coalesce(Subject, '')) = '' THEN 'Subject is empty'
            WHEN trim(coalesce(Filename, '')) = '' THEN 'Filename is empty'
            WHEN trim(coalesce("Rule ID", '')) = '' THEN 'Rule ID is empty'
            WHEN trim(coalesce(Type, '')) = '' THEN 'Type is empty'
            WHEN trim(coalesce(Message, '')) = '' THEN 'Message is empty'
            WHEN trim(coalesce("Highlighted Context", '')) = '' THEN 'Highlighted Context is empty'
            WHEN trim(coalesce(Page, '')) GLOB '*[^0-9]*' THEN 'Page is no whole number'
            WHEN instr(Subject || Filename, '/') OR trim(Subject) IN ('.', '..')
              THEN 'Subject or Filename is no name of a folder or file' END AS problem
FROM report
