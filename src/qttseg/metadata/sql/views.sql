-- What a user's query may read. `stored_curves` and `stored_datasets` are the store's tables, one row for each run and dataset.

-- A run carries whatever a worker resolved its dataset by, which may be a path; people know datasets by their names.
CREATE VIEW named_curves AS
SELECT stored_curves.* REPLACE (coalesce(stored_datasets.name, stored_curves.dataset) AS dataset)
FROM stored_curves
LEFT JOIN stored_datasets ON stored_curves.dataset_fingerprint = stored_datasets.fingerprint;

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
FROM named_curves;

CREATE VIEW epochs AS
SELECT run_id, dataset, outcome, unnest(records, max_depth := 2)
FROM named_curves;

CREATE VIEW datasets AS
SELECT name, fingerprint, meta_features
FROM stored_datasets;
