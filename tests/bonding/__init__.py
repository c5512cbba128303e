"""A bonded stream on loopback: SRTLA's two ends, and the networks between them."""
