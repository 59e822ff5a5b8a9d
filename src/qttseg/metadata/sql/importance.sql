-- How much of the differences between runs of one dataset each parameter alone explains: the main effects of a functional ANOVA.
-- Scores are ranks within a dataset, so that easy and hard ones count alike; a run that diverged is its worst. Numbers of many
-- values are cut into five groups of equal size; conditional parameters are judged where they are active. Epsilon squared is the
-- share of explained variance less what as many groups would explain by chance.

WITH ranked AS (
    SELECT
        configuration,
        percent_rank() OVER (
            PARTITION BY dataset_fingerprint ORDER BY CASE WHEN outcome = 'completed' THEN score ELSE 0 END
        ) AS rank
    FROM runs
    WHERE outcome IN ('completed', 'diverged')
),
cells AS (
    SELECT rank, parameter, configuration ->> parameter AS text, try_cast(configuration ->> parameter AS DOUBLE) AS number
    FROM (SELECT rank, configuration, unnest(json_keys(configuration)) AS parameter FROM ranked)
),
counted AS (
    SELECT parameter, count(DISTINCT text) AS distinct_values FROM cells GROUP BY parameter
),
grouped AS (
    SELECT
        parameter,
        rank,
        text,
        CASE
            WHEN distinct_values > 8 AND number IS NOT NULL
            THEN ntile(5) OVER (PARTITION BY parameter ORDER BY number, rank)::VARCHAR
            ELSE text
        END AS level,
        number
    FROM cells JOIN counted USING (parameter)
),
levels AS (
    SELECT
        parameter,
        count(*) AS runs,
        avg(rank) AS mean_rank,
        CASE WHEN count(DISTINCT text) > 1 THEN format('{:.3g} to {:.3g}', min(number), max(number)) ELSE min(text) END AS level
    FROM grouped
    GROUP BY parameter, level
),
totals AS (
    SELECT parameter, avg(rank) AS mean_rank, var_pop(rank) * count(*) AS squares, count(*) AS runs FROM grouped GROUP BY parameter
)
SELECT
    parameter,
    any_value(totals.runs) AS runs,
    1 - (1 - sum(levels.runs * (levels.mean_rank - totals.mean_rank) ** 2) / any_value(totals.squares))
    * (any_value(totals.runs) - 1) / (any_value(totals.runs) - count(*)) AS epsilon_squared,
    arg_max(levels.level, levels.mean_rank) AS best,
    max(levels.mean_rank) AS best_rank,
    arg_min(levels.level, levels.mean_rank) AS worst,
    min(levels.mean_rank) AS worst_rank
FROM levels JOIN totals USING (parameter)
GROUP BY parameter
HAVING count(*) > 1 AND any_value(totals.runs) > count(*) AND any_value(totals.squares) > 0
ORDER BY epsilon_squared DESC;
