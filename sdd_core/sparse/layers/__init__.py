"""Linear and convolutional layers of any network, computed on their kept weights in training."""
