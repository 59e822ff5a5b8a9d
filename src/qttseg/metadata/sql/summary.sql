-- One row for each dataset: how its runs ended, how they scored at their last epoch, and what they cost.

SELECT
    dataset,
    dataset_fingerprint,
    count(*) AS runs,
    count(*) FILTER (outcome = 'completed') AS completed,
    count(*) FILTER (outcome = 'diverged') AS diverged,
    count(*) FILTER (outcome = 'out-of-memory') AS out_of_memory,
    count(*) FILTER (outcome = 'timed-out') AS timed_out,
    count(*) FILTER (outcome = 'failed') AS failed,
    avg(score) FILTER (outcome = 'completed') AS score_mean,
    max(score) FILTER (outcome = 'completed') AS score_best,
    stddev_pop(score) FILTER (outcome = 'completed') AS score_spread,
    sum(seconds) / nullif(sum(epochs), 0) AS seconds_per_epoch,
    sum(seconds + setup_seconds) / 3600 AS hours
FROM runs
GROUP BY dataset, dataset_fingerprint
ORDER BY dataset, dataset_fingerprint;
