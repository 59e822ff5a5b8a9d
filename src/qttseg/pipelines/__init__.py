"""One fine-tuning: search spaces, backbones, training, scoring."""
