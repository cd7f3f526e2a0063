"""Changes to guidance that a Model carries: RescaleCFG, APG, dynamic thresholding and the like."""
