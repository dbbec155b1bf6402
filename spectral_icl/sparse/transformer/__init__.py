"""Multi-head linear attention: layers, constructed and counted head by head."""
