"""The parts of `train_keypoints.py`: pictures, networks, training, results."""
