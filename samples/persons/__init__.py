"""What `make_scenes.py` and `train_mask_rcnn.py` are made of."""
