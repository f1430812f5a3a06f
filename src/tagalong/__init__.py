"""Pre-label biomedical text: train taggers, evaluate them by entity length, serve them."""
