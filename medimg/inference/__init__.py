"""What a trained model is used for: evaluation, predictions for new images, ensembles, export."""
