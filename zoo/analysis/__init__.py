"""From a trained model to an answer: latent coordinates, clusters, paths, maps, figures."""
