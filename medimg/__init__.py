"""medimg: experiments in medical image classification with PyTorch Lightning and Hydra."""
