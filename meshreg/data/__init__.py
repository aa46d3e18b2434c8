"""Readers of foreign files: images, keypoints, masks, cameras."""
