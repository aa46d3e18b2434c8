"""From a trained regressor to people in pictures."""
