"""What is computed once and kept: decoded images, the features of a frozen trunk, digests of files."""
