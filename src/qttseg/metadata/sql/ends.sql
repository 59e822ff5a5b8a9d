-- How and when each run ended, and what it cost in all.

SELECT run_id, outcome, reason, finished_at, seconds + setup_seconds AS seconds
FROM runs;
