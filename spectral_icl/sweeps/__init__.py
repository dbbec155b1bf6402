"""Phase diagrams: many points, one store."""
