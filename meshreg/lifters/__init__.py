"""Networks that lift clips of 2D joints to 3D poses; files are loaded through `released`."""
