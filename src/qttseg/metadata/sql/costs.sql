-- What a run cost, setting up included, by all that decides it: means over the stored runs that completed.

SELECT
    dataset_fingerprint,
    protocol_id,
    backbone_fingerprint,
    coalesce(
        configuration ->> 'adapter',
        CASE
            WHEN configuration ->> 'full' IN ('1', 'true') THEN 'full'
            WHEN configuration ->> 'lora' IN ('1', 'true') THEN 'lora'
            ELSE 'decoder'
        END
    ) AS adapter,
    count(*) AS runs,
    avg(seconds + setup_seconds) AS seconds
FROM runs
WHERE outcome = 'completed'
GROUP BY ALL;
