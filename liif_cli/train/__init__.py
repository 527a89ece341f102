"""Training: recipes, samples, the loop and its checkpoints."""
