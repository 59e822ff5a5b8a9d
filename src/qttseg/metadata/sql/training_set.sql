-- Every stored run except those on the datasets whose fingerprints are $left_out, with its dataset's meta-features.

SELECT
    run_id,
    dataset,
    dataset_fingerprint,
    space,
    configuration,
    outcome,
    [record.score FOR record IN records] AS scores,
    [record.train_seconds + record.validation_seconds FOR record IN records] AS epoch_seconds,
    protocol_id,
    CAST(protocol->>'images' AS INTEGER) AS images,
    backbone,
    backbone_fingerprint,
    seed,
    machine,
    meta_features
FROM named_curves
LEFT JOIN stored_datasets ON named_curves.dataset_fingerprint = stored_datasets.fingerprint
WHERE NOT list_contains($left_out::VARCHAR[], dataset_fingerprint)
ORDER BY dataset, dataset_fingerprint, run_id;
