"""The SMPL-format body: assets, skeletons, skinning and joint regressors."""
