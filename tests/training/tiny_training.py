"""A recipe that trains in a second."""

TINY_RECIPE = {
    "unet": {
        "channels": [8, 8],
        "encoder_blocks": [1, 1],
        "decoder_blocks": [1, 1],
        "embedding_size": 16,
    },
    "plans": [
        {"size": 16, "batch_size": 4, "sigma_min": 0.02, "sigma_max": 0.5, "share": 1.0},
        {"size": 32, "batch_size": 2, "sigma_min": 0.1, "sigma_max": 3.0, "share": 2.0},
    ],
    "sigma_data": 0.4,
    "sigma_min": 0.02,
    "sigma_max": 3.0,
    "steps": 10,
    "warmup_steps": 2,
    "decay_steps": 4,
    "learning_rate": 0.003,
}
