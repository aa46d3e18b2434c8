"""Loss terms: tensors in, scalars out."""
