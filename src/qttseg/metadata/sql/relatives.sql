-- The dataset called $dataset (a name, a fingerprint, or what its runs resolved it by) and, step by step, whatever shares a name or a fingerprint with it
-- or is its twin: the same images under another name, other images under the same name, and largely the same images in other files.

WITH RECURSIVE known AS (
    SELECT dataset, dataset_fingerprint AS fingerprint FROM named_curves
    UNION
    SELECT name, fingerprint FROM stored_datasets
),
relatives AS (
    SELECT dataset, fingerprint
    FROM known
    WHERE
        dataset = $dataset
        OR fingerprint = $dataset
        OR fingerprint IN (SELECT dataset_fingerprint FROM stored_curves WHERE dataset = $dataset)
    UNION
    SELECT known.dataset, known.fingerprint
    FROM relatives
    LEFT JOIN twins ON relatives.fingerprint = twins.fingerprint
    JOIN known
        ON known.dataset = relatives.dataset
        OR known.fingerprint = relatives.fingerprint
        OR known.fingerprint = twins.twin
)
SELECT dataset, fingerprint FROM relatives ORDER BY dataset, fingerprint;
