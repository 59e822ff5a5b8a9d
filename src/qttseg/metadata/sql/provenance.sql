-- What the stored runs were made with: one row for each combination.

SELECT
    space,
    backbone,
    backbone_fingerprint,
    protocol_id,
    any_value(protocol) AS protocol,
    string_agg(DISTINCT machine, '; ' ORDER BY machine) FILTER (machine != '') AS machines,
    string_agg(DISTINCT version, ', ' ORDER BY version) FILTER (version != '') AS versions,
    count(*) AS runs
FROM runs
GROUP BY space, backbone, backbone_fingerprint, protocol_id
ORDER BY runs DESC;
