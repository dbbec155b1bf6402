"""Multi-task regression by multi-head softmax attention: its loss, its flow, what is best."""
