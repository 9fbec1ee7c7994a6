"""From a clean set to a good model: recipes, augmentations, the engine, and what cleaning was worth."""
