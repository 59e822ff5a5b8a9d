-- What a user's query may read. `stored_curves` and `stored_datasets` are the store's tables, one row for each run and dataset.

CREATE VIEW runs AS
SELECT
    run_id,
    dataset,
    dataset_fingerprint,
    space,
    configuration::JSON AS configuration,
    protocol_id,
    protocol::JSON AS protocol,
    backbone,
    backbone_fingerprint,
    seed,
    outcome,
    reason,
    len(records) AS epochs,
    records[-1].score AS score,
    coalesce(list_sum([record.train_seconds + record.validation_seconds FOR record IN records]), 0.0) AS seconds,
    setup_seconds,
    machine,
    finished_at,
    version
FROM stored_curves;

CREATE VIEW epochs AS
SELECT run_id, dataset, outcome, unnest(records, max_depth := 2)
FROM stored_curves;

CREATE VIEW datasets AS
SELECT name, fingerprint, meta_features
FROM stored_datasets;
