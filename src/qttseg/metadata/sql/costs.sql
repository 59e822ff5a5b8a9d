-- What a run cost, setting up included, by all that decides it: means over the stored runs that completed.

SELECT
    dataset_fingerprint,
    protocol_id,
    backbone_fingerprint,
    coalesce(configuration ->> 'lora', '0') IN ('1', 'true') AS lora,
    count(*) AS runs,
    avg(seconds + setup_seconds) AS seconds
FROM runs
WHERE outcome = 'completed'
GROUP BY ALL;
