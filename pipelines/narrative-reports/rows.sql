SELECT :report_id || '#' || a.key || '#' || :model AS rid_section_model,
       now() AS timestamp,
       :report_id AS report_id,
       a.key AS section,
       :model AS model,
       a.answer AS report_data,
       (SELECT id FROM job) AS job_id,
       (SELECT id FROM batch) AS batch_id,
       json_object('topic_name', r.topic_name, 'layer_id', r.layer_id, 'cluster_id', r.cluster_id,
                   'answered_by', a.model) AS metadata
FROM answers AS a, records AS r
